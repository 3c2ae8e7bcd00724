//! Conversions from stored records to wire types.

mod note;

use crate::{
    domain::{
        Chat, ChatId, ChatUpdate, Device, DisplayName, EmailAddress, Event, Me, Member, Message, MessageBody,
        MessageChange, MessageKind, MyMembership, Notifications, Revision, Session, SessionId, SystemNote,
        Title, User,
    },
    ports::{
        ChatRecord, ChatView, Content, MemberRecord, MessageRecord, Preferences, SessionRecord, StoreError,
        StoreErrorKind, StoreResult, UserRecord,
    },
};

/// What a list shows of the last message of a chat: characters of its text, or people of a system message.
const SHOWN_TEXT: usize = 256;
const SHOWN_PEOPLE: usize = 16;
/// How many bytes of its body are read for that: enough at up to four bytes for a character, and 39 for an id.
pub(crate) const PREVIEW: usize = 4 * SHOWN_TEXT;

/// Whoever's display name can't be read is shown by their username.
pub(crate) fn user(record: UserRecord) -> User {
    let display_name = readable(record.display_name.into_text(), "display name", &record.id);
    let display_name = display_name.unwrap_or_else(|| record.username.as_str().to_owned());
    User {
        id: record.id,
        username: record.username,
        display_name: DisplayName::trusted(display_name),
        created_at: record.created_at,
    }
}

pub(crate) fn me(record: UserRecord) -> StoreResult<Me> {
    let email = record.email.as_ref().ok_or(StoreErrorKind::NotFound)?.content.to_text()?;
    let Preferences { language, time_zone, quiet_hours } = record.preferences.clone();
    Ok(Me {
        email: EmailAddress::trusted(email),
        email_confirmed: record.email_confirmed_at.is_some(),
        language,
        time_zone,
        notifications: Notifications { email: record.notify_email, quiet_hours },
        user: user(record),
    })
}

pub(crate) fn member(user_record: UserRecord, record: &MemberRecord) -> Member {
    Member {
        user: user(user_record),
        role: record.role,
        joined_at: record.joined_at,
        read_seq: record.read_seq,
        delivered_seq: record.delivered_seq,
    }
}

/// What can't be read is a message without a body that says so: everything around it stays readable.
pub(crate) fn message(record: MessageRecord) -> Message {
    let id = record.id;
    let (body, system) = match (record.kind, record.body) {
        (_, None) => (Some(None), Some(None)),
        (MessageKind::Text, Some(content)) => (
            readable(content.into_text(), "text", &id).map(|text| Some(MessageBody::trusted(text))),
            Some(None),
        ),
        (MessageKind::System, Some(content)) => {
            (Some(None), readable(note::whole(&content), "note", &id).map(Some))
        }
    };
    let corrupt = body.is_none() || system.is_none();
    Message {
        id: record.id,
        chat_id: record.chat,
        seq: record.seq,
        revision: record.revision,
        kind: record.kind,
        sender_id: record.sender,
        body: body.flatten(),
        client_id: record.client_id,
        reply_to: record.reply_to,
        created_at: record.created_at,
        edited_at: record.edited_at,
        deleted_at: record.deleted_at,
        system: system.flatten(),
        truncated: false,
        corrupt,
    }
}

/// What was read; if it can't be read, that is logged.
fn readable<T>(read: StoreResult<T>, what: &str, id: &impl std::fmt::Debug) -> Option<T> {
    read.inspect_err(|error| {
        let error = error as &dyn std::error::Error;
        tracing::error!(?id, error, "a {what} in the store can't be read");
    })
    .ok()
}

/// A message as a list of chats shows it; `is_cut` if its body continues after what was read.
fn preview(mut record: MessageRecord, is_cut: bool) -> Message {
    let body = record.body.take();
    let mut shown = message(record);
    let Some(body) = body else { return shown };
    if let Err(error) = show_beginning(&mut shown, &body, is_cut) {
        shown.corrupt = readable(Err::<(), _>(error), "message", &shown.id).is_none();
    }
    shown
}

fn show_beginning(shown: &mut Message, body: &Content, is_cut: bool) -> StoreResult<()> {
    if shown.kind == MessageKind::Text {
        let text = beginning(body, is_cut)?;
        let end = text.char_indices().nth(SHOWN_TEXT).map_or(text.len(), |(end, _)| end);
        shown.body = Some(MessageBody::trusted(&text[..end]));
        shown.truncated = is_cut || end < text.len();
    } else {
        let mut note = if is_cut { note::beginning(body)? } else { note::whole(body)? };
        shown.truncated = is_cut || note.user_ids.len() > SHOWN_PEOPLE;
        note.user_ids.truncate(SHOWN_PEOPLE);
        shown.system = Some(note);
    }
    Ok(())
}

/// The text, without a character that was cut in the middle.
fn beginning(content: &Content, is_cut: bool) -> StoreResult<&str> {
    let end = match std::str::from_utf8(&content.0) {
        Err(error) if is_cut && error.error_len().is_none() => error.valid_up_to(),
        _ => content.0.len(),
    };
    let text = std::str::from_utf8(&content.0[..end]);
    text.map_err(|error| StoreError::new(StoreErrorKind::Corrupt, error))
}

pub(crate) fn messages(records: Vec<MessageRecord>) -> Vec<Message> {
    records.into_iter().map(message).collect()
}

pub(crate) fn chat(view: ChatView) -> Chat {
    let ChatView { chat, me, peer, last_message, is_cut, retention } = view;
    Chat {
        id: chat.id,
        kind: chat.kind,
        title: title(chat.title, chat.id),
        created_at: chat.created_at,
        revision: chat.revision,
        last_seq: chat.last_seq,
        member_count: chat.member_count,
        retention,
        me: MyMembership {
            role: me.role,
            read_seq: me.read_seq,
            unread: chat.texts.saturating_sub(me.read_texts),
            muted_until: me.muted_until,
            notifications: me.notify_level,
        },
        peer: peer.map(user),
        last_message: last_message.map(|last| preview(last, is_cut)),
    }
}

/// The event that reports a message's latest state to a client that has the chat up to `since`.
pub(crate) fn event(record: MessageRecord, chat: &ChatRecord, since: Revision) -> Event {
    let (created, revision) = (record.created_revision, record.revision);
    let message = message(record);
    if message.kind == MessageKind::System {
        return Event::ChatUpdated(chat_update(chat, message));
    }
    let deleted = message.deleted_at.is_some();
    let change = MessageChange { chat_id: chat.id, revision, message };
    match () {
        () if deleted => Event::MessageDeleted(change),
        () if created > since => Event::MessageCreated(change),
        () => Event::MessageEdited(change),
    }
}

/// Whether the event may have changed who is in the chat, and does not tell.
pub(crate) fn hides_members(event: &Event) -> bool {
    matches!(event, Event::ChatUpdated(update) if update.message.corrupt)
}

/// Whether the message may have told who is in the chat, and was purged before those read it who have everything up to `since`.
pub(crate) fn was_purged_unread(message: &MessageRecord, since: Revision) -> bool {
    message.kind == MessageKind::System && message.deleted_at.is_some() && message.created_revision > since
}

pub(crate) fn chat_update(chat: &ChatRecord, message: Message) -> ChatUpdate {
    ChatUpdate {
        chat_id: chat.id,
        revision: message.revision,
        title: title(chat.title.clone(), chat.id),
        member_count: chat.member_count,
        message,
    }
}

fn title(content: Option<Content>, chat: ChatId) -> Option<Title> {
    readable(content?.into_text(), "title", &chat).map(Title::trusted)
}

/// A session as its owner sees it, when the request comes from the session `current`.
pub(crate) fn session(record: SessionRecord, current: Option<SessionId>) -> Session {
    let device =
        record.device.and_then(|device| readable(device.into_text(), "name of a device", &record.id));
    Session {
        id: record.id,
        created_at: record.created_at,
        last_used_at: record.last_used_at,
        expires_at: record.expires_at,
        device: device.map(Device::trusted),
        current: current == Some(record.id),
    }
}

pub(crate) fn write_note(note: &SystemNote) -> Content {
    // Ids, a title and a role always serialise.
    Content(serde_json::to_vec(note).unwrap_or_default())
}

/// The display name of an erased account.
pub(crate) fn erased_display_name() -> Content {
    Content::from("Deleted account")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ChatId, MessageId, Seq, SystemEvent, Timestamp, UserId,
        domain::{ChatKind, NotifyLevel, RetentionPeriod, Role, Username},
        ports::{MailState, Preferences},
    };

    const AT: Timestamp = Timestamp::from_micros(1_000_000);

    fn text(body: &[u8]) -> MessageRecord {
        MessageRecord {
            id: MessageId::from_bytes([1; 16]),
            chat: ChatId::from_bytes([2; 16]),
            seq: Seq::new(3),
            created_revision: Revision::new(4),
            revision: Revision::new(6),
            kind: MessageKind::Text,
            sender: UserId::from_bytes([3; 16]),
            body: Some(Content(body.to_vec())),
            client_id: None,
            fingerprint: None,
            reply_to: None,
            created_at: AT,
            edited_at: Some(AT),
            deleted_at: None,
        }
    }

    fn system(note: Content) -> MessageRecord {
        MessageRecord { kind: MessageKind::System, body: Some(note), ..text(b"") }
    }

    fn chat_record() -> ChatRecord {
        ChatRecord {
            id: ChatId::from_bytes([2; 16]),
            kind: ChatKind::Group,
            title: None,
            created_at: AT,
            revision: Revision::new(9),
            last_seq: Seq::new(3),
            texts: 3,
            member_count: 2,
            roster_version: 1,
        }
    }

    #[test]
    fn what_is_news_to_somebody_depends_on_what_they_know() {
        let deleted = MessageRecord { body: None, deleted_at: Some(AT), ..text(b"") };
        let note = SystemNote {
            event: SystemEvent::MemberLeft,
            user_ids: vec![],
            title: None,
            role: None,
            retention: None,
        };
        let cases = [
            (text(b"hello"), 0, "messageCreated"),
            (text(b"hello"), 3, "messageCreated"),
            // The client knows the message, but not its latest change.
            (text(b"hello"), 4, "messageEdited"),
            (text(b"hello"), 5, "messageEdited"),
            (deleted.clone(), 3, "messageDeleted"),
            (deleted, 5, "messageDeleted"),
            (system(write_note(&note)), 3, "chatUpdated"),
            (system(write_note(&note)), 5, "chatUpdated"),
        ];
        for (record, since, name) in cases {
            let event = event(record, &chat_record(), Revision::new(since));
            assert_eq!(event.name(), name, "{since}");
            assert_eq!(event.change(), Some((chat_record().id, Revision::new(6))), "{since}");
        }
    }

    #[test]
    fn what_the_chat_says_itself_reads_back_as_it_was_written() {
        let note = SystemNote {
            event: SystemEvent::RoleChanged,
            user_ids: vec![UserId::from_bytes([3; 16])],
            title: Some(crate::Title::trusted("Tea")),
            role: Some(Role::Owner),
            retention: RetentionPeriod::from_secs(60).ok(),
        };
        let message = message(system(write_note(&note)));
        assert_eq!((message.body, message.system), (None, Some(note)));
    }

    #[test]
    fn what_cannot_be_read_is_corrupt_and_hides_nothing_else() {
        let sealed = [0xff, 0xfe];
        for record in [text(&sealed), system(Content(sealed.to_vec())), system(Content::from("hello"))] {
            let read = messages(vec![text(b"hello"), record.clone()]);
            assert_eq!(read[0], message(text(b"hello")));
            let expected = Message { corrupt: true, body: None, ..message(text(b"")) };
            assert_eq!(read[1], Message { kind: record.kind, ..expected });
        }
        let deleted = MessageRecord { body: None, deleted_at: Some(AT), ..text(b"") };
        assert!(!message(deleted).corrupt);
    }

    #[test]
    fn only_what_the_chat_says_itself_can_hide_who_is_in_it() {
        let hides = |record| hides_members(&event(record, &chat_record(), Revision::ZERO));
        let note = SystemNote {
            event: SystemEvent::TitleChanged,
            user_ids: vec![],
            title: None,
            role: None,
            retention: None,
        };
        for (record, expected) in
            [(text(&[0xff]), false), (system(write_note(&note)), false), (system(Content(vec![0xff])), true)]
        {
            assert_eq!(hides(record), expected);
        }
    }

    #[test]
    fn a_title_or_a_device_that_nobody_opened_is_none() {
        let chat = ChatRecord { title: Some(Content(vec![0xff])), ..chat_record() };
        let note = SystemNote {
            event: SystemEvent::TitleChanged,
            user_ids: vec![],
            title: None,
            role: None,
            retention: None,
        };
        let Event::ChatUpdated(update) = event(system(write_note(&note)), &chat, Revision::ZERO) else {
            panic!("no update");
        };
        assert_eq!(update.title, None);
        let record = |device| SessionRecord {
            id: SessionId::from_bytes([4; 16]),
            user_id: UserId::from_bytes([3; 16]),
            device,
            created_at: AT,
            last_used_at: AT,
            expires_at: AT,
        };
        assert_eq!(session(record(Some(Content(vec![0xff]))), None).device, None);
        let chat = Some(Content::from("Tea"));
        assert_eq!(title(chat, chat_record().id), Some(Title::trusted("Tea")));
        let plain = session(record(Some(Content::from("phone"))), None);
        assert_eq!(plain.device, Some(Device::trusted("phone")));
    }

    #[test]
    fn a_list_shows_256_characters_of_a_text_and_says_if_there_are_more() {
        // Characters of one to four bytes, chosen so that the last one read is cut in the middle.
        for text in ["x".repeat(300), "ä".repeat(300), "a".to_owned() + &"☕".repeat(400), "🦀".repeat(300)]
        {
            let read = &text.as_bytes()[..text.len().min(PREVIEW)];
            let shown = preview(self::text(read), text.len() > PREVIEW);
            let expected: String = text.chars().take(256).collect();
            assert_eq!((shown.body.unwrap().as_str(), shown.truncated), (&*expected, true));
        }
        for text in ["hello".to_owned(), "x".repeat(256), "🦀".repeat(256)] {
            let shown = preview(self::text(text.as_bytes()), false);
            assert_eq!((shown.body.unwrap().as_str(), shown.truncated), (&*text, false));
        }
        let deleted = MessageRecord { body: None, deleted_at: Some(AT), ..self::text(b"") };
        assert_eq!(preview(deleted.clone(), false), message(deleted));
        // A text that is invalid without being cut.
        assert!(preview(self::text(&[b'a', 0xf0, 0x9f]), false).corrupt);
        assert!(preview(self::text(&[b'a', 0xff, b'a']), true).corrupt);
    }

    #[test]
    fn a_list_shows_16_people_of_what_the_chat_says_itself() {
        for (count, shown, truncated) in [(1, 1, false), (16, 16, false), (17, 16, true), (1000, 16, true)] {
            let user_ids: Vec<UserId> = (0..count).map(|n| UserId::from_bytes([n as u8; 16])).collect();
            let event = SystemEvent::MembersRemoved;
            let note =
                SystemNote { event, user_ids: user_ids.clone(), title: None, role: None, retention: None };
            let Content(written) = write_note(&note);
            let read = Content(written[..written.len().min(PREVIEW)].to_vec());
            let message = preview(system(read), written.len() > PREVIEW);
            let note = message.system.unwrap();
            assert_eq!((note.event, &note.user_ids[..]), (event, &user_ids[..shown]), "{count}");
            assert_eq!(message.truncated, truncated, "{count}");
        }
    }

    #[test]
    fn unread_is_what_was_written_less_what_was_read() {
        for (read_texts, unread) in [(0, 3), (2, 1), (3, 0), (4, 0)] {
            let me = MemberRecord {
                user_id: UserId::from_bytes([3; 16]),
                role: Role::Member,
                joined_at: AT,
                read_seq: Seq::ZERO,
                read_texts,
                delivered_seq: Seq::ZERO,
                muted_until: None,
                notify_level: NotifyLevel::All,
            };
            let view = ChatView {
                chat: chat_record(),
                me,
                peer: None,
                last_message: None,
                is_cut: false,
                retention: None,
            };
            assert_eq!(chat(view).me.unread, unread, "{read_texts}");
        }
    }

    #[test]
    fn an_erased_account_is_nobodys_own() {
        assert_eq!(me(erased()).unwrap_err().kind(), StoreErrorKind::NotFound);
        assert_eq!(user(erased()).display_name.as_str(), "Deleted account");
    }

    #[test]
    fn whose_display_name_nobody_opened_is_shown_by_their_username() {
        let record = UserRecord { display_name: Content(vec![0xff]), ..erased() };
        assert_eq!(user(record).display_name.as_str(), "deleted");
    }

    fn erased() -> UserRecord {
        UserRecord {
            id: UserId::from_bytes([3; 16]),
            username: Username::trusted("deleted"),
            display_name: erased_display_name(),
            email: None,
            email_confirmed_at: None,
            password_hash: None,
            notify_email: false,
            preferences: Preferences::default(),
            mail: MailState::default(),
            created_at: AT,
            last_seen_at: None,
            erased_at: Some(AT),
            version: 2,
            memberships: 0,
        }
    }
}

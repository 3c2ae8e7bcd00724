//! Conversions from stored records to wire types.

mod note;

use crate::{
    domain::{
        Chat, ChatUpdate, Device, DisplayName, EmailAddress, Event, Me, Member, Message, MessageBody,
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

pub(crate) fn user(record: UserRecord) -> StoreResult<User> {
    Ok(User {
        id: record.id,
        username: record.username,
        display_name: DisplayName::trusted(record.display_name.into_text()?),
        created_at: record.created_at,
    })
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
        user: user(record)?,
    })
}

pub(crate) fn member(user_record: UserRecord, record: &MemberRecord) -> StoreResult<Member> {
    Ok(Member {
        user: user(user_record)?,
        role: record.role,
        joined_at: record.joined_at,
        read_seq: record.read_seq,
        delivered_seq: record.delivered_seq,
    })
}

pub(crate) fn message(record: MessageRecord) -> StoreResult<Message> {
    let (body, system) = match (record.kind, record.body) {
        (_, None) => (None, None),
        (MessageKind::Text, Some(content)) => (Some(MessageBody::trusted(content.into_text()?)), None),
        (MessageKind::System, Some(content)) => (None, Some(note::whole(&content)?)),
    };
    Ok(Message {
        id: record.id,
        chat_id: record.chat,
        seq: record.seq,
        revision: record.revision,
        kind: record.kind,
        sender_id: record.sender,
        body,
        client_id: record.client_id,
        reply_to: record.reply_to,
        created_at: record.created_at,
        edited_at: record.edited_at,
        deleted_at: record.deleted_at,
        system,
        truncated: false,
    })
}

/// A message as a list of chats shows it; `is_cut` if its body continues after what was read.
fn preview(mut record: MessageRecord, is_cut: bool) -> StoreResult<Message> {
    let body = record.body.take();
    let mut shown = message(record)?;
    let Some(body) = body else { return Ok(shown) };
    if shown.kind == MessageKind::Text {
        let text = beginning(&body, is_cut)?;
        let end = text.char_indices().nth(SHOWN_TEXT).map_or(text.len(), |(end, _)| end);
        shown.body = Some(MessageBody::trusted(&text[..end]));
        shown.truncated = is_cut || end < text.len();
    } else {
        let mut note = if is_cut { note::beginning(&body)? } else { note::whole(&body)? };
        shown.truncated = is_cut || note.user_ids.len() > SHOWN_PEOPLE;
        note.user_ids.truncate(SHOWN_PEOPLE);
        shown.system = Some(note);
    }
    Ok(shown)
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

pub(crate) fn messages(records: Vec<MessageRecord>) -> StoreResult<Vec<Message>> {
    records.into_iter().map(message).collect()
}

pub(crate) fn chat(view: ChatView) -> StoreResult<Chat> {
    let ChatView { chat, me, peer, last_message, is_cut } = view;
    Ok(Chat {
        id: chat.id,
        kind: chat.kind,
        title: title(chat.title)?,
        created_at: chat.created_at,
        revision: chat.revision,
        last_seq: chat.last_seq,
        member_count: chat.member_count,
        me: MyMembership {
            role: me.role,
            read_seq: me.read_seq,
            unread: chat.texts.saturating_sub(me.read_texts),
            muted_until: me.muted_until,
            notifications: me.notify_level,
        },
        peer: peer.map(user).transpose()?,
        last_message: last_message.and_then(|last| readable(last, is_cut)),
    })
}

/// Converts a message that is shown together with other data, which must still be shown if this message can't be read.
fn readable(record: MessageRecord, is_cut: bool) -> Option<Message> {
    let id = record.id;
    let read = preview(record, is_cut).inspect_err(|error| {
        tracing::error!(%id, error = error as &dyn std::error::Error, "a message can't be read");
    });
    read.ok()
}

/// The event that reports a message's latest state to a client that has the chat up to `since`.
pub(crate) fn event(record: MessageRecord, chat: &ChatRecord, since: Revision) -> StoreResult<Event> {
    let (created, revision) = (record.created_revision, record.revision);
    let message = message(record)?;
    if message.kind == MessageKind::System {
        return Ok(Event::ChatUpdated(chat_update(chat, message)?));
    }
    let deleted = message.deleted_at.is_some();
    let change = MessageChange { chat_id: chat.id, revision, message };
    Ok(match () {
        () if deleted => Event::MessageDeleted(change),
        () if created > since => Event::MessageCreated(change),
        () => Event::MessageEdited(change),
    })
}

pub(crate) fn chat_update(chat: &ChatRecord, message: Message) -> StoreResult<ChatUpdate> {
    Ok(ChatUpdate {
        chat_id: chat.id,
        revision: message.revision,
        title: title(chat.title.clone())?,
        member_count: chat.member_count,
        message,
    })
}

fn title(content: Option<Content>) -> StoreResult<Option<Title>> {
    content.map(|content| content.into_text().map(Title::trusted)).transpose()
}

/// A session as its owner sees it, when the request comes from the session `current`.
pub(crate) fn session(record: SessionRecord, current: Option<SessionId>) -> StoreResult<Session> {
    Ok(Session {
        id: record.id,
        created_at: record.created_at,
        last_used_at: record.last_used_at,
        expires_at: record.expires_at,
        device: record.device.map(|device| device.into_text().map(Device::trusted)).transpose()?,
        current: current == Some(record.id),
    })
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
        domain::{ChatKind, NotifyLevel, Role, Username},
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
        let note = SystemNote { event: SystemEvent::MemberLeft, user_ids: vec![], title: None, role: None };
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
            let event = event(record, &chat_record(), Revision::new(since)).unwrap();
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
        };
        let message = message(system(write_note(&note))).unwrap();
        assert_eq!((message.body, message.system), (None, Some(note)));
    }

    #[test]
    fn what_cannot_be_read_is_corrupt() {
        let sealed = [0xff, 0xfe];
        for record in [text(&sealed), system(Content(sealed.to_vec())), system(Content::from("hello"))] {
            assert_eq!(message(record.clone()).unwrap_err().kind(), StoreErrorKind::Corrupt);
            assert!(messages(vec![text(b"hello"), record]).is_err());
        }
    }

    #[test]
    fn a_title_or_a_device_that_nobody_opened_is_corrupt() {
        let chat = ChatRecord { title: Some(Content(vec![0xff])), ..chat_record() };
        let note = SystemNote { event: SystemEvent::TitleChanged, user_ids: vec![], title: None, role: None };
        let event = event(system(write_note(&note)), &chat, Revision::ZERO);
        assert_eq!(event.unwrap_err().kind(), StoreErrorKind::Corrupt);
        let record = |device| SessionRecord {
            id: SessionId::from_bytes([4; 16]),
            user_id: UserId::from_bytes([3; 16]),
            device,
            created_at: AT,
            last_used_at: AT,
            expires_at: AT,
        };
        let sealed = session(record(Some(Content(vec![0xff]))), None);
        assert_eq!(sealed.unwrap_err().kind(), StoreErrorKind::Corrupt);
        let chat = Some(Content::from("Tea"));
        assert_eq!(title(chat).unwrap(), Some(Title::trusted("Tea")));
        let plain = session(record(Some(Content::from("phone"))), None).unwrap();
        assert_eq!(plain.device, Some(Device::trusted("phone")));
    }

    #[test]
    fn a_list_shows_256_characters_of_a_text_and_says_if_there_are_more() {
        // Characters of one to four bytes, chosen so that the last one read is cut in the middle.
        for text in ["x".repeat(300), "ä".repeat(300), "a".to_owned() + &"☕".repeat(400), "🦀".repeat(300)]
        {
            let read = &text.as_bytes()[..text.len().min(PREVIEW)];
            let shown = preview(self::text(read), text.len() > PREVIEW).unwrap();
            let expected: String = text.chars().take(256).collect();
            assert_eq!((shown.body.unwrap().as_str(), shown.truncated), (&*expected, true));
        }
        for text in ["hello".to_owned(), "x".repeat(256), "🦀".repeat(256)] {
            let shown = preview(self::text(text.as_bytes()), false).unwrap();
            assert_eq!((shown.body.unwrap().as_str(), shown.truncated), (&*text, false));
        }
        let deleted = MessageRecord { body: None, deleted_at: Some(AT), ..self::text(b"") };
        assert_eq!(preview(deleted.clone(), false).unwrap(), message(deleted).unwrap());
        // A text that is invalid without being cut.
        assert!(preview(self::text(&[b'a', 0xf0, 0x9f]), false).is_err());
        assert!(preview(self::text(&[b'a', 0xff, b'a']), true).is_err());
    }

    #[test]
    fn a_list_shows_16_people_of_what_the_chat_says_itself() {
        for (count, shown, truncated) in [(1, 1, false), (16, 16, false), (17, 16, true), (1000, 16, true)] {
            let user_ids: Vec<UserId> = (0..count).map(|n| UserId::from_bytes([n as u8; 16])).collect();
            let event = SystemEvent::MembersRemoved;
            let note = SystemNote { event, user_ids: user_ids.clone(), title: None, role: None };
            let Content(written) = write_note(&note);
            let read = Content(written[..written.len().min(PREVIEW)].to_vec());
            let message = preview(system(read), written.len() > PREVIEW).unwrap();
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
            let view = ChatView { chat: chat_record(), me, peer: None, last_message: None, is_cut: false };
            assert_eq!(chat(view).unwrap().me.unread, unread, "{read_texts}");
        }
    }

    #[test]
    fn an_erased_account_is_nobodys_own() {
        assert_eq!(me(erased()).unwrap_err().kind(), StoreErrorKind::NotFound);
        assert_eq!(user(erased()).unwrap().display_name.as_str(), "Deleted account");
    }

    #[test]
    fn a_display_name_that_nobody_opened_is_corrupt() {
        let record = UserRecord { display_name: Content(vec![0xff]), ..erased() };
        assert_eq!(user(record).unwrap_err().kind(), StoreErrorKind::Corrupt);
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

//! From what is stored to what goes over the wire.

use crate::{
    domain::{
        Chat, ChatUpdate, DisplayName, EmailAddress, Event, Me, Member, Message, MessageBody, MessageChange,
        MessageKind, Mine, Notifications, Revision, SystemNote, User,
    },
    ports::{
        ChatRecord, ChatView, Content, MemberRecord, MessageRecord, StoreError, StoreErrorKind, StoreResult,
        UserRecord,
    },
};

pub(crate) fn user(record: UserRecord) -> User {
    User {
        id: record.id,
        username: record.username,
        display_name: record.display_name,
        created_at: record.created_at,
    }
}

pub(crate) fn me(record: UserRecord) -> StoreResult<Me> {
    let email = record.email.as_ref().ok_or(StoreErrorKind::NotFound)?.content.to_text()?;
    Ok(Me {
        email: EmailAddress::trusted(email),
        notifications: Notifications { email: record.notify_email },
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

pub(crate) fn message(record: MessageRecord) -> StoreResult<Message> {
    let (body, system) = match (record.kind, record.body) {
        (_, None) => (None, None),
        (MessageKind::Text, Some(content)) => (Some(MessageBody::trusted(content.into_text()?)), None),
        (MessageKind::System, Some(content)) => (None, Some(read_note(&content)?)),
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
    })
}

pub(crate) fn messages(records: Vec<MessageRecord>) -> StoreResult<Vec<Message>> {
    records.into_iter().map(message).collect()
}

pub(crate) fn chat(view: ChatView) -> StoreResult<Chat> {
    let ChatView { chat, me, peer, last_message } = view;
    Ok(Chat {
        id: chat.id,
        kind: chat.kind,
        title: chat.title,
        created_at: chat.created_at,
        revision: chat.revision,
        last_seq: chat.last_seq,
        member_count: chat.member_count,
        me: Mine {
            role: me.role,
            read_seq: me.read_seq,
            unread: chat.texts.saturating_sub(me.read_texts),
            muted_until: me.muted_until,
        },
        peer: peer.map(user),
        last_message: last_message.map(message).transpose()?,
    })
}

/// The event that tells of a message's latest state to somebody who knows the chat up to `since`.
pub(crate) fn event(record: MessageRecord, chat: &ChatRecord, since: Revision) -> StoreResult<Event> {
    let (created, revision) = (record.created_revision, record.revision);
    let message = message(record)?;
    if message.kind == MessageKind::System {
        return Ok(Event::ChatUpdated(chat_update(chat, message)));
    }
    let deleted = message.deleted_at.is_some();
    let change = MessageChange { chat_id: chat.id, revision, message };
    Ok(match () {
        () if deleted => Event::MessageDeleted(change),
        () if created > since => Event::MessageCreated(change),
        () => Event::MessageEdited(change),
    })
}

pub(crate) fn chat_update(chat: &ChatRecord, message: Message) -> ChatUpdate {
    ChatUpdate {
        chat_id: chat.id,
        revision: message.revision,
        title: chat.title.clone(),
        member_count: chat.member_count,
        message,
    }
}

pub(crate) fn write_note(note: &SystemNote) -> Content {
    // Ids, a title and a role always serialise.
    Content(serde_json::to_vec(note).unwrap_or_default())
}

fn read_note(content: &Content) -> StoreResult<SystemNote> {
    serde_json::from_slice(&content.0).map_err(|error| StoreError::new(StoreErrorKind::Corrupt, error))
}

/// What an erased account is called.
pub(crate) fn erased_display_name() -> DisplayName {
    DisplayName::trusted("Deleted account")
}

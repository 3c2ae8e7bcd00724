//! Announcements of what has been stored: the messages for the hub and the bus.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    convert,
    domain::{ChatId, Event, MarkMove, Message, MessageChange, Revision, SessionId, SystemEvent, UserId},
    ports::{
        Appended, BusMessage, ChatRecord, Hint, MarkerMoved, MessageRecord, MoveMarker, NewMessage,
        StoreResult, Topic,
    },
};

/// A message that has been stored by this send, or by an earlier one with the same client id.
#[derive(Debug)]
pub(crate) struct SentMessage {
    pub(crate) message: Message,
    pub(crate) created: bool,
    /// Whether the send that stored it made the same request.
    pub(crate) same_request: bool,
}

/// An event of a chat, addressed to its members and to the people it adds.
pub(crate) fn chat_event(chat: ChatId, event: Event) -> BusMessage {
    let mut topics = vec![Topic::Chat(chat)];
    if let Event::ChatUpdated(update) = &event
        && let Some(note) = &update.message.system
        && note.event == SystemEvent::MembersAdded
    {
        topics.extend(note.user_ids.iter().map(|user| Topic::User(*user)));
    }
    BusMessage { topics, hint: Arc::new(Hint::Event(event)) }
}

/// One event for each changed message of a chat.
pub(crate) fn changes(chat: &ChatRecord, records: Vec<MessageRecord>) -> Vec<BusMessage> {
    let event = |record: MessageRecord| {
        let before = Revision::new(record.revision.get().saturating_sub(1));
        chat_event(chat.id, convert::event(record, chat, before))
    };
    records.into_iter().map(event).collect()
}

/// Announces that people are members of a chat from this revision on.
pub(crate) fn added(chat: ChatId, revision: Revision, users: Vec<UserId>) -> BusMessage {
    let topics = users.iter().map(|user| Topic::User(*user)).collect();
    BusMessage { topics, hint: Arc::new(Hint::Added { chat, revision, users }) }
}

/// Announces that sessions of a person have ended, so that their connections are ended, too.
pub(crate) fn sessions_ended(user: UserId, sessions: Vec<SessionId>) -> BusMessage {
    BusMessage { topics: vec![Topic::User(user)], hint: Arc::new(Hint::SessionsEnded { user, sessions }) }
}

/// Makes all nodes compare with the store what these topics name.
pub(crate) fn invalidation(topics: Vec<Topic>) -> BusMessage {
    BusMessage { topics, hint: Arc::new(Hint::Invalidate {}) }
}

/// Makes the answers for the senders of a batch that was appended, and the events for the chats.
pub(crate) fn appended(
    batch: Vec<StoreResult<Appended>>,
) -> (Vec<StoreResult<SentMessage>>, Vec<BusMessage>) {
    let mut messages = Vec::with_capacity(batch.len());
    let answers = batch
        .into_iter()
        .map(|appended| match appended? {
            Appended::New(record) => {
                let sent = sent(record, true, true);
                let message = sent.message.clone();
                let (chat_id, revision) = (message.chat_id, message.revision);
                let change = MessageChange { chat_id, revision, message };
                messages.push(chat_event(chat_id, Event::MessageCreated(change)));
                Ok(sent)
            }
            Appended::Existing { record, same_request } => {
                // The send that stored it may have lost its answer, and then has not told anybody.
                messages.push(invalidation(vec![Topic::Chat(record.chat)]));
                Ok(sent(record, false, same_request))
            }
        })
        .collect();
    (answers, messages)
}

fn sent(record: MessageRecord, created: bool, same_request: bool) -> SentMessage {
    SentMessage { message: convert::message(record), created, same_request }
}

/// Makes all nodes compare the chats of a batch with the store: its answer was lost, and it may be stored.
pub(crate) fn append_in_doubt(batch: &[NewMessage]) -> Vec<BusMessage> {
    let chats: BTreeSet<ChatId> = batch.iter().map(|message| message.chat).collect();
    chats.into_iter().map(|chat| invalidation(vec![Topic::Chat(chat)])).collect()
}

/// Makes the events for a batch of marks that moved. In a chat with more than `ephemeral_members` members, only the
/// person's own connections are told.
pub(crate) fn marks_moved(
    batch: &[MoveMarker],
    answers: &[StoreResult<MarkerMoved>],
    ephemeral_members: usize,
) -> Vec<BusMessage> {
    batch
        .iter()
        .zip(answers)
        .filter_map(|(requested, answer)| {
            let moved = answer.as_ref().ok().filter(|answer| answer.moved)?;
            let mark = |seq| MarkMove { chat_id: requested.chat, user_id: requested.user, seq };
            let event = if requested.read {
                Event::ReadMoved(mark(moved.read_seq))
            } else {
                Event::DeliveredMoved(mark(moved.delivered_seq))
            };
            let for_all = moved.member_count as usize <= ephemeral_members;
            let topic = if for_all { Topic::Chat(requested.chat) } else { Topic::User(requested.user) };
            Some(BusMessage { topics: vec![topic], hint: Arc::new(Hint::Event(event)) })
        })
        .collect()
}

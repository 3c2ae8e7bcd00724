use std::{cmp::Reverse, ops::Bound};

use async_trait::async_trait;

use super::{
    MemoryStore, State,
    chats::{ChatState, make_tombstone},
};
use crate::{
    domain::{ChatId, MessageId, MessageKind, Revision, Seq, Timestamp, UserId},
    ports::{
        Anchor, Appended, Budget, Changes, DeleteMessage, EditMessage, HistoryRange, MessageRecord,
        MessageStore, NewMessage, StoreErrorKind, StoreResult, Unique,
    },
};

#[async_trait]
impl MessageStore for MemoryStore {
    async fn append_messages(&self, batch: &[NewMessage]) -> StoreResult<Vec<StoreResult<Appended>>> {
        let mut state = self.lock()?;
        Ok(batch.iter().map(|message| state.append(message)).collect())
    }

    async fn message(&self, chat: ChatId, message: MessageId) -> StoreResult<MessageRecord> {
        let state = self.lock()?;
        state.find(chat, message).cloned().ok_or_else(|| StoreErrorKind::NotFound.into())
    }

    async fn history(
        &self,
        chat: ChatId,
        user: UserId,
        anchor: Anchor,
        budget: Budget,
    ) -> StoreResult<HistoryRange> {
        let state = self.lock()?;
        let chat = state.chats.get(&chat).filter(|chat| chat.member(user).is_some());
        let chat = chat.ok_or(StoreErrorKind::NotMember)?;
        Ok(HistoryRange { last_seq: chat.record.last_seq, messages: chat.page(anchor, budget) })
    }

    async fn edit_message(&self, edit: EditMessage) -> StoreResult<MessageRecord> {
        let mut state = self.lock()?;
        if let Some(found) = state.find(edit.chat, edit.message)
            && state.users.live(found.sender).is_none()
        {
            return Err(StoreErrorKind::NotMember.into());
        }
        state.change(edit.chat, edit.message, edit.expected, |message| {
            message.body = Some(edit.body);
            message.edited_at = Some(edit.edited_at);
        })
    }

    async fn delete_message(&self, delete: DeleteMessage) -> StoreResult<MessageRecord> {
        self.lock()?.change(delete.chat, delete.message, delete.expected, |message| {
            make_tombstone(message, delete.deleted_at);
        })
    }

    async fn erase_messages(
        &self,
        chat: ChatId,
        sender: UserId,
        at: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<MessageRecord>> {
        let mut state = self.lock()?;
        let commit = state.next_commit();
        let Some(chat) = state.chats.get_mut(&chat) else { return Ok(vec![]) };
        let theirs = chat.messages.iter().map(|stored| &stored.record).filter(|message| {
            message.sender == sender && message.kind == MessageKind::Text && message.deleted_at.is_none()
        });
        let theirs: Vec<_> = theirs.map(|message| message.seq).take(limit).collect();
        let erased =
            theirs.into_iter().map(|seq| chat.change(seq, commit, |message| make_tombstone(message, at)));
        Ok(erased.collect())
    }

    async fn changes(&self, since: &[(ChatId, Revision)], budget: Budget) -> StoreResult<Vec<Changes>> {
        let state = self.lock()?;
        let mut since = since.to_vec();
        since.sort_by_key(|(chat, _)| *chat);
        let known = since.into_iter().filter_map(|(chat, since)| Some((state.chats.get(&chat)?, since)));
        let mut weight = Some(0);
        Ok(known.map(|(chat, since)| chat.changes(since, budget, &mut weight)).collect())
    }
}

impl State {
    fn append(&mut self, new: &NewMessage) -> StoreResult<Appended> {
        let chat = self.chats.get_mut(&new.chat).filter(|chat| chat.member(new.sender).is_some());
        let chat = chat.filter(|_| self.users.live(new.sender).is_some());
        let chat = chat.ok_or(StoreErrorKind::NotMember)?;
        let name = new.client_id.as_ref().map(|(id, _)| (new.sender, id.clone()));
        if let Some(known) = name.as_ref().and_then(|name| self.client_ids.get(name)) {
            let (chat, seq) = *self.places.get(known).ok_or(StoreErrorKind::Corrupt)?;
            let stored = self.chats.get(&chat).and_then(|chat| chat.get(seq));
            let record = stored.ok_or(StoreErrorKind::Corrupt)?.record.clone();
            return Ok(Appended::existing(record, new));
        }
        if chat.peer_of(new.sender).is_some_and(|peer| self.users.live(peer).is_none()) {
            return Err(StoreErrorKind::NotMember.into());
        }
        if self.places.contains_key(&new.id) {
            return Err(StoreErrorKind::AlreadyExists(Unique::Id).into());
        }
        self.commits += 1;
        let record = chat.push(draft(new), self.commits);
        let texts = chat.record.texts;
        if let Some(sender) = chat.member_mut(new.sender) {
            sender.read_seq = record.seq;
            sender.read_texts = texts;
            sender.delivered_seq = record.seq;
        }
        self.places.insert(record.id, (record.chat, record.seq));
        if let Some(name) = name {
            self.client_ids.insert(name, record.id);
        }
        Ok(Appended::New(record))
    }

    fn find(&self, chat: ChatId, message: MessageId) -> Option<&MessageRecord> {
        let (_, seq) = self.places.get(&message).filter(|(place, _)| *place == chat)?;
        self.chats.get(&chat)?.get(*seq).map(|stored| &stored.record)
    }

    /// A message, to replace its body by another form of it.
    pub(super) fn message_mut(&mut self, message: MessageId) -> Option<&mut MessageRecord> {
        let (chat, seq) = self.places.get(&message)?;
        self.chats.get_mut(chat)?.messages.get_mut(index(*seq)).map(|stored| &mut stored.record)
    }

    fn change(
        &mut self,
        chat: ChatId,
        message: MessageId,
        expected: Revision,
        change: impl FnOnce(&mut MessageRecord),
    ) -> StoreResult<MessageRecord> {
        let found = self.find(chat, message).ok_or(StoreErrorKind::NotFound)?;
        if found.revision != expected {
            return Err(StoreErrorKind::Conflict.into());
        }
        let (seq, commit) = (found.seq, self.next_commit());
        let chat = self.chats.get_mut(&chat).ok_or(StoreErrorKind::NotFound)?;
        Ok(chat.change(seq, commit, change))
    }
}

impl ChatState {
    /// Changes the message at `seq`, which must exist, under the next revision.
    pub(super) fn change(
        &mut self,
        seq: Seq,
        commit: u64,
        change: impl FnOnce(&mut MessageRecord),
    ) -> MessageRecord {
        self.commit = commit;
        self.record.revision = self.record.revision.next();
        let message = &mut self.messages[index(seq)].record;
        self.by_revision.remove(&message.revision);
        self.by_revision.insert(self.record.revision, seq);
        message.revision = self.record.revision;
        change(message);
        let changed_at = message.edited_at.max(message.deleted_at);
        self.changed_at = changed_at.map_or(self.changed_at, |at| at.max(self.changed_at));
        message.clone()
    }

    /// `weight` is the weight of the messages found in the chats before this one; `None` once a message was too heavy.
    fn changes(&self, since: Revision, budget: Budget, weight: &mut Option<usize>) -> Changes {
        let later = self.by_revision.range((Bound::Excluded(since), Bound::Unbounded));
        let mut messages = vec![];
        for (_, seq) in later.take(budget.messages) {
            let (Some(before), Some(stored)) = (*weight, self.get(*seq)) else { break };
            let message = &stored.record;
            *weight = budget.admits(before, message).then(|| before + message.weight());
            if weight.is_some() {
                messages.push(message.clone());
            }
        }
        let last = messages.last().map_or(since, |message| message.revision);
        Changes { chat: self.record.clone(), messages, truncated: last < self.record.revision }
    }

    fn page(&self, anchor: Anchor, budget: Budget) -> Vec<MessageRecord> {
        let Some((low, high)) = anchor.range(self.record.last_seq, budget.messages) else { return vec![] };
        let page = self.messages[index(low)..=index(high)].iter().map(|stored| &stored.record);
        let mut nearest: Vec<&MessageRecord> = page.collect();
        let place = anchor.place().get();
        nearest.sort_by_key(|message| (place.abs_diff(message.seq.get()), Reverse(message.seq)));
        nearest.truncate(budget.fitting(nearest.iter().copied()));
        nearest.sort_by_key(|message| message.seq);
        nearest.into_iter().cloned().collect()
    }
}

fn index(seq: Seq) -> usize {
    usize::try_from(seq.get().saturating_sub(1)).unwrap_or(usize::MAX)
}

fn draft(new: &NewMessage) -> MessageRecord {
    MessageRecord {
        id: new.id,
        chat: new.chat,
        seq: Seq::ZERO,
        created_revision: Revision::ZERO,
        revision: Revision::ZERO,
        kind: MessageKind::Text,
        sender: new.sender,
        body: Some(new.body.clone()),
        client_id: new.client_id.as_ref().map(|(id, _)| id.clone()),
        fingerprint: new.client_id.as_ref().map(|(_, fingerprint)| *fingerprint),
        reply_to: new.reply_to,
        created_at: new.created_at,
        edited_at: None,
        deleted_at: None,
    }
}

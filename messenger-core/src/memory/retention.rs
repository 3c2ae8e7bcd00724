use std::collections::BTreeMap;

use async_trait::async_trait;

use super::{MemoryStore, State, chats::make_tombstone};
use crate::{
    domain::{RetentionPeriod, Seq, Timestamp, UserId},
    ports::{
        AskOverdue, Hold, HoldSubject, OverdueChat, Purge, PurgeId, PurgeRecord, Purged, RetentionChange,
        RetentionStore, RosterChanged, StoreErrorKind, StoreResult,
    },
};

/// What is under a hold, and what was purged.
#[derive(Debug, Default)]
pub(super) struct Retained {
    holds: BTreeMap<HoldSubject, Hold>,
    purges: BTreeMap<PurgeId, PurgeRecord>,
}

impl Retained {
    fn is_held(&self, subject: HoldSubject) -> bool {
        self.holds.contains_key(&subject)
    }

    /// `Held` if the person is under a hold.
    pub(super) fn expect_free(&self, user: UserId) -> StoreResult<()> {
        if self.is_held(HoldSubject::User(user)) { Err(StoreErrorKind::Held.into()) } else { Ok(()) }
    }
}

/// How a chat keeps its messages.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    pub(super) retention: Option<RetentionPeriod>,
    /// The time of the first message after those that were looked at; `None` if none was.
    since: Option<Timestamp>,
    /// The last message that was looked at.
    looked: Seq,
}

#[async_trait]
impl RetentionStore for MemoryStore {
    async fn set_retention(&self, change: RetentionChange) -> StoreResult<RosterChanged> {
        let mut state = self.lock()?;
        let chat = state.chats.get_mut(&change.chat).ok_or(StoreErrorKind::NotFound)?;
        if chat.record.roster_version != change.expected {
            return Err(StoreErrorKind::Conflict.into());
        }
        chat.record.roster_version += 1;
        chat.keeping.retention = change.retention;
        let messages = state.write_system(change.chat, change.message).into_iter().collect();
        let chat = state.chats.get(&change.chat).ok_or(StoreErrorKind::NotFound)?;
        Ok(RosterChanged { chat: chat.record.clone(), messages })
    }

    async fn overdue_chats(&self, asked: &AskOverdue, limit: usize) -> StoreResult<Vec<OverdueChat>> {
        let state = self.lock()?;
        let overdue = state.chats.values().filter_map(|chat| {
            let kept = RetentionPeriod::shorter(asked.retention, chat.keeping.retention)?;
            let since = chat.keeping.since.unwrap_or(chat.record.created_at);
            let is_new = chat.keeping.since.is_none() && asked.retention.is_some();
            let is_overdue = is_new || since.after(kept.as_duration()) < asked.now;
            let retention = chat.keeping.retention;
            is_overdue.then_some(OverdueChat { chat: chat.record.id, since, retention })
        });
        let mut overdue: Vec<_> = overdue.collect();
        overdue.sort_by_key(|overdue| (overdue.since, overdue.chat));
        overdue.truncate(limit);
        Ok(overdue)
    }

    async fn purge(&self, purge: &Purge) -> StoreResult<Purged> {
        Ok(self.lock()?.purge(purge))
    }

    async fn hold(&self, hold: &Hold) -> StoreResult<bool> {
        let mut state = self.lock()?;
        let is_known = match hold.subject {
            HoldSubject::Chat(chat) => state.chats.contains_key(&chat),
            HoldSubject::User(user) => state.users.live(user).is_some(),
        };
        if !is_known {
            return Err(StoreErrorKind::NotFound.into());
        }
        let is_new = !state.retained.is_held(hold.subject);
        state.retained.holds.entry(hold.subject).or_insert_with(|| hold.clone());
        Ok(is_new)
    }

    async fn release(&self, subject: HoldSubject) -> StoreResult<bool> {
        let mut state = self.lock()?;
        let was_held = state.retained.holds.remove(&subject).is_some();
        let chats = match subject {
            HoldSubject::Chat(chat) => vec![chat],
            HoldSubject::User(user) => state.joined.get(&user).cloned().unwrap_or_default(),
        };
        for chat in chats {
            if let Some(chat) = state.chats.get_mut(&chat) {
                (chat.keeping.since, chat.keeping.looked) = (None, Seq::ZERO);
            }
        }
        Ok(was_held)
    }

    async fn holds(&self, after: Option<HoldSubject>, limit: usize) -> StoreResult<Vec<Hold>> {
        let state = self.lock()?;
        let is_after = |hold: &&Hold| after.is_none_or(|after| hold.subject > after);
        Ok(state.retained.holds.values().filter(is_after).take(limit).cloned().collect())
    }

    async fn purges(&self, after: Option<PurgeId>, limit: usize) -> StoreResult<Vec<PurgeRecord>> {
        let state = self.lock()?;
        let is_after = |purge: &&PurgeRecord| after.is_none_or(|after| purge.id > after);
        Ok(state.retained.purges.values().filter(is_after).take(limit).copied().collect())
    }
}

impl State {
    fn purge(&mut self, purge: &Purge) -> Purged {
        let commit = self.next_commit();
        let Some(chat) = self.chats.get_mut(&purge.chat) else { return Purged::default() };
        let own = chat.keeping.retention;
        let Some(kept) = RetentionPeriod::shorter(purge.retention, own) else { return Purged::default() };
        if self.retained.is_held(HoldSubject::Chat(purge.chat)) {
            chat.keeping.since = Some(purge.now);
            return Purged::default();
        }
        let before = purge.now.before(kept.as_duration());
        let mut purged = Purged { messages: vec![], more: true };
        for _ in 0..purge.limit {
            let seq = chat.keeping.looked.next();
            let Some(message) = chat.get(seq).map(|stored| &stored.record) else {
                chat.keeping.since = Some(purge.now);
                purged.more = false;
                break;
            };
            if message.created_at >= before {
                chat.keeping.since = Some(message.created_at);
                purged.more = false;
                break;
            }
            let is_held = self.retained.is_held(HoldSubject::User(message.sender));
            if message.deleted_at.is_none() && !is_held {
                let make = |message: &mut _| make_tombstone(message, purge.now);
                purged.messages.push(chat.change(seq, commit, make));
            }
            chat.keeping.looked = seq;
        }
        if let (Some(first), Some(last)) = (purged.messages.first(), purged.messages.last()) {
            let record = PurgeRecord {
                id: purge.id,
                chat: purge.chat,
                at: purge.now,
                before,
                retention: kept,
                is_own: own == Some(kept),
                first: first.seq,
                last: last.seq,
                messages: purged.messages.len() as u64,
            };
            self.retained.purges.insert(record.id, record);
        }
        purged
    }
}

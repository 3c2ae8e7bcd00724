use std::cmp::Reverse;

use async_trait::async_trait;

use super::{
    MemoryStore, State,
    chats::{ChatState, Entry},
};
use crate::{
    domain::{ChatId, MessageKind, NotifyLevel, Seq, Timestamp, UserId},
    ports::{
        AskUnread, ClaimUnread, ClaimedChat, MessageRecord, Notified, PendingChat, PendingMember, SeenPlace,
        StoreResult, UnreadRange, UnreadStore,
    },
};

/// Since when something may be pending in a chat, and who looks at it.
#[derive(Debug, Default)]
pub(super) struct Unread {
    since: Option<(Timestamp, Seq)>,
    claims: u64,
    leased_until: Option<Timestamp>,
}

impl Unread {
    /// Notes a message that is being stored.
    pub(super) fn note(&mut self, message: &MessageRecord) {
        if message.kind == MessageKind::Text && self.since.is_none() {
            self.since = Some((message.created_at, message.seq));
        }
    }
}

/// What a member was told of.
#[derive(Debug, Default)]
pub(super) struct ToldOf {
    seq: Seq,
    at: Option<Timestamp>,
    times: u32,
    /// Where the read mark was.
    read_seq: Seq,
}

#[async_trait]
impl UnreadStore for MemoryStore {
    async fn claim_unread_chats(&self, claim: &ClaimUnread, limit: usize) -> StoreResult<Vec<ClaimedChat>> {
        let mut state = self.lock()?;
        let free = |unread: &Unread| unread.leased_until.is_none_or(|until| until < claim.now);
        let mut due: Vec<_> = state
            .chats
            .values_mut()
            .filter_map(|chat| Some((chat.unread.since?.0, chat)))
            .filter(|(since, chat)| *since <= claim.due && free(&chat.unread))
            .collect();
        due.sort_by_key(|(since, chat)| (*since, chat.record.id));
        let claimed = due.into_iter().take(limit).map(|(since, chat)| {
            chat.unread.claims += 1;
            chat.unread.leased_until = Some(claim.until);
            let (number, last_seq) = (chat.unread.claims, chat.record.last_seq);
            ClaimedChat { chat: chat.record.id, number, since, last_seq }
        });
        Ok(claimed.collect())
    }

    async fn finish_unread_chat(&self, claimed: &ClaimedChat, due: Timestamp) -> StoreResult<bool> {
        let mut state = self.lock()?;
        let Some(chat) = state.chats.get_mut(&claimed.chat) else { return Ok(false) };
        let held = chat.unread.claims == claimed.number && chat.unread.leased_until.is_some();
        let Some((_, first)) = chat.unread.since.filter(|_| held) else { return Ok(false) };
        let is_next = |message: &&MessageRecord| message.created_at > due || message.seq > claimed.last_seq;
        let next = chat.live_texts(first).find(is_next).map(|message| (message.created_at, message.seq));
        chat.unread.since = next;
        chat.unread.leased_until = None;
        Ok(true)
    }

    async fn unread_members(
        &self,
        asked: &AskUnread,
        after: Option<UserId>,
        limit: usize,
    ) -> StoreResult<Vec<PendingMember>> {
        let state = self.lock()?;
        let Some(chat) = state.chats.get(&asked.chat) else { return Ok(vec![]) };
        let entries = chat.entries.values().filter(|entry| entry.is_to_be_told(asked.now));
        let pending = entries.filter_map(|entry| {
            let user = state.users.live(entry.member.user_id)?;
            let since = chat.pending(entry).find(|message| message.created_at <= asked.due)?.created_at;
            Some(PendingMember {
                user: user.id,
                since,
                last_seen_at: user.last_seen_at,
                notify_email: user.notify_email,
                mail: user.mail,
                told_at: entry.told_at(),
                told_times: entry.times(),
            })
        });
        let mut pending: Vec<_> =
            pending.filter(|member| after.is_none_or(|after| member.user > after)).collect();
        pending.sort_by_key(|member| member.user);
        pending.truncate(limit);
        Ok(pending)
    }

    async fn unread_chats(
        &self,
        user: UserId,
        until: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<PendingChat>> {
        let state = self.lock()?;
        let chats = state.chats_of(user).filter_map(|chat| {
            let entry = chat.entries.get(&user).filter(|entry| entry.is_to_be_told(now))?;
            let last = chat.pending(entry).filter(|message| message.created_at <= until).last()?;
            let range = || chat.pending(entry).take_while(|message| message.seq <= last.seq);
            Some(PendingChat {
                chat: chat.record.id,
                after: entry.mark(),
                up_to: last.seq,
                since: range().next()?.created_at,
                last_at: last.created_at,
                unread: (range().count() as u64).min(PendingChat::COUNTED),
                told_at: entry.told_at(),
                told_times: entry.times(),
            })
        });
        let mut chats: Vec<_> = chats.collect();
        chats.sort_by_key(|chat| (Reverse(chat.last_at), chat.chat));
        chats.truncate(limit);
        Ok(chats)
    }

    async fn unread_lines(
        &self,
        user: UserId,
        ranges: &[UnreadRange],
        lines: usize,
    ) -> StoreResult<Vec<MessageRecord>> {
        let state = self.lock()?;
        let newest = |range: &UnreadRange| -> Option<Vec<MessageRecord>> {
            let chat = state.chats.get(&range.chat).filter(|chat| chat.member(user).is_some())?;
            let texts = chat.live_texts(range.after.next());
            let texts = texts.filter(|text| text.seq <= range.up_to && text.sender != user);
            let texts: Vec<_> = texts.cloned().collect();
            Some(texts[texts.len().saturating_sub(lines)..].to_vec())
        };
        Ok(ranges.iter().filter_map(newest).flatten().collect())
    }

    async fn record_notified(&self, notified: &Notified) -> StoreResult<bool> {
        let mut state = self.lock()?;
        let state = &mut *state;
        let Ok(user) = state.users.live_mut(notified.user) else { return Ok(false) };
        if user.mail.told.map(|told| told.at) != notified.expected {
            return Ok(false);
        }
        let is_as_expected = |range: &UnreadRange| {
            let entry = state.chats.get(&range.chat).and_then(|chat| chat.entries.get(&notified.user));
            entry.is_some_and(|entry| entry.here && entry.mark() == range.after)
        };
        if !notified.ranges.iter().all(is_as_expected) {
            return Ok(false);
        }
        user.mail.told = Some(notified.told);
        for range in &notified.ranges {
            if let Some(entry) = state.entry_mut(range.chat, notified.user) {
                entry.told_of = ToldOf {
                    seq: range.up_to,
                    at: Some(notified.told.at),
                    times: entry.times() + 1,
                    read_seq: entry.member.read_seq,
                };
            }
        }
        for job in &notified.jobs {
            state.jobs.enqueue(job);
        }
        Ok(true)
    }

    async fn people_last_seen(
        &self,
        after: SeenPlace,
        until: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<SeenPlace>> {
        let state = self.lock()?;
        let places =
            state.users.all().filter_map(|user| Some(SeenPlace { at: user.last_seen_at?, user: user.id }));
        let mut places: Vec<_> = places.filter(|place| *place > after && place.at <= until).collect();
        places.sort_unstable();
        places.truncate(limit);
        Ok(places)
    }
}

impl State {
    fn entry_mut(&mut self, chat: ChatId, user: UserId) -> Option<&mut Entry> {
        self.chats.get_mut(&chat)?.entries.get_mut(&user)
    }
}

impl ChatState {
    /// The text messages from this one on that were not deleted.
    fn live_texts(&self, from: Seq) -> impl Iterator<Item = &MessageRecord> {
        let texts = self.messages.iter().map(|stored| &stored.record).skip_while(move |text| text.seq < from);
        texts.filter(|text| text.kind == MessageKind::Text && text.deleted_at.is_none())
    }

    fn pending(&self, entry: &Entry) -> impl Iterator<Item = &MessageRecord> {
        let user = entry.member.user_id;
        self.live_texts(entry.mark().next()).filter(move |text| text.sender != user)
    }
}

impl Entry {
    /// What was read, or told of.
    fn mark(&self) -> Seq {
        self.member.read_seq.max(self.told_of.seq)
    }

    fn is_to_be_told(&self, now: Timestamp) -> bool {
        self.here
            && self.member.muted_until.is_none_or(|until| until <= now)
            && self.member.notify_level != NotifyLevel::None
    }

    /// Whether the read mark has moved since the member was told of something.
    fn has_read_since(&self) -> bool {
        self.member.read_seq > self.told_of.read_seq
    }

    fn told_at(&self) -> Option<Timestamp> {
        self.told_of.at.filter(|_| !self.has_read_since())
    }

    fn times(&self) -> u32 {
        if self.has_read_since() { 0 } else { self.told_of.times }
    }
}

use std::sync::Arc;

use async_trait::async_trait;
use messenger_core::{
    Timestamp, UserId,
    ports::{
        AskUnread, ClaimUnread, ClaimedChat, MessageRecord, Notified, PendingChat, PendingMember, SeenPlace,
        StoreErrorKind, StoreResult, UnreadRange, UnreadStore,
    },
};
use messenger_sql::{
    columns::{integer, rows},
    unread,
};

use crate::{
    call::Call,
    enqueue::{ATTEMPTS, with_jobs},
    sql::fits,
    store::MssqlStore,
};

#[async_trait]
impl UnreadStore for MssqlStore {
    async fn claim_unread_chats(&self, claim: &ClaimUnread, limit: usize) -> StoreResult<Vec<ClaimedChat>> {
        let call = Call::procedure(Arc::clone(&self.sql().unread.claim))
            .time("@due", claim.due)
            .time("@now", claim.now)
            .time("@until", claim.until)
            .number("@most", rows(limit));
        Ok(unread::in_order(self.all(call, |columns| columns.claimed_chat()).await?))
    }

    async fn finish_unread_chat(&self, claimed: &ClaimedChat, due: Timestamp) -> StoreResult<bool> {
        let call = Call::procedure(Arc::clone(&self.sql().unread.finish))
            .id("@chat", claimed.chat)
            .number("@number", integer(claimed.number))
            .time("@due", due)
            .number("@last_seq", integer(claimed.last_seq.get()));
        match self.done(call).await {
            Err(error) if error.kind() == StoreErrorKind::Conflict => Ok(false),
            done => done.map(|()| true),
        }
    }

    async fn unread_members(
        &self,
        asked: &AskUnread,
        after: Option<UserId>,
        limit: usize,
    ) -> StoreResult<Vec<PendingMember>> {
        let call = Call::statement(Arc::clone(&self.sql().unread.members))
            .id("@P1", asked.chat)
            .time("@P2", asked.due)
            .time("@P3", asked.now)
            .id("@P4", after.unwrap_or_else(|| UserId::from_bytes([0; 16])))
            .number("@P5", rows(limit));
        self.all(call, |columns| columns.pending_member()).await
    }

    async fn unread_chats(
        &self,
        user: UserId,
        until: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<PendingChat>> {
        let call = Call::statement(Arc::clone(&self.sql().unread.chats))
            .id("@P1", user)
            .time("@P2", until)
            .time("@P3", now)
            .number("@P4", rows(limit));
        self.all(call, |columns| columns.pending_chat()).await
    }

    async fn unread_lines(
        &self,
        user: UserId,
        ranges: &[UnreadRange],
        lines: usize,
    ) -> StoreResult<Vec<MessageRecord>> {
        fits(ranges.len())?;
        if ranges.is_empty() {
            return Ok(vec![]);
        }
        let call = Call::statement(Arc::clone(&self.sql().unread.lines))
            .id("@P1", user)
            .number("@P2", rows(lines))
            .bytes("@P3", packed(ranges));
        self.all(call, |columns| columns.message()).await
    }

    async fn record_notified(&self, notified: &Notified) -> StoreResult<bool> {
        fits(notified.ranges.len())?;
        fits(notified.jobs.len())?;
        // Members are locked by rising chats.
        let mut ranges = notified.ranges.clone();
        ranges.sort_unstable_by_key(|range| range.chat);
        let call = Call::procedure(Arc::clone(&self.sql().unread.record))
            .id("@user", notified.user)
            .time("@at", notified.told.at)
            .time("@since", notified.told.since)
            .number("@times", i64::from(notified.told.times))
            .bytes("@ranges", packed(&ranges));
        let call = match notified.expected {
            Some(expected) => call.time("@expected", expected),
            None => call,
        };
        let call = if notified.jobs.is_empty() { call } else { with_jobs(call, &notified.jobs) };
        let mut attempt = 1;
        loop {
            let Err(error) = self.done(call.clone()).await else { return Ok(true) };
            match error.kind() {
                StoreErrorKind::Conflict => return Ok(false),
                // Others have stored a job of the same key at the same time.
                StoreErrorKind::AlreadyExists(_) if attempt < ATTEMPTS => attempt += 1,
                _ => return Err(error),
            }
        }
    }

    async fn people_last_seen(
        &self,
        after: SeenPlace,
        until: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<SeenPlace>> {
        let call = Call::statement(Arc::clone(&self.sql().unread.seen))
            .time("@P1", after.at)
            .id("@P2", after.user)
            .time("@P3", until)
            .number("@P4", rows(limit));
        self.all(call, |columns| columns.seen_place()).await
    }
}

/// Ranges as `messenger_unpack_ranges` takes them.
fn packed(ranges: &[UnreadRange]) -> Vec<u8> {
    let mut list = Vec::with_capacity(ranges.len() * 32);
    for range in ranges {
        list.extend_from_slice(range.chat.as_bytes());
        list.extend_from_slice(&integer(range.after.get()).to_be_bytes());
        list.extend_from_slice(&integer(range.up_to.get()).to_be_bytes());
    }
    list
}

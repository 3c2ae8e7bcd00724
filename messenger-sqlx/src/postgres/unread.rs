use async_trait::async_trait;
use messenger_core::{
    Timestamp, UserId,
    ports::{
        AskUnread, ClaimUnread, ClaimedChat, MessageRecord, Notified, PendingChat, PendingMember, SeenPlace,
        StoreErrorKind, StoreResult, UnreadRange, UnreadStore,
    },
};
use messenger_sql::{columns::rows, unread};

use super::{
    connections::{Mode, Session},
    enqueue::enqueue,
    errors::is_worth_another_try,
    sql::Bind as _,
    store::PostgresStore,
};

/// How many times a record is tried when others are in its way.
const ATTEMPTS: usize = 5;

#[async_trait]
impl UnreadStore for PostgresStore {
    async fn claim_unread_chats(&self, claim: &ClaimUnread, limit: usize) -> StoreResult<Vec<ClaimedChat>> {
        let query = self.query(&self.sql().unread.claim).time(claim.due).time(claim.now).time(claim.until);
        let query = query.bind(rows(limit));
        let claimed = self
            .run(Mode::Statement, |session| Box::pin(session.all(query, |columns| columns.claimed_chat())));
        Ok(unread::in_order(claimed.await?))
    }

    async fn finish_unread_chat(&self, claimed: &ClaimedChat, due: Timestamp) -> StoreResult<bool> {
        let query = self.query(&self.sql().unread.finish).id(claimed.chat).number(claimed.number).time(due);
        let query = query.number(claimed.last_seq.get());
        let held =
            self.run(Mode::Statement, |session| Box::pin(session.one(query, |columns| columns.flag())));
        Ok(held.await?.unwrap_or_default())
    }

    async fn unread_members(
        &self,
        asked: &AskUnread,
        after: Option<UserId>,
        limit: usize,
    ) -> StoreResult<Vec<PendingMember>> {
        let after = after.unwrap_or_else(|| UserId::from_bytes([0; 16]));
        let query = self.query(&self.sql().unread.members).id(asked.chat).time(asked.due).time(asked.now);
        self.all_planned(query.id(after).bind(rows(limit)), |columns| columns.pending_member()).await
    }

    async fn unread_chats(
        &self,
        user: UserId,
        until: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<PendingChat>> {
        let query = self.query(&self.sql().unread.chats).id(user).time(until).time(now).bind(rows(limit));
        self.all_planned(query, |columns| columns.pending_chat()).await
    }

    async fn unread_lines(
        &self,
        user: UserId,
        ranges: &[UnreadRange],
        lines: usize,
    ) -> StoreResult<Vec<MessageRecord>> {
        let query = self
            .query(&self.sql().unread.lines)
            .id(user)
            .ids(ranges.iter().map(|range| &range.chat))
            .bind(numbers(ranges, |range| range.after.get()))
            .bind(numbers(ranges, |range| range.up_to.get()))
            .bind(rows(lines));
        self.all_planned(query, |columns| columns.message()).await
    }

    async fn record_notified(&self, notified: &Notified) -> StoreResult<bool> {
        let mut attempt = 1;
        loop {
            let step = notified.clone();
            match self.run(Mode::Transaction, |session| Box::pin(record(session, step))).await {
                Err(error) if is_worth_another_try(&error) && attempt < ATTEMPTS => attempt += 1,
                Err(error) if error.kind() == StoreErrorKind::Conflict => return Ok(false),
                done => return done.map(|()| true),
            }
        }
    }

    async fn people_last_seen(
        &self,
        after: SeenPlace,
        until: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<SeenPlace>> {
        let query = self.query(&self.sql().unread.seen).time(after.at).id(after.user).time(until);
        self.all_planned(query.bind(rows(limit)), |columns| columns.seen_place()).await
    }
}

/// `Conflict` if it is not as was expected: then the transaction is undone.
async fn record(session: &mut Session, notified: Notified) -> StoreResult<()> {
    let Notified { user, expected, told, ranges, jobs } = notified;
    let person = session.query(&session.statements.unread.tell_person).id(user).optional_time(expected);
    let person = person.time(told.at).time(told.since).bind(i32::try_from(told.times).unwrap_or(i32::MAX));
    if session.execute(person).await? != 1 {
        return Err(StoreErrorKind::Conflict.into());
    }
    let tell = session
        .query(&session.statements.unread.tell)
        .id(user)
        .ids(ranges.iter().map(|range| &range.chat))
        .bind(numbers(&ranges, |range| range.after.get()))
        .bind(numbers(&ranges, |range| range.up_to.get()))
        .time(told.at);
    if session.execute(tell).await? != ranges.len() as u64 {
        return Err(StoreErrorKind::Conflict.into());
    }
    enqueue(session, &jobs).await.map(drop)
}

fn numbers(ranges: &[UnreadRange], number: impl Fn(&UnreadRange) -> u64) -> Vec<i64> {
    ranges.iter().map(|range| number(range).cast_signed()).collect()
}

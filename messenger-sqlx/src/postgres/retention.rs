use async_trait::async_trait;
use messenger_core::{
    ChatId, RetentionPeriod, Timestamp,
    ports::{
        AskOverdue, Hold, HoldSubject, OverdueChat, Purge, PurgeId, PurgeRecord, Purged, RetentionChange,
        RetentionStore, RosterChanged, StoreErrorKind, StoreResult,
    },
};
use messenger_sql::{
    columns::{integer, rows},
    retention::{Looked, look, stored},
};
use sqlx::types::Uuid;

use super::{
    chats,
    connections::{Mode, Session},
    holds::lock_holds,
    messages,
    sql::{Bind as _, uuids},
    store::PostgresStore,
};

#[async_trait]
impl RetentionStore for PostgresStore {
    async fn set_retention(&self, change: RetentionChange) -> StoreResult<RosterChanged> {
        self.run(Mode::Transaction, move |session| Box::pin(set(session, change))).await
    }

    async fn overdue_chats(&self, asked: &AskOverdue, limit: usize) -> StoreResult<Vec<OverdueChat>> {
        let before = asked.retention.map(|kept| asked.now.before(kept.as_duration()));
        let query = self.query(&self.sql().retention.overdue).optional_time(before);
        let query = query.time(asked.now).bind(rows(limit));
        self.all_planned(query, |columns| columns.overdue_chat()).await
    }

    async fn purge(&self, purge: &Purge) -> StoreResult<Purged> {
        let purge = *purge;
        self.run(Mode::Transaction, move |session| Box::pin(step(session, purge))).await
    }

    async fn hold(&self, hold: &Hold) -> StoreResult<bool> {
        let hold = hold.clone();
        self.run(Mode::Transaction, move |session| Box::pin(insert_hold(session, hold))).await
    }

    async fn release(&self, subject: HoldSubject) -> StoreResult<bool> {
        self.run(Mode::Transaction, move |session| Box::pin(release(session, subject))).await
    }

    async fn holds(&self, after: Option<HoldSubject>, limit: usize) -> StoreResult<Vec<Hold>> {
        let (kind, id) = after.as_ref().map_or((-1, Uuid::nil()), parts);
        let query = self.query(&self.sql().retention.holds).bind(kind).bind(id).bind(rows(limit));
        self.all_planned(query, |columns| columns.hold()).await
    }

    async fn purges(&self, after: Option<PurgeId>, limit: usize) -> StoreResult<Vec<PurgeRecord>> {
        let after = after.unwrap_or_else(|| PurgeId::from_bytes([0; 16]));
        let query = self.query(&self.sql().retention.purges).id(after).bind(rows(limit));
        self.all_planned(query, |columns| columns.purge()).await
    }
}

fn parts(subject: &HoldSubject) -> (i16, Uuid) {
    let (kind, id) = subject.parts();
    (i16::try_from(kind).unwrap_or(i16::MAX), Uuid::from_bytes(*id))
}

async fn set(session: &mut Session, change: RetentionChange) -> StoreResult<RosterChanged> {
    let mut chat = messages::lock_chat(session, change.chat).await?;
    if chat.roster_version != change.expected {
        return Err(StoreErrorKind::Conflict.into());
    }
    chat.roster_version += 1;
    let message = messages::append_system(session, &mut chat, change.message).await?;
    chats::update(session, &chat, Some(message.created_at)).await?;
    let set = session.query(&session.statements.retention.set).id(chat.id).bind(stored(change.retention));
    session.execute(set).await?;
    Ok(RosterChanged { chat, messages: vec![message] })
}

async fn step(session: &mut Session, purge: Purge) -> StoreResult<Purged> {
    lock_holds(session).await?;
    let query = session.query(&session.statements.retention.chat).id(purge.chat);
    let chat = session.one(query, |columns| {
        Ok((columns.retention()?, columns.seq()?, columns.revision()?, columns.flag()?))
    });
    let Some((own, from, revision, is_held)) = chat.await? else { return Ok(Purged::default()) };
    let Some(kept) = RetentionPeriod::shorter(purge.retention, own) else { return Ok(Purged::default()) };
    if is_held {
        let looked = Looked { up_to: from, since: Some(purge.now), ..Looked::default() };
        note(session, purge.chat, &looked).await?;
        return Ok(Purged::default());
    }
    let before = purge.now.before(kept.as_duration());
    let next = session.query(&session.statements.retention.next).id(purge.chat).number(from.get());
    let next = next.bind(rows(purge.limit));
    let next = session.all(next, |columns| Ok((columns.message()?, columns.flag()?))).await?;
    let looked = look(next, (from, purge.limit), (before, purge.now), revision);
    note(session, purge.chat, &looked).await?;
    if let (Some(first), Some(last)) = (looked.due.first(), looked.due.last()) {
        messages::make_tombstones(session, purge.chat, &looked.due, purge.now).await?;
        let record = session.query(&session.statements.retention.record).id(purge.id).id(purge.chat);
        let record = record.time(purge.now).time(before).number(kept.as_secs()).bind(own == Some(kept));
        let record = record.number(first.seq.get()).number(last.seq.get()).number(looked.due.len() as u64);
        session.execute(record).await?;
    }
    Ok(Purged { messages: looked.due, more: looked.since.is_none() })
}

/// Notes how far the chat was looked through.
async fn note(session: &mut Session, chat: ChatId, looked: &Looked) -> StoreResult<()> {
    let note = session.query(&session.statements.retention.looked).id(chat);
    let note = note.bind(integer(looked.up_to.get())).bind(looked.since.map(Timestamp::as_micros));
    session.execute(note).await.map(drop)
}

async fn insert_hold(session: &mut Session, hold: Hold) -> StoreResult<bool> {
    lock_holds(session).await?;
    let known = match hold.subject {
        HoldSubject::Chat(chat) => session.query(&session.statements.retention.has_chat).id(chat),
        HoldSubject::User(user) => session.query(&session.statements.retention.has_user).id(user),
    };
    if session.one(known, |columns| columns.flag()).await? != Some(true) {
        return Err(StoreErrorKind::NotFound.into());
    }
    let (kind, id) = parts(&hold.subject);
    let insert = session.query(&session.statements.retention.hold).bind(kind).bind(id);
    let insert = insert.bind(hold.reason.as_str().to_owned()).time(hold.at);
    Ok(session.execute(insert).await? == 1)
}

async fn release(session: &mut Session, subject: HoldSubject) -> StoreResult<bool> {
    lock_holds(session).await?;
    let (kind, id) = parts(&subject);
    let delete = session.query(&session.statements.retention.release).bind(kind).bind(id);
    let was_held = session.execute(delete).await? == 1;
    let chats: Vec<ChatId> = match subject {
        HoldSubject::Chat(chat) => vec![chat],
        HoldSubject::User(user) => {
            let lock = session.query(&session.statements.retention.lock_joined).id(user);
            session.all(lock, |columns| columns.id()).await?
        }
    };
    let again = session.query(&session.statements.retention.look_again).bind(uuids(&chats));
    session.execute(again).await?;
    Ok(was_held)
}

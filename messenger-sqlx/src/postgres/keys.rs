use async_trait::async_trait;
use messenger_core::{
    Timestamp, UserId,
    ports::{KeyId, KeyStore, Rewrap, StoreErrorKind, StoreResult, StoredKey},
};
use messenger_sql::{
    columns::rows,
    keys::{answers, distinct, firsts, rounds},
};
use sqlx::types::Uuid;

use super::{
    connections::{Mode, Session},
    errors::is_worth_another_try,
    sql::{Bind as _, Query},
    store::PostgresStore,
};

/// How many times a write is tried when others are in its way.
const ATTEMPTS: usize = 5;

#[async_trait]
impl KeyStore for PostgresStore {
    async fn create_keys(&self, keys: &[StoredKey]) -> StoreResult<Vec<StoredKey>> {
        if keys.is_empty() {
            return Ok(vec![]);
        }
        let new = firsts(keys);
        for _ in 0..ATTEMPTS {
            let query = bind_new(self.query(&self.sql().keys.create), &new);
            let stored =
                self.run(Mode::Statement, |session| Box::pin(session.all(query, |columns| columns.key())));
            match stored.await {
                // What others have stored at the same time is seen by the next statement.
                Ok(stored) => match answers(keys, stored) {
                    Some(answers) => return Ok(answers),
                    None => continue,
                },
                Err(error) if is_worth_another_try(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreErrorKind::Unavailable.into())
    }

    async fn keys(&self, ids: &[KeyId]) -> StoreResult<Vec<StoredKey>> {
        let query = bind_ids(self.query(&self.sql().keys.by_ids), distinct(ids).into_iter());
        self.all(query, |columns| columns.key()).await
    }

    async fn list_keys(&self, after: Option<KeyId>, limit: usize) -> StoreResult<Vec<StoredKey>> {
        let after = after.unwrap_or(KeyId::of_all(0));
        let query = self.query(&self.sql().keys.page);
        let query = query.bind(owner(after)).bind(i64::from(after.number)).bind(rows(limit));
        self.all_planned(query, |columns| columns.key()).await
    }

    async fn rewrap_keys(&self, rewraps: &[Rewrap]) -> StoreResult<usize> {
        let mut done = 0;
        for round in rounds(rewraps) {
            let make = || bind_rewraps(self.query(&self.sql().keys.rewrap), &round);
            done += self.rewrap(make).await?;
        }
        Ok(usize::try_from(done).unwrap_or(rewraps.len()))
    }

    async fn destroy_keys(&self, user: UserId, at: Timestamp) -> StoreResult<()> {
        let mut attempt = 1;
        loop {
            let done = self.run(Mode::Transaction, move |session| Box::pin(destroy(session, user, at)));
            match done.await {
                Err(error) if is_worth_another_try(&error) && attempt < ATTEMPTS => attempt += 1,
                done => return done,
            }
        }
    }
}

impl PostgresStore {
    /// Runs one statement, again if others were in its way, and tells how many rows it changed.
    async fn rewrap(&self, make: impl Fn() -> Query) -> StoreResult<u64> {
        let mut attempt = 1;
        loop {
            let query = make();
            match self.run(Mode::Statement, |session| Box::pin(session.execute(query))).await {
                Err(error) if is_worth_another_try(&error) && attempt < ATTEMPTS => attempt += 1,
                done => return done,
            }
        }
    }
}

/// Two statements: the first waits for those who are storing the person's first key, and the second one sees what they
/// have stored.
async fn destroy(session: &mut Session, user: UserId, at: Timestamp) -> StoreResult<()> {
    let mark = session.query(&session.statements.keys.mark).id(user).time(at);
    session.execute(mark).await?;
    let destroy = session.query(&session.statements.keys.destroy).id(user).time(at);
    session.execute(destroy).await.map(drop)
}

fn owner(id: KeyId) -> Uuid {
    Uuid::from_bytes(id.owner_bytes())
}

fn bind_ids(query: Query, ids: impl Iterator<Item = KeyId> + Clone) -> Query {
    query
        .bind(ids.clone().map(owner).collect::<Vec<_>>())
        .bind(ids.map(|id| i64::from(id.number)).collect::<Vec<_>>())
}

fn bind_new(query: Query, keys: &[&StoredKey]) -> Query {
    bind_ids(query, keys.iter().map(|key| key.id))
        .bind(keys.iter().map(|key| key.wrapped.as_ref().map(|key| key.0.as_slice())).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.created_at.as_micros()).collect::<Vec<_>>())
        .bind(keys.iter().map(|key| key.destroyed_at.map(Timestamp::as_micros)).collect::<Vec<_>>())
}

fn bind_rewraps(query: Query, rewraps: &[&Rewrap]) -> Query {
    bind_ids(query, rewraps.iter().map(|rewrap| rewrap.id))
        .bind(rewraps.iter().map(|rewrap| rewrap.expected.0.as_slice()).collect::<Vec<_>>())
        .bind(rewraps.iter().map(|rewrap| rewrap.wrapped.0.as_slice()).collect::<Vec<_>>())
}

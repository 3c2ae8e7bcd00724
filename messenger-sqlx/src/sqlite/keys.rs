use std::{fmt::Write as _, sync::LazyLock};

use async_trait::async_trait;
use messenger_core::{
    Timestamp, UserId,
    ports::{KeyId, KeyStore, Rewrap, StoreErrorKind, StoreResult, StoredKey, WrappedKey},
};
use messenger_sql::{
    columns::rows,
    keys::{KEY, answers, distinct, firsts, rounds},
    migrations::hex,
};

use super::{
    sql::{self, Bind as _},
    store::SqliteStore,
};

pub(super) const INSERT: &str =
    "INSERT INTO messenger_keys (owner, number, wrapped, created_at, destroyed_at)
    SELECT unhex(a.value ->> 0), a.value ->> 1, unhex(a.value ->> 2), a.value ->> 3, a.value ->> 4
    FROM json_each($1) AS a WHERE true ON CONFLICT DO NOTHING";

pub(super) static BY_IDS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {KEY} FROM json_each($1) AS a
        CROSS JOIN messenger_keys AS k ON k.owner = unhex(a.value ->> 0) AND k.number = a.value ->> 1"
    )
});

pub(super) static PAGE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {KEY} FROM messenger_keys AS k WHERE (k.owner, k.number) > ($1, $2)
        ORDER BY k.owner, k.number LIMIT $3"
    )
});

pub(super) const REWRAP: &str = "UPDATE messenger_keys AS k SET wrapped = unhex(a.value ->> 3)
    FROM json_each($1) AS a
    WHERE k.owner = unhex(a.value ->> 0) AND k.number = a.value ->> 1 AND k.wrapped = unhex(a.value ->> 2)";

const MARK: &str = "INSERT INTO messenger_keys (owner, number, created_at, destroyed_at)
    VALUES ($1, 1, $2, $2) ON CONFLICT DO NOTHING";

pub(super) const DESTROY: &str = "UPDATE messenger_keys SET wrapped = NULL, destroyed_at = $2
    WHERE owner = $1 AND wrapped IS NOT NULL";

#[async_trait]
impl KeyStore for SqliteStore {
    async fn create_keys(&self, keys: &[StoredKey]) -> StoreResult<Vec<StoredKey>> {
        let asked = json(firsts(keys).into_iter().map(key));
        let stored = self.writer.transaction(|conn| {
            Box::pin(async move {
                sql::run(conn, sqlx::query(INSERT).bind(&asked)).await?;
                sql::all(conn, sqlx::query(BY_IDS.as_str()).bind(&asked), |columns| columns.key()).await
            })
        });
        answers(keys, stored.await?).ok_or_else(|| StoreErrorKind::Corrupt.into())
    }

    async fn keys(&self, ids: &[KeyId]) -> StoreResult<Vec<StoredKey>> {
        let ids = json(distinct(ids).into_iter().map(place));
        self.all(sqlx::query(BY_IDS.as_str()).bind(ids), |columns| columns.key()).await
    }

    async fn list_keys(&self, after: Option<KeyId>, limit: usize) -> StoreResult<Vec<StoredKey>> {
        let after = after.unwrap_or(KeyId::of_all(0));
        let owner = after.owner_bytes().to_vec();
        let query = sqlx::query(PAGE.as_str()).bind(owner).number(after.number.into()).bind(rows(limit));
        self.all(query, |columns| columns.key()).await
    }

    async fn rewrap_keys(&self, rewraps: &[Rewrap]) -> StoreResult<usize> {
        let rounds: Vec<_> =
            rounds(rewraps).into_iter().map(|round| json(round.into_iter().map(rewrap))).collect();
        let done = self.writer.transaction_that_replaces(|conn| {
            Box::pin(async move {
                let mut done = 0;
                for round in rounds {
                    done += sql::run(conn, sqlx::query(REWRAP).bind(round)).await?;
                }
                Ok(done)
            })
        });
        Ok(usize::try_from(done.await?).unwrap_or(rewraps.len()))
    }

    /// What a key was is also gone from the file, and from its log before this is answered. If somebody reads from the
    /// log for longer than 100 ms meanwhile, it is emptied later: with a write, or a ping, a second or more afterwards,
    /// or when the store is closed.
    async fn destroy_keys(&self, user: UserId, at: Timestamp) -> StoreResult<()> {
        let destroyed = self.writer.transaction_that_destroys(move |conn| {
            Box::pin(async move {
                sql::run(conn, sqlx::query(MARK).id(user).time(at)).await?;
                sql::run(conn, sqlx::query(DESTROY).id(user).time(at)).await.map(drop)
            })
        });
        destroyed.await
    }
}

/// Entries as a JSON array, for one statement over any number of them.
fn json(entries: impl Iterator<Item = String>) -> String {
    let mut text = String::from("[");
    for entry in entries {
        if text.len() > 1 {
            text.push(',');
        }
        text += &entry;
    }
    text.push(']');
    text
}

fn place(id: KeyId) -> String {
    format!("[\"{}\",{}]", hex(&id.owner_bytes()), id.number)
}

fn key(key: &StoredKey) -> String {
    let mut text = format!("[\"{}\",{},", hex(&key.id.owner_bytes()), key.id.number);
    // Writing to a String never fails.
    let _ = match &key.wrapped {
        Some(WrappedKey(wrapped)) => write!(text, "\"{}\"", hex(wrapped)),
        None => write!(text, "null"),
    };
    let _ = write!(text, ",{},", key.created_at.as_micros());
    let _ = match key.destroyed_at {
        Some(at) => write!(text, "{}]", at.as_micros()),
        None => write!(text, "null]"),
    };
    text
}

fn rewrap(rewrap: &Rewrap) -> String {
    let Rewrap { id, expected, wrapped } = rewrap;
    let (owner, number) = (hex(&id.owner_bytes()), id.number);
    format!("[\"{owner}\",{number},\"{}\",\"{}\"]", hex(&expected.0), hex(&wrapped.0))
}

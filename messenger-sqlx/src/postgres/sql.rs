//! Building blocks of statements: the schema's name, the binding of domain types, and the reading of results.

use std::fmt;

use messenger_core::{Id, Timestamp};
use messenger_sql::columns::integer;
use sqlx::{
    AssertSqlSafe, Postgres, SqlSafeStr as _, SqlStr,
    postgres::{PgArguments, PgRow},
    types::Uuid,
};

use crate::row::Fetched;

/// The number of a transaction that changes chats: transactions are numbered in the order in which they began to write.
pub(super) const THIS_COMMIT: &str = "pg_current_xact_id()::text::bigint";

/// How a row is read.
pub(super) type Columns<'r> = messenger_sql::columns::Columns<'r, Fetched<PgRow>>;

pub(super) type Query = sqlx::query::Query<'static, Postgres, PgArguments>;

/// The schema that contains the tables. `Display` is its quoted name, ready for use in a statement.
///
/// Every statement names it, because a search path belongs to a connection, and connections may be shared with the host
/// or belong to a pooler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Schema(Box<str>);

impl Schema {
    /// The longest name that PostgreSQL keeps, in bytes.
    const LONGEST: usize = 63;

    /// A name of the letters a to z, digits and `_`, which does not begin with a digit or with `pg_`.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let plain =
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        let reserved = name.starts_with(|first: char| first.is_ascii_digit()) || name.starts_with("pg_");
        ((1..=Self::LONGEST).contains(&name.len()) && plain && !reserved).then(|| Self(name.into()))
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// Replaces `{schema}` in text of our own by the schema's name.
    pub(super) fn fill(&self, text: &str) -> String {
        text.replace("{schema}", &self.to_string())
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

/// A statement of our own: made only of our own text and the name of a [`Schema`].
pub(super) fn statement(text: impl Into<std::sync::Arc<str>>) -> SqlStr {
    AssertSqlSafe(text.into()).into_sql_str()
}

/// Converts ids for an array parameter.
pub(super) fn uuids<'i, K: 'i>(ids: impl IntoIterator<Item = &'i Id<K>>) -> Vec<Uuid> {
    ids.into_iter().map(Id::as_uuid).collect()
}

/// Converts ids for an array parameter, each once.
pub(super) fn distinct<K>(ids: &[Id<K>]) -> Vec<Uuid> {
    let mut ids = uuids(ids);
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Binds the domain's types.
pub(super) trait Bind: Sized {
    fn id<K>(self, id: Id<K>) -> Self;
    fn ids<'i, K: 'i>(self, ids: impl IntoIterator<Item = &'i Id<K>>) -> Self;
    fn optional_id<K>(self, id: Option<Id<K>>) -> Self;
    fn bytes(self, bytes: &[u8]) -> Self;
    fn number(self, number: u64) -> Self;
    fn time(self, at: Timestamp) -> Self;
    fn optional_time(self, at: Option<Timestamp>) -> Self;
}

impl Bind for Query {
    fn id<K>(self, id: Id<K>) -> Self {
        self.bind(id.as_uuid())
    }

    fn ids<'i, K: 'i>(self, ids: impl IntoIterator<Item = &'i Id<K>>) -> Self {
        self.bind(uuids(ids))
    }

    fn optional_id<K>(self, id: Option<Id<K>>) -> Self {
        self.bind(id.map(|id| id.as_uuid()))
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        self.bind(bytes.to_vec())
    }

    fn number(self, number: u64) -> Self {
        self.bind(integer(number))
    }

    fn time(self, at: Timestamp) -> Self {
        self.bind(at.as_micros())
    }

    fn optional_time(self, at: Option<Timestamp>) -> Self {
        self.bind(at.map(Timestamp::as_micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_has_a_plain_name() {
        for name in ["messenger", "chat_2", "user", "_x"] {
            assert_eq!(Schema::parse(name).unwrap().to_string(), format!("\"{name}\""));
        }
        for name in ["", "2chat", "a b", "a\"b", "Chat", "pg_chat", "ü", &"x".repeat(64)] {
            assert_eq!(Schema::parse(name), None, "{name}");
        }
    }
}

//! Statements, the binding of their parameters, and the reading of results.

use std::{fmt::Write as _, sync::OnceLock};

use futures::TryStreamExt as _;
use messenger_core::{Id, Timestamp, ports::StoreResult};
use messenger_sql::columns::integer;
use sqlx::{
    Sqlite, SqliteConnection,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::errors::store_error;
use crate::row::Fetched;

/// How a row is read.
pub(super) type Columns<'r> = messenger_sql::columns::Columns<'r, Fetched<SqliteRow>>;

pub(super) type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// Reads all rows of a query.
pub(super) async fn all<T>(
    conn: &mut SqliteConnection,
    query: Query<'_>,
    mut read: impl FnMut(&mut Columns<'_>) -> StoreResult<T>,
) -> StoreResult<Vec<T>> {
    let mut rows = query.fetch(conn);
    let mut all = vec![];
    while let Some(row) = rows.try_next().await.map_err(store_error)? {
        all.push(read(&mut Columns::of(&Fetched(row)))?);
    }
    Ok(all)
}

/// Reads the only row of a query.
pub(super) async fn one<T>(
    conn: &mut SqliteConnection,
    query: Query<'_>,
    read: impl FnOnce(&mut Columns<'_>) -> StoreResult<T>,
) -> StoreResult<Option<T>> {
    let row = query.fetch_optional(conn).await.map_err(store_error)?;
    row.map(|row| read(&mut Columns::of(&Fetched(row)))).transpose()
}

/// Runs a statement and returns how many rows it changed.
pub(super) async fn run(conn: &mut SqliteConnection, query: Query<'_>) -> StoreResult<u64> {
    query.execute(conn).await.map(|done| done.rows_affected()).map_err(store_error)
}

/// Binds the domain's types.
pub(super) trait Bind: Sized {
    fn id<K>(self, id: Id<K>) -> Self;
    fn bytes(self, bytes: &[u8]) -> Self;
    fn number(self, number: u64) -> Self;
    fn time(self, at: Timestamp) -> Self;
    fn nulls(self, count: usize) -> Self;
}

impl Bind for Query<'_> {
    fn id<K>(self, id: Id<K>) -> Self {
        self.bytes(id.as_bytes())
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        self.bind(bytes)
    }

    fn number(self, number: u64) -> Self {
        self.bind(integer(number))
    }

    fn time(self, at: Timestamp) -> Self {
        self.bind(at.as_micros())
    }

    fn nulls(self, count: usize) -> Self {
        (0..count).fold(self, |query, _| query.bind(None::<i64>))
    }
}

/// Ids as a JSON array of hexadecimal texts, for `unhex(value)` over `json_each`: one statement for any number.
pub(super) fn json_ids<'i, K: 'i>(ids: impl IntoIterator<Item = &'i Id<K>>) -> String {
    json(ids.into_iter().map(|id| (id, None)))
}

/// Ids with numbers as a JSON array of pairs, for `unhex(value ->> 0)` and `value ->> 1` over `json_each`.
pub(super) fn json_pairs<'i, K: 'i>(pairs: impl IntoIterator<Item = (&'i Id<K>, i64)>) -> String {
    json(pairs.into_iter().map(|(id, number)| (id, Some(number))))
}

fn json<'i, K: 'i>(entries: impl Iterator<Item = (&'i Id<K>, Option<i64>)>) -> String {
    let mut text = String::from("[");
    for (id, number) in entries {
        if text.len() > 1 {
            text.push(',');
        }
        let hex = id.as_uuid().simple();
        // Writing to a String never fails.
        let _ = match number {
            Some(number) => write!(text, "[\"{hex}\",{number}]"),
            None => write!(text, "\"{hex}\""),
        };
    }
    text.push(']');
    text
}

/// A statement over a number of rows of values, one text for each power of two: a batch is padded with rows of nulls,
/// so that the connection's statement cache needs only a few of them.
pub(super) struct Batched {
    texts: [OnceLock<String>; Self::SIZES],
    make: fn(usize) -> String,
}

impl Batched {
    const SIZES: usize = 12;
    /// The most rows of one statement.
    pub(super) const MAX: usize = 1 << (Self::SIZES - 1);

    pub(super) const fn new(make: fn(usize) -> String) -> Self {
        Self { texts: [const { OnceLock::new() }; Self::SIZES], make }
    }

    /// The statement for `size` rows, a power of two up to [`MAX`](Self::MAX).
    pub(super) fn of(&'static self, size: usize) -> &'static str {
        let text = &self.texts[size.trailing_zeros() as usize];
        text.get_or_init(|| (self.make)(size))
    }

    /// The number of rows of the statement that `rows` rows need.
    pub(super) const fn size(rows: usize) -> usize {
        rows.next_power_of_two()
    }
}

/// `(?,?),(?,?)` and so on: `rows` rows of `width` values.
pub(super) fn values(rows: usize, width: usize) -> String {
    let row = format!("({})", vec!["?"; width].join(","));
    vec![row; rows].join(",")
}

/// As [`values`], with the number of the row, from 0, as the first column.
pub(super) fn numbered_values(rows: usize, width: usize) -> String {
    let row = "?,".repeat(width);
    let rows: Vec<_> = (0..rows).map(|n| format!("({n},{})", row.trim_end_matches(','))).collect();
    rows.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_values_are_written_out() {
        assert_eq!(values(2, 3), "(?,?,?),(?,?,?)");
        assert_eq!(numbered_values(2, 2), "(0,?,?),(1,?,?)");
    }

    #[test]
    fn ids_are_written_as_json() {
        let id = Id::<()>::from_bytes([0xab; 16]);
        let hex = "ab".repeat(16);
        assert_eq!(json_ids([&id, &id]), format!("[\"{hex}\",\"{hex}\"]"));
        assert_eq!(json_pairs([(&id, 7)]), format!("[[\"{hex}\",7]]"));
        assert_eq!(json_ids::<()>([]), "[]");
    }
}

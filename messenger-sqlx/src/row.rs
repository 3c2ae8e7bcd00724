//! Reads rows of the engines.

use messenger_core::ports::StoreResult;
use messenger_sql::columns::{Row, corrupt};
use sqlx::{ColumnIndex, Decode};

/// A row of any of the engines.
pub(crate) struct Fetched<R>(pub(crate) R);

impl<R> Fetched<R>
where
    R: sqlx::Row,
    usize: ColumnIndex<R>,
{
    /// The engines have types of different names for the same values: the 16 bytes of an id, a number of any width. A
    /// value of another type or length fails to be decoded.
    pub(crate) fn get<'r, T: Decode<'r, R::Database>>(&'r self, column: usize) -> StoreResult<T> {
        self.0.try_get_unchecked(column).map_err(corrupt)
    }
}

impl<R> Row for Fetched<R>
where
    R: sqlx::Row,
    usize: ColumnIndex<R>,
    bool: for<'r> Decode<'r, R::Database>,
    i64: for<'r> Decode<'r, R::Database>,
    for<'r> &'r str: Decode<'r, R::Database>,
    for<'r> &'r [u8]: Decode<'r, R::Database>,
{
    fn integer(&self, column: usize) -> StoreResult<Option<i64>> {
        self.get(column)
    }

    fn flag(&self, column: usize) -> StoreResult<Option<bool>> {
        self.get(column)
    }

    fn text(&self, column: usize) -> StoreResult<Option<&str>> {
        self.get(column)
    }

    fn bytes(&self, column: usize) -> StoreResult<Option<&[u8]>> {
        self.get(column)
    }
}

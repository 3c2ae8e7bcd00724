//! Rows without an engine, for tests.

use messenger_core::ports::StoreResult;

use crate::columns::{Row, corrupt};

/// The value of a column.
pub(crate) enum Value {
    Null,
    Integer(i64),
    Flag(bool),
    Text(&'static str),
    Bytes(&'static [u8]),
}
/// A row of an engine that keeps texts of ASCII as bytes.
pub(crate) struct Values(pub(crate) Vec<Value>);

impl Values {
    fn get<'v, T>(
        &'v self,
        column: usize,
        read: impl FnOnce(&'v Value) -> Option<T>,
    ) -> StoreResult<Option<T>> {
        match self.0.get(column) {
            None => Err(corrupt("no such column")),
            Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| corrupt("of another kind")),
        }
    }
}

impl Row for Values {
    fn integer(&self, column: usize) -> StoreResult<Option<i64>> {
        self.get(column, |value| if let Value::Integer(number) = value { Some(*number) } else { None })
    }

    fn flag(&self, column: usize) -> StoreResult<Option<bool>> {
        self.get(column, |value| if let Value::Flag(flag) = value { Some(*flag) } else { None })
    }

    fn text(&self, column: usize) -> StoreResult<Option<&str>> {
        self.get(column, |value| if let Value::Text(text) = value { Some(*text) } else { None })
    }

    fn ascii(&self, column: usize) -> StoreResult<Option<&str>> {
        self.bytes(column)?.map(|bytes| str::from_utf8(bytes).map_err(corrupt)).transpose()
    }

    fn bytes(&self, column: usize) -> StoreResult<Option<&[u8]>> {
        self.get(column, |value| if let Value::Bytes(bytes) = value { Some(*bytes) } else { None })
    }
}

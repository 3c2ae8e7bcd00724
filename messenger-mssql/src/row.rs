use messenger_core::ports::{StoreError, StoreResult};
use messenger_sql::columns::{Row, corrupt};
use tiberius::ColumnData;

/// A row as the server sent it.
pub(crate) struct SqlRow(pub(crate) tiberius::Row);

impl SqlRow {
    fn get(&self, column: usize) -> StoreResult<&ColumnData<'static>> {
        // The driver's text about a missing column contains no value, but that about a wrong type does.
        self.0.get_column_data(column).map_err(|_| corrupt(format!("there is no column {column}")))
    }
}

impl Row for SqlRow {
    fn integer(&self, column: usize) -> StoreResult<Option<i64>> {
        match self.get(column)? {
            ColumnData::U8(value) => Ok(value.map(i64::from)),
            ColumnData::I16(value) => Ok(value.map(i64::from)),
            ColumnData::I32(value) => Ok(value.map(i64::from)),
            ColumnData::I64(value) => Ok(*value),
            _ => Err(other(column, "a number")),
        }
    }

    fn flag(&self, column: usize) -> StoreResult<Option<bool>> {
        match self.get(column)? {
            ColumnData::Bit(value) => Ok(*value),
            data if is_bare_null(data) => Ok(None),
            _ => Err(other(column, "a yes or no")),
        }
    }

    fn text(&self, column: usize) -> StoreResult<Option<&str>> {
        match self.get(column)? {
            ColumnData::String(value) => Ok(value.as_deref()),
            data if is_bare_null(data) => Ok(None),
            _ => Err(other(column, "a text")),
        }
    }

    /// Stored as bytes: the server ignores trailing blanks when it compares texts.
    fn ascii(&self, column: usize) -> StoreResult<Option<&str>> {
        let ascii = |bytes| std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii());
        self.bytes(column)?
            .map(|bytes| ascii(bytes).ok_or_else(|| other(column, "a text of ASCII")))
            .transpose()
    }

    /// Stored as bytes, because lists of texts can't be told apart by the server otherwise.
    fn utf8(&self, column: usize) -> StoreResult<Option<&str>> {
        let utf8 = |bytes| std::str::from_utf8(bytes).map_err(|_| other(column, "a text"));
        self.bytes(column)?.map(utf8).transpose()
    }

    fn bytes(&self, column: usize) -> StoreResult<Option<&[u8]>> {
        match self.get(column)? {
            ColumnData::Binary(value) => Ok(value.as_deref()),
            data if is_bare_null(data) => Ok(None),
            _ => Err(other(column, "bytes")),
        }
    }
}

/// The server treats an untyped `NULL` as an integer.
const fn is_bare_null(data: &ColumnData<'static>) -> bool {
    matches!(data, ColumnData::I32(None) | ColumnData::U8(None))
}

fn other(column: usize, wanted: &str) -> StoreError {
    corrupt(format!("column {column} is not {wanted}"))
}

#[cfg(test)]
mod tests {
    use messenger_core::ports::StoreErrorKind;
    use messenger_sql::columns::Columns;
    use tiberius::ColumnType;

    use super::*;

    fn row(values: impl IntoIterator<Item = ColumnData<'static>>) -> SqlRow {
        let empty = tiberius::Row::builder();
        // The type given beside a value is ignored.
        SqlRow(values.into_iter().fold(empty, |row, value| row.column("c", ColumnType::Null, value)).build())
    }

    #[test]
    fn numbers_of_any_width_are_read() {
        let row = row([
            ColumnData::U8(Some(200)),
            ColumnData::I16(Some(-3)),
            ColumnData::I32(Some(1 << 20)),
            ColumnData::I64(Some(1 << 52)),
            ColumnData::I64(None),
        ]);
        let mut columns = Columns::of(&row);
        for wanted in [200, -3, 1 << 20, 1 << 52] {
            assert_eq!(columns.integer().unwrap(), wanted);
        }
        assert_eq!(columns.optional_integer().unwrap(), None);
    }

    #[test]
    fn a_client_id_is_read_from_bytes() {
        let row = row([
            ColumnData::Binary(Some(b"a-1".as_slice().into())),
            ColumnData::Binary(None),
            ColumnData::Binary(Some([0xC3, 0xA4].as_slice().into())),
        ]);
        assert_eq!(row.ascii(0).unwrap(), Some("a-1"));
        assert_eq!(row.ascii(1).unwrap(), None);
        assert_eq!(row.ascii(2).unwrap_err().kind(), StoreErrorKind::Corrupt);
    }

    #[test]
    fn a_null_without_a_type_is_any_null() {
        let row = row([ColumnData::I32(None)]);
        assert_eq!(row.integer(0).unwrap(), None);
        assert_eq!(row.flag(0).unwrap(), None);
        assert_eq!(row.text(0).unwrap(), None);
        assert_eq!(row.ascii(0).unwrap(), None);
        assert_eq!(row.bytes(0).unwrap(), None);
    }

    #[test]
    fn what_is_of_another_kind_is_corrupt_and_not_told() {
        let row = row([ColumnData::String(Some("ada@example.org".into()))]);
        for error in [
            row.integer(0).unwrap_err(),
            row.flag(0).unwrap_err(),
            row.bytes(0).unwrap_err(),
            row.ascii(0).unwrap_err(),
            row.text(1).unwrap_err(),
        ] {
            assert_eq!(error.kind(), StoreErrorKind::Corrupt);
            assert!(!format!("{error:?}").contains("ada"), "{error:?}");
        }
    }
}

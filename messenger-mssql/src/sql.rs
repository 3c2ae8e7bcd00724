//! Building blocks of statements: names of procedures, and lists as the functions `messenger_unpack_…` take them.

use std::sync::Arc;

use messenger_core::{
    Id,
    ports::{StoreError, StoreErrorKind, StoreResult},
};

use crate::schema::Schema;

/// The longest list that the table `messenger_numbers` allows.
pub(crate) const LONGEST: usize = 65_536;

/// The quoted name of one of our procedures.
pub(crate) fn procedure(schema: &Schema, name: &str) -> Arc<str> {
    format!("{schema}.messenger_{name}").into()
}

/// An argument that is an id. The driver sends `varbinary`, which must be compared as the columns' type.
pub(crate) fn id(parameter: u8) -> String {
    format!("CAST(@P{parameter} AS binary(16))")
}

/// Ids as `messenger_unpack_ids` takes them.
pub(crate) fn list<'i, K: 'i>(ids: impl IntoIterator<Item = &'i Id<K>>) -> Vec<u8> {
    ids.into_iter().flat_map(|id| *id.as_bytes()).collect()
}

/// Ids in ascending order, each once.
pub(crate) fn distinct<K>(ids: &[Id<K>]) -> Vec<Id<K>> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Ids with a number each, as `messenger_unpack_numbered` takes them.
pub(crate) fn numbered<K>(ids: impl IntoIterator<Item = (Id<K>, i64)>) -> Vec<u8> {
    let mut list = vec![];
    for (id, number) in ids {
        list.extend_from_slice(id.as_bytes());
        list.extend_from_slice(&number.to_be_bytes());
    }
    list
}

/// A number of 4 bytes in a list. The server has already refused anything longer than 2 GiB.
pub(crate) fn int(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes()
}

/// Refuses a list that is longer than the server accepts.
pub(crate) fn fits(count: usize) -> StoreResult<()> {
    if count <= LONGEST {
        return Ok(());
    }
    Err(StoreError::new(StoreErrorKind::Other, format!("{count} at once, and {LONGEST} are the most")))
}

/// The variable-length bytes of the records of a list, one after the other.
#[derive(Default)]
pub(crate) struct Bytes(Vec<u8>);

impl Bytes {
    /// Appends bytes, and returns their position, from 1.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> usize {
        let start = self.0.len() + 1;
        self.0.extend_from_slice(bytes);
        start
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use messenger_core::UserId;

    use super::*;

    #[test]
    fn lists_are_records_one_after_the_other() {
        let [low, high] = [UserId::from_bytes([0x0F; 16]), UserId::from_bytes([0xA1; 16])];
        assert_eq!(list::<()>([]), [0_u8; 0]);
        assert_eq!(list(&[high, low]), [[0xA1; 16], [0x0F; 16]].concat());
        assert_eq!(distinct(&[high, low, high]), [low, high]);
        assert_eq!(numbered([(low, -2)])[..16], [0x0F; 16]);
        assert_eq!(numbered([(low, -2)])[16..], [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE]);
        assert_eq!(int(258), [0, 0, 1, 2]);
    }

    #[test]
    fn a_list_that_is_too_long_is_refused() {
        assert!(fits(LONGEST).is_ok());
        assert_eq!(fits(LONGEST + 1).unwrap_err().kind(), StoreErrorKind::Other);
    }

    #[test]
    fn bytes_know_where_they_are() {
        let mut bytes = Bytes::default();
        assert_eq!([bytes.push(b"ab"), bytes.push(b""), bytes.push(b"c")], [1, 3, 3]);
        assert_eq!(bytes.into_bytes(), b"abc");
    }
}

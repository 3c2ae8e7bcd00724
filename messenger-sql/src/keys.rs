//! Wrapped data keys; common to all engines.

use std::collections::{BTreeMap, HashMap};

use messenger_core::ports::{KeyId, Rewrap, StoreResult, StoredKey, WrappedKey};

use crate::columns::{Columns, Row, corrupt};

/// The columns of `messenger_keys AS k`.
pub const KEY: &str = "k.owner, k.number, k.wrapped, k.created_at, k.destroyed_at";

impl<R: Row + ?Sized> Columns<'_, R> {
    /// Reads the columns of [`KEY`].
    pub fn key(&mut self) -> StoreResult<StoredKey> {
        let owner = self.id::<()>()?;
        let number = u32::try_from(self.integer()?).map_err(corrupt)?;
        Ok(StoredKey {
            id: KeyId::from_bytes(*owner.as_bytes(), number),
            wrapped: self.optional_bytes()?.map(|wrapped| WrappedKey(wrapped.to_vec())),
            created_at: self.time()?,
            destroyed_at: self.optional_time()?,
        })
    }
}

/// Ids in ascending order, each once.
pub fn distinct(ids: &[KeyId]) -> Vec<KeyId> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Keys in the order of their ids; of several with one id, the first.
pub fn firsts(keys: &[StoredKey]) -> Vec<&StoredKey> {
    let mut firsts = BTreeMap::new();
    for key in keys {
        firsts.entry(key.id).or_insert(key);
    }
    firsts.into_values().collect()
}

/// What is stored under the id of each of the keys. `None` if something is missing: others have stored it at the same
/// time, and the statement that reads did not see it yet.
pub fn answers(keys: &[StoredKey], stored: Vec<StoredKey>) -> Option<Vec<StoredKey>> {
    let stored: HashMap<_, _> = stored.into_iter().map(|key| (key.id, key)).collect();
    keys.iter().map(|key| stored.get(&key.id).cloned()).collect()
}

/// The rewraps in rounds, in each of which a key comes once, in the order of the ids. A key that comes several times is
/// rewrapped in several rounds, in its order.
pub fn rounds(rewraps: &[Rewrap]) -> Vec<Vec<&Rewrap>> {
    let mut rounds: Vec<BTreeMap<KeyId, &Rewrap>> = vec![];
    let mut times: HashMap<KeyId, usize> = HashMap::new();
    for rewrap in rewraps {
        let time = times.entry(rewrap.id).or_default();
        if *time == rounds.len() {
            rounds.push(BTreeMap::new());
        }
        rounds[*time].insert(rewrap.id, rewrap);
        *time += 1;
    }
    rounds.into_iter().map(|round| round.into_values().collect()).collect()
}

#[cfg(test)]
mod tests {
    use messenger_core::{Timestamp, UserId, ports::StoreErrorKind};

    use super::*;
    use crate::values::{
        Value::{self, Bytes, Integer, Null},
        Values,
    };

    fn id(owner: u8, number: u32) -> KeyId {
        KeyId::from_bytes([owner; 16], number)
    }

    fn key(id: KeyId, wrapped: u8) -> StoredKey {
        let wrapped = Some(WrappedKey(vec![wrapped]));
        StoredKey { id, wrapped, created_at: Timestamp::from_micros(1), destroyed_at: None }
    }

    fn rewrap(id: KeyId, expected: u8, wrapped: u8) -> Rewrap {
        Rewrap { id, expected: WrappedKey(vec![expected]), wrapped: WrappedKey(vec![wrapped]) }
    }

    fn read(row: [Value; 5]) -> StoreResult<StoredKey> {
        Columns::of(&Values(row.into())).key()
    }

    #[test]
    fn a_key_is_read_as_it_was_stored() {
        let live = read([Bytes(&[7; 16]), Integer(2), Bytes(&[1]), Integer(1), Null]).unwrap();
        assert_eq!(live, key(KeyId { owner: Some(UserId::from_bytes([7; 16])), number: 2 }, 1));
        let destroyed = read([Bytes(&[0; 16]), Integer(1), Null, Integer(1), Integer(9)]).unwrap();
        let at = Some(Timestamp::from_micros(9));
        let wanted = StoredKey { wrapped: None, destroyed_at: at, ..key(KeyId::of_all(1), 0) };
        assert_eq!(destroyed, wanted);
        for row in [
            [Bytes(&[7; 15]), Integer(2), Null, Integer(1), Null],
            [Null, Integer(2), Null, Integer(1), Null],
            [Bytes(&[7; 16]), Integer(-1), Null, Integer(1), Null],
        ] {
            assert_eq!(read(row).unwrap_err().kind(), StoreErrorKind::Corrupt);
        }
    }

    #[test]
    fn of_keys_with_one_id_the_first_counts() {
        let keys = [key(id(9, 1), 1), key(id(3, 2), 2), key(id(9, 1), 3), key(id(0, 5), 4)];
        let wrapped: Vec<_> =
            firsts(&keys).into_iter().map(|key| key.wrapped.clone().unwrap().0[0]).collect();
        assert_eq!(wrapped, [4, 2, 1]);
        assert_eq!(distinct(&keys.map(|key| key.id)), [id(0, 5), id(3, 2), id(9, 1)]);
    }

    #[test]
    fn an_answer_is_whole_or_none() {
        let keys = [key(id(9, 1), 1), key(id(3, 2), 2), key(id(9, 1), 3)];
        let stored = vec![key(id(3, 2), 8), key(id(9, 1), 7)];
        let wanted = vec![stored[1].clone(), stored[0].clone(), stored[1].clone()];
        assert_eq!(answers(&keys, stored.clone()), Some(wanted));
        assert_eq!(answers(&keys, stored[1..].to_vec()), None);
        assert_eq!(answers(&[], vec![]), Some(vec![]));
    }

    #[test]
    fn a_key_comes_once_in_a_round() {
        let [a, b] = [id(1, 1), id(2, 1)];
        let rewraps = [rewrap(b, 1, 2), rewrap(a, 1, 2), rewrap(b, 2, 3)];
        assert_eq!(rounds(&rewraps), [vec![&rewraps[1], &rewraps[0]], vec![&rewraps[2]]]);
        assert!(rounds(&[]).is_empty());
    }
}

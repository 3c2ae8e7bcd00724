use std::sync::Arc;

use async_trait::async_trait;
use messenger_core::{
    Timestamp, UserId,
    ports::{KeyId, KeyStore, Rewrap, StoreErrorKind, StoreResult, StoredKey},
};
use messenger_sql::{
    columns::rows,
    keys::{answers, distinct, firsts, rounds},
};

use crate::{
    call::Call,
    sql::{Bytes, LONGEST, fits, int},
    store::MssqlStore,
};

/// How many times a write is tried when others store the same keys at the same time.
const ATTEMPTS: usize = 10;

#[async_trait]
impl KeyStore for MssqlStore {
    async fn create_keys(&self, keys: &[StoredKey]) -> StoreResult<Vec<StoredKey>> {
        let new = firsts(keys);
        fits(new.len())?;
        if new.is_empty() {
            return Ok(vec![]);
        }
        let (list, bytes) = packed(&new);
        let call = Call::procedure(Arc::clone(&self.sql().keys.create));
        let call = call.bytes("@keys", list).bytes("@bytes", bytes);
        let mut attempt = 1;
        loop {
            match self.all(call.clone(), |columns| columns.key()).await {
                // Others have stored one of them.
                Err(error) if is_taken(error.kind()) && attempt < ATTEMPTS => attempt += 1,
                stored => return answers(keys, stored?).ok_or_else(|| StoreErrorKind::Corrupt.into()),
            }
        }
    }

    async fn keys(&self, ids: &[KeyId]) -> StoreResult<Vec<StoredKey>> {
        let mut found = vec![];
        for ids in distinct(ids).chunks(LONGEST) {
            let call = Call::statement(Arc::clone(&self.sql().keys.by_ids));
            let call = call.bytes("@P1", ids.iter().flat_map(place).collect::<Vec<_>>());
            found.append(&mut self.all(call, |columns| columns.key()).await?);
        }
        Ok(found)
    }

    async fn list_keys(&self, after: Option<KeyId>, limit: usize) -> StoreResult<Vec<StoredKey>> {
        let after = after.unwrap_or(KeyId::of_all(0));
        let call = Call::statement(Arc::clone(&self.sql().keys.page))
            .bytes("@P1", after.owner_bytes())
            .number("@P2", after.number.into())
            .number("@P3", rows(limit));
        self.all(call, |columns| columns.key()).await
    }

    async fn rewrap_keys(&self, rewraps: &[Rewrap]) -> StoreResult<usize> {
        fits(rewraps.len())?;
        let mut done = 0;
        for round in rounds(rewraps) {
            let (list, bytes) = packed_rewraps(&round);
            let call = Call::procedure(Arc::clone(&self.sql().keys.rewrap));
            let call = call.bytes("@rewraps", list).bytes("@bytes", bytes);
            done += self.one(call, |columns| columns.index()).await?.unwrap_or_default();
        }
        Ok(done)
    }

    async fn destroy_keys(&self, user: UserId, at: Timestamp) -> StoreResult<()> {
        let call = Call::procedure(Arc::clone(&self.sql().keys.destroy));
        let call = call.id("@owner", user).time("@at", at);
        let mut attempt = 1;
        loop {
            match self.done(call.clone()).await {
                // Others have stored the first one.
                Err(error) if is_taken(error.kind()) && attempt < ATTEMPTS => attempt += 1,
                done => return done,
            }
        }
    }
}

const fn is_taken(kind: StoreErrorKind) -> bool {
    matches!(kind, StoreErrorKind::AlreadyExists(_))
}

/// An id with its number, as `messenger_unpack_numbered` takes it.
fn place(id: &KeyId) -> Vec<u8> {
    [id.owner_bytes().as_slice(), &i64::from(id.number).to_be_bytes()].concat()
}

/// The keys, as `messenger_unpack_keys` takes them, and the bytes that they refer to.
fn packed(keys: &[&StoredKey]) -> (Vec<u8>, Vec<u8>) {
    let (mut list, mut bytes) = (vec![], Bytes::default());
    for key in keys {
        list.extend(place(&key.id));
        list.extend_from_slice(&key.created_at.as_micros().to_be_bytes());
        list.push(u8::from(key.destroyed_at.is_some()));
        list.extend_from_slice(&key.destroyed_at.map_or(0, Timestamp::as_micros).to_be_bytes());
        // Position 0 stands for null.
        let wrapped = key.wrapped.as_ref().map(|wrapped| wrapped.0.as_slice());
        list.extend_from_slice(&int(wrapped.map_or(0, |wrapped| bytes.push(wrapped))));
        list.extend_from_slice(&int(wrapped.map_or(0, <[u8]>::len)));
    }
    (list, bytes.into_bytes())
}

/// The rewraps, as `messenger_unpack_rewraps` takes them, and the bytes that they refer to.
fn packed_rewraps(rewraps: &[&Rewrap]) -> (Vec<u8>, Vec<u8>) {
    let (mut list, mut bytes) = (vec![], Bytes::default());
    for rewrap in rewraps {
        list.extend(place(&rewrap.id));
        for wrapped in [&rewrap.expected.0, &rewrap.wrapped.0] {
            list.extend_from_slice(&int(bytes.push(wrapped)));
            list.extend_from_slice(&int(wrapped.len()));
        }
    }
    (list, bytes.into_bytes())
}

#[cfg(test)]
mod tests {
    use messenger_core::ports::WrappedKey;

    use super::*;

    #[test]
    fn keys_are_records_of_one_length() {
        let id = KeyId::from_bytes([7; 16], 258);
        let at = Timestamp::from_micros(5);
        let live =
            StoredKey { id, wrapped: Some(WrappedKey(vec![1, 2, 3])), created_at: at, destroyed_at: None };
        let gone = StoredKey { wrapped: None, destroyed_at: Some(at), ..live };
        let (list, bytes) = packed(&[&gone, &live]);
        assert_eq!((list.len(), bytes), (2 * 49, vec![1, 2, 3]));
        assert_eq!(list[16..24], [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(list[32..49], [1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(list[49 + 32..], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 3]);
        let rewrap = Rewrap { id, expected: WrappedKey(vec![1]), wrapped: WrappedKey(vec![2, 3]) };
        let (list, bytes) = packed_rewraps(&[&rewrap]);
        assert_eq!(list.len(), 40);
        assert_eq!(list[24..], [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2]);
        assert_eq!(bytes, [1, 2, 3]);
    }
}

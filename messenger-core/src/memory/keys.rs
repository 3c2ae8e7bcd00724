use async_trait::async_trait;

use super::MemoryStore;
use crate::{
    domain::{Timestamp, UserId},
    ports::{KeyId, KeyStore, Rewrap, StoreResult, StoredKey},
};

#[async_trait]
impl KeyStore for MemoryStore {
    async fn create_keys(&self, keys: &[StoredKey]) -> StoreResult<Vec<StoredKey>> {
        let mut state = self.lock()?;
        let stored = keys.iter().map(|key| state.keys.entry(key.id).or_insert_with(|| key.clone()).clone());
        Ok(stored.collect())
    }

    async fn keys(&self, ids: &[KeyId]) -> StoreResult<Vec<StoredKey>> {
        let state = self.lock()?;
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        Ok(ids.iter().filter_map(|id| state.keys.get(id).cloned()).collect())
    }

    async fn list_keys(&self, after: Option<KeyId>, limit: usize) -> StoreResult<Vec<StoredKey>> {
        let state = self.lock()?;
        let is_after = |key: &&StoredKey| after.is_none_or(|after| key.id > after);
        Ok(state.keys.values().filter(is_after).take(limit).cloned().collect())
    }

    async fn rewrap_keys(&self, rewraps: &[Rewrap]) -> StoreResult<usize> {
        let mut state = self.lock()?;
        let mut done = 0;
        for rewrap in rewraps {
            let key = state.keys.get_mut(&rewrap.id);
            if let Some(key) = key.filter(|key| key.wrapped.as_ref() == Some(&rewrap.expected)) {
                key.wrapped = Some(rewrap.wrapped.clone());
                done += 1;
            }
        }
        Ok(done)
    }

    async fn destroy_keys(&self, user: UserId, at: Timestamp) -> StoreResult<()> {
        let mut state = self.lock()?;
        let first = KeyId::of_user(user);
        let unknown = || StoredKey { id: first, wrapped: None, created_at: at, destroyed_at: Some(at) };
        state.keys.entry(first).or_insert_with(unknown);
        let of_user = state.keys.range_mut(first..=KeyId { number: u32::MAX, ..first });
        for (_, key) in of_user.filter(|(_, key)| key.wrapped.is_some()) {
            key.wrapped = None;
            key.destroyed_at = Some(at);
        }
        Ok(())
    }
}

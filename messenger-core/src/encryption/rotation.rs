use std::collections::BTreeMap;

use super::{KeyService, KeyServiceError};
use crate::ports::{Rewrap, Store, StoreError};

/// How many keys are read and wrapped anew in one step.
const AT_ONCE: usize = 500;

/// How the data keys of a store are wrapped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyCounts {
    /// The number of data keys by the version of the KEK that wraps them.
    pub by_version: BTreeMap<u32, u64>,
    /// Those that were destroyed together with their people.
    pub destroyed: u64,
    /// Those that are no wrapped keys of this service.
    pub unknown: u64,
}

/// How far [`rotate_keys`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rotated {
    /// Data keys that were looked at.
    pub seen: u64,
    /// Those of them that were wrapped anew.
    pub wrapped: u64,
}

/// Why keys could not be wrapped anew. What was done before stays done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotationError {
    /// The store failed.
    #[error("the data keys can't be read or written")]
    Store(#[from] StoreError),
    /// The key service failed.
    #[error(transparent)]
    Keys(#[from] KeyServiceError),
}

/// Counts the data keys of a store. `progress` is told how many were counted so far.
///
/// # Errors
/// Those of the store.
pub async fn count_keys(
    store: &dyn Store,
    service: &dyn KeyService,
    mut progress: impl FnMut(u64),
) -> Result<KeyCounts, StoreError> {
    let mut counts = KeyCounts::default();
    let (mut after, mut seen) = (None, 0);
    loop {
        let page = store.list_keys(after, AT_ONCE).await?;
        let Some(last) = page.last() else { return Ok(counts) };
        after = Some(last.id);
        for key in &page {
            match key.wrapped.as_ref().map(|wrapped| service.version(wrapped)) {
                None => counts.destroyed += 1,
                Some(None) => counts.unknown += 1,
                Some(Some(version)) => *counts.by_version.entry(version).or_default() += 1,
            }
        }
        seen += page.len() as u64;
        progress(seen);
    }
}

/// Wraps all data keys of a store with the current KEK, while nodes run; nothing else is written. Nodes must have that KEK
/// before, and keep the former ones until this has ended. What was interrupted goes on when it is called again.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::sync::Arc;
/// use messenger_core::{
///     encryption::{KeyRing, SealSettings, SealedStore, count_keys, rotate_keys}, memory::MemoryStore,
/// };
///
/// let (store, ring) = (Arc::new(MemoryStore::new()), KeyRing::new(&[7; 32]));
/// SealedStore::open(store.clone(), Arc::new(ring.clone()), SealSettings::default()).await?;
///
/// let ring = ring.with_current(2, &[8; 32])?;
/// rotate_keys(&*store, &ring, |_| {}).await?;
/// let counts = count_keys(&*store, &ring, |_| {}).await?;
/// assert_eq!(counts.by_version.into_iter().collect::<Vec<_>>(), [(2, 3)]);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
///
/// # Errors
/// Those of the store, and those of the key service: at the first key that can't be unwrapped.
pub async fn rotate_keys(
    store: &dyn Store,
    service: &dyn KeyService,
    mut progress: impl FnMut(Rotated),
) -> Result<Rotated, RotationError> {
    let mut rotated = Rotated::default();
    let mut after = None;
    loop {
        let page = store.list_keys(after, AT_ONCE).await?;
        let Some(last) = page.last() else { return Ok(rotated) };
        after = Some(last.id);
        rotated.seen += page.len() as u64;
        let mut rewraps = Vec::new();
        for key in page {
            let Some(expected) = key.wrapped else { continue };
            if service.version(&expected) != Some(service.current()) {
                let plain = service.unwrap(key.id, &expected).await?;
                let wrapped = service.wrap(key.id, &plain).await?;
                rewraps.push(Rewrap { id: key.id, expected, wrapped });
            }
        }
        if !rewraps.is_empty() {
            rotated.wrapped += store.rewrap_keys(&rewraps).await? as u64;
        }
        progress(rotated);
    }
}

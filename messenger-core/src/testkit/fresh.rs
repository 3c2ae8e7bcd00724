use std::sync::Arc;

use crate::ports::Store;

/// A store with nothing in it, made for one case.
///
/// It is an `Arc` of the store, or a pair of that and a guard, which is dropped when the case is over.
///
/// ```
/// use std::sync::Arc;
/// use messenger_core::{memory::MemoryStore, testkit::FreshStore};
///
/// struct Directory;
/// let fresh = (Arc::new(MemoryStore::new()), Directory);
/// assert_eq!(fresh.store().lanes(), 1);
/// ```
pub trait FreshStore {
    /// The store.
    fn store(&self) -> Arc<dyn Store>;
}

impl<S: Store> FreshStore for Arc<S> {
    fn store(&self) -> Arc<dyn Store> {
        Self::clone(self) as Arc<dyn Store>
    }
}

impl FreshStore for Arc<dyn Store> {
    fn store(&self) -> Arc<dyn Store> {
        Self::clone(self)
    }
}

impl<F: FreshStore, G> FreshStore for (F, G) {
    fn store(&self) -> Arc<dyn Store> {
        self.0.store()
    }
}

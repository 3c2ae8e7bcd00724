use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    context::{Clock, ManualClock},
    domain::Timestamp,
    encryption::{KeyRing, SealSettings, SealedStore},
    memory::{MemoryBus, MemoryStore},
    ports::{Bus, KeyStore as _, NodeId, PresenceStore, Store},
    stores::InstrumentedStore,
};

/// An empty store, made for one case.
///
/// It is an `Arc` of the store, or a pair of an `Arc` and a guard, which is dropped when the case is over.
///
/// ```
/// use std::sync::Arc;
/// use messenger_core::{memory::MemoryStore, testkit::FreshStore};
///
/// struct Directory;
/// let fresh = (Arc::new(MemoryStore::new()), Directory);
/// assert_eq!(fresh.store().capabilities().append_lanes, 1);
/// ```
pub trait FreshStore {
    /// The store.
    fn store(&self) -> Arc<dyn Store>;

    /// The wrapper in which keys and fingerprints are replaced by others; `None` if the store keeps them as they are.
    fn sealed(&self) -> Option<Arc<SealedStore>> {
        None
    }
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

    fn sealed(&self) -> Option<Arc<SealedStore>> {
        self.0.sealed()
    }
}

/// A fresh store inside an [`InstrumentedStore`], so that the kit runs over both.
///
/// ```no_run
/// # fn main() {}
/// use std::sync::Arc;
/// use messenger_core::{memory::MemoryStore, testkit::{self, Instrumented}};
///
/// testkit::store_cases!(async { Instrumented(Arc::new(MemoryStore::new())) });
/// ```
pub struct Instrumented<F>(pub F);

impl<F: FreshStore> FreshStore for Instrumented<F> {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(InstrumentedStore::new(self.0.store()))
    }
}

/// A fresh store inside a [`SealedStore`], so that the kit runs over sealed values.
///
/// ```no_run
/// # fn main() {}
/// use std::sync::Arc;
/// use messenger_core::{memory::MemoryStore, testkit::{self, Sealed}};
///
/// testkit::store_cases!(async { Sealed::of(Arc::new(MemoryStore::new())).await });
/// ```
pub struct Sealed<F> {
    store: Arc<SealedStore>,
    _fresh: F,
}

impl<F: FreshStore> Sealed<F> {
    /// Seals this store with a key of its own.
    ///
    /// # Panics
    /// Panics if the store fails.
    pub async fn of(fresh: F) -> Self {
        Self { store: seal(fresh.store()).await, _fresh: fresh }
    }
}

async fn seal(store: Arc<dyn Store>) -> Arc<SealedStore> {
    let keys = Arc::new(KeyRing::new(&[7; 32]));
    Arc::new(SealedStore::open(store, keys, SealSettings::default()).await.unwrap())
}

/// A store in memory that answers as this one has to: where that is sealed, it is sealed with the same shared keys.
pub(super) async fn reference(fresh: &impl FreshStore) -> Arc<dyn Store> {
    let memory = Arc::new(MemoryStore::new());
    match fresh.sealed() {
        None => memory,
        Some(sealed) => {
            let keys = sealed.list_keys(None, 10).await.unwrap();
            memory.create_keys(&keys).await.unwrap();
            seal(memory).await
        }
    }
}

impl<F> FreshStore for Sealed<F> {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as Arc<dyn Store>
    }

    fn sealed(&self) -> Option<Arc<SealedStore>> {
        Some(Arc::clone(&self.store))
    }
}

/// What of a message a bus carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// All of it.
    Everything,
    /// Ids and numbers. What has content in it arrives as [`Hint::Invalidate`](crate::ports::Hint::Invalidate) of its topics, and
    /// what is long may do so.
    NoContent,
}

/// A bus that nobody else uses, made for one case, and ways to make it fail.
///
/// A backend implements it for a type of its own, for instance with a relay through which a node reaches the server.
/// What must live as long as the bus goes beside it: `(bus, guard)`.
///
/// ```
/// use std::sync::Arc;
/// use messenger_core::{memory::MemoryBus, testkit};
///
/// # fn main() {}
/// testkit::bus_cases!(async { Arc::new(MemoryBus::new()) });
/// ```
#[async_trait]
pub trait FreshBus: Send + Sync {
    /// The bus as another node reaches it: the same object for all nodes, or a new connection each time.
    fn bus(&self) -> Arc<dyn Bus>;

    /// What it carries.
    fn carried(&self) -> Carried;

    /// Cuts a node off, in both directions.
    async fn cut(&self, node: NodeId);

    /// Reconnects the node.
    async fn heal(&self, node: NodeId);

    /// Ends a node's subscription on the side of the bus; returns false if subscriptions of this bus never end.
    async fn end(&self, node: NodeId) -> bool;
}

#[async_trait]
impl FreshBus for Arc<MemoryBus> {
    fn bus(&self) -> Arc<dyn Bus> {
        Self::clone(self) as Arc<dyn Bus>
    }

    fn carried(&self) -> Carried {
        Carried::Everything
    }

    async fn cut(&self, node: NodeId) {
        MemoryBus::cut(self, node);
    }

    async fn heal(&self, node: NodeId) {
        MemoryBus::heal(self, node);
    }

    async fn end(&self, node: NodeId) -> bool {
        MemoryBus::end(self, node);
        true
    }
}

#[async_trait]
impl<F: FreshBus, G: Send + Sync> FreshBus for (F, G) {
    fn bus(&self) -> Arc<dyn Bus> {
        self.0.bus()
    }

    fn carried(&self) -> Carried {
        self.0.carried()
    }

    async fn cut(&self, node: NodeId) {
        self.0.cut(node).await;
    }

    async fn heal(&self, node: NodeId) {
        self.0.heal(node).await;
    }

    async fn end(&self, node: NodeId) -> bool {
        self.0.end(node).await
    }
}

/// A presence that nobody else uses, made for one case, and a way to advance its time.
///
/// A presence with a clock is paired with it: `(Arc<P>, Arc<ManualClock>)`. One that uses real time implements this
/// with a sleep, and a [`unit`](Self::unit) as short as possible in which its calls reliably complete.
///
/// ```
/// use std::sync::Arc;
/// use messenger_core::{context::ManualClock, memory::MemoryPresence, testkit};
///
/// # fn main() {}
/// testkit::presence_cases!(async {
///     let clock = Arc::new(ManualClock::default());
///     (Arc::new(MemoryPresence::new(clock.clone())), clock)
/// });
/// ```
#[async_trait]
pub trait FreshPresence: Send + Sync {
    /// Presence as another node reaches it: the same object for all nodes, or a new connection each time.
    fn presence(&self) -> Arc<dyn PresenceStore>;

    /// The unit of time in cases: events one unit apart must be told apart.
    fn unit(&self) -> Duration;

    /// The current time by the backend's clock, to within a tenth of a unit.
    fn now(&self) -> Timestamp;

    /// Lets time pass.
    async fn pass(&self, time: Duration);
}

#[async_trait]
impl<P: PresenceStore> FreshPresence for (Arc<P>, Arc<ManualClock>) {
    fn presence(&self) -> Arc<dyn PresenceStore> {
        Arc::clone(&self.0) as Arc<dyn PresenceStore>
    }

    fn unit(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Timestamp {
        self.1.now()
    }

    async fn pass(&self, time: Duration) {
        self.1.advance(time);
    }
}

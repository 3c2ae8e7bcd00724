use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    context::{Clock, ManualClock},
    domain::Timestamp,
    ports::{Bus, Presence, Store},
};

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

/// A bus that nobody else speaks on, made for one case.
///
/// It is an `Arc` of the bus, or a pair of that and a guard, or a type of the backend's own.
///
/// ```
/// use std::sync::Arc;
/// use messenger_core::{memory::MemoryBus, testkit};
///
/// # fn main() {}
/// testkit::bus_cases!(async { Arc::new(MemoryBus::new()) });
/// ```
pub trait FreshBus: Send + Sync {
    /// The bus as one more node reaches it: the same for all, or another connection each time.
    fn bus(&self) -> Arc<dyn Bus>;
}

impl<B: Bus> FreshBus for Arc<B> {
    fn bus(&self) -> Arc<dyn Bus> {
        Self::clone(self) as Arc<dyn Bus>
    }
}

impl<F: FreshBus, G: Send + Sync> FreshBus for (F, G) {
    fn bus(&self) -> Arc<dyn Bus> {
        self.0.bus()
    }
}

/// A presence that nobody else uses, made for one case, and a way to let time pass for it.
///
/// A presence with a clock is paired with it: `(Arc<P>, Arc<ManualClock>)`. One that lives by real time
/// implements this with a sleep and a [`unit`](Self::unit) as short as its calls are reliably done within.
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
    /// Presence as one more node reaches it: the same for all, or another connection each time.
    fn presence(&self) -> Arc<dyn Presence>;

    /// The time in which cases count: what happens one unit apart must not get mixed up.
    fn unit(&self) -> Duration;

    /// The moment it is by the backend's clock, give or take a tenth of a unit.
    fn now(&self) -> Timestamp;

    /// Lets time pass.
    async fn pass(&self, time: Duration);
}

#[async_trait]
impl<P: Presence> FreshPresence for (Arc<P>, Arc<ManualClock>) {
    fn presence(&self) -> Arc<dyn Presence> {
        Arc::clone(&self.0) as Arc<dyn Presence>
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

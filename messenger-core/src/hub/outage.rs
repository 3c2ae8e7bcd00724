//! What a node does without at present: it is logged when that begins and when it ends, counted, and told to who asks.

use std::{
    collections::BTreeMap,
    error::Error,
    sync::{Arc, Mutex},
};

use tokio::time::Instant;

use super::lock::lock;
use crate::{context::Context, domain::Timestamp};

/// Something that this node goes on without, if it must.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Dependency {
    /// The [bus](crate::ports::Bus). Without it, what other nodes have done is found in the store, some seconds later.
    Bus,
    /// The [presence store](crate::ports::PresenceStore). Without it, nobody is told who comes and who goes.
    Presence,
}

impl Dependency {
    /// Its name in metrics and logs: `bus` or `presence`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bus => "bus",
            Self::Presence => "presence",
        }
    }
}

/// A dependency that can't be reached at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// The dependency.
    pub of: Dependency,
    /// When it was first missed.
    pub since: Timestamp,
}

/// The outages of a node.
#[derive(Debug)]
pub(super) struct Outages {
    context: Context,
    open: Mutex<BTreeMap<Dependency, Open>>,
}

#[derive(Debug)]
struct Open {
    since: Timestamp,
    begun: Instant,
    /// How many activities miss it.
    activities: usize,
}

impl Outages {
    pub(super) fn new(context: Context) -> Arc<Self> {
        for dependency in [Dependency::Bus, Dependency::Presence] {
            gauge(dependency).set(0);
        }
        Arc::new(Self { context, open: Mutex::default() })
    }

    pub(super) fn current(&self) -> Vec<Outage> {
        lock(&self.open).iter().map(|(of, open)| Outage { of: *of, since: open.since }).collect()
    }

    /// An activity that needs the dependency; `what` says in the log what fails: "publishing", for instance.
    pub(super) fn watch(self: &Arc<Self>, of: Dependency, what: &'static str) -> Watch {
        Watch { outages: Arc::clone(self), of, what, fails: false }
    }

    fn begin(&self, of: Dependency, what: &'static str, error: &(dyn Error + 'static)) {
        let now = self.context.now();
        let mut outages = lock(&self.open);
        let open = outages.entry(of).or_insert(Open { since: now, begun: Instant::now(), activities: 0 });
        open.activities += 1;
        let is_first = open.activities == 1;
        drop(outages);
        if is_first {
            gauge(of).set(1);
            tracing::warn!(of = of.name(), what, error, "an outage has begun");
        }
    }

    fn end(&self, of: Dependency) {
        let mut outages = lock(&self.open);
        let Some(open) = outages.get_mut(&of) else { return };
        open.activities -= 1;
        if open.activities > 0 {
            return;
        }
        let seconds = open.begun.elapsed().as_secs_f32();
        outages.remove(&of);
        drop(outages);
        gauge(of).set(0);
        tracing::info!(of = of.name(), seconds, "an outage has ended");
    }
}

fn gauge(of: Dependency) -> metrics::Gauge {
    metrics::gauge!("messenger_outage", "of" => of.name())
}

/// Whether something that is tried again and again fails at present.
#[derive(Debug)]
pub(super) struct Watch {
    outages: Arc<Outages>,
    of: Dependency,
    what: &'static str,
    fails: bool,
}

impl Watch {
    pub(super) const fn fails(&self) -> bool {
        self.fails
    }

    /// Notes a result.
    pub(super) fn note<T, E: Error + 'static>(&mut self, result: &Result<T, E>) {
        match result {
            Err(error) if !self.fails => self.outages.begin(self.of, self.what, error),
            Ok(_) if self.fails => self.outages.end(self.of),
            _ => {}
        }
        self.fails = result.is_err();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.fails {
            self.outages.end(self.of);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt::Error, time::Duration};

    use super::*;
    use crate::context::{Clock as _, CountingRandom, ManualClock};

    #[test]
    fn an_outage_lasts_from_the_first_failure_until_nothing_fails() {
        let clock = Arc::new(ManualClock::default());
        let outages =
            Outages::new(Context::new(Arc::clone(&clock) as _, Arc::new(CountingRandom::default())));
        let mut publishing = outages.watch(Dependency::Bus, "publishing");
        let mut joining = outages.watch(Dependency::Bus, "joining");
        let mut renewing = outages.watch(Dependency::Presence, "renewing");
        let since = clock.now();
        let bus = Outage { of: Dependency::Bus, since };
        publishing.note::<(), Error>(&Ok(()));
        assert_eq!(outages.current(), []);
        publishing.note::<(), _>(&Err(Error));
        clock.advance(Duration::from_secs(1));
        publishing.note::<(), _>(&Err(Error));
        joining.note::<(), _>(&Err(Error));
        assert_eq!(outages.current(), [bus]);
        renewing.note::<(), _>(&Err(Error));
        assert_eq!(outages.current(), [bus, Outage { of: Dependency::Presence, since: clock.now() }]);
        assert!(renewing.fails());
        publishing.note::<_, Error>(&Ok(()));
        publishing.note::<_, Error>(&Ok(()));
        drop(renewing);
        assert_eq!(outages.current(), [bus], "joining fails still");
        joining.note::<_, Error>(&Ok(()));
        assert_eq!((outages.current(), joining.fails()), (vec![], false));
    }
}

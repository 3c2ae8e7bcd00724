//! The kinds of jobs that a node does, how many of each it does at present, and for how many it asks.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::sync::Notify;

use super::meters::KindMeters;
use crate::{
    jobs::{JobResult, Retry},
    ports::{ClaimedJob, JobKind},
};

/// Does the work of a job.
pub(crate) type Handler = Arc<dyn Fn(ClaimedJob) -> BoxFuture<'static, JobResult> + Send + Sync>;

/// A kind of jobs, and how they are done.
#[derive(Clone)]
pub(crate) struct Registration {
    pub(crate) kind: JobKind,
    pub(crate) retry: Retry,
    pub(crate) timeout: Duration,
    pub(crate) parallel: usize,
    pub(crate) handler: Handler,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// What a node does, by kind.
pub(super) struct Kinds {
    parallel: usize,
    kinds: Vec<Kind>,
    at_work: Mutex<AtWork>,
    freed: Notify,
}

pub(super) struct Kind {
    pub(super) registration: Registration,
    pub(super) meters: KindMeters,
}

struct AtWork {
    all: usize,
    of: Vec<OfKind>,
    /// The kind that is the first to get something of what is free.
    first: usize,
}

#[derive(Clone, Copy)]
struct OfKind {
    at_work: usize,
    /// There may be more of it.
    wanted: bool,
}

/// The place of one job at work, until this is dropped.
pub(super) struct Place {
    kinds: Arc<Kinds>,
    kind: usize,
}

impl Kinds {
    pub(super) fn new(parallel: usize, registrations: Vec<Registration>) -> Arc<Self> {
        let of = vec![OfKind { at_work: 0, wanted: true }; registrations.len()];
        let kind = |registration: Registration| {
            let meters = KindMeters::new(&registration.kind);
            Kind { registration, meters }
        };
        let kinds = registrations.into_iter().map(kind).collect();
        let at_work = Mutex::new(AtWork { all: 0, of, first: 0 });
        Arc::new(Self { parallel, kinds, at_work, freed: Notify::new() })
    }

    pub(super) fn get(&self, kind: usize) -> &Kind {
        &self.kinds[kind]
    }

    pub(super) fn find(&self, kind: &JobKind) -> Option<usize> {
        self.kinds.iter().position(|known| known.registration.kind == *kind)
    }

    /// There may be something of these kinds, or of all.
    pub(super) fn want(&self, kinds: Option<&BTreeSet<JobKind>>) {
        let mut at_work = self.at_work();
        for (known, of) in self.kinds.iter().zip(&mut at_work.of) {
            of.wanted |= kinds.is_none_or(|kinds| kinds.contains(&known.registration.kind));
        }
    }

    /// For how many of which kinds to ask: of those that are wanted, and of no more in all than there are places. They
    /// are no longer wanted then, until they are wanted anew: what is enqueued while the store is asked is asked for.
    pub(super) fn shares(&self) -> Vec<(usize, usize)> {
        let (open, left) = self.open();
        // Those with the least room first: what they leave is for the others.
        let mut by_room: Vec<usize> = (0..open.len()).collect();
        by_room.sort_by_key(|place| open[*place].1);
        let mut left = left;
        let share = |(n, place): (usize, usize)| {
            let (kind, room) = open[place];
            let share = left.div_ceil(open.len() - n).min(room);
            left -= share;
            (kind, share)
        };
        by_room.into_iter().enumerate().map(share).filter(|(_, share)| *share > 0).collect()
    }

    /// The kinds that are wanted and may have more at work, with how many; and how many may be in all. As many kinds
    /// at most: each has its turn.
    fn open(&self) -> (Vec<(usize, usize)>, usize) {
        let mut at_work = self.at_work();
        let count = self.kinds.len();
        let left = self.parallel.saturating_sub(at_work.all);
        let room = |kind: usize| {
            let OfKind { at_work, wanted } = at_work.of[kind];
            let most = self.kinds[kind].registration.parallel.max(1);
            if wanted { most.saturating_sub(at_work) } else { 0 }
        };
        let in_turn = (0..count).map(|n| (at_work.first + n) % count);
        let with_room = in_turn.map(|kind| (kind, room(kind))).filter(|(_, room)| *room > 0);
        let open: Vec<_> = with_room.take(left).collect();
        open.iter().for_each(|(kind, _)| at_work.of[*kind].wanted = false);
        at_work.first = (at_work.first + 1) % count.max(1);
        (open, left)
    }

    /// Notes how many of a share there were. There may be more if there were as many as asked for.
    pub(super) fn answered(&self, kind: usize, asked: usize, got: usize) {
        self.at_work().of[kind].wanted |= got >= asked;
    }

    /// Takes a place for a job.
    pub(super) fn take(self: &Arc<Self>, kind: usize) -> Place {
        let mut at_work = self.at_work();
        at_work.all += 1;
        at_work.of[kind].at_work += 1;
        drop(at_work);
        self.kinds[kind].meters.running.increment(1);
        Place { kinds: Arc::clone(self), kind }
    }

    /// Waits until a place has been given back since this was last asked.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }

    fn at_work(&self) -> MutexGuard<'_, AtWork> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut at_work = self.kinds.at_work();
        at_work.all -= 1;
        at_work.of[self.kind].at_work -= 1;
        drop(at_work);
        self.kinds.kinds[self.kind].meters.running.decrement(1);
        self.kinds.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(parallel: usize, bounds: &[usize]) -> Arc<Kinds> {
        let registration = |(n, bound): (usize, &usize)| Registration {
            kind: format!("kind.{n}").parse().unwrap(),
            retry: Retry::DEFAULT,
            timeout: Duration::from_secs(1),
            parallel: *bound,
            handler: Arc::new(|_| Box::pin(async { Ok(()) })),
        };
        Kinds::new(parallel, bounds.iter().enumerate().map(registration).collect())
    }

    fn shares(kinds: &Kinds) -> Vec<(usize, usize)> {
        let mut shares = kinds.shares();
        shares.sort_unstable();
        shares
    }

    #[test]
    fn what_is_free_is_shared_by_those_of_which_there_may_be_more() {
        let kinds = kinds(10, &[usize::MAX, 2, usize::MAX]);
        assert_eq!(shares(&kinds), [(0, 4), (1, 2), (2, 4)]);
        assert_eq!(shares(&kinds), [], "they are being asked for");
        for (kind, asked, got) in [(0, 4, 4), (1, 2, 2), (2, 4, 3)] {
            kinds.answered(kind, asked, got);
        }
        let places: Vec<_> = (0..2).map(|_| kinds.take(1)).collect();
        assert_eq!(shares(&kinds), [(0, 8)]);
        kinds.answered(0, 8, 0);
        assert_eq!(shares(&kinds), []);
        drop(places);
        assert_eq!(shares(&kinds), [(1, 2)], "there were as many as asked for");
        kinds.answered(1, 2, 0);
        kinds.want(Some(&["kind.2".parse().unwrap(), "other".parse().unwrap()].into()));
        assert_eq!(shares(&kinds), [(2, 10)]);
        kinds.want(Some(&["kind.2".parse().unwrap()].into()));
        kinds.answered(2, 10, 0);
        assert_eq!(shares(&kinds), [(2, 10)], "one was enqueued meanwhile");
        kinds.want(None);
        assert_eq!(shares(&kinds), [(0, 4), (1, 2), (2, 4)]);
    }

    #[test]
    fn each_has_its_turn_when_little_is_free() {
        let kinds = kinds(3, &[usize::MAX; 3]);
        let places: Vec<_> = (0..2).map(|_| kinds.take(0)).collect();
        let ask = || {
            let asked = kinds.shares();
            asked.iter().for_each(|(kind, share)| kinds.answered(*kind, *share, *share));
            asked
        };
        let mut asked: Vec<_> = (0..3).flat_map(|_| ask()).collect();
        asked.sort_unstable();
        assert_eq!(asked, [(0, 1), (1, 1), (2, 1)]);
        let last = kinds.take(1);
        assert_eq!(shares(&kinds), []);
        drop((places, last));
        assert_eq!(shares(&kinds), [(0, 1), (1, 1), (2, 1)]);
    }

    #[tokio::test]
    async fn who_waits_for_a_place_hears_of_it() {
        let kinds = kinds(1, &[usize::MAX]);
        let place = kinds.take(0);
        assert!(futures::poll!(std::pin::pin!(kinds.freed())).is_pending());
        drop(place);
        kinds.freed().await;
    }
}

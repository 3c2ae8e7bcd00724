use std::{collections::HashMap, sync::Arc, time::Duration};

use messenger_core::{ConnectionId, UserId, ports::Lease};
use tokio::time::Instant;

/// Groups of people whose keys share a hash tag, so that a cluster keeps the keys of a group on one server.
pub(crate) const PARTITIONS: usize = 16;
/// How long after the grace period people have been announced as gone at the latest.
const SWEEPS: Duration = Duration::from_secs(2);
/// How long an ended lease is remembered, to be restored with the others, so that its person is still announced as gone.
const REMEMBERED: Duration = Duration::from_secs(120);

/// What this node knows, to restore it on a server that has lost it.
#[derive(Default)]
pub(crate) struct Leases {
    /// When each lease ends or ended.
    pub(crate) all: HashMap<(UserId, ConnectionId), Instant>,
    forgotten_at: Option<Instant>,
    pub(crate) partitions: [Partition; PARTITIONS],
    /// The grace period of the last sweep.
    pub(crate) grace: Duration,
    /// Until when other nodes may still be restoring their leases.
    pub(crate) settles_at: Option<Instant>,
}

#[derive(Default)]
pub(crate) struct Partition {
    /// The last epoch seen.
    pub(crate) epoch: Option<Vec<u8>>,
    /// Where it was last used.
    pub(crate) home: Option<Home>,
    pub(crate) answered_at: Option<Instant>,
    /// Since when nothing that was asked of it was done, although its server may have answered.
    pub(crate) unreached_since: Option<Instant>,
    /// What the server has lost and this node has not restored yet.
    pub(crate) loss: Loss,
}

/// A connection to a server, for which a partition's leases have been given to it.
#[derive(Clone)]
pub(crate) struct Home {
    pub(crate) address: Arc<str>,
    /// The `run_id` of the server.
    pub(crate) run: Option<String>,
    /// The number of the connection.
    pub(crate) number: u64,
}

/// What a server may have lost; the greater the worse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Loss {
    #[default]
    Nothing,
    /// It was away for so long that leases may have ended which nobody could renew.
    OfTime,
    /// It has none of its data, or old data.
    OfData {
        /// When it was last seen to have them.
        intact_at: Option<Instant>,
    },
}

impl Leases {
    /// The leases that are restored are those that end after this. Of the others, people are only still to be announced as gone
    /// if the data were lost in their grace period, or before the next sweep, which is a second later.
    pub(crate) fn restored_since(&self, loss: Loss, now: Instant) -> Instant {
        match loss {
            Loss::OfData { intact_at: Some(at) } => {
                at.checked_sub(self.grace + SWEEPS).map_or(now, |since| since.min(now))
            }
            _ => now,
        }
    }

    /// Renews those that are known, whether or not their server can be told now: it is as soon as it is reached.
    pub(crate) fn prolong(&mut self, leases: &[Lease], end: Instant) {
        for lease in leases {
            if let Some(known) = self.all.get_mut(&key(lease)) {
                *known = end;
            }
        }
    }

    /// Notes that these partitions were asked for something, and that nothing came of it.
    pub(crate) fn note_unreached(&mut self, partitions: impl IntoIterator<Item = usize>) {
        let now = Instant::now();
        for partition in partitions {
            self.partitions[partition].unreached_since.get_or_insert(now);
        }
    }

    /// Forgets leases that ended long ago. It looks at all of them, so it does so only from time to time.
    pub(crate) fn forget(&mut self, now: Instant) {
        let is_due = self.forgotten_at.is_none_or(|at| now.duration_since(at) > REMEMBERED / 4);
        if is_due {
            self.forgotten_at = Some(now);
            self.all.retain(|_, end| now.saturating_duration_since(*end) < REMEMBERED);
            // What a burst of connections took is given back.
            self.all.shrink_to(self.all.len() * 2);
        }
    }
}

pub(crate) fn key(lease: &Lease) -> (UserId, ConnectionId) {
    (lease.user, lease.connection)
}

/// By the last byte of the id, which is random.
pub(crate) fn partition(user: UserId) -> usize {
    usize::from(user.as_bytes()[15]) % PARTITIONS
}

/// The items of each partition that has any.
pub(crate) fn by_partition<T>(
    items: &[T],
    user: impl Fn(&T) -> UserId,
) -> impl Iterator<Item = (usize, Vec<&T>)> {
    let mut groups: [Vec<&T>; PARTITIONS] = Default::default();
    items.iter().for_each(|item| groups[partition(user(item))].push(item));
    groups.into_iter().enumerate().filter(|(_, group)| !group.is_empty())
}

//! The leases by which this node's people are online: renewed, returned, and found to have ended.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::{
    Hub,
    bounds::{AT_ONCE, SWEEPS},
    link::leases,
    lock::lock,
    outage::Dependency,
    tasks::each_second,
    watching::unreachable,
    within::within,
};
use crate::{domain::Presence, error::Result, ports::Lease};

impl Hub {
    /// Each second, renews the leases of one group of connections, and announces who has gone offline.
    pub(super) async fn keep_leases(&self) {
        let mut ticks = each_second();
        let renewals = (self.settings.lease / 3).as_secs().max(1);
        let mut outage = self.outages.watch(Dependency::Presence, "renewing");
        let (begun, mut renewed) = (Instant::now(), 0);
        loop {
            ticks.tick().await;
            // Where presence answers slowly, a turn takes longer than a second, and has to renew as much more.
            let turn = begun.elapsed().as_secs();
            // The failure may have lasted longer than a lease, and nobody must go offline because of it.
            let missed = if outage.fails() { renewals } else { turn - renewed };
            renewed = turn;
            let done = async {
                // Whoever could not be renewed must not be found to have gone.
                self.renew_leases(turn, missed, renewals).await?;
                let released = self.release_departed().await;
                self.announce_all_offline().await.and(released)
            };
            let done = done.await;
            outage.note(&done);
        }
    }

    /// Renews the leases that are due in this turn and in those before it that were missed, so many in all. Every lease is
    /// due once in `renewals` turns, and at once if it was not taken when its connection came.
    async fn renew_leases(&self, turn: u64, missed: u64, renewals: u64) -> Result<()> {
        let is_due = |index: u64| (turn % renewals + renewals - index % renewals) % renewals < missed;
        let due = self.wheel.iter().enumerate().filter(|(index, _)| is_due(*index as u64));
        let mut due: Vec<Lease> = due.flat_map(|(_, group)| leases(group)).collect();
        let unrecorded = std::mem::take(&mut *lock(&self.unrecorded));
        due.extend(unrecorded.iter().filter(|link| !link.state().gone).map(|link| link.lease()));
        for some in due.chunks(AT_ONCE) {
            let online = within(self.presence.renew(some, self.settings.lease)).await.map_err(unreachable)?;
            self.announce_online(&online);
        }
        Ok(())
    }

    /// The lease of a connection that is gone is to be returned.
    pub(super) fn has_departed(&self, lease: Lease) {
        let now = Instant::now();
        let mut departed = lock(&self.departed);
        // Presence may be away for as long as it likes.
        while departed.front().is_some_and(|(since, _)| now - *since > self.settings.lease) {
            departed.pop_front();
        }
        departed.push_back((now, lease));
    }

    async fn release_departed(&self) -> Result<()> {
        let mut departed = std::mem::take(&mut *lock(&self.departed));
        let (mut released, mut left) = (Ok(()), VecDeque::new());
        for some in departed.make_contiguous().chunks(AT_ONCE) {
            let leases: Vec<Lease> = some.iter().map(|(_, lease)| *lease).collect();
            match within(self.presence.release(&leases)).await {
                Ok(()) => self.remember_departed(&leases),
                Err(error) => {
                    left.extend(some.iter().copied());
                    released = Err(unreachable(error));
                }
            }
        }
        let mut departed = lock(&self.departed);
        left.append(&mut departed);
        *departed = left;
        released
    }

    fn remember_departed(&self, leases: &[Lease]) {
        let now = self.context.now();
        let mut lately = lock(&self.departed_lately);
        while lately.front().is_some_and(|(at, _)| now.since(*at) > self.settings.offline_grace) {
            lately.pop_front();
        }
        lately.extend(leases.iter().map(|lease| (now, lease.user)));
    }

    /// Until nobody has gone: only then it is known whether everybody was looked at.
    async fn announce_all_offline(&self) -> Result<()> {
        for _ in 0..SWEEPS {
            if !self.announce_offline().await? {
                break;
            }
        }
        Ok(())
    }

    /// Returns whether anybody had gone.
    async fn announce_offline(&self) -> Result<bool> {
        let swept = within(self.presence.sweep(self.settings.offline_grace, AT_ONCE)).await;
        let gone = swept.map_err(unreachable)?;
        if gone.is_empty() {
            return Ok(false);
        }
        let seen: Vec<_> = gone.iter().map(|gone| (gone.user, gone.last_seen)).collect();
        // At once: whoever comes back meanwhile is announced by another node, and that must come later.
        for (user, last_seen) in &seen {
            self.announce_presence(Presence {
                user_id: *user,
                online: false,
                last_seen_at: Some(*last_seen),
            });
        }
        self.last_seen.store(&seen);
        Ok(true)
    }

    /// Returns all leases, after the tasks have ended and nobody renews them any more. The other nodes find out who is
    /// then offline; in case there are none, at least the last-seen time is stored.
    pub(crate) async fn depart(&self) -> Result<()> {
        let mut all: Vec<Lease> = self.wheel.iter().flat_map(leases).collect();
        all.extend(std::mem::take(&mut *lock(&self.departed)).into_iter().map(|(_, lease)| lease));
        let now = self.context.now();
        let mut seen: Vec<_> = lock(&self.departed_lately).iter().map(|(at, user)| (*user, *at)).collect();
        seen.extend(all.iter().map(|lease| (lease.user, now)));
        seen.extend(self.last_seen.take());
        let mut released = Ok(());
        for some in all.chunks(AT_ONCE) {
            released = within(self.presence.release(some)).await.map_err(unreachable);
            if released.is_err() {
                // The leases expire by themselves, and a stopping node does not wait for each of them in turn.
                break;
            }
        }
        for some in seen.chunks(AT_ONCE) {
            self.store.set_last_seen(some).await?;
        }
        released
    }
}

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{ConnectionId, Timestamp, UserId};

/// Tracks who is online: leases of connections, over all nodes.
///
/// A person is online from the first lease until no lease has been live for the grace period. Both changes are
/// reported once, to one caller on one node, which announces them.
///
/// A store that is spread over several servers does what can be done while some of them are away: it passes over whose server
/// is, and says so by the errors of [`release`](Self::release) and [`sweep`](Self::sweep).
#[async_trait]
pub trait PresenceStore: Send + Sync + 'static {
    /// Takes or renews leases that expire after `ttl`. Returns the people who came online through this call. An error if none
    /// could be renewed.
    ///
    /// # Behavior
    /// - `first_lease_brings_a_person_online_once`
    /// - `renewed_lease_keeps_a_person_online`
    async fn renew(&self, leases: &[Lease], ttl: Duration) -> Result<Vec<UserId>, PresenceError>;

    /// Returns leases before they expire. Unknown ones are ignored. After an error some may have been returned.
    ///
    /// # Behavior
    /// - `released_person_stays_online_for_the_grace_period`
    /// - `person_with_another_lease_stays_online`
    async fn release(&self, leases: &[Lease]) -> Result<(), PresenceError>;

    /// Reports at most `limit` people whose last lease was returned or expired at least `grace` ago and who have not
    /// been reported since; from now on they are offline. If it did not look at everybody it is an error, unless it has somebody
    /// to report.
    ///
    /// # Behavior
    /// - `person_goes_offline_once_after_the_grace_period`
    /// - `person_goes_offline_when_leases_end_without_a_word`
    /// - `person_who_comes_back_within_the_grace_period_never_went`
    async fn sweep(&self, grace: Duration, limit: usize) -> Result<Vec<WentOffline>, PresenceError>;

    /// Whether these people are online, in the order of `users`. People of whom nothing is known at present are left out, and
    /// never said to be offline; if that is everybody, it is an error.
    ///
    /// # Behavior
    /// - `unknown_person_is_offline`
    async fn query(&self, users: &[UserId]) -> Result<Vec<PresenceState>, PresenceError>;
}

/// One connection of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The person.
    pub user: UserId,
    /// The connection.
    pub connection: ConnectionId,
}

/// Whether a person is online.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresenceState {
    /// The person.
    pub user: UserId,
    /// Whether the person is online.
    pub online: bool,
}

/// A person who went offline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WentOffline {
    /// The person.
    pub user: UserId,
    /// When the last lease was returned or expired.
    pub last_seen: Timestamp,
}

/// Presence can't be reached, or took too long.
#[derive(Debug, thiserror::Error)]
#[error("presence can't be reached")]
pub struct PresenceError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

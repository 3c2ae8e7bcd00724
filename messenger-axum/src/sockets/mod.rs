//! What the raw WebSocket and the SignalR hub have in common.

pub(crate) mod caller;
pub(crate) mod origin;
mod rpc;

use std::sync::Arc;

use messenger_socket::Unsent;

use crate::door::Door;

/// The door of all sockets, which counts together what waits for their clients. A cheap clone.
#[derive(Clone)]
pub(crate) struct Sockets {
    pub(crate) door: Door,
    pub(crate) unsent: Arc<Unsent>,
}

impl Sockets {
    pub(crate) fn new(door: Door) -> Self {
        let mut limits = door.options.unsent;
        // A message that has come in part fits in, together with the room it grows by, or it would never become whole.
        limits.per_connection = limits.per_connection.max(4 * door.options.frame_limit);
        Self { door, unsent: Unsent::new(limits) }
    }

    /// Opens the account in which it is counted what waits for a connection of this person.
    #[cfg(feature = "ws")]
    pub(crate) fn account_of(&self, actor: &messenger_core::Actor) -> Arc<messenger_socket::Account> {
        self.unsent.account(&actor.user().ok())
    }
}

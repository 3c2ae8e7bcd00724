//! The common part of the raw WebSocket and the SignalR hub.

pub(crate) mod caller;
pub(crate) mod origin;
mod rpc;

use std::sync::Arc;

use messenger_socket::Unsent;

use crate::door::Door;

/// The shared state of all sockets, including the count of bytes that wait for their clients. A cheap clone.
#[derive(Clone)]
pub(crate) struct Sockets {
    pub(crate) door: Door,
    pub(crate) unsent: Arc<Unsent>,
}

impl Sockets {
    pub(crate) fn new(door: Door) -> Self {
        let mut limits = door.options.unsent;
        // A partly received message must fit, including the steps by which its buffer grows, or it could never be
        // completed.
        limits.per_connection = limits.per_connection.max(4 * door.options.frame_limit);
        Self { door, unsent: Unsent::new(limits) }
    }

    /// Opens the account that counts what waits for a connection of this person.
    #[cfg(feature = "ws")]
    pub(crate) fn account_of(&self, actor: &messenger_core::Actor) -> Arc<messenger_socket::Account> {
        self.unsent.account(&actor.user().ok())
    }
}

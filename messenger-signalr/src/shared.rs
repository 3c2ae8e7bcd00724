use std::sync::Arc;

use messenger_socket::Unsent;

use super::{connections::Connections, hub::Hub, options::SignalROptions};

/// What the connections of an endpoint share.
pub(super) struct Shared<H: Hub> {
    pub(super) hub: H,
    pub(super) options: SignalROptions,
    pub(super) unsent: Arc<Unsent>,
    pub(super) connections: Arc<Connections<H::User>>,
}

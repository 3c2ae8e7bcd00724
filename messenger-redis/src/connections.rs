use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    layout::{Layout, Member},
    requests::Requests,
    topology::Topology,
};

/// A connection for requests to each server.
pub(crate) struct Connections {
    pub(crate) topology: Arc<Topology>,
    known: Mutex<HashMap<Arc<str>, Arc<Requests>>>,
}

impl Connections {
    pub(crate) fn new(topology: Arc<Topology>) -> Self {
        Self { topology, known: Mutex::default() }
    }

    /// The connection to a server of the layout. Those to servers that are not in it are closed.
    pub(crate) fn to(&self, member: &Member, layout: &Layout) -> Arc<Requests> {
        // No holder leaves the map half changed.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = known.entry(Arc::clone(&member.address));
        let server = &self.topology.server;
        let requests =
            requests.or_insert_with(|| Arc::new(Requests::new(Arc::clone(server), member.clone())));
        let requests = Arc::clone(requests);
        if known.len() > layout.members().len() {
            known.retain(|address, _| layout.members().iter().any(|member| member.address == *address));
        }
        requests
    }
}

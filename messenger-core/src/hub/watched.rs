use std::sync::Arc;

use super::link::Link;

/// A person whose presence connections of this node watch.
#[derive(Debug, Default)]
pub(super) struct Watched {
    pub(super) links: Vec<Arc<Link>>,
    /// Whether the person was online when this node was last told.
    pub(super) online: Option<bool>,
    /// Whether it was asked for when nobody knew, so that it is still to be told.
    pub(super) is_owed: bool,
    /// How often something was heard of the person. An answer to what was asked before that is too old.
    pub(super) heard: u64,
}

use std::sync::Arc;

use super::link::Link;

/// A person whose comings and goings connections of this node are told of.
#[derive(Debug, Default)]
pub(super) struct Watched {
    pub(super) links: Vec<Arc<Link>>,
    /// Whether the person was there when this node last heard of them.
    pub(super) online: Option<bool>,
}

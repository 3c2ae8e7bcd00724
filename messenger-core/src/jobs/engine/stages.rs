use tokio_util::sync::CancellationToken;

/// The stages of the end, in this order.
#[derive(Debug)]
pub(super) struct Stages {
    /// Nothing more is claimed.
    pub(super) no_more: CancellationToken,
    /// What is still at work is given back.
    pub(super) give_back: CancellationToken,
    /// Nothing more ends.
    pub(super) last_end: CancellationToken,
    /// All ends are stored.
    pub(super) all_stored: CancellationToken,
    /// What could not be stored is not waited for.
    pub(super) give_up: CancellationToken,
    /// Nothing is held.
    pub(super) all_over: CancellationToken,
}

impl Stages {
    /// Nothing more is begun when `draining` is cancelled, at the latest.
    pub(super) fn new(draining: &CancellationToken) -> Self {
        Self {
            no_more: draining.child_token(),
            give_back: CancellationToken::new(),
            last_end: CancellationToken::new(),
            all_stored: CancellationToken::new(),
            give_up: CancellationToken::new(),
            all_over: CancellationToken::new(),
        }
    }
}

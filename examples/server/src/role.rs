/// What a server is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// People, and background jobs unless the settings say otherwise.
    Serve,
    /// Background jobs alone.
    Work,
}

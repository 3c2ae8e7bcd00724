/// How an operation tells that it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Success {
    /// With what was asked for.
    Ok,
    /// With what was made.
    Created,
    /// With what was made now, or by the same request before.
    CreatedOrFound,
    /// With nothing to say.
    NoContent,
}

/// How an operation reports success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Success {
    /// With the result.
    Ok,
    /// With what was created.
    Created,
    /// With what was created now, or by the same request before.
    CreatedOrFound,
    /// Something will be done later, without content.
    Accepted,
    /// Without content.
    NoContent,
}

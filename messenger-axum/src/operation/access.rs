/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Also callers who are not logged in; not on sockets.
    Anyone,
    /// Also callers who are not logged in; on sockets, too.
    Everywhere,
    /// Only callers with a session.
    Session,
}

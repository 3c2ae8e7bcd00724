/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Also who is not logged in; not on sockets.
    Anyone,
    /// Who has a session.
    Session,
}

use std::fmt;

/// The error of a store whose intent was not carried out.
///
/// ```
/// use messenger_core::ports::{StoreError, StoreErrorKind};
///
/// let error = StoreError::from(StoreErrorKind::NotFound);
/// assert_eq!(error.kind(), StoreErrorKind::NotFound);
/// ```
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result type of stores.
pub type StoreResult<T> = Result<T, StoreError>;

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// What the intent refers to does not exist.
    NotFound,
    /// A value that must be unique exists already.
    AlreadyExists(Unique),
    /// The snapshot that the intent depends on is no longer the latest.
    Conflict,
    /// The person is not a member of the chat, or there is no such chat.
    NotMember,
    /// It is under a legal hold.
    Held,
    /// The store can't be reached, is overloaded or took too long. A retry may succeed later.
    Unavailable,
    /// What is stored can't be read.
    Corrupt,
    /// A fault of the backend.
    Other,
}

/// Which unique value exists already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unique {
    /// A username.
    Username,
    /// A mail address.
    Email,
    /// A client id of one sender.
    ClientId,
    /// An id.
    Id,
    /// The unique key of a job.
    Job,
}

impl StoreErrorKind {
    /// The stable name of this kind, used in metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotFound => "notFound",
            Self::AlreadyExists(_) => "alreadyExists",
            Self::Conflict => "conflict",
            Self::NotMember => "notMember",
            Self::Held => "held",
            Self::Unavailable => "unavailable",
            Self::Corrupt => "corrupt",
            Self::Other => "other",
        }
    }
}

impl StoreError {
    /// Makes an error of this kind with its cause.
    pub fn new(kind: StoreErrorKind, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { kind, source: Some(source.into()) }
    }

    /// The kind of failure.
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl From<StoreErrorKind> for StoreError {
    fn from(kind: StoreErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::NotFound => "the store has no such thing",
            StoreErrorKind::AlreadyExists(_) => "the store has such a thing already",
            StoreErrorKind::Conflict => "it was changed meanwhile",
            StoreErrorKind::NotMember => "the person is not a member of the chat",
            StoreErrorKind::Held => "it is under a legal hold",
            StoreErrorKind::Unavailable => "the store can't be reached or took too long",
            StoreErrorKind::Corrupt => "what is stored can't be read",
            StoreErrorKind::Other => "the store failed",
        })
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

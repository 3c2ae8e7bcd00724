//! What a command or query answers when it can't do as asked.

use std::time::Duration;

use serde::Serialize;

use crate::ports::{StoreError, StoreErrorKind, Unique};

/// A command or query that was not done. Nothing of it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request has not the form it must have.
    #[error("{0}")]
    Malformed(String),
    /// Nobody is logged in, or the session has ended.
    #[error("Log in first: the session token is missing, unknown or expired.")]
    Unauthenticated,
    /// Name and password don't fit.
    #[error("The login or the password is wrong.")]
    InvalidCredentials,
    /// The caller may see the thing but not do this.
    #[error("{0}")]
    Forbidden(&'static str),
    /// There is no such thing, or the caller may not know of it.
    #[error("There is no such {0}, or it is not yours to see.")]
    NotFound(&'static str),
    /// Somebody has the username.
    #[error("This username is taken.")]
    UsernameTaken,
    /// Somebody has the mail address.
    #[error("This mail address belongs to another account.")]
    EmailTaken,
    /// The client id was used for something else.
    #[error("This clientId was used for another request; choose a new one for each.")]
    ClientIdReused,
    /// Others kept changing the same thing.
    #[error("Others are changing the same thing at this moment; try again.")]
    Conflict,
    /// Fields that don't fit.
    #[error("Some fields are not valid: {}", pointers(.0))]
    Invalid(Vec<FieldError>),
    /// Too many requests.
    #[error("Too many requests; wait {} s.", .0.as_secs().max(1))]
    RateLimited(Duration),
    /// A part that is needed can't be reached now, or took too long.
    #[error("The service can't do this at the moment; try again shortly.")]
    Unavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// A fault of the service.
    #[error("Something went wrong inside the service.")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Shorthand for what commands and queries answer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One field that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// Which: a JSON pointer (RFC 6901) into the fields of the request, such as `/body`.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

impl Error {
    /// The stable word for this error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Unauthenticated => "unauthenticated",
            Self::InvalidCredentials => "invalidCredentials",
            Self::Forbidden(_) => "forbidden",
            Self::NotFound(_) => "notFound",
            Self::UsernameTaken => "usernameTaken",
            Self::EmailTaken => "emailTaken",
            Self::ClientIdReused => "clientIdReused",
            Self::Conflict => "conflict",
            Self::Invalid(_) => "invalid",
            Self::RateLimited(_) => "rateLimited",
            Self::Unavailable(_) => "unavailable",
            Self::Internal(_) => "internal",
        }
    }

    /// One field that does not fit; `field` as it is called on the wire.
    pub fn invalid(field: &str, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { pointer: format!("/{field}"), detail: detail.into() }])
    }

    /// Something that can't be reached, or took too long.
    pub const fn unavailable() -> Self {
        Self::Unavailable(None)
    }

    /// A fault of the service, with its cause.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }
}

fn pointers(errors: &[FieldError]) -> String {
    let mut text = String::new();
    for error in errors {
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(error.pointer.trim_start_matches('/'));
        text.push(' ');
        text.push_str(&error.detail);
    }
    text
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::NotFound => Self::NotFound("thing"),
            StoreErrorKind::NotMember => Self::NotFound("chat"),
            StoreErrorKind::AlreadyExists(Unique::Username) => Self::UsernameTaken,
            StoreErrorKind::AlreadyExists(Unique::Email) => Self::EmailTaken,
            StoreErrorKind::AlreadyExists(Unique::ClientId) => Self::ClientIdReused,
            StoreErrorKind::AlreadyExists(Unique::Id) | StoreErrorKind::Conflict => Self::Conflict,
            StoreErrorKind::Unavailable => Self::Unavailable(Some(Box::new(error))),
            StoreErrorKind::Corrupt | StoreErrorKind::Other => Self::Internal(Box::new(error)),
        }
    }
}

/// Collects what is wrong with the fields of a request, so that all of it is said at once.
#[derive(Debug, Default)]
pub(crate) struct Checks(Vec<FieldError>);

impl Checks {
    /// Takes the value, or remembers what is wrong with `field`.
    pub(crate) fn field<T>(&mut self, field: &str, value: std::result::Result<T, String>) -> Option<T> {
        value.map_err(|detail| self.0.push(FieldError { pointer: format!("/{field}"), detail })).ok()
    }

    /// The same for a field that may be absent.
    pub(crate) fn optional<T>(
        &mut self,
        field: &str,
        value: Option<std::result::Result<T, String>>,
    ) -> Option<T> {
        value.and_then(|value| self.field(field, value))
    }

    /// The error that names every bad field, if there is one.
    pub(crate) fn finish(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Invalid(self.0)) }
    }
}

//! The errors of commands and queries.

use std::time::Duration;

use serde::Serialize;

use crate::ports::{StoreError, StoreErrorKind, StoreResult, Unique};

/// Why a command or query was not carried out. None of it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request does not have the required form.
    #[error("{0}")]
    Malformed(String),
    /// Nobody is logged in, or the session has ended.
    #[error("Log in first: the session token is missing, unknown or expired.")]
    Unauthenticated,
    /// The username or address and the password do not match.
    #[error("The login or the password is wrong.")]
    InvalidCredentials,
    /// The caller may see the object but not do this.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The object does not exist, or the caller may not know of it.
    #[error("There is no such {0}, or it is not yours to see.")]
    NotFound(&'static str),
    /// The username is taken.
    #[error("This username is taken.")]
    UsernameTaken,
    /// The mail address is taken.
    #[error("This mail address belongs to another account.")]
    EmailTaken,
    /// The client id was used for another request.
    #[error("This clientId was used for another request; choose a new one for each.")]
    ClientIdReused,
    /// Others kept changing the same object.
    #[error("Others are changing the same thing at this moment; try again.")]
    Conflict,
    /// Invalid fields.
    #[error("Some fields are not valid: {}", pointers(.0))]
    Invalid(Vec<FieldError>),
    /// Too many requests.
    #[error("Too many requests; wait {} s.", .0.as_secs().max(1))]
    RateLimited(Duration),
    /// A required component can't be reached now, or took too long.
    #[error("The service can't do this at the moment; try again shortly.")]
    Unavailable(#[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// A fault of the service.
    #[error("Something went wrong inside the service.")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The code of an error: one for each variant of [`Error`], without the details of the individual case.
///
/// ```
/// use messenger_core::{Command, Error, ErrorCode, commands::LogIn};
///
/// assert_eq!(Error::Conflict.kind(), ErrorCode::Conflict);
/// assert_eq!(ErrorCode::ClientIdReused.as_str(), "clientIdReused");
/// assert_eq!(LogIn::ERRORS, [ErrorCode::InvalidCredentials, ErrorCode::Invalid]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorCode {
    /// `malformed`
    Malformed,
    /// `unauthenticated`
    Unauthenticated,
    /// `invalidCredentials`
    InvalidCredentials,
    /// `forbidden`
    Forbidden,
    /// `notFound`
    NotFound,
    /// `usernameTaken`
    UsernameTaken,
    /// `emailTaken`
    EmailTaken,
    /// `clientIdReused`
    ClientIdReused,
    /// `conflict`
    Conflict,
    /// `invalid`
    Invalid,
    /// `rateLimited`
    RateLimited,
    /// `unavailable`
    Unavailable,
    /// `internal`
    Internal,
}

impl ErrorCode {
    /// All codes.
    pub const ALL: [Self; 13] = [
        Self::Malformed,
        Self::Unauthenticated,
        Self::InvalidCredentials,
        Self::Forbidden,
        Self::NotFound,
        Self::UsernameTaken,
        Self::EmailTaken,
        Self::ClientIdReused,
        Self::Conflict,
        Self::Invalid,
        Self::RateLimited,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The stable name, as it goes over the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unauthenticated => "unauthenticated",
            Self::InvalidCredentials => "invalidCredentials",
            Self::Forbidden => "forbidden",
            Self::NotFound => "notFound",
            Self::UsernameTaken => "usernameTaken",
            Self::EmailTaken => "emailTaken",
            Self::ClientIdReused => "clientIdReused",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::RateLimited => "rateLimited",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

/// The result type of commands and queries.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One invalid field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// The field: a JSON pointer (RFC 6901) into the fields of the request, such as `/body`.
    pub pointer: String,
    /// What is wrong with it.
    pub detail: String,
}

impl Error {
    /// The code of the error.
    pub const fn kind(&self) -> ErrorCode {
        match self {
            Self::Malformed(_) => ErrorCode::Malformed,
            Self::Unauthenticated => ErrorCode::Unauthenticated,
            Self::InvalidCredentials => ErrorCode::InvalidCredentials,
            Self::Forbidden(_) => ErrorCode::Forbidden,
            Self::NotFound(_) => ErrorCode::NotFound,
            Self::UsernameTaken => ErrorCode::UsernameTaken,
            Self::EmailTaken => ErrorCode::EmailTaken,
            Self::ClientIdReused => ErrorCode::ClientIdReused,
            Self::Conflict => ErrorCode::Conflict,
            Self::Invalid(_) => ErrorCode::Invalid,
            Self::RateLimited(_) => ErrorCode::RateLimited,
            Self::Unavailable(_) => ErrorCode::Unavailable,
            Self::Internal(_) => ErrorCode::Internal,
        }
    }

    /// The stable name of this error.
    pub const fn code(&self) -> &'static str {
        self.kind().as_str()
    }

    /// An error about one invalid field; `field` is its name on the wire.
    pub fn invalid(field: &str, detail: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { pointer: format!("/{field}"), detail: detail.into() }])
    }

    /// A component can't be reached, or took too long.
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

/// What is said of an account that can't be erased.
const HELD: &str = "The account is under a legal hold, and can't be erased before that ends.";

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::NotFound => Self::NotFound("thing"),
            StoreErrorKind::NotMember => Self::NotFound("chat"),
            StoreErrorKind::AlreadyExists(Unique::Username) => Self::UsernameTaken,
            StoreErrorKind::AlreadyExists(Unique::Email) => Self::EmailTaken,
            StoreErrorKind::AlreadyExists(Unique::ClientId) => Self::ClientIdReused,
            StoreErrorKind::AlreadyExists(Unique::Id | Unique::Job) | StoreErrorKind::Conflict => {
                Self::Conflict
            }
            StoreErrorKind::Held => Self::Forbidden(HELD),
            StoreErrorKind::Unavailable => Self::Unavailable(Some(Box::new(error))),
            StoreErrorKind::Corrupt | StoreErrorKind::Other => Self::Internal(Box::new(error)),
        }
    }
}

/// Translates a store's `NotFound` for the caller of a command or query.
pub(crate) trait OrNotFound<T> {
    /// The value; the given error in place of `NotFound`; any other error unchanged.
    fn or_not_found(self, error: impl FnOnce() -> Error) -> Result<T>;
}

impl<T> OrNotFound<T> for StoreResult<T> {
    fn or_not_found(self, error: impl FnOnce() -> Error) -> Result<T> {
        self.map_err(|found| if found.kind() == StoreErrorKind::NotFound { error() } else { found.into() })
    }
}

/// Collects everything that is wrong with the fields of a request, so that it is reported at once.
#[derive(Debug, Default)]
pub(crate) struct Checks(Vec<FieldError>);

impl Checks {
    /// Returns the value, or records what is wrong with `field`.
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

    /// The error that names all invalid fields, if there are any.
    pub(crate) fn finish(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Invalid(self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn each_outcome_of_a_store_has_its_word() {
        for (kind, code) in [
            (StoreErrorKind::NotFound, "notFound"),
            (StoreErrorKind::NotMember, "notFound"),
            (StoreErrorKind::AlreadyExists(Unique::Username), "usernameTaken"),
            (StoreErrorKind::AlreadyExists(Unique::Email), "emailTaken"),
            (StoreErrorKind::AlreadyExists(Unique::ClientId), "clientIdReused"),
            (StoreErrorKind::AlreadyExists(Unique::Id), "conflict"),
            (StoreErrorKind::Conflict, "conflict"),
            (StoreErrorKind::Unavailable, "unavailable"),
            (StoreErrorKind::Corrupt, "internal"),
            (StoreErrorKind::Other, "internal"),
        ] {
            assert_eq!(Error::from(StoreError::from(kind)).code(), code, "{kind:?}");
        }
    }

    #[test]
    fn each_error_has_a_word_that_stays() {
        for (error, code) in [
            (Error::Malformed("no JSON".into()), "malformed"),
            (Error::Unauthenticated, "unauthenticated"),
            (Error::InvalidCredentials, "invalidCredentials"),
            (Error::Forbidden("Not this."), "forbidden"),
            (Error::NotFound("chat"), "notFound"),
            (Error::UsernameTaken, "usernameTaken"),
            (Error::EmailTaken, "emailTaken"),
            (Error::ClientIdReused, "clientIdReused"),
            (Error::Conflict, "conflict"),
            (Error::invalid("body", "is missing"), "invalid"),
            (Error::RateLimited(Duration::ZERO), "rateLimited"),
            (Error::unavailable(), "unavailable"),
            (Error::internal("a fault"), "internal"),
        ] {
            assert_eq!(error.code(), code);
        }
    }

    #[test]
    fn fields_that_do_not_fit_are_named_all_at_once() {
        let mut checks = Checks::default();
        assert_eq!(checks.field("title", Ok(7)), Some(7));
        assert_eq!(checks.field::<u8>("body", Err("is blank".into())), None);
        assert_eq!(checks.optional::<u8>("device", None), None);
        assert_eq!(checks.optional("clientId", Some(Ok(8))), Some(8));
        assert_eq!(checks.optional::<u8>("email", Some(Err("is none".into()))), None);
        let error = checks.finish().unwrap_err();
        assert_eq!(error.to_string(), "Some fields are not valid: body is blank; email is none");
        let Error::Invalid(fields) = error else { panic!("{error}") };
        let pointers: Vec<_> = fields.iter().map(|field| &*field.pointer).collect();
        assert_eq!(pointers, ["/body", "/email"]);
        assert!(Checks::default().finish().is_ok());
    }

    #[test]
    fn what_went_wrong_inside_is_kept_and_not_said() {
        for error in [
            Error::from(StoreError::new(StoreErrorKind::Unavailable, "password=secret")),
            Error::from(StoreError::new(StoreErrorKind::Other, "password=secret")),
            Error::internal("password=secret"),
        ] {
            assert!(!error.to_string().contains("secret"), "{error}");
            assert!(error.source().is_some(), "{error}");
        }
    }

    #[test]
    fn one_who_asks_too_often_is_told_to_wait_at_least_a_second() {
        for (millis, told) in [(0, "wait 1 s"), (1999, "wait 1 s"), (2000, "wait 2 s")] {
            let error = Error::RateLimited(Duration::from_millis(millis));
            assert!(error.to_string().contains(told), "{error}");
        }
    }
}

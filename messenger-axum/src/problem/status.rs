//! Every HTTP status code that this crate answers with, and nothing else.

use http::{Method, StatusCode};
use messenger_core::Error;

use crate::operation::{Operation, Success};

/// What can go wrong before a command or query is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    NoSuchRoute,
    MethodNotAllowed,
    BodyTooLarge(usize),
    BodyTooSlow,
    NotJson,
    /// What the hub's protocol says to a request that does not fit.
    #[cfg(feature = "signalr")]
    Hub(StatusCode, &'static str),
    /// An answer of a library that is no problem document yet.
    Other(StatusCode),
}

pub(super) fn of_error(error: &Error) -> StatusCode {
    match error {
        Error::Malformed(_) => StatusCode::BAD_REQUEST,
        Error::Unauthenticated | Error::InvalidCredentials => StatusCode::UNAUTHORIZED,
        Error::Forbidden(_) => StatusCode::FORBIDDEN,
        Error::NotFound(_) => StatusCode::NOT_FOUND,
        Error::UsernameTaken | Error::EmailTaken | Error::ClientIdReused | Error::Conflict => {
            StatusCode::CONFLICT
        }
        Error::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Error::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
        Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        // `Error` may get further variants; one without a line here is a fault of this crate.
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

pub(super) const fn of_refusal(refusal: Refusal) -> StatusCode {
    match refusal {
        Refusal::NoSuchRoute => StatusCode::NOT_FOUND,
        Refusal::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Refusal::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
        Refusal::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        #[cfg(feature = "signalr")]
        Refusal::Hub(status, _) => status,
        Refusal::Other(status) => status,
    }
}

/// The word for a request that does not fit the state of a connection of the hub.
#[cfg(feature = "signalr")]
pub(super) const fn code_of_hub(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "notFound",
        StatusCode::METHOD_NOT_ALLOWED => "methodNotAllowed",
        StatusCode::CONFLICT => "conflict",
        StatusCode::PAYLOAD_TOO_LARGE => "tooLarge",
        StatusCode::SERVICE_UNAVAILABLE => "unavailable",
        _ => "malformed",
    }
}

/// The statuses of an operation that was done; the second is for one that had been done before.
pub(crate) const fn of_success(success: Success) -> (StatusCode, Option<StatusCode>) {
    match success {
        Success::Ok => (StatusCode::OK, None),
        Success::Created => (StatusCode::CREATED, None),
        Success::CreatedOrFound => (StatusCode::CREATED, Some(StatusCode::OK)),
        Success::NoContent => (StatusCode::NO_CONTENT, None),
    }
}

/// A problem as the API's description tells of it.
pub(crate) struct Documented {
    pub(crate) status: StatusCode,
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    pub(crate) retry_after: bool,
    answers: fn(&Operation) -> bool,
}

impl Documented {
    /// Whether the operation may be answered so.
    pub(crate) fn may_answer(&self, operation: &Operation) -> bool {
        (self.answers)(operation)
    }
}

pub(crate) const UNAVAILABLE: Documented = Documented {
    status: StatusCode::SERVICE_UNAVAILABLE,
    name: "Unavailable",
    text: "`unavailable`: a part of the service can't be reached, or there is too much to do.",
    retry_after: true,
    answers: |_| true,
};

pub(crate) const PROBLEMS: [Documented; 11] = [
    Documented {
        status: StatusCode::BAD_REQUEST,
        name: "Malformed",
        text: "`malformed`: not JSON, an unknown field, a field of the wrong type, a bad id.",
        retry_after: false,
        answers: |_| true,
    },
    Documented {
        status: StatusCode::UNAUTHORIZED,
        name: "Unauthorized",
        text: "`unauthenticated`: no session, or it has ended. `invalidCredentials`: the wrong login or password.",
        retry_after: false,
        answers: |_| true,
    },
    Documented {
        status: StatusCode::FORBIDDEN,
        name: "Forbidden",
        text: "`forbidden`: the caller may see the thing but not do this.",
        retry_after: false,
        answers: |operation| operation.path.contains('{') && operation.method != Method::GET,
    },
    Documented {
        status: StatusCode::NOT_FOUND,
        name: "NotFound",
        text: "`notFound`: there is no such thing, or the caller may not know of it.",
        retry_after: false,
        answers: |operation| operation.path.contains('{') || operation.path.starts_with("/chats/"),
    },
    Documented {
        status: StatusCode::REQUEST_TIMEOUT,
        name: "TooSlow",
        text: "`tooSlow`: the body did not come in time; the connection is closed.",
        retry_after: false,
        answers: |operation| operation.method != Method::GET,
    },
    Documented {
        status: StatusCode::CONFLICT,
        name: "Conflict",
        text: "`usernameTaken`, `emailTaken`, `clientIdReused`, or `conflict`: others keep changing the same thing.",
        retry_after: false,
        answers: |operation| operation.method != Method::GET,
    },
    Documented {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        name: "TooLarge",
        text: "`tooLarge`: the body has too many bytes.",
        retry_after: false,
        answers: |operation| operation.method != Method::GET,
    },
    Documented {
        status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
        name: "UnsupportedMediaType",
        text: "`unsupportedMediaType`: the body is not JSON.",
        retry_after: false,
        answers: |operation| operation.method != Method::GET,
    },
    Documented {
        status: StatusCode::UNPROCESSABLE_ENTITY,
        name: "Invalid",
        text: "`invalid`: fields that don't fit; `errors` names them.",
        retry_after: false,
        answers: |_| true,
    },
    Documented {
        status: StatusCode::TOO_MANY_REQUESTS,
        name: "RateLimited",
        text: "`rateLimited`: too many requests.",
        retry_after: true,
        answers: |_| true,
    },
    UNAVAILABLE,
];

//! All HTTP status codes that this crate answers with.

use http::StatusCode;
use messenger_core::ErrorCode;

use super::code::Code;
use crate::operation::Success;

/// The status of a problem.
pub(crate) const fn of_code(code: Code) -> StatusCode {
    match code {
        Code::Core(code) => match code {
            ErrorCode::Malformed => StatusCode::BAD_REQUEST,
            ErrorCode::Unauthenticated | ErrorCode::InvalidCredentials => StatusCode::UNAUTHORIZED,
            ErrorCode::Forbidden => StatusCode::FORBIDDEN,
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::UsernameTaken
            | ErrorCode::EmailTaken
            | ErrorCode::ClientIdReused
            | ErrorCode::Conflict => StatusCode::CONFLICT,
            ErrorCode::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            // `ErrorCode` may get further variants; one that is missing here is a fault of this crate.
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        },
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::TooSlow => StatusCode::REQUEST_TIMEOUT,
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
    }
}

/// The code for a request that does not fit the state of a hub connection.
#[cfg(feature = "signalr")]
pub(super) const fn code_of_hub(status: StatusCode) -> Code {
    match status {
        StatusCode::NOT_FOUND => Code::Core(ErrorCode::NotFound),
        StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
        StatusCode::CONFLICT => Code::Core(ErrorCode::Conflict),
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        StatusCode::TOO_MANY_REQUESTS => Code::Core(ErrorCode::RateLimited),
        StatusCode::SERVICE_UNAVAILABLE => Code::Core(ErrorCode::Unavailable),
        _ => Code::Core(ErrorCode::Malformed),
    }
}

/// The statuses of a successful operation; the second is for a repetition of an earlier request.
pub(crate) const fn of_success(success: Success) -> (StatusCode, Option<StatusCode>) {
    match success {
        Success::Ok => (StatusCode::OK, None),
        Success::Created => (StatusCode::CREATED, None),
        Success::CreatedOrFound => (StatusCode::CREATED, Some(StatusCode::OK)),
        Success::Accepted => (StatusCode::ACCEPTED, None),
        Success::NoContent => (StatusCode::NO_CONTENT, None),
    }
}

//! The answer to a request that failed: a problem document (RFC 9457).

mod code;
pub(crate) mod status;

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use messenger_core::{Error, ErrorCode, FieldError};
use serde::Serialize;
use utoipa::{
    ToSchema,
    openapi::schema::{Object, Type},
};

pub(crate) use code::Code;

/// The media type of problem documents.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// How long clients are asked to wait when a part of the service can't be reached.
const UNAVAILABLE_FOR: Duration = Duration::from_secs(1);

/// What can go wrong before a command or query is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    NoSuchRoute,
    MethodNotAllowed,
    BodyTooLarge(usize),
    BodyTooSlow,
    NotJson,
    /// What the hub's protocol answers to a request that does not fit.
    #[cfg(feature = "signalr")]
    Hub(StatusCode, &'static str),
    /// An answer of a library that is no problem document yet.
    Other(StatusCode),
}

/// Why a request failed, as clients see it: `application/problem+json` (RFC 9457).
///
/// Sockets send the same document as the `data` of an error. It never contains the cause of a fault.
///
/// ```
/// use messenger_axum::Problem;
/// use messenger_core::Error;
///
/// let problem = Problem::from(&Error::invalid("title", "must not be blank"));
/// let json = serde_json::to_value(&problem)?;
/// assert_eq!(json["code"], "invalid");
/// assert_eq!(json["status"], 422);
/// assert_eq!(json["errors"][0]["pointer"], "/title");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// A URI that identifies the kind of problem and leads to its description.
    #[serde(rename = "type")]
    #[schema(format = "uri")]
    kind: String,
    /// The kind of problem in a few words.
    title: &'static str,
    /// The HTTP status code.
    #[schema(value_type = u16, minimum = 400, maximum = 599)]
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    /// What was wrong with this request, for people.
    detail: String,
    /// The kind of problem as a stable name.
    #[schema(schema_with = code_schema)]
    #[serde(serialize_with = "as_word")]
    code: Code,
    /// The invalid fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldError>,
    /// Seconds after which a retry makes sense.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retry_after: Option<u64>,
    /// Identifies the request in the logs of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    request_id: Option<String>,
}

impl Problem {
    /// The problem for an error, logging its cause if it is a fault: for the one place that answers the error.
    /// `From<&Error>` is the same without the log entry.
    pub fn report(error: &Error) -> Self {
        match error {
            Error::Internal(cause) => {
                tracing::error!(error = %chain(&**cause), "a request failed");
            }
            Error::Unavailable(Some(cause)) => {
                tracing::warn!(error = %chain(&**cause), "a request could not be served");
            }
            _ => {}
        }
        Self::from(error)
    }

    /// Adds the id of the request.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }

    /// The stable name of the kind of problem.
    pub const fn code(&self) -> &'static str {
        self.code.as_str()
    }

    /// What was wrong, for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The HTTP status code.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// An example of such a problem, for the API's description.
    pub(crate) fn example(code: Code) -> Self {
        Self::new(code, code.title().into())
    }

    fn new(code: Code, detail: String) -> Self {
        Self::with_status(status::of_code(code), code, detail)
    }

    fn with_status(status: StatusCode, code: Code, detail: String) -> Self {
        let kind = format!("{}/blob/main/docs/http-api.md#{}", env!("CARGO_PKG_REPOSITORY"), code.as_str());
        let title = code.title();
        Self { kind, title, status, detail, code, errors: Vec::new(), retry_after: None, request_id: None }
    }
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        let mut problem = Self::new(Code::Core(error.kind()), error.to_string());
        match error {
            Error::Invalid(errors) => problem.errors.clone_from(errors),
            Error::RateLimited(wait) => problem.retry_after = Some(whole_seconds(*wait)),
            Error::Unavailable(_) => problem.retry_after = Some(whole_seconds(UNAVAILABLE_FOR)),
            _ => {}
        }
        problem
    }
}

impl From<Error> for Problem {
    /// Logs the cause of a fault, as [`Problem::report`] does, because the error is lost afterwards.
    fn from(error: Error) -> Self {
        Self::report(&error)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchRoute => {
                Self::new(Code::Core(ErrorCode::NotFound), "There is no such route.".into())
            }
            Refusal::MethodNotAllowed => Self::new(
                Code::MethodNotAllowed,
                "This route has other methods; see the header Allow.".into(),
            ),
            Refusal::BodyTooLarge(limit) => {
                Self::new(Code::TooLarge, format!("The body may have at most {limit} bytes."))
            }
            Refusal::BodyTooSlow => Self::new(Code::TooSlow, "The body did not come in time.".into()),
            Refusal::NotJson => Self::new(
                Code::UnsupportedMediaType,
                "The body must be JSON in UTF-8, not compressed, with `Content-Type: application/json`."
                    .into(),
            ),
            #[cfg(feature = "signalr")]
            Refusal::Hub(status, text) => Self::with_status(status, status::code_of_hub(status), text.into()),
            Refusal::Other(status) if status.is_server_error() => {
                let code = Code::Core(ErrorCode::Internal);
                Self::with_status(status, code, "Something went wrong inside the service.".into())
            }
            Refusal::Other(status) => {
                let code = Code::Core(ErrorCode::Malformed);
                Self::with_status(status, code, "The request can't be understood.".into())
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // Strings and numbers always serialise.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::REQUEST_TIMEOUT {
            // Otherwise the rest of the body would be read as the next request (RFC 9110, 15.5.9).
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        // The outermost layer knows the request's id and writes the document again with it.
        response.extensions_mut().insert(self);
        response
    }
}

/// The possible values of a problem's `code`.
fn code_schema() -> Object {
    let mut words = Object::with_type(Type::String);
    words.description = Some("The kind of problem as a stable word.".into());
    words.enum_values = Some(Code::all().map(|code| code.as_str().into()).collect());
    words
}

fn as_word<S: serde::Serializer>(code: &Code, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(code.as_str())
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn whole_seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).max(1).try_into().unwrap_or(u64::MAX)
}

fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

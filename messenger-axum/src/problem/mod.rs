//! The answer to a request that was not done: a problem document (RFC 9457).

pub(crate) mod status;

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use messenger_core::{Error, FieldError};
use serde::Serialize;
use utoipa::ToSchema;

pub(crate) use status::Refusal;

/// The media type of problem documents.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// Clients are asked to wait this long when a part of the service can't be reached.
const UNAVAILABLE_FOR: Duration = Duration::from_secs(1);

/// Why a request was not done, as clients are told it: `application/problem+json` (RFC 9457).
///
/// Sockets send the same document as the `data` of an error. Causes of faults are never in it.
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
    /// A URI that names the kind of problem and leads to its description.
    #[serde(rename = "type")]
    #[schema(format = "uri")]
    kind: String,
    /// The kind of problem in a few words.
    title: &'static str,
    /// The HTTP status code.
    #[schema(value_type = u16, minimum = 400, maximum = 599)]
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    /// What was wrong with this request, for a person.
    detail: String,
    /// The kind of problem as a stable word.
    code: &'static str,
    /// The fields that don't fit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldError>,
    /// Seconds after which a repetition makes sense.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retry_after: Option<u64>,
    /// Names the request in the logs of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    request_id: Option<String>,
}

impl Problem {
    /// The problem of an error, whose cause is logged if it is a fault: for the one place where the error is
    /// answered. `From<&Error>` is the same without the log entry.
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

    /// The same, with the id of the request.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }

    /// The stable word for what was wrong.
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// What was wrong, for a person.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The HTTP status code.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    fn new(status: StatusCode, code: &'static str, detail: String) -> Self {
        let kind = format!("{}/blob/main/docs/http-api.md#{code}", env!("CARGO_PKG_REPOSITORY"));
        let title = title(code).or(status.canonical_reason()).unwrap_or("Error");
        Self { kind, title, status, detail, code, errors: Vec::new(), retry_after: None, request_id: None }
    }
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        let mut problem = Self::new(status::of_error(error), error.code(), error.to_string());
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
    /// Logs the cause of a fault, as [`Problem::report`] does: the error is gone afterwards.
    fn from(error: Error) -> Self {
        Self::report(&error)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = status::of_refusal(refusal);
        let (code, detail) = match refusal {
            Refusal::NoSuchRoute => ("notFound", "There is no such route.".into()),
            Refusal::MethodNotAllowed => {
                ("methodNotAllowed", "This route has other methods; see the header Allow.".into())
            }
            Refusal::BodyTooLarge(limit) => ("tooLarge", format!("The body may have at most {limit} bytes.")),
            Refusal::BodyTooSlow => ("tooSlow", "The body did not come in time.".into()),
            Refusal::NotJson => (
                "unsupportedMediaType",
                "The body must be JSON in UTF-8, not compressed, with `Content-Type: application/json`."
                    .into(),
            ),
            #[cfg(feature = "signalr")]
            Refusal::Hub(status, text) => (status::code_of_hub(status), text.into()),
            Refusal::Other(status) if status.is_server_error() => {
                ("internal", "Something went wrong inside the service.".into())
            }
            Refusal::Other(_) => ("malformed", "The request can't be understood.".into()),
        };
        Self::new(status, code, detail)
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
        if self.code == "unauthenticated" || self.code == "invalidCredentials" {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::REQUEST_TIMEOUT {
            // The rest of the body would be taken for the next request (RFC 9110, 15.5.9).
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        // The outermost layer knows the request's id and writes the document again with it.
        response.extensions_mut().insert(self);
        response
    }
}

fn title(code: &str) -> Option<&'static str> {
    Some(match code {
        "malformed" => "The request is malformed",
        "unauthenticated" => "Log in first",
        "invalidCredentials" => "Wrong login or password",
        "forbidden" => "Not allowed",
        "notFound" => "Not found",
        "usernameTaken" => "The username is taken",
        "emailTaken" => "The mail address is taken",
        "clientIdReused" => "The client id was used before",
        "conflict" => "Changed by others at the same time",
        "invalid" => "Some fields are not valid",
        "rateLimited" => "Too many requests",
        "unavailable" => "Temporarily unavailable",
        "internal" => "A fault of the service",
        "tooLarge" => "The body is too large",
        "tooSlow" => "The body came too slowly",
        "unsupportedMediaType" => "The body is not JSON",
        "methodNotAllowed" => "The route has no such method",
        _ => return None,
    })
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

//! What an answer looks like when all went well.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, header};
use messenger_core::{Error, Outcome, Page, Result};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    openapi::Described,
    problem::status,
    signalr::{Payload, Protocol},
};

/// How an operation tells that it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Success {
    /// With what was asked for.
    Ok,
    /// With what was made.
    Created,
    /// With what was made now, or by the same request before.
    CreatedOrFound,
    /// With nothing to say.
    NoContent,
}

/// The result of an operation, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    success: Success,
    found: bool,
    value: Payload,
}

impl Answer {
    /// A result that was simply asked for.
    pub(crate) fn ok(value: &impl Serialize, protocol: Protocol) -> Result<Self> {
        Self::of(Success::Ok, false, value, protocol)
    }

    /// The result in the protocol that was asked for; void if there is nothing to say.
    pub(crate) fn into_value(self) -> Payload {
        self.value
    }

    /// The result as JSON, if that was asked for.
    pub(crate) fn json(&self) -> Bytes {
        self.value.bytes().cloned().unwrap_or(Bytes::from_static(b"null"))
    }

    fn of(success: Success, found: bool, value: &impl Serialize, protocol: Protocol) -> Result<Self> {
        Ok(Self { success, found, value: protocol.payload(value).map_err(Error::internal)? })
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let (made, found) = status::of_success(self.success);
        if self.success == Success::NoContent {
            return made.into_response();
        }
        let status = if self.found { found.unwrap_or(made) } else { made };
        let json = HeaderValue::from_static("application/json");
        (status, [(header::CONTENT_TYPE, json)], self.json()).into_response()
    }
}

/// Turns the output `O` of a command or query into an [`Answer`].
pub(super) trait Form<O>: 'static {
    const SUCCESS: Success;

    fn answer(output: O, protocol: Protocol) -> Result<Answer>;
    fn described() -> Option<Described>;
}

/// 200 with the output.
pub(super) struct Json;

impl<T: Serialize + ToSchema> Form<T> for Json {
    const SUCCESS: Success = Success::Ok;

    fn answer(output: T, protocol: Protocol) -> Result<Answer> {
        Answer::of(Success::Ok, false, &output, protocol)
    }

    fn described() -> Option<Described> {
        Some(Described::of::<T>())
    }
}

/// 200 with a page of a list.
pub(super) struct Paged;

impl<T: Serialize + ToSchema> Form<Page<T>> for Paged {
    const SUCCESS: Success = Success::Ok;

    fn answer(output: Page<T>, protocol: Protocol) -> Result<Answer> {
        Answer::of(Success::Ok, false, &output, protocol)
    }

    fn described() -> Option<Described> {
        Some(Described::page_of::<T>())
    }
}

/// 201 with the output.
pub(super) struct Created;

impl<T: Serialize + ToSchema> Form<T> for Created {
    const SUCCESS: Success = Success::Created;

    fn answer(output: T, protocol: Protocol) -> Result<Answer> {
        Answer::of(Success::Created, false, &output, protocol)
    }

    fn described() -> Option<Described> {
        Some(Described::of::<T>())
    }
}

/// 201 with what was made, or 200 with what the same request had made before.
pub(super) struct CreatedOrFound;

impl<T: Serialize + ToSchema> Form<Outcome<T>> for CreatedOrFound {
    const SUCCESS: Success = Success::CreatedOrFound;

    fn answer(output: Outcome<T>, protocol: Protocol) -> Result<Answer> {
        Answer::of(Success::CreatedOrFound, !output.created, &output.value, protocol)
    }

    fn described() -> Option<Described> {
        Some(Described::of::<T>())
    }
}

/// 204.
pub(super) struct NoContent;

impl Form<()> for NoContent {
    const SUCCESS: Success = Success::NoContent;

    fn answer((): (), _: Protocol) -> Result<Answer> {
        Ok(Answer { success: Success::NoContent, found: false, value: Payload::void() })
    }

    fn described() -> Option<Described> {
        None
    }
}

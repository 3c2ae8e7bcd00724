//! The forms of successful answers.

use std::collections::VecDeque;

use bytes::Bytes;
use http::StatusCode;
use messenger_core::{Error, Idempotent, Page, Result};
use serde::Serialize;
use utoipa::ToSchema;

use super::{pieces::Pieces, success::Success};
#[cfg(any(feature = "ws", feature = "signalr"))]
use crate::encoding::Encoding;
use crate::{openapi::Described, problem::status};

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writing {
    /// As JSON in pieces, for the body of a response.
    Pieces,
    /// As one value in this encoding, for a message of a socket.
    #[cfg(any(feature = "ws", feature = "signalr"))]
    Value(Encoding),
}

/// The result of an operation, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    success: Success,
    found: bool,
    written: Written,
}

#[derive(Debug, Clone)]
enum Written {
    Nothing,
    Pieces(VecDeque<Bytes>),
    #[cfg(any(feature = "ws", feature = "signalr"))]
    Value(Bytes),
}

impl Answer {
    /// The answer of an operation that created nothing.
    #[cfg(any(feature = "ws", feature = "signalr"))]
    pub(crate) fn ok(value: &impl Serialize, encoding: Encoding) -> Result<Self> {
        Self::of(Success::Ok, false, value, Writing::Value(encoding))
    }

    /// The status of the answer over REST.
    pub(crate) fn status(&self) -> StatusCode {
        let (made, found) = status::of_success(self.success);
        if self.found { found.unwrap_or(made) } else { made }
    }

    /// The result in pieces, if it was written so and is not empty.
    pub(crate) fn into_pieces(self) -> Option<VecDeque<Bytes>> {
        match self.written {
            Written::Pieces(pieces) => Some(pieces),
            _ => None,
        }
    }

    /// The result in the requested encoding, if it is not empty.
    #[cfg(any(feature = "ws", feature = "signalr"))]
    pub(crate) fn value(&self) -> Option<&Bytes> {
        match &self.written {
            Written::Value(value) => Some(value),
            Written::Nothing | Written::Pieces(_) => None,
        }
    }

    fn of(success: Success, found: bool, value: &impl Serialize, writing: Writing) -> Result<Self> {
        let written = match writing {
            Writing::Pieces => {
                let mut pieces = Pieces::default();
                serde_json::to_writer(&mut pieces, value).map_err(Error::internal)?;
                Written::Pieces(pieces.finish())
            }
            #[cfg(any(feature = "ws", feature = "signalr"))]
            Writing::Value(encoding) => Written::Value(encoding.encode(value)?),
        };
        Ok(Self { success, found, written })
    }
}

/// Turns the output `O` of a command or query into an [`Answer`].
pub(super) trait Form<O>: 'static {
    const SUCCESS: Success;

    fn answer(output: O, writing: Writing) -> Result<Answer>;
    fn described() -> Option<Described>;
}

/// 200 with the output.
pub(super) struct Json;

impl<T: Serialize + ToSchema> Form<T> for Json {
    const SUCCESS: Success = Success::Ok;

    fn answer(output: T, writing: Writing) -> Result<Answer> {
        Answer::of(Success::Ok, false, &output, writing)
    }

    fn described() -> Option<Described> {
        Some(Described::of::<T>())
    }
}

/// 200 with a page of a list.
pub(super) struct Paged;

impl<T: Serialize + ToSchema> Form<Page<T>> for Paged {
    const SUCCESS: Success = Success::Ok;

    fn answer(output: Page<T>, writing: Writing) -> Result<Answer> {
        Answer::of(Success::Ok, false, &output, writing)
    }

    fn described() -> Option<Described> {
        Some(Described::page_of::<T>())
    }
}

/// 201 with the output.
pub(super) struct Created;

impl<T: Serialize + ToSchema> Form<T> for Created {
    const SUCCESS: Success = Success::Created;

    fn answer(output: T, writing: Writing) -> Result<Answer> {
        Answer::of(Success::Created, false, &output, writing)
    }

    fn described() -> Option<Described> {
        Some(Described::of::<T>())
    }
}

/// 201 with what was created, or 200 with what the same request had created before.
pub(super) struct CreatedOrFound;

impl<T: Serialize + ToSchema> Form<Idempotent<T>> for CreatedOrFound {
    const SUCCESS: Success = Success::CreatedOrFound;

    fn answer(output: Idempotent<T>, writing: Writing) -> Result<Answer> {
        Answer::of(Success::CreatedOrFound, !output.created, &output.value, writing)
    }

    fn described() -> Option<Described> {
        Some(Described::of::<T>())
    }
}

/// 202 without content.
pub(super) struct Accepted;

impl Form<()> for Accepted {
    const SUCCESS: Success = Success::Accepted;

    fn answer((): (), _: Writing) -> Result<Answer> {
        Ok(Answer { success: Success::Accepted, found: false, written: Written::Nothing })
    }

    fn described() -> Option<Described> {
        None
    }
}

/// 204.
pub(super) struct NoContent;

impl Form<()> for NoContent {
    const SUCCESS: Success = Success::NoContent;

    fn answer((): (), _: Writing) -> Result<Answer> {
        Ok(Answer { success: Success::NoContent, found: false, written: Written::Nothing })
    }

    fn described() -> Option<Described> {
        None
    }
}

//! Operations that answer with a file, which a socket has no frame for.

use http::Method;
use messenger_core::{ErrorCode, Query as _, queries};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Access, Operation, Success};
use crate::openapi::Described;

/// Downloads everything that is held about the caller, as a zip of JSON Lines.
///
/// `README.txt` in it says what is in which file. It is made while it is read: if something goes wrong meanwhile, it breaks off, and
/// the archive has no end. A person may have one under way.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExportMe {}

pub(super) fn export() -> Operation {
    Operation {
        name: queries::ExportMe::NAME,
        method: Method::GET,
        path: "/users/me/export",
        access: Access::Session,
        success: Success::Ok,
        errors: &[ErrorCode::NotFound],
        input: Described::of::<ExportMe>(),
        output: None,
        only_reads: true,
        #[cfg(any(feature = "ws", feature = "signalr"))]
        overlaps: false,
        has_own_turns: true,
        run: None,
    }
}

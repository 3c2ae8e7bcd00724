//! The layers around every route.

mod cors;
mod observe;
mod request_id;

pub(crate) use cors::cors;
pub(crate) use observe::{ForPeople, observe};
pub use observe::{REQUEST_DURATION, REQUESTS};

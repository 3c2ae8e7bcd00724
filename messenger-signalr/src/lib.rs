#![doc = include_str!("../README.md")]

mod caller;
mod client_results;
mod connection_token;
mod connections;
mod endpoint;
mod error;
mod hub;
mod negotiate;
mod options;
mod protocol;
mod reliable;
mod request;
mod session;
mod shared;
mod transports;
mod uploads;

pub use caller::Caller;
pub use client_results::ClientResultError;
pub use endpoint::{Refused, router, router_counted_in};
pub use error::HubError;
pub use hub::{Close, Hub, HubClient, HubMethod, HubRequest, Invocation, Invoked, Push};
pub use messenger_socket::{Account, Placed, Reservation, StartAfter, Unsent, UnsentLimits};
pub use options::{SignalROptions, Transport};
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub use protocol::fuzzing;
pub use protocol::{Argument, ArgumentError, EncodeError, OwnedArgument, Payload, Protocol};
pub use uploads::Upload;

#![doc = include_str!("../README.md")]

mod ask;
mod connections;
mod endpoint;
mod hub;
mod negotiate;
mod options;
mod protocol;
mod reliable;
mod request;
mod session;
mod transports;
mod uploads;

pub use ask::AskError;
pub use endpoint::{Refused, router, router_counted_in};
pub use hub::{Asking, Caller, Goodbye, Hub, HubClient, HubError, HubMethod, Invocation, Invoked, Push};
pub use messenger_socket::{Account, Placed, Reservation, StartAfter, Unsent, UnsentLimits};
pub use options::{SignalROptions, Transport};
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub use protocol::fuzzing;
pub use protocol::{Argument, ArgumentError, EncodeError, OwnedArgument, Payload, Protocol};
pub use uploads::Upload;

//! A SignalR server: what ASP.NET Core's clients connect to, for hubs of whatever kind.
//!
//! [`Hub`] is what a host writes, and [`router`] serves it. Clients for JavaScript, .NET, Java and Python connect as
//! they are, over WebSockets, Server-Sent Events or long polling, with the JSON or the MessagePack protocol.
//! `docs/signalr.md` of the repository has a table of what is supported.
//!
//! The protocols are those of `docs/specs/HubProtocol.md` and `docs/specs/TransportProtocols.md` of
//! [ASP.NET Core](https://github.com/dotnet/aspnetcore/tree/main/src/SignalR/docs/specs).

mod ask;
mod connections;
mod endpoint;
mod hub;
mod negotiate;
mod options;
mod protocol;
mod reliable;
mod session;
mod transports;
mod uploads;

pub use ask::AskError;
pub(crate) use endpoint::counted_router;
pub use endpoint::{Refused, router};
pub use hub::{Asking, Caller, Goodbye, Hub, HubClient, HubError, HubMethod, Invocation, Invoked, Push};
pub use options::{SignalROptions, Transport};
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub use protocol::fuzzing;
pub use protocol::{Argument, ArgumentError, EncodeError, OwnedArgument, Payload, Protocol};
pub use uploads::Upload;

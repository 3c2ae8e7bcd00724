#![doc = include_str!("../README.md")]

mod admission;
#[cfg(feature = "signalr")]
mod chat_hub;
mod client;
mod current_actor;
mod door;
#[cfg(any(feature = "ws", feature = "signalr"))]
mod encoding;
mod fields;
mod health;
mod layers;
mod limits;
mod login_limit;
mod openapi;
mod operation;
mod options;
mod problem;
mod rest;
mod router;
#[cfg(any(feature = "ws", feature = "signalr"))]
mod sockets;
mod unsubscribe;
#[cfg(feature = "ws")]
mod ws;

pub use current_actor::CurrentActor;
pub use health::health;
pub use layers::{REQUEST_DURATION, REQUESTS};
pub use login_limit::LoginLimit;
/// The SignalR server of the hub.
#[cfg(feature = "signalr")]
pub use messenger_signalr as signalr;
#[cfg(any(feature = "ws", feature = "signalr"))]
pub use messenger_socket::UnsentLimits;
pub use openapi::openapi;
pub use options::{Options, Rate, RateLimits};
pub use problem::Problem;
pub use router::{not_found, router};

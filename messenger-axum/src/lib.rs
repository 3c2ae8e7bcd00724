#![doc = include_str!("../README.md")]

mod admission;
mod caller;
mod chat_hub;
mod client;
mod door;
mod encoding;
mod fields;
mod health;
mod history;
mod layers;
mod limits;
mod login;
mod openapi;
mod operation;
mod options;
mod origin;
mod problem;
mod readers;
mod rest;
mod router;
mod rpc;
mod ws;

pub use health::health;
pub use layers::{REQUEST_DURATION, REQUESTS};
pub use login::Login;
/// The SignalR server of the hub.
pub use messenger_signalr as signalr;
pub use messenger_socket::UnsentLimits;
pub use openapi::openapi;
pub use options::{Options, Rate, RateLimits};
pub use problem::Problem;
pub use router::{not_found, router};

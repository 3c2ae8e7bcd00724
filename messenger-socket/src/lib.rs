#![doc = include_str!("../README.md")]

mod decoder;
mod message;
mod outbox;
mod pipeline;
mod unsent;
mod upgrade;
mod web_socket;
mod writer;

pub use message::{Message, SocketError};
pub use pipeline::{Pipeline, Placed, StartAfter};
pub use unsent::{Account, Reservation, Unsent, UnsentLimits};
pub use upgrade::Upgrade;
pub use web_socket::WebSocket;
pub use writer::{WriteError, Writer};

//! A fault test of the whole: several nodes in processes of their own, many clients, and a script of what goes wrong between
//! them, drawn from a seed. In the end what every client was told is compared with what is stored.

mod checker;
mod client;
mod cluster;
mod delays;
mod http;
mod outbox;
mod place;
mod plan;
mod record;
mod report;
mod rng;
mod run;
mod script;
mod truth;
mod view;
mod wire;
mod world;

pub use checker::{Finding, Wrong};
pub use report::Outcome;
pub use run::{Options, run};
pub use script::BusKind;
pub use wire::{Ended, Frame, Socket, Wire};

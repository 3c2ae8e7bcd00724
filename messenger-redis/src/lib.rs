#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod bus;
mod inbox;
mod node;
mod open;
mod presence;
mod requests;
mod server;

pub use bus::RedisBus;
pub use open::{OpenError, Redis, RedisBuilder};
pub use presence::RedisPresence;

#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod bus;
mod inbox;
mod node;
mod presence;
mod requests;
mod server;

pub use bus::RedisBus;
pub use presence::RedisPresence;
pub use server::{OpenError, Redis, RedisBuilder};

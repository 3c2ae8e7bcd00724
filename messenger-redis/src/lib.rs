#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
mod bus;
mod code;
mod connections;
mod inbox;
mod layout;
mod leases;
mod link;
mod listener;
mod node;
mod open;
mod presence;
mod rates;
mod requests;
mod restoring;
mod server;
mod sources;
mod topology;

pub use bus::RedisBus;
pub use open::{OpenError, Redis, RedisBuilder};
pub use presence::RedisPresence;
pub use rates::RedisRateLimiter;

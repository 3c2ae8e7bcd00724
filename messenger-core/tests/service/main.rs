//! The service from outside, on the backend in memory. One binary, because linking each takes longer than running it.

mod connections;
mod hub;
mod lifetime;
mod nodes;
mod sending;
mod sessions;
mod syncing;

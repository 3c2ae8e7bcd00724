//! What benchmarks of whole servers are made of: servers in processes of their own, clients that do as little as they
//! can, people who write to each other, and tables of what came out.

pub mod client;
pub mod crowd;
pub mod http;
pub mod keeper;
mod load;
mod meter;
pub mod order;
pub mod people;
mod place;
pub mod postgres;
pub mod process;
pub mod report;
mod round;
pub mod wire;

use crate::bench::Result;

//! What benchmarks of durable sends are made of: people who send through the whole service, clients that insert bare
//! rows, and tables of what came out. And stores with very many chats, which are asked what has changed, and what is
//! unread.

mod bare;
mod changes;
mod figures;
mod history;
mod options;
mod pairs;
mod sends;
mod service;
mod table;
mod unread;

use std::error::Error;

pub use self::{
    bare::{Bare, Inserter},
    changes::{Changes, IDLE, MESSAGES_OF_IDLE},
    figures::{Figures, verdict},
    history::{LongChat, PAGE},
    options::Options,
    pairs::Pairs,
    sends::{CHATS, PEOPLE, Sends, line, plain},
    service::Service,
    table::{Line, Table},
    unread::{Spelling, Unread},
};

/// What a benchmark can't go on after, it ends with.
pub type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// The text of every message.
pub const BODY: &str =
    "A message of one hundred bytes, give or take none, as people write them to each other every day ....";
const _: () = assert!(BODY.len() == 100, "the length that the other figures are for");

/// Rows of a bare batch.
pub const BATCH: usize = 128;

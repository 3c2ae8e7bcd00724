//! `messenger-server retention`: how long messages are kept, what is exempt from that, and what was purged.

pub(crate) mod cli;
mod run;

pub(crate) use self::{cli::RetentionCommand, run::run};

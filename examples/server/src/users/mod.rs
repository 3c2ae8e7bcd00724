//! `messenger-server users`: what operators do with accounts.

pub(crate) mod cli;
mod export;
mod run;

pub(crate) use self::{cli::UsersCommand, run::run};

//! `messenger-server jobs`: to see and change background jobs, and the forms in which they are shown.

pub(crate) mod cli;
mod run;
mod text;
mod view;

pub(crate) use self::{
    cli::JobsCommand,
    run::run,
    view::{CountsView, JobDetail, JobLine, state_of},
};

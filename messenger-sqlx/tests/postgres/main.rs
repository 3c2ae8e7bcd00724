//! The store on PostgreSQL, and what nodes share there: the conformance kit, directly and through PgBouncer, and what is particular to it. One binary,
//! because linking each takes longer than many of them run.

#![cfg(feature = "postgres")]

mod bus;
mod crash;
mod erasing;
mod growth;
mod jobs;
mod kit;
mod plans;
#[cfg(unix)]
mod pooler;
mod presence;
mod sealing;
mod server;
mod support;
mod takeover;

//! The store on SQLite: the conformance kit, and what is particular to a file.

#![cfg(feature = "sqlite")]

mod file;
mod keys;
mod kit;
mod sealing;

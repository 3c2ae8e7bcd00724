//! Mails, and how they are sent.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]
#![cfg_attr(
    feature = "smtp",
    expect(clippy::expect_used, reason = "a test fails by panicking, in its helpers too")
)]

mod folder;
mod rendering;
mod scenes;
#[cfg(feature = "smtp")]
mod smtp;
#[cfg(feature = "smtp")]
mod smtp_server;
#[cfg(feature = "webhook")]
mod webhook;

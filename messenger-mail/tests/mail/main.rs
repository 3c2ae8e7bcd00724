//! Mails, and how they are sent.

mod folder;
mod rendering;
mod scenes;
#[cfg(feature = "smtp")]
mod smtp;
#[cfg(feature = "smtp")]
mod smtp_server;
#[cfg(feature = "webhook")]
mod webhook;

#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod composer;
mod error;
mod folder;
mod folder_of_templates;
mod headers;
mod log;
mod mail;
mod open;
mod plural;
mod samples;
#[cfg(feature = "smtp")]
mod smtp;
mod templates;
mod text;
mod url;
mod view;
#[cfg(feature = "webhook")]
mod webhook;
mod words;

pub use composer::{Composer, ComposerBuilder};
pub use error::ComposerError;
pub use folder::FolderNotifier;
pub use log::LogNotifier;
pub use mail::Mail;
pub use open::{CheckError, MailNotifier, OpenError};
#[cfg(feature = "smtp")]
pub use smtp::{SmtpBuildError, SmtpBuilder, SmtpError, SmtpNotifier, TokenSource};
pub use url::{MailUrl, MailUrlError, SmtpAddress};
#[cfg(feature = "webhook")]
pub use webhook::{
    InvalidWebhookKey, WebhookBuilder, WebhookError, WebhookKey, WebhookNotifier, WebhookUrlError,
};

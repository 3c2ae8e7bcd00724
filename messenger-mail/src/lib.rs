//! Mail.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod composer;
mod error;
mod folder_of_templates;
mod headers;
mod mail;
mod plural;
mod samples;
mod templates;
mod text;
mod view;
mod words;

pub use composer::{Composer, ComposerBuilder};
pub use error::ComposerError;
pub use mail::Mail;

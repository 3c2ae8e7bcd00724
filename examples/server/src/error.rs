use std::{error::Error, fmt, io, path::PathBuf};

use crate::{config::ConfigError, keys::KeyFileError};

/// Why the server can't do what was asked. Each is one sentence that says what to do next.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Usage(String),
    #[error("The address {0} is in use; end the program that has it, or choose another with --listen.")]
    AddressInUse(String),
    #[error("The server can't listen at {0}; choose another address with --listen")]
    Listen(String, #[source] io::Error),
    /// Why, and what to do about it.
    #[error("The data can't be opened: {0}.")]
    Store(String),
    #[error("What is in memory is there for one server alone; say where the data lies with --store-url.")]
    NothingShared,
    #[error("The mail can't go where --mail-url says")]
    Mail(#[source] messenger_mail::OpenError),
    #[error("The key for links in mails, {}, can't be read or made; mend that, or give one with --secret-file", .0.display())]
    Key(PathBuf, #[source] io::Error),
    #[error("The file {} holds no key for links in mails, which is at least 32 random letters; remove it, and another is made.", .0.display())]
    NoKey(PathBuf),
    #[error(
        "A worker that mails has to be told with --public-url where people reach the page: links in mails lead there."
    )]
    NoPublicUrl,
    #[error(
        "A worker that mails has to know who is online at the servers on this database, or it would mail them all: give it and them a \
         presence that they share, with --redis-url or --presence."
    )]
    PresenceOfOthers,
    #[error(
        "The data is encrypted; give its keys with --encryption-keys-file instead of turning encryption off."
    )]
    Encrypted,
    #[error(
        "There are no keys to encrypt with; `messenger-server keys generate` makes one, and --encryption-keys-file says where it is."
    )]
    NoEncryptionKeys,
    #[error("The file with the encryption keys, {}, can't be used", .0.display())]
    KeyFile(PathBuf, #[source] KeyFileError),
    #[error(
        "The data is encrypted with version {0} of the key, which is not among {1}; put that back, or restore it from a copy."
    )]
    MissingKey(u32, String),
    #[error(
        "The data is encrypted with another key than {0}, or its keys were changed; give the right ones with --encryption-keys-file."
    )]
    WrongKeys(String),
    #[error(
        "Not all data keys were wrapped anew; what was done stays done, and the rest follows when this is called again"
    )]
    Rotation(#[source] Box<dyn Error + Send + Sync>),
    #[error(
        "The data is not encrypted yet; give all servers the same keys ({0}), start them, and call this again."
    )]
    NotEncrypted(String),
    #[error(
        "Not all that was stored before was encrypted; what was done stays done, and the rest follows when this is called again"
    )]
    Sealing(#[source] Box<dyn Error + Send + Sync>),
    #[error("All is encrypted, but the database could not be vacuumed; call this again")]
    Vacuum(#[source] messenger_core::ports::StoreError),
    /// What is wrong with what was asked of the background jobs.
    #[error("{0}")]
    Jobs(String),
    #[error("The jobs can't be reached")]
    JobsUnreachable(#[source] messenger_core::Error),
    /// What is wrong with what was asked of an account.
    #[error("{0}")]
    Users(String),
    #[error("The accounts can't be reached")]
    UsersUnreachable(#[source] messenger_core::Error),
    #[error(
        "The erasure was broken off; ask for it again. If it had begun, a background job of a server goes on with it"
    )]
    ErasureBrokenOff(#[source] messenger_core::Error),
    /// What is wrong with what was asked about retention.
    #[error("{0}")]
    Retention(String),
    #[error("The data can't be reached")]
    RetentionUnreachable(#[source] messenger_core::Error),
    #[error("The export was broken off; ask for it again, and it goes on")]
    ExportBrokenOff(#[source] messenger_core::Error),
    #[error("The export can't be written to {}", .0.display())]
    ExportFile(PathBuf, #[source] io::Error),
    #[error("The server can't start")]
    Start(#[source] Box<dyn Error + Send + Sync>),
    #[error("Ended at once by a second signal; work under way may have been cut off.")]
    Interrupted,
}

impl ServerError {
    pub(crate) fn start(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Start(cause.into())
    }
}

/// An error and what caused it, on one line.
pub(crate) struct Sentence<'a>(pub(crate) &'a dyn Error);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            // Some errors repeat their cause in their own text.
            if !said.contains(&text) {
                write!(f, ": {}", text.replace('\n', " "))?;
                said = text;
            }
            next = cause.source();
        }
        Ok(())
    }
}

//! Why a database can't be opened as a store, the same on every engine.

use std::{error::Error, fmt};

use crate::migrations::{Pending, Refusal};

/// Why a database can't be used as a store. `Display` is one sentence that names the database and the cause, and has
/// no password in it.
///
/// ```
/// use messenger_sql::open::{OpenError, OpenErrorKind};
///
/// let error = OpenError::new(OpenErrorKind::ReadOnly, "the database db:5432/chat is read-only");
/// assert_eq!(error.kind(), OpenErrorKind::ReadOnly);
/// assert_eq!(error.to_string(), "the database db:5432/chat is read-only");
/// ```
#[derive(Debug)]
pub struct OpenError {
    kind: OpenErrorKind,
    sentence: Box<str>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What is the matter with a database that can't be used as a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenErrorKind {
    /// The address is none of a database of the engine, or contradicts another setting.
    Address,
    /// The name can't be that of a schema.
    Schema,
    /// The server can't be reached, does not answer in time, or is none of the engine.
    Unreachable,
    /// There is no encrypted connection, and one is asked for; or the server's certificate is not trusted.
    Encryption,
    /// The server does not take the user, the password or the token.
    Login,
    /// The server lets nobody of this name in from here.
    NotAllowed,
    /// The server has no such database, or the user may not use it.
    NoDatabase,
    /// The user lacks a right.
    Permission,
    /// The server has as many connections as it takes.
    TooManyConnections,
    /// The server starts or ends.
    NotReady,
    /// Something else has failed at the server or in the file.
    Failed,
    /// The file lies where SQLite can't keep a write-ahead log, for instance on a network drive.
    NoLog,
    /// The server is too old.
    Version,
    /// The database can't hold every text.
    Encoding,
    /// The server acknowledges commits that it may lose.
    NotDurable,
    /// Nothing can be written: the server follows another one, or the database may only be read.
    ReadOnly,
    /// A later version of the backend has taken away what this one needs.
    Newer {
        /// The last migration that has done so.
        found: i64,
        /// The last migration that this version knows.
        known: i64,
    },
    /// A migration that the database has behind it is not the one of this backend.
    Changed {
        /// Which one.
        version: i64,
    },
    /// The functions or procedures that the database has are of the same release and have another text.
    ChangedRoutines {
        /// Of which release.
        release: i64,
    },
    /// The tables are not up to date, and were not to be changed.
    Pending {
        /// The first migration that is missing.
        version: i64,
    },
    /// The functions or procedures are not up to date, and were not to be changed.
    PendingRoutines {
        /// Of which release they should be.
        release: i64,
    },
    /// Another node has been migrating the tables for longer than it is waited for.
    Busy,
}

impl OpenError {
    /// An error without another one behind it.
    pub fn new(kind: OpenErrorKind, sentence: impl Into<String>) -> Self {
        Self { kind, sentence: sentence.into().into(), source: None }
    }

    /// The same, with the error that it came with.
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What is the matter.
    pub const fn kind(&self) -> OpenErrorKind {
        self.kind
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// How sentences name what is migrated.
#[derive(Debug, Clone, Copy)]
pub struct Migrated<'n> {
    /// With an article, such as `the database chat.db`.
    pub name: &'n str,
    /// The engine's word for functions or procedures.
    pub routines: &'static str,
}

impl Migrated<'_> {
    /// The error for a database that can't be brought up to date.
    pub fn refused(&self, refusal: &Refusal) -> OpenError {
        let Self { name, routines } = self;
        match *refusal {
            Refusal::Newer { found, known } => OpenError::new(
                OpenErrorKind::Newer { found, known },
                format!(
                    "{name} is newer than this program: its migration {found} has taken away what this program needs, \
                     and {known} is the last one known; run the release that made it, or a later one"
                ),
            ),
            Refusal::Changed { version } => OpenError::new(
                OpenErrorKind::Changed { version },
                format!("{name} was made by another program: its migration {version} is not ours"),
            ),
            Refusal::ChangedRoutines { release } => OpenError::new(
                OpenErrorKind::ChangedRoutines { release },
                format!(
                    "{name} was made by another program: its {routines} of release {release} are not ours"
                ),
            ),
        }
    }

    /// Refuses a database that is not up to date.
    ///
    /// # Errors
    /// [`OpenErrorKind::Pending`] and [`OpenErrorKind::PendingRoutines`].
    pub fn require_nothing(&self, pending: &Pending) -> Result<(), OpenError> {
        let Self { name, routines } = self;
        if let Some(step) = pending.steps.first() {
            let version = step.version;
            let sentence = format!("{name} lacks migration {version}; run the migrations first");
            return Err(OpenError::new(OpenErrorKind::Pending { version }, sentence));
        }
        if let Some(missing) = pending.routines {
            let release = missing.release;
            let sentence =
                format!("{name} lacks the {routines} of release {release}; run the migrations first");
            return Err(OpenError::new(OpenErrorKind::PendingRoutines { release }, sentence));
        }
        Ok(())
    }
}

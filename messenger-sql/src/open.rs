//! Why a database can't be opened as a store; common to all engines.

use std::{error::Error, fmt};

use crate::migrations::{Pending, Refusal};

/// Why a database can't be used as a store. `Display` is one sentence that names the database and the cause, without
/// any password.
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

/// The kind of problem with a database that can't be used as a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenErrorKind {
    /// The address does not name a database of the engine, or contradicts another setting.
    Address,
    /// The name is not valid for a schema.
    Schema,
    /// The server can't be reached, does not answer in time, or is no server of the engine.
    Unreachable,
    /// An encrypted connection is required, and the server does not offer one; or its certificate is not trusted.
    Encryption,
    /// The server rejects the user, the password or the token.
    Login,
    /// The server does not allow this user to connect from this host.
    NotAllowed,
    /// The server has no such database, or the user may not use it.
    NoDatabase,
    /// The user lacks a permission.
    Permission,
    /// The server has reached its maximum number of connections.
    TooManyConnections,
    /// The server is starting or shutting down.
    NotReady,
    /// Another failure of the server or of the file.
    Failed,
    /// The file is where SQLite can't keep a write-ahead log, for instance on a network drive.
    NoLog,
    /// The server is too old.
    Version,
    /// The database encoding can't represent every text.
    Encoding,
    /// The server acknowledges commits that it may lose.
    NotDurable,
    /// Nothing can be written: the server is a replica, or the database is read-only.
    ReadOnly,
    /// A later version of the backend has removed something that this one needs.
    Newer {
        /// The last migration that removed something.
        found: i64,
        /// The last migration that this version knows.
        known: i64,
    },
    /// An applied migration differs from the one of this backend.
    Changed {
        /// The version of the migration.
        version: i64,
    },
    /// The functions or procedures in the database have the same release number, but another text.
    ChangedRoutines {
        /// The release.
        release: i64,
    },
    /// The tables are not up to date, and migrating is disabled.
    Pending {
        /// The first migration that is missing.
        version: i64,
    },
    /// The functions or procedures are not up to date, and migrating is disabled.
    PendingRoutines {
        /// The release that they should be of.
        release: i64,
    },
    /// The file is in use by another server.
    InUse,
    /// Another node has been migrating the tables for longer than the maximum wait.
    Busy,
}

impl OpenError {
    /// An error without a source.
    pub fn new(kind: OpenErrorKind, sentence: impl Into<String>) -> Self {
        Self { kind, sentence: sentence.into().into(), source: None }
    }

    /// Adds the source of the error.
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind of problem.
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

/// How error sentences name what is migrated.
#[derive(Debug, Clone, Copy)]
pub struct Migrated<'n> {
    /// The database with an article, such as `the database chat.db`.
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

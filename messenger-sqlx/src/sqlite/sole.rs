//! Keeps a second process away from the file: without a word it would run beside the first, and each would hear of what
//! the other has stored some seconds later.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    path::Path,
    sync::{Mutex, PoisonError},
};

use messenger_sql::open::{OpenError, OpenErrorKind};

use super::modes;

/// The lock of a file of its own beside the database, `chat.db-lock`: SQLite's own locks on the database would be lost if
/// we opened it and closed it again. The system releases the lock when the process ends, however it ends; the file stays.
#[derive(Debug)]
pub(super) struct Sole(Mutex<Option<File>>);

impl Sole {
    /// Not locked: other processes may use the file.
    pub(super) const fn nothing() -> Self {
        Self(Mutex::new(None))
    }

    /// Locks the database, which must exist.
    pub(super) fn lock(database: &Path) -> Result<Self, OpenError> {
        let failed = |error: std::io::Error| {
            let sentence = format!("the database file `{}` can't be locked: {error}", database.display());
            OpenError::new(OpenErrorKind::Failed, sentence).with_source(error)
        };
        // The same file by another name is the same file.
        let mut name = OsString::from(fs::canonicalize(database).map_err(failed)?);
        name.push("-lock");
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        modes::for_owner(&mut options);
        let file = options.open(name).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(Mutex::new(Some(file)))),
            Err(TryLockError::Error(error)) => Err(failed(error)),
            Err(TryLockError::WouldBlock) => {
                let sentence = format!(
                    "the database file `{}` is in use by another server; several servers need a database on PostgreSQL or SQL Server",
                    database.display()
                );
                Err(OpenError::new(OpenErrorKind::InUse, sentence))
            }
        }
    }

    /// Lets another process use the file.
    pub(super) fn release(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

//! Everything that is held about a person, in a file.

mod archive;
mod partial;

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use messenger_core::{
    Account, Accounts, Error,
    queries::{ExportFile, ExportPart},
};

use self::partial::{Opening, Partial};
use crate::error::ServerError;

/// How often it is said how far it has come.
const EVERY: Duration = Duration::from_secs(1);

/// Writes it to `file`, which there is not yet, and says what is there then. What is done so far lies in a folder beside it, from where
/// it goes on if it is asked for again.
pub(super) async fn export(
    accounts: &Accounts,
    account: &Account,
    file: &Path,
) -> Result<String, ServerError> {
    let failed = |error: io::Error| ServerError::ExportFile(file.to_owned(), error);
    let folder = folder_of(file);
    if file.try_exists().map_err(failed)? {
        return Err(ServerError::Users(exists(file, &folder)));
    }
    let mut partial = match Partial::open(&folder, account.id).map_err(failed)? {
        Opening::Opened(partial) => partial,
        Opening::Refused(why) => return Err(ServerError::Users(why)),
    };
    if partial.is_begun() {
        eprintln!("It goes on where it was broken off, after {} messages.", partial.messages());
    }
    let mut progress = Progress::begin(partial.messages());
    while !partial.is_whole() {
        let part = accounts.export(account.id, partial.cursor()).await;
        let part = part.map_err(|error| broken_off(error, account, &folder))?;
        partial.add(&part).map_err(failed)?;
        progress.tell(&part, partial.messages());
    }
    let whole = partial.archive().map_err(failed)?;
    if !archive::put(&whole, file).map_err(failed)? {
        return Err(ServerError::Users(exists(file, &folder)));
    }
    let messages = partial.messages();
    partial.remove().map_err(failed)?;
    Ok(format!(
        "All that is held about `{}` ({}) is in {}: {messages} messages, and the rest as README.txt in it says.\n",
        account.username.as_str(),
        account.id,
        file.display()
    ))
}

fn folder_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn exists(file: &Path, folder: &Path) -> String {
    let left = if folder.exists() {
        format!(" What is left in {} is not needed for it.", folder.display())
    } else {
        String::new()
    };
    format!("There is a file {} already; move it away, or choose another with --to.{left}", file.display())
}

fn broken_off(error: Error, account: &Account, folder: &Path) -> ServerError {
    match error {
        Error::NotFound(_) => ServerError::Users(format!(
            "The account {} was erased meanwhile; remove {}, which has what was read until then.",
            account.id,
            folder.display()
        )),
        // It was made by another release, or changed.
        Error::Invalid(_) => ServerError::Users(format!(
            "It can't go on from what is in {}; remove that, and begin anew.",
            folder.display()
        )),
        other => ServerError::ExportBrokenOff(other),
    }
}

/// Says on standard error how far it has come.
struct Progress {
    begun: Instant,
    told: Instant,
    before: u64,
}

impl Progress {
    fn begin(before: u64) -> Self {
        let now = Instant::now();
        Self { begun: now, told: now, before }
    }

    fn tell(&mut self, part: &ExportPart, messages: u64) {
        if self.told.elapsed() < EVERY {
            return;
        }
        self.told = Instant::now();
        let seconds = self.begun.elapsed().as_secs().max(1);
        let rate = (messages - self.before) / seconds;
        let at = if part.file == ExportFile::Messages { "" } else { part.file.name() };
        eprintln!("{messages} messages, {rate} a second {at}");
    }
}

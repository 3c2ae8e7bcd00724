use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use messenger_core::ports::{ClaimId, Notification, Notifier, NotifyError};

use crate::composer::Composer;

/// Writes a file for each mail into a folder: `CLAIM.eml`, which mail programs open.
///
/// A file is there as a whole or not at all, and the same mail is the same file, however often it is tried. On Unix only its owner can
/// read it, for it may have a link in it by which a password is set.
///
/// ```
/// use messenger_mail::{Composer, FolderNotifier};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path();
/// let composer = Composer::builder("Chat <chat@example.org>").build()?;
/// let notifier = FolderNotifier::open(path, composer)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FolderNotifier {
    folder: PathBuf,
    composer: Composer,
    /// Files that were begun, of which no two have one name.
    begun: AtomicU64,
}

impl FolderNotifier {
    /// Makes the folder if it is not there, on Unix for its owner alone.
    ///
    /// # Errors
    /// The folder can't be made, or is something else.
    pub fn open(folder: impl AsRef<Path>, composer: Composer) -> io::Result<Self> {
        let folder = folder.as_ref().to_owned();
        let mut made = fs::DirBuilder::new();
        made.recursive(true);
        // The mails in it are for its owner alone, too.
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut made, 0o700);
        made.create(&folder)?;
        Ok(Self { folder, composer, begun: AtomicU64::new(0) })
    }

    /// Where the mail of this claim is.
    pub fn path(&self, claim: ClaimId) -> PathBuf {
        self.folder.join(format!("{claim}.eml"))
    }
}

#[async_trait]
impl Notifier for FolderNotifier {
    async fn notify(&self, notification: &Notification) -> Result<(), NotifyError> {
        let mail = self.composer.compose(notification)?;
        let path = self.path(notification.claim);
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let begun = self.folder.join(format!(".{}.{}.{number}", notification.claim, std::process::id()));
        // It goes on if this is dropped, so nothing is left half done.
        let writing = tokio::task::spawn_blocking(move || write(&begun, &path, mail.as_bytes()));
        match writing.await {
            Ok(written) => written.map_err(|error| NotifyError::Unavailable(error.into())),
            Err(error) => Err(NotifyError::Unavailable(error.into())),
        }
    }
}

fn write(begun: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written =
        options.open(begun).and_then(|mut file| file.write_all(bytes)).and_then(|()| fs::rename(begun, path));
    if written.is_err() {
        // There is nobody to tell that this failed as well.
        let _ = fs::remove_file(begun);
    }
    written
}

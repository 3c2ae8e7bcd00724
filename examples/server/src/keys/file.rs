//! The file with the key-encryption keys.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use messenger_core::{
    context::Context,
    encryption::{DataKey, InvalidKeyRing, KeyRing, KeyService, KeyServiceError},
    ports::{KeyId, WrappedKey},
};
use tokio::time::Instant;
use zeroize::Zeroizing;

/// Why a file with keys can't be used. Each is a part of a sentence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyFileError {
    #[error("it can't be read or written")]
    Io(#[from] io::Error),
    #[error("others than its owner can read or change it; `chmod 600` it")]
    Open,
    #[error(transparent)]
    Invalid(#[from] InvalidKeyRing),
}

/// The keys in a file, which is read again when a data key turns up that none of them wrapped: so keys are changed while
/// servers run.
pub(crate) struct KeyFile {
    path: PathBuf,
    ring: RwLock<Arc<KeyRing>>,
    read_at: RwLock<Instant>,
}

/// How often the file is read again at most.
const AGAIN: Duration = Duration::from_secs(1);

impl KeyFile {
    pub(crate) fn open(path: &Path) -> Result<Self, KeyFileError> {
        let ring = Arc::new(read(path)?);
        Ok(Self { path: path.to_owned(), ring: RwLock::new(ring), read_at: RwLock::new(Instant::now()) })
    }

    fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn read_again(&self) -> Option<Arc<KeyRing>> {
        {
            let mut read_at = self.read_at.write().unwrap_or_else(PoisonError::into_inner);
            if read_at.elapsed() < AGAIN {
                return None;
            }
            *read_at = Instant::now();
        }
        let ring = match read(&self.path) {
            Ok(ring) => Arc::new(ring),
            Err(error) => {
                let (path, error) = (self.path.display(), &error as &dyn std::error::Error);
                tracing::error!(%path, error, "the encryption keys can't be read again");
                return None;
            }
        };
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&ring);
        Some(ring)
    }
}

#[async_trait]
impl KeyService for KeyFile {
    fn current(&self) -> u32 {
        self.ring().current()
    }

    fn version(&self, wrapped: &WrappedKey) -> Option<u32> {
        self.ring().version(wrapped)
    }

    async fn wrap(&self, id: KeyId, key: &DataKey) -> Result<WrappedKey, KeyServiceError> {
        self.ring().wrap(id, key).await
    }

    async fn unwrap(&self, id: KeyId, wrapped: &WrappedKey) -> Result<DataKey, KeyServiceError> {
        match self.ring().unwrap(id, wrapped).await {
            Err(error @ KeyServiceError::UnknownVersion { .. }) => match self.read_again() {
                Some(ring) => ring.unwrap(id, wrapped).await,
                None => Err(error),
            },
            answer => answer,
        }
    }
}

fn read(path: &Path) -> Result<KeyRing, KeyFileError> {
    check_mode(path)?;
    Ok(KeyRing::parse(&Zeroizing::new(fs::read_to_string(path)?))?)
}

/// Nobody may write to it but its owner, and only its group may read it, as those who hand out secrets do it.
#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), KeyFileError> {
    use std::os::unix::fs::PermissionsExt as _;
    match fs::metadata(path)?.permissions().mode() & 0o027 {
        0 => Ok(()),
        _ => Err(KeyFileError::Open),
    }
}

#[cfg(not(unix))]
fn check_mode(path: &Path) -> Result<(), KeyFileError> {
    fs::metadata(path)?;
    Ok(())
}

/// Makes the file with a first key. There is none yet.
pub(crate) fn make(path: &Path) -> Result<(), KeyFileError> {
    let line = KeyRing::generate_line(1, &Context::system());
    let mut file = for_its_owner(path)?;
    let written = write_lines(&mut file, &line, "");
    if written.is_err() {
        // What is half written would be taken for a key that is none.
        let _ = fs::remove_file(path);
    }
    Ok(written?)
}

/// Adds a key as the first line, and returns its version. Nobody ever sees half a file.
pub(crate) fn add(path: &Path) -> Result<u32, KeyFileError> {
    check_mode(path)?;
    let text = Zeroizing::new(fs::read_to_string(path)?);
    let newest = KeyRing::parse(&text)?.versions().max().unwrap_or(0);
    let version = newest.checked_add(1).ok_or_else(|| io::Error::other("there is no further version"))?;
    let line = KeyRing::generate_line(version, &Context::system());
    let beside = path.with_extension("encryption-key.new");
    let _ = fs::remove_file(&beside);
    let mut file = for_its_owner(&beside)?;
    let written = write_lines(&mut file, &line, &text).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written?;
    Ok(version)
}

const COMMENT: &str = "\
# Key-encryption keys, `version:key`; the first one wraps new data keys. Keep a copy of this file apart from the data:
# without it nobody can read what is encrypted, and who has both can.
";

fn write_lines(file: &mut File, line: &str, rest: &str) -> io::Result<()> {
    let rest = rest.strip_prefix(COMMENT).unwrap_or(rest);
    for part in [COMMENT, line, "\n", rest] {
        file.write_all(part.as_bytes())?;
    }
    file.sync_all()
}

fn for_its_owner(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

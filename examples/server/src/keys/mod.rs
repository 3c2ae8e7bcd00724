//! Encryption at rest: which keys, and whether at all.

pub(crate) mod cli;
mod file;
mod progress;
mod run;
mod seal_existing;

use std::sync::Arc;

use messenger_core::{
    encryption::{EncryptionError, KeyService, KeyServiceError, PlainValues, SealSettings, SealedStore},
    ports::{KeyId, Store},
};

use self::file::KeyFile;
pub(crate) use self::{
    cli::{KeysCommand, Vacuum},
    file::KeyFileError,
    run::run,
};
use crate::{
    config::{EncryptionConfig, EncryptionKeys, EncryptionMode},
    error::ServerError,
};

/// A store, and how it is sealed if it is.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) sealed: Option<Arc<SealedStore>>,
}

/// Seals the store if the settings or what is in it say so. Only a server may make the first keys of new data.
pub(crate) async fn seal(
    store: Arc<dyn Store>,
    config: &EncryptionConfig,
    may_make: bool,
) -> Result<Opened, ServerError> {
    let is_encrypted = has_keys(&*store).await?;
    let wanted = match config.mode {
        EncryptionMode::Off if is_encrypted => return Err(ServerError::Encrypted),
        EncryptionMode::Off => false,
        EncryptionMode::On | EncryptionMode::Strict => true,
        EncryptionMode::Auto => is_encrypted || wants_keys(&*store, &config.keys).await?,
    };
    if !wanted || (!is_encrypted && !may_make) {
        return Ok(Opened { store, sealed: None });
    }
    let keys = service(config, may_make && !is_encrypted)?;
    let plain = match config.mode {
        EncryptionMode::Strict => PlainValues::Refused,
        _ => PlainValues::Accepted,
    };
    let settings = SealSettings {
        display_names: config.display_names,
        padding: config.padding,
        plain,
        ..SealSettings::default()
    };
    let sealed = SealedStore::open(store, keys, settings).await.map_err(|error| refused(error, config))?;
    let sealed = Arc::new(sealed);
    Ok(Opened { store: Arc::clone(&sealed) as Arc<dyn Store>, sealed: Some(sealed) })
}

fn refused(error: EncryptionError, config: &EncryptionConfig) -> ServerError {
    match error {
        EncryptionError::Keys(KeyServiceError::UnknownVersion { version }) => {
            ServerError::MissingKey(version, config.keys.to_string())
        }
        EncryptionError::Keys(_) => ServerError::WrongKeys(config.keys.to_string()),
        error => ServerError::start(error),
    }
}

async fn has_keys(store: &dyn Store) -> Result<bool, ServerError> {
    let found = store.keys(&[KeyId::of_all(1)]).await.map_err(ServerError::start)?;
    Ok(!found.is_empty())
}

/// Without a word about encryption: where keys are given, and for new data in a file.
async fn wants_keys(store: &dyn Store, keys: &EncryptionKeys) -> Result<bool, ServerError> {
    Ok(match keys {
        EncryptionKeys::Given(_) | EncryptionKeys::File(_) => true,
        EncryptionKeys::None => false,
        EncryptionKeys::Beside(path) => {
            path.exists() || store.find_users("", None, 1).await.map_err(ServerError::start)?.is_empty()
        }
    })
}

/// The keys of the settings; `may_make` if data is not yet encrypted.
fn service(config: &EncryptionConfig, may_make: bool) -> Result<Arc<dyn KeyService>, ServerError> {
    let path = match &config.keys {
        EncryptionKeys::Given(ring) => return Ok(Arc::new(ring.clone())),
        EncryptionKeys::None => return Err(ServerError::NoEncryptionKeys),
        EncryptionKeys::File(path) => path,
        EncryptionKeys::Beside(path) => {
            if may_make && !path.exists() {
                file::make(path).map_err(|error| ServerError::KeyFile(path.clone(), error))?;
                tracing::info!(path = %path.display(), "made the key that the data is encrypted with");
                eprintln!(
                    "What people write is encrypted with the key in {}; keep a copy of it apart from the data.",
                    path.display()
                );
            }
            path
        }
    };
    let keys = KeyFile::open(path).map_err(|error| ServerError::KeyFile(path.clone(), error))?;
    Ok(Arc::new(keys))
}

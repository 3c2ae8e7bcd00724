use std::{
    fmt,
    path::{Path, PathBuf},
};

use messenger_core::encryption::KeyRing;

use super::{error::ConfigError, store_url::StoreUrl, values::Values};

/// Whether what people write is sealed, and with which keys.
#[derive(Debug, Clone)]
pub(crate) struct EncryptionConfig {
    pub(crate) mode: EncryptionMode,
    pub(crate) keys: EncryptionKeys,
    pub(crate) display_names: bool,
    pub(crate) padding: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EncryptionMode {
    /// On where there are keys or the data was encrypted before, and for new SQLite data.
    Auto,
    Off,
    On,
    /// What is not sealed counts as damaged.
    Strict,
}

/// Where the key-encryption keys are.
#[derive(Debug, Clone)]
pub(crate) enum EncryptionKeys {
    Given(KeyRing),
    File(PathBuf),
    /// In this file beside the data, made for new data.
    Beside(PathBuf),
    None,
}

impl EncryptionConfig {
    pub(super) fn of(values: &Values<'_>, store: &StoreUrl) -> Result<Self, ConfigError> {
        let mode = values.read("encryption", mode)?;
        let file = values.read("encryption-keys-file", |path| match path {
            "" => Ok(None),
            path => Ok(Some(PathBuf::from(path))),
        })?;
        let keys = values.read("encryption-keys", |text| match (text, file) {
            ("", Some(path)) => Ok(EncryptionKeys::File(path)),
            ("", None) => Ok(match store {
                StoreUrl::Sqlite(path) => EncryptionKeys::Beside(path.with_extension("encryption-key")),
                StoreUrl::Memory | StoreUrl::Postgres(_) | StoreUrl::Mssql(_) => EncryptionKeys::None,
            }),
            (_, Some(_)) => Err("is there beside --encryption-keys-file; give one of them".to_owned()),
            // In a variable a line break is hard to write.
            (text, None) => match KeyRing::parse(&text.replace(',', "\n")) {
                Ok(ring) => Ok(EncryptionKeys::Given(ring)),
                Err(error) => Err(format!("can't be used: {error}")),
            },
        })?;
        let display_names = values.read("encryption-display-names", super::on_or_off)?;
        let padding = values.read("encryption-padding", super::on_or_off)?;
        Ok(Self { mode, keys, display_names, padding })
    }

    /// The file with the keys.
    pub(crate) fn file(&self) -> Option<&Path> {
        match &self.keys {
            EncryptionKeys::File(path) | EncryptionKeys::Beside(path) => Some(path),
            EncryptionKeys::Given(_) | EncryptionKeys::None => None,
        }
    }
}

fn mode(text: &str) -> Result<EncryptionMode, String> {
    match text {
        "" => Ok(EncryptionMode::Auto),
        "off" => Ok(EncryptionMode::Off),
        "on" => Ok(EncryptionMode::On),
        "strict" => Ok(EncryptionMode::Strict),
        _ => Err("has to be `on`, `off` or `strict`".to_owned()),
    }
}

impl fmt::Display for EncryptionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(_) => f.write_str("the keys of the settings"),
            Self::File(path) | Self::Beside(path) => write!(f, "the keys in {}", path.display()),
            Self::None => f.write_str("no keys"),
        }
    }
}

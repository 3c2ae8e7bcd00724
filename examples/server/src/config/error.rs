use std::{fmt, io, path::PathBuf};

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("The configuration file {} can't be read ({source}); check the path given with --config.", .file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("The configuration file {} is not valid TOML: line {line}: {reason}.", .file.display())]
    Syntax { file: PathBuf, line: usize, reason: String },
    #[error("The configuration file {} has the key `{key}`, and there is no such setting; {hint}", .file.display())]
    UnknownKey { file: PathBuf, key: String, hint: Hint },
    #[error("The configuration file {} sets {key} to a {kind}; a text is expected.", .file.display())]
    Kind { file: PathBuf, key: &'static str, kind: &'static str },
    #[error("The variable {name} is not UTF-8 text; set it anew.")]
    NotText { name: String },
    #[error("{place} is `{value}`, which {reason}.")]
    Value { place: String, value: String, reason: String },
    #[error("The setting {name} has no value.")]
    Missing { name: &'static str },
}

/// What may have been meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Hint(pub(crate) Option<&'static str>);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, "did you mean `{name}`?"),
            None => f.write_str("`messenger-server --help` lists all settings."),
        }
    }
}

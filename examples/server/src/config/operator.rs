use std::fmt;

use subtle::ConstantTimeEq as _;

use super::{error::ConfigError, values::Values};

/// What an operator shows to see and change background jobs.
#[derive(Clone)]
pub(crate) struct OperatorKey(String);

impl OperatorKey {
    /// From the setting or from the file.
    pub(super) fn of(values: &Values<'_>) -> Result<Option<Self>, ConfigError> {
        let in_file = values.read("operator-key-file", |path| match path {
            "" => Ok(None),
            path => {
                let text =
                    std::fs::read_to_string(path).map_err(|error| format!("can't be read: {error}"))?;
                let key = key(text.trim()).ok().flatten();
                key.map(Some).ok_or_else(|| format!("holds no key, which {KEY}"))
            }
        })?;
        values.read("operator-key", |text| match (key(text)?, in_file) {
            (Some(_), Some(_)) => Err("is there beside --operator-key-file; give one of them".to_owned()),
            (given, in_file) => Ok(given.or(in_file)),
        })
    }

    /// Whether this is the key, in a time that does not depend on how much of it is right.
    pub(crate) fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

const KEY: &str = "is 20 to 200 letters, digits and signs without spaces";

fn key(text: &str) -> Result<Option<OperatorKey>, String> {
    match text {
        "" => Ok(None),
        _ if (20..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(Some(OperatorKey(text.to_owned())))
        }
        _ => Err(format!("is no key, which {KEY}")),
    }
}

impl fmt::Debug for OperatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorKey(***)")
    }
}

use std::{fmt, path::PathBuf};

use messenger_core::LinkKeys;

use super::{error::ConfigError, store_url::StoreUrl, values::Values};

/// Where the key is with which links in mails are signed.
#[derive(Debug, Clone)]
pub(crate) enum Secret {
    Given(LinkKeys),
    /// In this file beside the data, made when missing.
    Beside(PathBuf),
    /// Of this process alone.
    Fleeting,
}

impl Secret {
    /// From the setting or from the file; without them it follows from where the data lies.
    pub(super) fn of(values: &Values<'_>, store: &StoreUrl) -> Result<Self, ConfigError> {
        let in_file = values.read("secret-file", |path| match path {
            "" => Ok(None),
            path => {
                let text =
                    std::fs::read_to_string(path).map_err(|error| format!("can't be read: {error}"))?;
                keys(&text).map(Some).ok_or_else(|| format!("holds no key, which {KEY}"))
            }
        })?;
        values.read("secret", |text| match (text, in_file) {
            ("", Some(keys)) => Ok(Self::Given(keys)),
            ("", None) => Ok(match store {
                StoreUrl::Sqlite(path) => Self::Beside(path.with_extension("key")),
                StoreUrl::Memory | StoreUrl::Postgres(_) | StoreUrl::Mssql(_) => Self::Fleeting,
            }),
            (_, Some(_)) => Err("is there beside --secret-file; give one of them".to_owned()),
            (text, None) => match LinkKeys::new(text.as_bytes()) {
                Ok(keys) => Ok(Self::Given(keys)),
                Err(_) => Err(format!("is no key, which {KEY}")),
            },
        })
    }
}

pub(crate) const KEY: &str = "is at least 32 random letters, digits and signs";

/// The keys of a file, one a line: the first signs, and the others are those of before.
pub(crate) fn keys(text: &str) -> Option<LinkKeys> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::as_bytes);
    let first = LinkKeys::new(lines.next()?).ok()?;
    lines.try_fold(first, LinkKeys::with_former).ok()
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(_) => f.write_str("the secret of the settings"),
            Self::Beside(path) => write!(f, "the key in {}, which is made when missing", path.display()),
            Self::Fleeting => f.write_str(
                "a key of this process alone, so they end with it: give all servers on the database the same --secret-file",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_key_a_line_and_the_first_signs() {
        let (new, old) = ("n".repeat(32), "o".repeat(32));
        let both = keys(&format!("\n{new}\n  {old}\r\n\n")).unwrap();
        assert_eq!(format!("{both:?}"), "LinkKeys(2)");
        for none in ["", "\n", "short", &format!("{new}\nshort")] {
            assert!(keys(none).is_none(), "{none}");
        }
    }
}

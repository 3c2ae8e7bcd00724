use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use messenger_mail::MailUrl;

use super::{
    error::{ConfigError, Hint},
    postgres_url::masked,
    settings::{PREFIX, SETTINGS, Setting, variable},
};

/// Where a value was set, in rising order of precedence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Default,
    File(PathBuf),
    Variable(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// The text that is set for one setting.
pub(crate) struct Value {
    pub(crate) setting: &'static Setting,
    pub(crate) text: String,
    pub(crate) origin: Origin,
}

impl Value {
    /// The text without secrets, for people to see.
    pub(crate) fn shown(&self) -> String {
        if self.text.is_empty() {
            return String::new();
        }
        if self.setting.is_secret() {
            return "***".to_owned();
        }
        if self.setting.name == "mail-url" {
            // A password may be anywhere in one that can't be understood.
            return self.text.parse::<MailUrl>().map_or_else(|_| "***".to_owned(), |url| url.to_string());
        }
        masked(&self.text)
    }

    /// What the text means, or the sentence that says what is wrong with it.
    pub(crate) fn read<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, ConfigError> {
        parse(&self.text).map_err(|reason| ConfigError::Value {
            place: match &self.origin {
                Origin::Default | Origin::File(_) => format!("{} in {}", self.setting.name, self.origin),
                Origin::Variable(name) | Origin::Flag(name) => name.clone(),
            },
            value: self.shown(),
            reason,
        })
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {:?} ({})", self.setting.name, self.shown(), self.origin)
    }
}

/// What the three sources say. `flag` and `variable` look one up by its name.
pub(crate) struct Sources<'a> {
    pub(crate) file: Option<&'a Path>,
    pub(crate) variable: &'a dyn Fn(&str) -> Option<OsString>,
    pub(crate) flag: &'a dyn Fn(&str) -> Option<String>,
}

impl Sources<'_> {
    /// The text that holds for each setting.
    pub(crate) fn gather(&self) -> Result<Vec<Value>, ConfigError> {
        let file = self.read_file()?;
        SETTINGS.iter().map(|setting| self.one(setting, file.as_ref())).collect()
    }

    fn one(&self, setting: &'static Setting, file: Option<&toml::Table>) -> Result<Value, ConfigError> {
        if let Some(text) = (self.flag)(setting.name) {
            return Ok(Value { setting, text, origin: Origin::Flag(format!("--{}", setting.name)) });
        }
        if let Some(text) = text_of_variable(self.variable, setting.name)? {
            return Ok(Value { setting, text, origin: Origin::Variable(setting.variable()) });
        }
        if let (Some(path), Some(value)) = (self.file, file.and_then(|table| table.get(setting.name))) {
            let text = text_of_toml(value).ok_or_else(|| ConfigError::Kind {
                file: path.to_owned(),
                key: setting.name,
                kind: value.type_str(),
            })?;
            return Ok(Value { setting, text, origin: Origin::File(path.to_owned()) });
        }
        Ok(Value { setting, text: setting.default.to_owned(), origin: Origin::Default })
    }

    fn read_file(&self) -> Result<Option<toml::Table>, ConfigError> {
        let Some(path) = self.file else { return Ok(None) };
        let file = || path.to_owned();
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { file: file(), source })?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
            file: file(),
            line: error.span().map_or(1, |span| line_of(&text, span.start)),
            reason: error.message().replace('\n', ", "),
        })?;
        if let Some(key) = table.keys().find(|key| Setting::named(key).is_none()) {
            return Err(ConfigError::UnknownKey { file: file(), key: key.clone(), hint: Hint(nearest(key)) });
        }
        Ok(Some(table))
    }
}

/// A variable that is empty counts as not set, because composing tools can't leave one out.
pub(crate) fn text_of_variable(
    lookup: &dyn Fn(&str) -> Option<OsString>,
    name: &str,
) -> Result<Option<String>, ConfigError> {
    let name = variable(name);
    let Some(value) = lookup(&name).filter(|value| !value.is_empty()) else { return Ok(None) };
    value.into_string().map(Some).map_err(|_| ConfigError::NotText { name })
}

/// Variables that look like settings but are none, with what they may have been meant to be.
pub(crate) fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<(String, String)> {
    let known: Vec<_> = SETTINGS.iter().map(Setting::variable).chain([variable("config")]).collect();
    names
        .filter(|name| name.starts_with(PREFIX) && !known.contains(name))
        .filter_map(|name| {
            let key = name[PREFIX.len()..].to_lowercase().replace('_', "-");
            // Container systems set variables such as MESSENGER_SERVICE_HOST for a service of that name: only
            // what resembles a setting is likely to be a slip.
            nearest(&key).map(|near| (name, variable(near)))
        })
        .collect()
}

fn nearest(name: &str) -> Option<&'static str> {
    SETTINGS
        .iter()
        .map(|setting| (strsim::damerau_levenshtein(&name.replace('_', "-"), setting.name), setting.name))
        .filter(|(distance, known)| *distance <= known.len() / 3)
        .min()
        .map(|(_, known)| known)
}

fn text_of_toml(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(true) => Some("on".to_owned()),
        toml::Value::Boolean(false) => Some("off".to_owned()),
        toml::Value::Array(items) => {
            let texts: Option<Vec<_>> = items.iter().map(toml::Value::as_str).collect();
            texts.map(|texts| texts.join(","))
        }
        _ => None,
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

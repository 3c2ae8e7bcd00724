use super::{error::ConfigError, sources::Value};

/// The values of all settings.
pub(super) struct Values<'a>(pub(super) &'a [Value]);

impl Values<'_> {
    /// The value of a setting, as `parse` understands it.
    pub(super) fn read<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let value = self.0.iter().find(|value| value.setting.name == name);
        value.ok_or(ConfigError::Missing { name })?.read(parse)
    }
}

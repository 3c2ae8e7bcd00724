//! What the commands that end at once print.

use std::{
    env,
    io::{self, Write as _},
};

use crate::{
    config::{Config, Value, unknown_variables},
    error::ServerError,
};

/// Writes to standard output; a reader that has seen enough, such as `head`, is no error.
pub(crate) fn print(text: &str) -> Result<(), ServerError> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(ServerError::start(error)),
        _ => Ok(()),
    }
}

/// The settings in force, and what follows from them for mail.
pub(crate) fn checked(values: &[Value], config: &Config) -> String {
    let mail = match &config.mail {
        Some(mail) => mail.summary(&config.listen),
        None => "Nobody gets mail; --mail-url says where it goes.\n".to_owned(),
    };
    format!("{}\n{mail}", settings(values))
}

/// The settings in force, one a line: name, value, and where it was set.
fn settings(values: &[Value]) -> String {
    let width = |of: fn(&Value) -> usize| values.iter().map(of).max().unwrap_or(0);
    let (names, texts) = (width(|value| value.setting.name.len()), width(|value| value.shown().len()));
    values
        .iter()
        .map(|value| format!("{:names$}  {:texts$}  {}\n", value.setting.name, value.shown(), value.origin))
        .collect()
}

/// Says on standard error which variables look like a slip.
pub(crate) fn warn_of_unknown_variables() {
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for (name, near) in unknown_variables(names) {
        eprintln!("The variable {name} is set, and there is no such setting; did you mean {near}?");
    }
}

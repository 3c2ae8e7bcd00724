//! The log: on standard output, so that what people must see stays alone on standard error.

use tracing_subscriber::{EnvFilter, util::SubscriberInitExt as _};

use crate::{
    config::{Config, LogFormat},
    error::ServerError,
};

/// Starts to log what the settings ask for.
pub(crate) fn init(config: &Config) -> Result<(), ServerError> {
    let filter = EnvFilter::try_new(&config.log).map_err(ServerError::start)?;
    // It logs what the server says to it, the values of duplicate keys included. Errors reach us without.
    let filter = filter.add_directive("tiberius=off".parse().map_err(ServerError::start)?);
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    match config.log_format {
        LogFormat::Text => {
            // Colour codes are noise in a file or a pipe.
            let colour = std::io::IsTerminal::is_terminal(&std::io::stdout());
            builder.with_ansi(colour).finish().try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    }
    .map_err(ServerError::start)
}

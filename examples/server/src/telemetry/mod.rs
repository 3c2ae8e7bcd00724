//! The log: on standard output, so that what people must see stays alone on standard error.

mod escape;
mod fields;
mod limits;
mod lines;
mod panics;

use std::io;

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{MakeWriter, format::JsonFields},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

pub(crate) use self::panics::say_where_threads_panic;
use self::{fields::TextFields, limits::Limits, lines::Named};
use crate::{
    config::{Config, LogFilter, LogFormat},
    error::ServerError,
};

/// Starts to log what the settings ask for.
pub(crate) fn init(config: &Config) -> Result<(), ServerError> {
    let filter = EnvFilter::try_new(config.log.as_str()).map_err(ServerError::start)?;
    tracing_subscriber::registry()
        .with(lines(config.log_format, config.node_name.as_deref().unwrap_or_default(), io::stdout))
        .with(Limits)
        .with(filter)
        .try_init()
        .map_err(ServerError::start)?;
    say_what_is_left_out(&config.log);
    Ok(())
}

/// Writes each event as a line.
fn lines<S, W>(format: LogFormat, node: &str, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        LogFormat::Text => {
            // Colour codes are noise in a file or a pipe.
            let colour = io::IsTerminal::is_terminal(&io::stdout());
            let named = |format| Named::text(format, node);
            layer.with_ansi(colour).fmt_fields(TextFields).map_event_format(named).boxed()
        }
        LogFormat::Json => {
            let named = |format| Named::json(format, node);
            layer.json().flatten_event(true).map_event_format(named).fmt_fields(JsonFields::new()).boxed()
        }
    }
}

/// Who asks for more should not look for what can't be there.
fn say_what_is_left_out(log: &LogFilter) {
    let beyond: Vec<_> = log.beyond(limits::OF_LIBRARIES).collect();
    if !beyond.is_empty() {
        tracing::info!(
            "of libraries, no more than `info` is logged, whatever --log says (`{}`): below it they may write what people send",
            beyond.join(",")
        );
    }
}

#[cfg(test)]
mod tests;

//! The log: on standard output, so that what people must see stays alone on standard error.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

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
    let node = config.node_name.clone().unwrap_or_default();
    match config.log_format {
        LogFormat::Text => {
            // Colour codes are noise in a file or a pipe.
            let colour = std::io::IsTerminal::is_terminal(&std::io::stdout());
            let named = |format| Named { format, begin: text_of(&node), opens: "" };
            builder.with_ansi(colour).map_event_format(named).finish().try_init()
        }
        LogFormat::Json => {
            let named = |format| Named { format, begin: json_of(&node), opens: "{" };
            builder.json().flatten_event(true).map_event_format(named).finish().try_init()
        }
    }
    .map_err(ServerError::start)
}

/// What a line for people begins with.
fn text_of(node: &str) -> String {
    if node.is_empty() { String::new() } else { format!("{node} ") }
}

/// What an object begins with. A node's name has nothing in it that JSON would escape.
fn json_of(node: &str) -> String {
    if node.is_empty() { "{".to_owned() } else { format!(r#"{{"node":"{node}","#) }
}

/// Says with each event on which node it was, for a log in which several nodes write.
struct Named<F> {
    format: F,
    /// What is written first, in place of `opens`.
    begin: String,
    /// What the format writes first.
    opens: &'static str,
}

impl<S, N, F> FormatEvent<S, N> for Named<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        writer.write_str(&self.begin)?;
        if self.opens.is_empty() {
            return self.format.format_event(ctx, writer, event);
        }
        let mut line = String::new();
        self.format.format_event(ctx, Writer::new(&mut line), event)?;
        writer.write_str(line.strip_prefix(self.opens).unwrap_or(&line))
    }
}

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use super::escape::escaped_json;

/// Says with each event on which node it was, for a log in which several nodes write.
pub(super) struct Named<F> {
    format: F,
    /// What is written first.
    begin: String,
    is_json: bool,
}

impl<F> Named<F> {
    /// What a line for people begins with.
    pub(super) fn text(format: F, node: &str) -> Self {
        let begin = if node.is_empty() { String::new() } else { format!("{node} ") };
        Self { format, begin, is_json: false }
    }

    /// What an object begins with. A node's name has nothing in it that JSON would escape.
    pub(super) fn json(format: F, node: &str) -> Self {
        let begin = if node.is_empty() { "{".to_owned() } else { format!(r#"{{"node":"{node}","#) };
        Self { format, begin, is_json: true }
    }
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
        if !self.is_json {
            return self.format.format_event(ctx, writer, event);
        }
        let mut line = String::new();
        self.format.format_event(ctx, Writer::new(&mut line), event)?;
        let line = line.trim_end_matches('\n');
        writer.write_str(&escaped_json(line.strip_prefix('{').unwrap_or(line)))?;
        writer.write_char('\n')
    }
}

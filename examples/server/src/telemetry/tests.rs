use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing::{Level, subscriber::with_default};
use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt as _};

use super::{limits::Limits, lines};
use crate::config::LogFormat;

#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    /// What these events write.
    fn written(format: LogFormat, events: impl FnOnce()) -> String {
        let paper = Self::default();
        let subscriber = tracing_subscriber::registry().with(lines(format, "n1", paper.clone())).with(Limits);
        with_default(subscriber, events);
        String::from_utf8(paper.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Paper {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

const FORGED: &str = "x\u{1b}[2J\n2026-11-30T00:00:00Z ERROR forged\u{9b}\u{2028}\u{202e}";

fn forge() {
    let error = io::Error::other(ForgedCause(io::Error::other(FORGED)));
    let span = tracing::info_span!(target: "messenger_core", "request", who = %FORGED, quoted = FORGED);
    let _in = span.enter();
    tracing::info!(target: "messenger_core", said = %FORGED, quoted = FORGED, count = 7, "told {FORGED}");
    tracing::warn!(target: "messenger_core", error = &error as &dyn std::error::Error, "went wrong");
}

#[derive(Debug, thiserror::Error)]
#[error("it {0}")]
struct ForgedCause(#[source] io::Error);

#[test]
fn what_people_write_begins_no_line_and_moves_no_cursor() {
    for format in [LogFormat::Text, LogFormat::Json] {
        let written = Paper::written(format, forge);
        let lines: Vec<_> = written.lines().collect();
        assert_eq!(lines.len(), 2, "{written}");
        let is_active = |sign: char| sign.is_control() && sign != '\n' || "\u{2028}\u{202e}".contains(sign);
        assert!(!written.contains(is_active), "{written:?}");
        assert!(lines[1].contains("went wrong") && lines[1].contains("it x"), "{written}");
        if format == LogFormat::Json {
            let line: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
            assert_eq!(line["said"], FORGED);
            assert_eq!(line["message"], format!("told {FORGED}"));
            assert_eq!(line["span"]["who"], FORGED);
            assert_eq!(line["node"], "n1");
        } else {
            assert!(lines[0].starts_with("n1 20"), "{written}");
            assert!(lines[0].contains(r"told x\u{1b}[2J\n2026") && lines[0].contains("count=7"), "{written}");
        }
    }
}

#[test]
fn libraries_are_heard_up_to_their_limits() {
    let written = Paper::written(LogFormat::Text, || {
        tracing::info!(target: "hyper::proto", "heard 1");
        tracing::debug!(target: "hyper::proto", "unheard 2");
        tracing::error!(target: "tiberius::tds", "unheard 3");
        tracing::warn!(target: "sqlx::postgres::notice", "unheard 4");
        tracing::event!(target: "messenger_core", Level::TRACE, "heard 5");
        let span = tracing::trace_span!(target: "sqlx::pool", "unheard 6");
        let _in = span.enter();
        tracing::info!(target: "messenger_server", "heard 7");
    });
    assert_eq!(written.matches("heard").count(), 3, "{written}");
    assert!(!written.contains("unheard"), "{written}");
}

use tracing::{Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::layer::{Context, Layer};

use crate::parts::is_part;

/// What is logged of libraries at most, those of tomorrow too. Below it they log what they work on, for people who look for faults in them.
pub(super) const OF_LIBRARIES: LevelFilter = LevelFilter::INFO;

/// Of which libraries less is logged, and why.
const LESS: [(&str, LevelFilter, &str); 2] = [
    (
        "tiberius",
        LevelFilter::OFF,
        "at `error` it logs what SQL Server says, with the values of duplicate keys; the errors reach us without",
    ),
    (
        "sqlx::postgres::notice",
        LevelFilter::OFF,
        "what the server notes, which with extensions such as pgaudit is each statement with its values",
    ),
];

/// Keeps what people send out of the log, whatever the filter of the settings lets through.
pub(super) struct Limits;

impl Limits {
    fn let_through(metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        // Records of the facade `log` are asked for by their own targets before they come with this one.
        target == "log" || *metadata.level() <= most(target)
    }
}

fn most(target: &str) -> LevelFilter {
    if is_part(target) {
        return LevelFilter::TRACE;
    }
    let is_in = |place: &str| {
        target.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    LESS.iter().find(|(place, ..)| is_in(place)).map_or(OF_LIBRARIES, |(_, most, _)| *most)
}

impl<S: Subscriber> Layer<S> for Limits {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if Self::let_through(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        Self::let_through(metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_parts_have_no_limit_and_libraries_do() {
        for (target, expected) in [
            ("messenger_core::hub", LevelFilter::TRACE),
            ("messenger_server", LevelFilter::TRACE),
            ("messengers", LevelFilter::INFO),
            ("tungstenite::protocol::frame", LevelFilter::INFO),
            ("hyper::proto::h1::conn", LevelFilter::INFO),
            ("sqlx::query", LevelFilter::INFO),
            ("sqlx::postgres::notice", LevelFilter::OFF),
            ("sqlx::postgres::noticed", LevelFilter::INFO),
            ("tiberius::tds::stream::token", LevelFilter::OFF),
            ("", LevelFilter::INFO),
        ] {
            assert_eq!(most(target), expected, "{target}");
        }
    }
}

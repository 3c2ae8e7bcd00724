use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::parts::{PARTS, is_part};

/// What is to be logged.
#[derive(Debug, Clone)]
pub(crate) struct LogFilter(String);

impl LogFilter {
    pub(super) fn of(text: &str) -> Result<Self, String> {
        let directives: Vec<_> = text.split(',').map(str::trim).filter(|text| !text.is_empty()).collect();
        if directives.is_empty() {
            return Err(format!("says nothing; {LEVELS}"));
        }
        let filter = Self(directives.join(","));
        filter.directives().try_for_each(Directive::check)?;
        match EnvFilter::try_new(&filter.0) {
            Ok(_) => Ok(filter),
            Err(error) => {
                Err(format!("is not a log filter such as `info` or `warn,messenger_core=debug` ({error})"))
            }
        }
    }

    /// What of it is about all parts, or about libraries, and asks for more than this level.
    pub(crate) fn beyond(&self, level: LevelFilter) -> impl Iterator<Item = &str> {
        let is_beyond = move |directive: &Directive<'_>| {
            directive.level.parse::<LevelFilter>().is_ok_and(|asked| asked > level)
                && directive.part.is_none_or(|part| !is_part(part))
        };
        self.directives().filter(is_beyond).map(|directive| directive.text)
    }

    fn directives(&self) -> impl Iterator<Item = Directive<'_>> {
        self.0.split(',').map(Directive::of)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A level, alone or for a part.
struct Directive<'a> {
    text: &'a str,
    part: Option<&'a str>,
    level: &'a str,
}

impl<'a> Directive<'a> {
    fn of(text: &'a str) -> Self {
        // After the `]` of a span: its fields have signs of their own.
        let after_span = text.rfind(']').map_or(0, |at| at + 1);
        match text[after_span..].rfind('=').map(|at| after_span + at) {
            Some(at) => Self { text, part: Some(&text[..at]), level: &text[at + 1..] },
            None if after_span > 0 => Self { text, part: Some(text), level: "trace" },
            None => Self { text, part: None, level: text },
        }
    }

    /// The filter would take a word that is no level for the name of a part, and log nothing of all others.
    fn check(self) -> Result<(), String> {
        let Self { level, part, .. } = self;
        if level.is_empty() || level.parse::<LevelFilter>().is_err() {
            let near = nearest(level, LEVEL_NAMES.into_iter());
            return Err(match near {
                Some(near) => format!("has `{level}`, which is no level; did you mean `{near}`?"),
                None => format!("has `{level}`, which is no level; {LEVELS}"),
            });
        }
        let name = part.unwrap_or_default();
        let name = name.split(['[', ':']).next().unwrap_or_default();
        let is_begun = |known: &&&str| known.starts_with(name);
        if PARTS.iter().find(is_begun).is_some() {
            return Ok(());
        }
        match nearest(name, PARTS.iter().copied()) {
            Some(near) => Err(format!("has `{name}`, and there is no such part; did you mean `{near}`?")),
            None => Ok(()),
        }
    }
}

const LEVEL_NAMES: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
const LEVELS: &str = "levels are `off`, `error`, `warn`, `info`, `debug` and `trace`, and that of a part is given as in \
                      `messenger_core=debug`";

fn nearest(word: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let word = word.to_lowercase();
    known
        .map(|known| (strsim::damerau_levenshtein(&word, known), known))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_alone_and_of_parts() {
        for good in [
            "info",
            "OFF",
            "3",
            "warn,messenger_core=debug",
            " warn , messenger=trace,",
            "info,hyper=error",
            "info,messenger_axum::layers=trace",
            "messenger_core[store{intent=append}]=debug",
            "messenger_core[store]",
        ] {
            assert!(LogFilter::of(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn what_would_silence_everything_is_refused_with_what_was_meant() {
        for (bad, said) in [
            ("inf", "has `inf`, which is no level; did you mean `info`?"),
            ("wran", "did you mean `warn`?"),
            ("info,debgu", "has `debgu`"),
            ("verbose", "levels are `off`"),
            ("messenger_core", "levels are `off`"),
            ("6", "which is no level"),
            ("", "says nothing"),
            (" , ", "says nothing"),
            ("info,messenger_core=inf", "has `inf`"),
            ("messenger_core=", "has ``"),
            (
                "mesenger_core=debug",
                "has `mesenger_core`, and there is no such part; did you mean `messenger_core`?",
            ),
            ("messenger_axium::ws=debug", "did you mean `messenger_axum`?"),
        ] {
            let refused = LogFilter::of(bad).unwrap_err();
            assert!(refused.contains(said), "{bad}: {refused}");
        }
    }

    #[test]
    fn what_asks_for_more_than_a_level() {
        let beyond = |text: &str| {
            LogFilter::of(text).unwrap().beyond(LevelFilter::INFO).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(beyond("info,messenger_core=trace,messenger=trace,hyper=info"), [""; 0]);
        assert_eq!(beyond("TRACE"), ["TRACE"]);
        assert_eq!(beyond("info, sqlx::query=debug,messenger_sqlx::x=debug"), ["sqlx::query=debug"]);
        assert_eq!(beyond("[request{method=GET}]=5"), ["[request{method=GET}]=5"]);
    }
}

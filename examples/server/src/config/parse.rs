//! What the texts of settings mean.

use std::{num::NonZeroUsize, time::Duration};

use http::HeaderValue;

/// How to write the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

pub(super) fn address(text: &str) -> Result<String, String> {
    let valid = text.rsplit_once(':').is_some_and(|(host, port)| {
        // Without its brackets an IPv6 address can't be told from its port.
        let host_is_whole = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
        !host.is_empty() && host_is_whole && port.parse::<u16>().is_ok()
    });
    if valid {
        Ok(text.to_owned())
    } else {
        Err("is not an address and a port such as 127.0.0.1:8080".to_owned())
    }
}

pub(super) fn origins(text: &str) -> Result<Vec<HeaderValue>, String> {
    let origin = |text: &str| {
        let (scheme, host) = text.split_once("://")?;
        let is_origin = matches!(scheme, "http" | "https") && !host.is_empty() && !host.contains('/');
        HeaderValue::from_str(text).ok().filter(|_| is_origin)
    };
    let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
    texts
        .map(|text| {
            origin(text).ok_or("is not a list of origins such as https://chat.example.org".to_owned())
        })
        .collect()
}

pub(super) fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("is neither `on` nor `off`".to_owned()),
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("is neither `text` nor `json`".to_owned()),
    }
}

pub(super) fn node_name(text: &str) -> Result<Option<String>, String> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    match text {
        "" => Ok(None),
        _ if text.len() <= 64 && text.chars().all(is_plain) => Ok(Some(text.to_owned())),
        _ => Err("is not a name of 1 to 64 letters, digits, `.`, `_` and `-`".to_owned()),
    }
}

pub(super) fn count(text: &str) -> Result<usize, String> {
    text.parse::<NonZeroUsize>()
        .ok()
        .map(NonZeroUsize::get)
        .filter(|count| *count <= tokio::sync::Semaphore::MAX_PERMITS)
        .ok_or_else(|| "is not a whole number of at least 1".to_owned())
}

pub(super) fn proxies(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count <= MOST_PROXIES);
    count.ok_or_else(|| format!("is not a whole number from 0 to {MOST_PROXIES}"))
}

/// More is a slip, and would let a client choose its address.
const MOST_PROXIES: usize = 16;

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let millis_per_unit = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    number
        .parse::<u32>()
        .ok()
        .map(|number| u64::from(number) * millis_per_unit)
        .filter(|millis| *millis > 0)
        .map(Duration::from_millis)
        .ok_or_else(|| "is not a time such as `500ms`, `10s`, `2m` or `1h`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources, StoreUrl, unknown_variables};

    #[test]
    fn defaults_are_valid() {
        let values = Sources { file: None, variable: &|_| None, flag: &|_| None }.gather().unwrap();
        let config = Config::of(&values).unwrap();
        assert_eq!(config.store.url, StoreUrl::Sqlite("messenger.db".into()));
        assert!(config.rate_limits);
    }

    #[test]
    fn addresses() {
        for good in ["127.0.0.1:0", "[::1]:8080", "localhost:80"] {
            assert_eq!(address(good).as_deref(), Ok(good));
        }
        for bad in ["8080", ":8080", "::1:8080", "localhost", "localhost:99999", ""] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "10", "s", "0s", "1.5s", "-1s", "10 s", "99999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn variables_like_settings_are_noticed() {
        let names = ["MESSENGER_LITSEN", "MESSENGER_LISTEN", "MESSENGER_SERVICE_HOST", "PATH"];
        let unknown = unknown_variables(names.into_iter().map(str::to_owned));
        assert_eq!(unknown, [("MESSENGER_LITSEN".to_owned(), "MESSENGER_LISTEN".to_owned())]);
    }
}

use messenger_redis::{OpenError, Redis};

use super::{error::ConfigError, values::Values};

/// How this node works together with others on the same database.
#[derive(Debug)]
pub(crate) struct NodesConfig {
    /// The bus between the nodes; `None` for a node on its own, which finds what others do by looking into the store.
    pub(crate) bus: Option<Redis>,
    /// The presence of all nodes; `None` if each node knows only its own connections.
    pub(crate) presence: Option<Redis>,
}

/// The backend of a part that nodes share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Memory,
    Redis,
}

impl NodesConfig {
    pub(super) fn of(values: &Values<'_>) -> Result<Self, ConfigError> {
        let prefix = values.read("redis-prefix", |prefix| Ok(prefix.to_owned()))?;
        let redis = values.read("redis-url", redis)?;
        // Read a second time with the prefix, so that an error names the setting that is wrong.
        let redis = match redis {
            Some(url) => Some(values.read("redis-prefix", |_| build(&url, &prefix))?),
            None => None,
        };
        let bus = values.read("bus", |text| place(text, redis.is_some()))?;
        let presence = values.read("presence", |text| match place(text, redis.is_some())? {
            Place::Memory if bus == Place::Redis => {
                Err("leaves each node its own, and nodes on one bus need one that they share".to_owned())
            }
            place => Ok(place),
        })?;
        let of = |place| if place == Place::Redis { redis.clone() } else { None };
        Ok(Self { bus: of(bus), presence: of(presence) })
    }
}

/// The URL, if there is one and it can be understood.
fn redis(url: &str) -> Result<Option<String>, String> {
    if url.is_empty() {
        return Ok(None);
    }
    build(url, "messenger").map(|_| Some(url.to_owned()))
}

fn build(url: &str, prefix: &str) -> Result<Redis, String> {
    let name = format!("messenger-server:{}", std::process::id());
    Redis::builder(url).prefix(prefix).client_name(name).build().map_err(|error| match error {
        OpenError::Prefix => "is not 1 to 64 letters, digits, `-`, `_`, `.` or `:`".to_owned(),
        OpenError::Scheme | OpenError::Url(_) => {
            "can't be understood; write `redis://USER:PASSWORD@HOST:PORT/DATABASE`, or `rediss://` for TLS"
                .to_owned()
        }
        error => format!("can't be used: {error}"),
    })
}

fn place(text: &str, has_redis: bool) -> Result<Place, String> {
    match (text, has_redis) {
        ("", true) | ("redis", true) => Ok(Place::Redis),
        ("", false) | ("memory", _) => Ok(Place::Memory),
        ("redis", false) => Err("needs a Redis; say where it is with --redis-url".to_owned()),
        _ => Err("is neither `memory` nor `redis`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_is_used_where_there_is_one() {
        assert_eq!(place("", true), Ok(Place::Redis));
        assert_eq!(place("", false), Ok(Place::Memory));
        assert_eq!(place("memory", true), Ok(Place::Memory));
        assert_eq!(place("redis", true), Ok(Place::Redis));
        assert!(place("redis", false).unwrap_err().contains("--redis-url"));
        assert!(place("rabbit", true).is_err());
    }

    #[test]
    fn urls_and_prefixes() {
        assert_eq!(redis(""), Ok(None));
        for url in ["redis://h", "redis://ann:secret@h:6380/3", "redis://:secret@[::1]:6379"] {
            assert_eq!(redis(url), Ok(Some(url.to_owned())));
        }
        for url in ["h:6379", "http://h", "redis://h:port", "redis://ann:hunter2@h/first"] {
            let reason = redis(url).unwrap_err();
            assert!(reason.contains("redis://USER") && !reason.contains("hunter2"), "{reason}");
        }
        assert!(build("redis://h", "a b").unwrap_err().contains("64 letters"));
    }
}

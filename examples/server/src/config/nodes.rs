use messenger_redis::{OpenError, Redis, RedisBuilder};

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
        let url = values.read("redis-url", |url| Ok(url.to_owned()))?;
        let redis = if url.is_empty() { None } else { Some(redis(&url, values)?) };
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

/// What is wrong is told of the setting in which it is.
fn redis(url: &str, values: &Values<'_>) -> Result<Redis, ConfigError> {
    let authorities = values.read("redis-ca", certificates)?;
    let with_authorities = |builder: RedisBuilder| match &authorities {
        Some(pem) => builder.ca_certificates(pem.clone()),
        None => builder,
    };
    let name = format!("messenger-server:{}", std::process::id());
    let builder = || Redis::builder(url).client_name(&name);
    let is_encrypted = url.starts_with("rediss");
    values.read("redis-url", |_| match builder().build() {
        Ok(_) => Ok(()),
        Err(error) => Err(reason(&error)),
    })?;
    values.read("redis-ca", |_| match with_authorities(builder()).build() {
        Ok(_) => Ok(()),
        Err(_) if !is_encrypted => Err("is for a --redis-url with `rediss`, which encrypts".to_owned()),
        Err(error) => Err(reason(&error)),
    })?;
    values.read("redis-prefix", |prefix| {
        with_authorities(builder()).prefix(prefix).build().map_err(|error| reason(&error))
    })
}

/// What is in the file, if there is one.
fn certificates(path: &str) -> Result<Option<Vec<u8>>, String> {
    if path.is_empty() {
        return Ok(None);
    }
    std::fs::read(path).map(Some).map_err(|error| format!("can't be read: {error}"))
}

fn reason(error: &OpenError) -> String {
    match error {
        OpenError::Prefix => "is not 1 to 64 letters, digits, `-`, `_`, `.` or `:`".to_owned(),
        OpenError::Scheme | OpenError::Url(_) => {
            "can't be understood; write `redis://USER:PASSWORD@HOST:PORT/DATABASE` for one server, \
             `redis+sentinel://HOST:PORT,HOST:PORT/SERVICE` or `redis+cluster://HOST:PORT,HOST:PORT`, each with `rediss` \
             for TLS"
                .to_owned()
        }
        OpenError::ManyHosts => {
            "names several servers; write `redis+cluster://HOST:PORT,HOST:PORT` for a cluster, or \
             `redis+sentinel://HOST:PORT,HOST:PORT/SERVICE` for Sentinels"
                .to_owned()
        }
        OpenError::NoService => {
            "names no service; write `redis+sentinel://HOST:PORT,HOST:PORT/SERVICE` with the name by which the Sentinels \
             know it, often `mymaster`"
                .to_owned()
        }
        OpenError::ClusterDatabase => "names a database, and a cluster has none: leave it out".to_owned(),
        OpenError::Certificate => "has no certificates; it must be PEM, with `BEGIN CERTIFICATE`".to_owned(),
        error => format!("can't be used: {error}"),
    }
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
    fn what_is_wrong_comes_with_advice_and_without_the_password() {
        let said = |url: &str| reason(&Redis::open(url).unwrap_err());
        for (url, advice) in [
            ("h:6379", "redis://USER"),
            ("http://h", "redis+sentinel://HOST"),
            ("redis://h:port", "redis+cluster://HOST"),
            ("redis://ann:hunter2@h/first", "redis://USER"),
            ("redis://:hunter2@a,b", "redis+cluster://"),
            ("redis+sentinel://:hunter2@a", "mymaster"),
            ("redis+cluster://:hunter2@a/2", "leave it out"),
        ] {
            let said = said(url);
            assert!(said.contains(advice) && !said.contains("hunter2"), "{said}");
        }
        for url in ["redis://h", "redis://ann:s@h:6380/3", "redis+sentinel://a,b/main", "redis+cluster://a,b"]
        {
            Redis::open(url).unwrap();
        }
        let prefix = Redis::builder("redis://h").prefix("a b").build().unwrap_err();
        assert!(reason(&prefix).contains("64 letters"));
        assert!(certificates("/no/such/file").unwrap_err().contains("can't be read"));
        assert_eq!(certificates(""), Ok(None));
    }
}

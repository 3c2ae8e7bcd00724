use messenger_redis::{OpenError, Redis, RedisBuilder};
use messenger_sqlx::PostgresNodes;

use super::{
    error::ConfigError, parse::node_name, postgres_url::PostgresUrl, store::StoreConfig, store_url::StoreUrl,
    values::Values,
};

/// How this node works together with others on the same database.
#[derive(Debug)]
pub(crate) struct NodesConfig {
    /// The bus between the nodes. A node on its own finds what others do by looking into the store.
    pub(crate) bus: Shared,
    /// The presence of all nodes; in memory each node knows only its own connections.
    pub(crate) presence: Shared,
    /// Where log-ins and wrong passwords are counted over all nodes.
    pub(crate) redis: Option<Redis>,
}

/// Where something lies that nodes may share.
#[derive(Debug, Clone)]
pub(crate) enum Shared {
    Memory,
    Postgres(PostgresNodes),
    Redis(Redis),
}

/// What there is to choose from.
#[derive(Debug)]
struct Choices {
    redis: Option<Redis>,
    /// Or why it can't be had.
    postgres: Result<PostgresNodes, &'static str>,
}

impl NodesConfig {
    pub(super) fn of(values: &Values<'_>, store: &StoreConfig) -> Result<Self, ConfigError> {
        let url = values.read("redis-url", |url| Ok(url.to_owned()))?;
        let redis = if url.is_empty() { None } else { Some(redis(&url, values)?) };
        let postgres = values.read("bus-url", |url| postgres(url, store))?;
        let choices = Choices { redis, postgres };
        let bus = values.read("bus", |text| choices.bus(text))?;
        let presence = values.read("presence", |text| choices.presence(text, &bus))?;
        Ok(Self { bus, presence, redis: choices.redis })
    }
}

impl Choices {
    fn bus(&self, text: &str) -> Result<Shared, String> {
        match (text, &self.redis, &self.postgres) {
            ("memory", ..) | ("", None, Err(_)) => Ok(Shared::Memory),
            ("redis" | "", Some(redis), _) => Ok(Shared::Redis(redis.clone())),
            ("postgres", _, Ok(postgres)) | ("", None, Ok(postgres)) => {
                Ok(Shared::Postgres(postgres.clone()))
            }
            ("redis", None, _) => Err("needs a Redis; say where it is with --redis-url".to_owned()),
            ("postgres", _, Err(reason)) => Err((*reason).to_owned()),
            _ => Err("is none of `memory`, `postgres` and `redis`".to_owned()),
        }
    }

    fn presence(&self, text: &str, bus: &Shared) -> Result<Shared, String> {
        if text.is_empty() {
            return Ok(bus.clone());
        }
        match self.bus(text)? {
            Shared::Memory if !matches!(bus, Shared::Memory) => {
                Err("leaves each node its own, and nodes on one bus need one that they share".to_owned())
            }
            presence => Ok(presence),
        }
    }
}

/// The database of the store, without a pooler that would let no notifications through.
fn postgres(url: &str, store: &StoreConfig) -> Result<Result<PostgresNodes, &'static str>, String> {
    let StoreUrl::Postgres(of_store) = &store.url else {
        return match url {
            "" => Ok(Err("needs a store on PostgreSQL; say where it is with --store-url")),
            _ => Err("is for a store on PostgreSQL alone".to_owned()),
        };
    };
    let url: PostgresUrl = match url {
        "" if store.transaction_pooling => {
            return Ok(Err(
                "can't be had through a pooler for transactions; say with --bus-url how the server itself is reached",
            ));
        }
        "" => of_store.clone(),
        url => url.parse()?,
    };
    let nodes = PostgresNodes::builder(url.whole()).schema(&store.schema).build();
    nodes.map(Ok).map_err(|error| format!("can't be used: {error}"))
}

/// What is wrong is told of the setting in which it is.
fn redis(url: &str, values: &Values<'_>) -> Result<Redis, ConfigError> {
    let authorities = values.read("redis-ca", certificates)?;
    let with_authorities = |builder: RedisBuilder| match &authorities {
        Some(pem) => builder.ca_certificates(pem.clone()),
        None => builder,
    };
    let name = values.read("node-name", node_name)?.unwrap_or_else(|| std::process::id().to_string());
    let name = format!("messenger-server:{name}");
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn store(url: &str, transaction_pooling: bool) -> StoreConfig {
        StoreConfig {
            url: url.parse().unwrap(),
            schema: "messenger".to_owned(),
            connections: 2,
            transaction_pooling,
            statement_timeout: Duration::from_secs(1),
        }
    }

    /// What is chosen with or without a Redis, for a store and a direct URL.
    fn chosen(
        redis: bool,
        store: &StoreConfig,
        direct: &str,
        bus: &str,
        presence: &str,
    ) -> [&'static str; 2] {
        let redis = redis.then(|| Redis::open("redis://h").unwrap());
        let choices = Choices { redis, postgres: postgres(direct, store).unwrap() };
        let bus = choices.bus(bus);
        let presence = bus.as_ref().map(|bus| choices.presence(presence, bus));
        let name = |shared: &Result<Shared, String>| match shared {
            Ok(Shared::Memory) => "memory",
            Ok(Shared::Postgres(_)) => "postgres",
            Ok(Shared::Redis(_)) => "redis",
            Err(_) => "refused",
        };
        [name(&bus), presence.map_or("refused", |presence| name(&presence))]
    }

    #[test]
    fn what_is_shared_follows_from_what_there_is() {
        let (memory, postgres, pooled) =
            (store("memory:", false), store("postgres://h/d", false), store("postgres://h/d", true));
        let direct = "postgres://direct/d";
        for (redis, store, url, bus, presence, expected) in [
            (false, &memory, "", "", "", ["memory", "memory"]),
            (true, &memory, "", "", "", ["redis", "redis"]),
            (true, &postgres, "", "", "", ["redis", "redis"]),
            (false, &postgres, "", "", "", ["postgres", "postgres"]),
            (false, &pooled, "", "", "", ["memory", "memory"]),
            (false, &pooled, direct, "", "", ["postgres", "postgres"]),
            (true, &postgres, "", "memory", "", ["memory", "memory"]),
            (false, &postgres, "", "memory", "postgres", ["memory", "postgres"]),
            (true, &postgres, "", "redis", "postgres", ["redis", "postgres"]),
            (true, &postgres, "", "postgres", "redis", ["postgres", "redis"]),
            (false, &postgres, "", "", "memory", ["postgres", "refused"]),
            (true, &memory, "", "", "memory", ["redis", "refused"]),
            (false, &postgres, "", "redis", "", ["refused", "refused"]),
            (false, &memory, "", "postgres", "", ["refused", "refused"]),
            (false, &pooled, "", "postgres", "", ["refused", "refused"]),
            (true, &postgres, "", "rabbit", "", ["refused", "refused"]),
        ] {
            let found = chosen(redis, store, url, bus, presence);
            assert_eq!(found, expected, "{redis} {:?} {url} {bus} {presence}", store.url);
        }
        assert!(super::postgres(direct, &memory).unwrap_err().contains("PostgreSQL alone"));
        assert!(super::postgres("postgres://h", &postgres).unwrap_err().contains("no database"));
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

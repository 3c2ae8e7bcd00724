use std::{fmt, time::Duration};

use messenger_sqlx::postgres;

use super::{
    error::ConfigError,
    parse::{duration, on_or_off},
    store_url::StoreUrl,
    values::Values,
};

/// Where the data lies. All but the URL is for databases on a server.
#[derive(Debug)]
pub(crate) struct StoreConfig {
    pub(crate) url: StoreUrl,
    pub(crate) schema: String,
    pub(crate) connections: u32,
    pub(crate) transaction_pooling: bool,
    pub(crate) statement_timeout: Duration,
}

impl StoreConfig {
    pub(super) fn of(values: &Values<'_>) -> Result<Self, ConfigError> {
        let url = values.read("store-url", str::parse)?;
        Ok(Self {
            schema: values.read("store-schema", |name| schema(name, &url))?,
            connections: values.read("store-connections", connections)?,
            transaction_pooling: values.read("store-transaction-pooling", on_or_off)?,
            statement_timeout: values.read("store-statement-timeout", statement_timeout)?,
            url,
        })
    }

    /// How many connections to a database there may be.
    pub(crate) fn connections_to_server(&self) -> usize {
        match self.url {
            StoreUrl::Memory | StoreUrl::Sqlite(_) => 0,
            StoreUrl::Postgres(_) | StoreUrl::Mssql(_) => self.connections as usize,
        }
    }
}

impl fmt::Display for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.url {
            url @ (StoreUrl::Postgres(_) | StoreUrl::Mssql(_)) => write!(f, "{url}, schema {}", self.schema),
            url => url.fmt(f),
        }
    }
}

fn schema(name: &str, url: &StoreUrl) -> Result<String, String> {
    // The stores themselves know which names will do.
    let (sql, never) = match url {
        StoreUrl::Mssql(_) => {
            (messenger_mssql::migrations_sql(name), "none of the server's own, such as `dbo`")
        }
        _ => (postgres::migrations_sql(name), "not beginning with `pg_`"),
    };
    match sql {
        Some(_) => Ok(name.to_owned()),
        None => Err(format!(
            "is not the name of a schema: 1 to 63 of a to z, digits and `_`, not beginning with a digit, and {never}"
        )),
    }
}

/// The store takes no fewer.
const FEWEST_CONNECTIONS: u32 = 2;
/// More is a slip: room for each is kept from the start.
const MOST_CONNECTIONS: u32 = 10_000;

fn connections(text: &str) -> Result<u32, String> {
    let count = text.parse().ok().filter(|count| (FEWEST_CONNECTIONS..=MOST_CONNECTIONS).contains(count));
    count.ok_or_else(|| format!("is not a whole number from {FEWEST_CONNECTIONS} to {MOST_CONNECTIONS}"))
}

/// More is a slip, and beyond some weeks the server would refuse it.
const LONGEST_STATEMENT: Duration = Duration::from_secs(3600);

fn statement_timeout(text: &str) -> Result<Duration, String> {
    let limit = duration(text)?;
    if limit > LONGEST_STATEMENT { Err("is longer than `1h`".to_owned()) } else { Ok(limit) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_schemas() {
        for (url, own) in [("postgres://h/d", "pg_chat"), ("mssql://ann@h/d", "dbo")] {
            let url = url.parse().unwrap();
            assert_eq!(schema("chat_2", &url).as_deref(), Ok("chat_2"));
            for bad in ["", "Chat", "2chat", own, "chat;", "a\"b"] {
                assert!(schema(bad, &url).is_err(), "{bad}");
            }
        }
    }

    #[test]
    fn numbers_of_connections() {
        assert_eq!(connections("2"), Ok(2));
        for bad in ["1", "0", "-3", "10001", "4294967297", "many", ""] {
            assert!(connections(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_for_a_statement() {
        assert_eq!(statement_timeout("1h"), Ok(Duration::from_secs(3600)));
        for bad in ["61m", "0s", "10"] {
            assert!(statement_timeout(bad).is_err(), "{bad}");
        }
    }
}

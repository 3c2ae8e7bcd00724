use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use super::{mssql_url::MssqlUrl, postgres_url::PostgresUrl};

/// Where the data lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StoreUrl {
    /// In memory, until the server ends.
    Memory,
    /// In a SQLite file.
    Sqlite(PathBuf),
    /// In a PostgreSQL database.
    Postgres(PostgresUrl),
    /// In an SQL Server database.
    Mssql(MssqlUrl),
}

/// Of a refusal: what there is instead.
const INSTEAD: &str = "use `sqlite://PATH`, `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, \
     `mssql://USER:PASSWORD@HOST:PORT/DATABASE` or `memory:`";

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        // Before anything of it is repeated: there may be a password in it.
        if is_of_dot_net(url) {
            return Err("is a connection string of .NET, and not a URL; write \
                        `mssql://USER:PASSWORD@HOST:PORT/DATABASE`"
                .to_owned());
        }
        let Some((scheme, rest)) = url.split_once(':') else {
            return Err(format!(
                "must start with `sqlite://` or be `memory:`; for a file write `sqlite://{url}`"
            ));
        };
        match scheme {
            "memory" if matches!(rest, "" | "//") => Ok(Self::Memory),
            "memory" => Err("has text after `memory:`, where nothing belongs".to_owned()),
            "sqlite" => sqlite(rest),
            "postgres" | "postgresql" => url.parse().map(Self::Postgres),
            "mssql" | "sqlserver" => url.parse().map(Self::Mssql),
            _ => Err(format!("names a store that is not known; {INSTEAD}")),
        }
    }
}

/// `Server=HOST;Database=DATABASE;…`
fn is_of_dot_net(url: &str) -> bool {
    !url.contains("://") && url.contains('=') && url.contains(';')
}

fn sqlite(rest: &str) -> Result<StoreUrl, String> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path == ":memory:" {
        return Err("keeps nothing; write `memory:` for that".to_owned());
    }
    if path.is_empty() {
        return Err("names no file; write for instance `sqlite://messenger.db`".to_owned());
    }
    if path.contains(['?', '#', '%']) {
        return Err("has `?`, `#` or `%`; only the path of a file is expected after `sqlite://`".to_owned());
    }
    if path.ends_with('/') || Path::new(path).is_dir() {
        return Err("names a folder; add the name of a file".to_owned());
    }
    Ok(StoreUrl::Sqlite(PathBuf::from(path)))
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("in memory; it is gone when the server ends"),
            Self::Sqlite(path) => {
                let absolute = std::path::absolute(path);
                write!(f, "in {}", absolute.as_deref().unwrap_or(path).display())
            }
            Self::Postgres(url) => write!(f, "in the PostgreSQL database {}", url.place()),
            Self::Mssql(url) => write!(f, "in the SQL Server database {}", url.place()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_file_or_memory() {
        assert_eq!("memory:".parse(), Ok(StoreUrl::Memory));
        assert_eq!("sqlite://a/b.db".parse(), Ok(StoreUrl::Sqlite("a/b.db".into())));
        assert_eq!("sqlite:///a/b.db".parse(), Ok(StoreUrl::Sqlite("/a/b.db".into())));
        assert_eq!("sqlite:b.db".parse(), Ok(StoreUrl::Sqlite("b.db".into())));
    }

    #[test]
    fn other_urls_are_explained() {
        for (url, says) in [
            ("messenger.db", "sqlite://messenger.db"),
            ("sqlite://", "no file"),
            ("sqlite://a?mode=ro", "only the path"),
            ("sqlite::memory:", "memory:"),
            ("sqlite:///", "folder"),
            ("postgres://h", "no database"),
            ("mssql://h/d", "no user"),
            ("sqlserver://ann@h", "no database"),
            ("Server=h;Database=d;User Id=ann;Password=hunter2", ".NET"),
            ("Server=tcp:h,1433;Database=d;Pwd=hunter2", ".NET"),
            ("memory:x", "nothing belongs"),
            ("redis://h", "not known"),
        ] {
            let reason = url.parse::<StoreUrl>().unwrap_err();
            assert!(reason.contains(says) && !reason.contains("hunter2"), "{url}: {reason}");
        }
    }
}

use std::{fmt, str::FromStr};

use sqlx::postgres::PgConnectOptions;

/// The URL of a PostgreSQL database. `Debug` shows no password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PostgresUrl {
    url: String,
    place: String,
}

impl PostgresUrl {
    /// All of it, with the password.
    pub(crate) fn whole(&self) -> &str {
        &self.url
    }

    /// Host, port and database.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresUrl").field(&self.place).finish()
    }
}

/// What sqlx understands, and `options[NAME]`.
const PARAMETERS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "statement-cache-capacity",
];

impl FromStr for PostgresUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let rest = url.split_once("://").map(|(_, rest)| rest);
        let rest = rest.ok_or_else(|| format!("has no `//` after the first `:`; {FORM}"))?;
        let after_host = rest.find(['/', '?', '#']).map_or("", |end| &rest[end..]);
        // Of a password with such a letter the rest would be taken for a database, and be shown.
        if after_host.contains(['@', '#']) {
            return Err(
                "has `@` or `#` after the host; within a name or a password write `%40` for `@`, `%2F` for \
                        `/`, `%3F` for `?` and `%23` for `#`"
                    .to_owned(),
            );
        }
        if let Some(unknown) = unknown_parameter(after_host) {
            return Err(format!(
                "has the parameter `{unknown}`, which is not known; `sslmode`, `sslrootcert`, `sslcert` and \
                 `sslkey`, for instance, are"
            ));
        }
        let options: PgConnectOptions = url.parse().map_err(|error| not_read(&error))?;
        let database = options.get_database().ok_or_else(|| format!("names no database; {FORM}"))?;
        Ok(Self { place: place(&options, database), url: url.to_owned() })
    }
}

const FORM: &str = "write `postgres://USER:PASSWORD@HOST:PORT/DATABASE`";

/// sqlx passes over what it does not know: a slip in `sslmode` would leave the connection unprotected.
fn unknown_parameter(after_host: &str) -> Option<&str> {
    let (_, parameters) = after_host.split_once('?')?;
    parameters
        .split('&')
        .map(|parameter| parameter.split_once('=').map_or(parameter, |(name, _)| name))
        .find(|name| !name.is_empty() && !PARAMETERS.contains(name) && !name.starts_with("options["))
}

fn not_read(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Configuration(reason) => format!("can't be read ({reason}); {FORM}"),
        other => format!("can't be read ({other}); {FORM}"),
    }
}

fn place(options: &PgConnectOptions, database: &str) -> String {
    let host = options.get_socket().map_or(options.get_host().into(), |path| path.to_string_lossy());
    format!("{host}:{}/{database}", options.get_port())
}

/// A text without the password that it may hold, if it is a URL or was meant to be one, for people to see.
pub(crate) fn masked(text: &str) -> String {
    if text.starts_with("sqlite:") {
        return text.to_owned();
    }
    if let Some(shown) = without_secret_pairs(text) {
        return shown;
    }
    let text = without_secret_parameters(text);
    let start = text.find("://").map_or(0, |at| at + "://".len());
    let (scheme, rest) = text.split_at(start);
    // An unescaped `@` or `/` in a password is wrong, but no reason to show it: the last `@` counts.
    let Some(at) = rest.rfind('@') else { return text };
    let Some(colon) = rest[..at].find(':') else { return text };
    format!("{scheme}{}:***{}", &rest[..colon], &rest[at..])
}

/// Of what may be a connection string of .NET: in a value in quotes there may be a `;`, so all that follows is hidden.
fn without_secret_pairs(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let secret = ["password", "pwd"].iter().filter_map(|name| lower.find(name)).min()?;
    let is_pairs = !text.contains("://") && text.contains(';');
    is_pairs.then(|| format!("{}***", &text[..secret]))
}

fn without_secret_parameters(text: &str) -> String {
    let Some((before, parameters)) = text.split_once('?') else { return text.to_owned() };
    let shown: Vec<_> = parameters
        .split('&')
        .map(|parameter| match parameter.split_once('=') {
            Some((name, _)) if is_secret(name) => {
                format!("{name}=***")
            }
            _ => parameter.to_owned(),
        })
        .collect();
    format!("{before}?{}", shown.join("&"))
}

fn is_secret(name: &str) -> bool {
    let lower = name.to_lowercase();
    // A name may be escaped, too.
    lower.contains("pass") || lower.contains("pwd") || lower.contains('%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_to_a_database() {
        for (url, place) in [
            ("postgres://ann:secret@db.example.org:6432/chat", "db.example.org:6432/chat"),
            ("postgresql://ann:p%40%2F%3F%23@h:1/chat?sslmode=verify-full&sslrootcert=%2Fca.pem", "h:1/chat"),
            ("postgres://ann:s@cret:@h:1/chat", "h:1/chat"),
            ("postgres://[::1]:5432/chat", "[::1]:5432/chat"),
            ("postgres:///?host=%2Frun%2Fpostgresql&port=5432&dbname=chat", "/run/postgresql:5432/chat"),
            ("postgres://h:1/d%20b?options[search_path]=x", "h:1/d b"),
        ] {
            let read: PostgresUrl = url.parse().unwrap();
            assert_eq!((read.whole(), read.place()), (url, place));
            let debugged = format!("{read:?}");
            assert!(!debugged.contains("ann") && !debugged.contains("secret"), "{debugged}");
        }
    }

    #[test]
    fn what_leads_nowhere_is_explained_without_the_password() {
        for (url, says) in [
            ("postgres:ann:hunter2@h/d", "no `//`"),
            ("postgres://ann:hunter2@h:5432", "no database"),
            ("postgres://ann:hunter2@h:port/d", "invalid port"),
            ("postgres://ann:hunter2@/d", "empty host"),
            ("postgres://ann:1/hunter2@h/d", "%2F"),
            ("postgres://ann:1?hunter2@h/d", "%3F"),
            ("postgres://ann:1#hunter2@h/d", "%23"),
            ("postgres://ann:hunter2@h/d#x", "%23"),
            ("postgres://ann:hunter2@h/d?sslmode=maybe", "maybe"),
            ("postgres://ann:hunter2@h/d?sslmod=verify-full", "`sslmod`"),
            ("postgres://ann:%ffhunter2@h/d", "utf-8"),
        ] {
            let reason = url.parse::<PostgresUrl>().unwrap_err();
            assert!(reason.contains(says) && !reason.contains("hunter2"), "{url}: {reason}");
        }
    }

    #[test]
    fn passwords_are_masked() {
        for (text, shown) in [
            ("postgres://ann:pa:ss@host:5432/db", "postgres://ann:***@host:5432/db"),
            ("postgres://ann:p/a@ss@host/db", "postgres://ann:***@host/db"),
            ("postgres://ann:pa?s=s@host/db", "postgres://ann:***@host/db"),
            ("postgres:///ann:pass@host/db", "postgres:///ann:***@host/db"),
            ("postgres//ann:pass@host/db", "postgres//ann:***@host/db"),
            ("postgres:ann:pass@host/db", "postgres:***@host/db"),
            (
                "postgres://host/db?user=ann&password=pa@ss&sslpassword=s&p%61ssword=t&sslmode=require",
                "postgres://host/db?user=ann&password=***&sslpassword=***&p%61ssword=***&sslmode=require",
            ),
            ("postgres://ann@host:5432/db", "postgres://ann@host:5432/db"),
            ("mssql://ann:p;password=x@host/db", "mssql://ann:***@host/db"),
            ("mssql://host/db?user=ann&pwd=pass", "mssql://host/db?user=ann&pwd=***"),
            ("Server=host;Uid=ann;Pwd='pa;ss';Database=db", "Server=host;Uid=ann;***"),
            ("Server=tcp:host,1433;User Id=ann;PassWord=pass", "Server=tcp:host,1433;User Id=ann;***"),
            ("sqlite://a:b@c.db", "sqlite://a:b@c.db"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
        ] {
            assert_eq!(masked(text), shown);
        }
    }
}

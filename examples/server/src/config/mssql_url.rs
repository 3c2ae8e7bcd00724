use std::{fmt, str::FromStr};

/// The URL of an SQL Server database. `Debug` shows no password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct MssqlUrl {
    url: String,
    place: String,
}

impl MssqlUrl {
    /// All of it, with the password.
    pub(crate) fn whole(&self) -> &str {
        &self.url
    }

    /// Host, port and database, as they were given.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }
}

impl fmt::Debug for MssqlUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MssqlUrl").field(&self.place).finish()
    }
}

impl FromStr for MssqlUrl {
    type Err = String;

    /// Looks at what must be there; the store itself knows the parameters.
    fn from_str(url: &str) -> Result<Self, String> {
        let rest = url.split_once("://").map(|(_, rest)| rest);
        let rest = rest.ok_or_else(|| format!("has no `//` after the first `:`; {FORM}"))?;
        let (place, _) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = place.split_once('/').unwrap_or((place, ""));
        let after_host = &rest[authority.len()..];
        // Of a password with such a letter the rest would be taken for a database, and be shown.
        if after_host.contains(['@', '#']) || authority.contains('#') {
            return Err(
                "has `@` or `#` after the host; within a name or a password write `%40` for `@`, `%2F` for \
                        `/`, `%3F` for `?` and `%23` for `#`"
                    .to_owned(),
            );
        }
        let Some((login, host)) = authority.rsplit_once('@') else {
            return Err(format!("names no user; {FORM}"));
        };
        let user = login.split_once(':').map_or(login, |(user, _)| user);
        let (host_alone, port) = match host.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (host, None),
        };
        let database = database.trim_end_matches('/');
        for (part, name) in [(user, "user"), (host_alone, "host"), (database, "database")] {
            if part.is_empty() {
                return Err(format!("names no {name}; {FORM}"));
            }
        }
        if port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return Err(format!("has an invalid port number; {FORM}"));
        }
        Ok(Self { place: format!("{host}/{database}"), url: url.to_owned() })
    }
}

const FORM: &str = "write `mssql://USER:PASSWORD@HOST:PORT/DATABASE`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_to_a_database() {
        for (url, place) in [
            ("mssql://ann:secret@db.example.org:1444/chat", "db.example.org:1444/chat"),
            ("sqlserver://ann:p%40%2F%3F%23@h/chat?trustServerCertificate=true", "h/chat"),
            ("mssql://ann:s@cret:@h:1/chat/", "h:1/chat"),
            ("mssql://ann:secret@[::1]:1444/chat", "[::1]:1444/chat"),
            ("mssql://ann:secret@[::1]/my%20chat?instance=SQLEXPRESS", "[::1]/my%20chat"),
        ] {
            let read: MssqlUrl = url.parse().unwrap();
            assert_eq!((read.whole(), read.place()), (url, place));
            let debugged = format!("{read:?}");
            assert!(!debugged.contains("ann") && !debugged.contains("secret"), "{debugged}");
        }
    }

    #[test]
    fn what_leads_nowhere_is_explained_without_the_password() {
        for (url, says) in [
            ("mssql:ann:hunter2@h/d", "no `//`"),
            ("mssql://h/d", "no user"),
            ("mssql://:hunter2@h/d", "no user"),
            ("mssql://ann:hunter2@h:1433", "no database"),
            ("mssql://ann:hunter2@h:1433/?encrypt=strict", "no database"),
            ("mssql://ann:hunter2@h:port/d", "invalid port"),
            ("mssql://ann:hunter2@/d", "no host"),
            ("mssql://ann:1/hunter2@h/d", "%2F"),
            ("mssql://ann:1?hunter2@h/d", "%3F"),
            ("mssql://ann:1#hunter2@h/d", "%23"),
            ("mssql://ann:hunter2@h/d#x", "%23"),
        ] {
            let reason = url.parse::<MssqlUrl>().unwrap_err();
            assert!(reason.contains(says) && !reason.contains("hunter2"), "{url}: {reason}");
        }
    }
}

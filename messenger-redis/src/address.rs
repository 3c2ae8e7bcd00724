use redis::{ConnectionInfo, IntoConnectionInfo as _, RedisError};

/// The port of a Sentinel whose URL names none.
const SENTINEL_PORT: u16 = 26379;

/// What a URL says.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) kind: Kind,
    /// Of each host that is named: at least one.
    pub(crate) hosts: Vec<ConnectionInfo>,
    pub(crate) is_encrypted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One server.
    Single,
    /// The hosts are Sentinels, which know where the primary of a service is.
    Sentinel { service: String },
    /// The hosts belong to a cluster, and know the others.
    Cluster,
}

#[derive(Debug)]
pub(crate) enum AddressError {
    Scheme,
    Url(RedisError),
    ManyHosts,
    NoService,
    ClusterDatabase,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = url.split_once("://").ok_or(AddressError::Scheme)?;
        let (scheme, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        if !["redis", "rediss"].contains(&scheme) {
            return Err(AddressError::Scheme);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (format!("{login}@"), hosts),
            None => (String::new(), authority),
        };
        let (kind, database, port) = match kind {
            "" if hosts.contains(',') => return Err(AddressError::ManyHosts),
            "" => (Kind::Single, path, None),
            "sentinel" => {
                let (service, database) = path.split_once('/').unwrap_or((path, ""));
                if service.is_empty() {
                    return Err(AddressError::NoService);
                }
                (Kind::Sentinel { service: service.to_owned() }, database, Some(SENTINEL_PORT))
            }
            "cluster" if ["", "0"].contains(&path) => (Kind::Cluster, "", None),
            "cluster" => return Err(AddressError::ClusterDatabase),
            _ => return Err(AddressError::Scheme),
        };
        let hosts = hosts.split(',').map(|host| {
            let port = port.filter(|_| !has_port(host)).map(|port| format!(":{port}")).unwrap_or_default();
            // The crate knows what is escaped, and in what way.
            let url = format!("{scheme}://{login}{host}{port}/{database}");
            url.as_str().into_connection_info().map_err(AddressError::Url)
        });
        Ok(Self { kind, hosts: hosts.collect::<Result<_, _>>()?, is_encrypted: scheme == "rediss" })
    }
}

fn has_port(host: &str) -> bool {
    // An IPv6 address is in brackets.
    host.rsplit(']').next().is_some_and(|rest| rest.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(url: &str) -> String {
        let address = Address::parse(url).unwrap();
        let hosts = address.hosts.iter().map(|host| {
            let settings = host.redis_settings();
            let login = (settings.username().unwrap_or("-"), settings.password().unwrap_or("-"));
            format!("{}:{}@{}/{}", login.0, login.1, host.addr(), settings.db())
        });
        hosts.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn hosts_of_each_form() {
        for (url, expected) in [
            ("redis://h", "-:-@h:6379/0"),
            ("redis://ann:a%2Fb@h:1/3", "ann:a/b@h:1/3"),
            ("redis+cluster://:s@a,b:1,[::1]:2", "-:s@a:6379/0 -:s@b:1/0 -:s@::1:2/0"),
            ("redis+cluster://a/0", "-:-@a:6379/0"),
            ("redis+sentinel://ann:s@a,b:1,[::1]/main/2", "ann:s@a:26379/2 ann:s@b:1/2 ann:s@::1:26379/2"),
            ("redis+sentinel://a/main", "-:-@a:26379/0"),
        ] {
            assert_eq!(hosts(url), expected, "{url}");
        }
    }

    #[test]
    fn kinds_and_encryption() {
        let address = |url| Address::parse(url).unwrap();
        assert_eq!(address("redis://h").kind, Kind::Single);
        assert_eq!(address("rediss+cluster://h").kind, Kind::Cluster);
        let service = "main".to_owned();
        assert_eq!(address("redis+sentinel://h/main").kind, Kind::Sentinel { service });
        for (url, is_encrypted) in [("redis+cluster://h", false), ("rediss+sentinel://h/main", true)] {
            assert_eq!(address(url).is_encrypted, is_encrypted);
        }
    }

    #[test]
    fn what_is_wrong() {
        let wrong = |url| Address::parse(url).unwrap_err();
        for url in ["h", "http://h", "redis+moon://h", "http+cluster://h", "redis"] {
            assert!(matches!(wrong(url), AddressError::Scheme), "{url}");
        }
        for url in ["redis://h:port", "redis://h/first", "redis+cluster://a,b:port", "redis+cluster://a,,b"] {
            assert!(matches!(wrong(url), AddressError::Url(_)), "{url}");
        }
        assert!(matches!(wrong("redis://a,b"), AddressError::ManyHosts));
        for url in ["redis+sentinel://a", "redis+sentinel://a/", "redis+sentinel://a//2"] {
            assert!(matches!(wrong(url), AddressError::NoService), "{url}");
        }
        assert!(matches!(wrong("redis+cluster://a/2"), AddressError::ClusterDatabase));
    }
}

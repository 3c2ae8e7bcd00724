//! The address of the database: as a URL, or as a .NET connection string.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

/// The address of the database, the login, and how the connection is secured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    /// 1433 if there is neither a port nor an instance.
    pub(crate) port: Option<u16>,
    /// The instance whose port is looked up, if no port is given.
    pub(crate) instance: Option<String>,
    pub(crate) database: String,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Password>,
    pub(crate) encryption: Encryption,
    /// Whether any certificate is accepted.
    pub(crate) trust_any: bool,
    /// A file with certificates of authorities, which are trusted in addition to those of the system.
    pub(crate) authority: Option<PathBuf>,
    /// The name that the server's certificate must be for, if it is not the host.
    pub(crate) certificate_host: Option<String>,
    pub(crate) application: String,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) command_timeout: Option<Duration>,
    /// Whether all addresses of the host are tried at once, instead of one after the other.
    pub(crate) all_at_once: bool,
}

/// A password, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password(pub(crate) String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What part of the traffic is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encryption {
    /// Everything, from the login on.
    Required,
    /// Everything, from the first byte on: TDS 8.
    Strict,
    /// The login; the rest if the server requires it.
    Login,
    /// Nothing, not even the password.
    None,
}

impl Address {
    const PORT: u16 = 1433;

    /// Host, port and database, for error messages.
    pub(crate) fn place(&self) -> String {
        let Self { host, database, .. } = self;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        match (&self.instance, self.port) {
            (Some(instance), None) => format!("{host}\\{instance}/{database}"),
            (_, port) => format!("{host}:{}/{database}", port.unwrap_or(Self::PORT)),
        }
    }

    /// The port, unless it must be looked up.
    pub(crate) fn known_port(&self) -> Option<u16> {
        self.port.or_else(|| self.instance.is_none().then_some(Self::PORT))
    }

    fn of_url(rest: &str) -> Result<Self, String> {
        if rest.contains('#') {
            return Err("there is a `#` in it, which is written `%23`".to_owned());
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let mut address = Self::default();
        let host = match authority.rsplit_once('@') {
            None => authority,
            Some((login, host)) => {
                let (user, password) = login.split_once(':').map_or((login, None), |(u, p)| (u, Some(p)));
                address.user = some(decoded(user, "the user")?);
                address.password =
                    password.map(|password| decoded(password, "the password")).transpose()?.map(Password);
                host
            }
        };
        address.host_and_port(host)?;
        address.database = decoded(database.trim_end_matches('/'), "the database")?;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name, "a parameter")?, decoded(value, "a parameter")?);
            if !address.set(&plain(&name), value)? {
                return Err(unknown(&name));
            }
        }
        Ok(address)
    }

    /// Parses `HOST`, `HOST:PORT`, `[IPV6]:PORT`.
    fn host_and_port(&mut self, text: &str) -> Result<(), String> {
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or("a port follows a `:`")?)),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        self.host = decoded(host, "the host")?;
        self.port = port.map(self::port).transpose()?;
        Ok(())
    }

    fn of_pairs(text: &str) -> Result<Self, String> {
        let mut address = Self::default();
        for (name, value) in pairs(text)? {
            match plain(&name).as_str() {
                "server" | "datasource" | "addr" | "address" | "networkaddress" => address.server(&value)?,
                "database" | "initialcatalog" => address.database = value,
                "userid" | "uid" | "user" => address.user = some(value),
                "password" | "pwd" => address.password = Some(Password(value)),
                "integratedsecurity" | "trusted_connection" => {
                    if matches!(value.to_ascii_lowercase().as_str(), "true" | "yes" | "sspi") {
                        return Err(
                            "a login by Windows is not supported; give `User Id` and `Password`, or a \
                            source of tokens"
                                .to_owned(),
                        );
                    }
                }
                "authentication" => {
                    if plain(&value) != "sqlpassword" {
                        return Err("of `Authentication`, only `Sql Password` is supported; for a token of \
                            Microsoft Entra ID, set a source of tokens"
                            .to_owned());
                    }
                }
                // Settings of another driver's pool, and settings without effect here.
                "persistsecurityinfo"
                | "multipleactiveresultsets"
                | "pooling"
                | "maxpoolsize"
                | "minpoolsize"
                | "poolblockingperiod"
                | "connectionlifetime"
                | "loadbalancetimeout"
                | "connectretrycount"
                | "connectretryinterval"
                | "connectionreset"
                | "enlist"
                | "asynchronousprocessing"
                | "packetsize"
                | "typesystemversion"
                | "workstationid"
                | "wsid" => {}
                key => {
                    if !address.set(key, value)? {
                        return Err(unknown(&name));
                    }
                }
            }
        }
        Ok(address)
    }

    /// Parses `tcp:HOST,PORT`, `HOST\INSTANCE`.
    fn server(&mut self, text: &str) -> Result<(), String> {
        let text = text.trim();
        let lower = text.to_ascii_lowercase();
        let other =
            ["np:", "lpc:", "admin:", "\\\\", "(localdb)"].iter().find(|start| lower.starts_with(**start));
        if let Some(other) = other {
            return Err(format!("a server `{other}…` can't be reached: only TCP is supported"));
        }
        let text = if lower.starts_with("tcp:") { text[4..].trim() } else { text };
        let (host, port) = text.split_once(',').map_or((text, None), |(host, port)| (host, Some(port)));
        let (host, instance) = host.split_once('\\').map_or((host, None), |(host, i)| (host, Some(i)));
        match host.trim() {
            "." | "(local)" => self.host = "localhost".to_owned(),
            // Not the form of .NET, but people write it.
            host if host.starts_with('[') || host.matches(':').count() == 1 => self.host_and_port(host)?,
            host => self.host = host.to_owned(),
        }
        if let Some(port) = port {
            self.port = Some(self::port(port.trim())?);
        }
        self.instance = instance.and_then(|instance| some(instance.trim().to_owned()));
        Ok(())
    }

    /// Sets a parameter of both forms, by its [`plain`] name. False if there is no such parameter.
    fn set(&mut self, name: &str, value: String) -> Result<bool, String> {
        match name {
            "encrypt" => self.encryption = encryption(&value)?,
            "trustservercertificate" => self.trust_any = yes(name, &value)?,
            "trustservercertificateca" => self.authority = some(value).map(PathBuf::from),
            "hostnameincertificate" => self.certificate_host = some(value),
            "instance" => self.instance = some(value),
            "applicationname" | "app" => self.application = value,
            "connecttimeout" | "connectiontimeout" | "timeout" => {
                self.connect_timeout = Some(seconds(name, &value)?);
            }
            "commandtimeout" => self.command_timeout = Some(seconds(name, &value)?),
            "multisubnetfailover" => self.all_at_once = yes(name, &value)?,
            "applicationintent" => {
                if plain(&value) != "readwrite" {
                    return Err("`ApplicationIntent` is to be `ReadWrite`: a store is written to".to_owned());
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn checked(self) -> Result<Self, String> {
        if self.host.is_empty() {
            return Err("it names no host".to_owned());
        }
        if self.database.is_empty() {
            return Err("it names no database".to_owned());
        }
        if self.user.is_none() && self.password.is_some() {
            return Err("it has a password, but no user".to_owned());
        }
        if self.trust_any && self.authority.is_some() {
            return Err("it trusts any certificate, and names an authority: one of them is enough".to_owned());
        }
        Ok(self)
    }
}

impl Default for Address {
    fn default() -> Self {
        Self {
            host: String::new(),
            port: None,
            instance: None,
            database: String::new(),
            user: None,
            password: None,
            encryption: Encryption::Required,
            trust_any: false,
            authority: None,
            certificate_host: None,
            application: "messenger".to_owned(),
            connect_timeout: None,
            command_timeout: None,
            all_at_once: false,
        }
    }
}

impl FromStr for Address {
    /// What is wrong, as the rest of a sentence; without the password and anything that might be part of one.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let address = match text.split_once("://") {
            Some((scheme, rest))
                if scheme.eq_ignore_ascii_case("mssql") || scheme.eq_ignore_ascii_case("sqlserver") =>
            {
                Self::of_url(rest)?
            }
            Some((scheme, _)) if !scheme.contains('=') => {
                return Err("it does not begin with `mssql://`".to_owned());
            }
            _ if text.contains('=') => Self::of_pairs(text)?,
            _ => {
                return Err("it is neither `mssql://USER:PASSWORD@HOST:PORT/DATABASE` nor \
                    `Server=HOST,PORT;Database=DATABASE;User Id=USER;Password=PASSWORD`"
                    .to_owned());
            }
        };
        address.checked()
    }
}

/// The parameters of both forms, as documented.
const PARAMETERS: &str = "encrypt, trustServerCertificate, trustServerCertificateCA, hostNameInCertificate, \
    instance, applicationName, connectTimeout, commandTimeout, multiSubnetFailover and applicationIntent";

fn unknown(name: &str) -> String {
    // If a password contains an unencoded `&` or `;`, showing the name would reveal its rest.
    let shown = !name.is_empty()
        && name.len() <= 40
        && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b' ' || byte == b'_');
    let name = if shown { format!("`{name}`") } else { "there".to_owned() };
    format!("a parameter {name} is not known; these are: {PARAMETERS}")
}

/// A name without blanks and in lower case: `Trust Server Certificate` is `trustServerCertificate`.
fn plain(name: &str) -> String {
    name.chars().filter(|sign| !sign.is_whitespace()).map(|sign| sign.to_ascii_lowercase()).collect()
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port > 0);
    // Not shown: it may be a part of a password.
    port.ok_or_else(|| {
        "the port is not a number from 1 to 65535; in a user or a password, `:`, `/`, `?`, `#`, `@` and `%` are \
         written with `%` and their code"
            .to_owned()
    })
}

fn encryption(value: &str) -> Result<Encryption, String> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "mandatory" | "required" => Ok(Encryption::Required),
        "strict" => Ok(Encryption::Strict),
        "false" | "no" | "optional" => Ok(Encryption::Login),
        "danger_plaintext" => Ok(Encryption::None),
        _ => Err("`encrypt` is one of true, strict and false".to_owned()),
    }
}

fn yes(name: &str, value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" => Ok(true),
        "false" | "no" => Ok(false),
        _ => Err(format!("`{name}` is true or false")),
    }
}

fn seconds(name: &str, value: &str) -> Result<Duration, String> {
    let seconds = value.parse().ok().filter(|seconds| (1..=86_400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| format!("`{name}` is a number of seconds from 1 to 86400"))
}

/// Percent-decodes, by RFC 3986, section 2.1.
fn decoded(text: &str, what: &str) -> Result<String, String> {
    let wrong = || format!("{what} has a `%` without the two digits of a code, or codes that are no UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let code = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let code = code.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.ok_or_else(wrong)?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

/// The pairs of a [connection
/// string](https://learn.microsoft.com/dotnet/api/system.data.common.dbconnectionstringbuilder): values with a `;`, or
/// with blanks at their ends, are enclosed in `"` or `'`, which are doubled inside; or in braces, as in ODBC.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = vec![];
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|sign: char| sign == ';' || sign.is_whitespace());
        if rest.is_empty() {
            return Ok(pairs);
        }
        let (name, after) = rest.split_once('=').ok_or("a part of it has no `=`")?;
        let (value, after) = value(after.trim_start())?;
        pairs.push((name.trim().to_owned(), value));
        rest = after;
    }
}

/// Splits a text into the value at its beginning and the rest after the `;`.
fn value(text: &str) -> Result<(String, &str), String> {
    let end = match text.chars().next() {
        Some(quote @ ('"' | '\'')) => quote,
        Some('{') => '}',
        _ => {
            let (value, rest) = text.split_once(';').unwrap_or((text, ""));
            return Ok((value.trim_end().to_owned(), rest));
        }
    };
    let (mut value, mut rest) = (String::new(), &text[1..]);
    loop {
        let (part, after) =
            rest.split_once(end).ok_or_else(|| format!("a value has no `{end}` at its end"))?;
        value += part;
        let Some(doubled) = after.strip_prefix(end) else {
            let after = after.trim_start();
            let after = if after.is_empty() { Some(after) } else { after.strip_prefix(';') };
            return Ok((value, after.ok_or_else(|| format!("something follows the `{end}` of a value"))?));
        };
        value.push(end);
        rest = doubled;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Address {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn login(address: &Address) -> (&str, &str) {
        (address.user.as_deref().unwrap(), &address.password.as_ref().unwrap().0)
    }

    #[test]
    fn places_are_found() {
        for (text, place) in [
            ("mssql://sa:x@db.example.org/app", "db.example.org:1433/app"),
            ("MSSQL://sa:x@db.example.org/app/", "db.example.org:1433/app"),
            ("sqlserver://sa:x@db:14330/app", "db:14330/app"),
            ("mssql://sa:x@[2001:db8::1]:1434/app", "[2001:db8::1]:1434/app"),
            ("mssql://sa:x@[::1]/app", "[::1]:1433/app"),
            ("mssql://db/my%20app", "db:1433/my app"),
            ("mssql://sa:x@db/app?instance=SQLEXPRESS", "db\\SQLEXPRESS/app"),
            ("mssql://sa:x@db:1500/app?Instance=SQLEXPRESS", "db:1500/app"),
            ("Server=tcp:db.example.org,1433;Database=app;User Id=sa;Password=x", "db.example.org:1433/app"),
            ("server=db;initial catalog=app;", "db:1433/app"),
            ("Data Source=db\\SQLEXPRESS;Database=app", "db\\SQLEXPRESS/app"),
            ("Data Source=db\\SQLEXPRESS, 1500;Database=app", "db:1500/app"),
            ("Addr=db:1500;Database=app", "db:1500/app"),
            ("Address=[::1],1500;Database=app", "[::1]:1500/app"),
            ("Address=TCP:::1,1500;Database=app", "[::1]:1500/app"),
            ("Network Address=.;Database=app", "localhost:1433/app"),
            ("Server=(local);Database=app", "localhost:1433/app"),
        ] {
            assert_eq!(parse(text).place(), place, "{text}");
        }
    }

    #[test]
    fn users_and_passwords_are_decoded() {
        for (text, user, password) in [
            ("mssql://sa:x@db/app", "sa", "x"),
            ("mssql://s%40a:p%3A%2F%3F%23%25%40%20ü@db/app", "s@a", "p:/?#%@ ü"),
            ("mssql://sa:a:b@c@db/app", "sa", "a:b@c"),
            ("mssql://sa:@db/app", "sa", ""),
            ("mssql://sa:a+b@db/app", "sa", "a+b"),
            ("Server=db;Database=app;UID=sa;PWD=x", "sa", "x"),
            ("Server=db;Database=app;User=sa;Password= a b ; ", "sa", "a b"),
            ("Server=db;Database=app;User Id=sa;Password=a=b=", "sa", "a=b="),
            ("Server=db;Database=app;User Id=sa;Password=\" a;'b\"\"c \" ;", "sa", " a;'b\"c "),
            ("Server=db;Database=app;User Id=sa;Password='a;\"b''c'", "sa", "a;\"b'c"),
            ("Server=db;Database=app;User Id=sa;Password={a;}}{b}", "sa", "a;}{b"),
            ("Server=db;Database=app;User Id=sa;Password=ä\"'}", "sa", "ä\"'}"),
            ("Server=db;Database=app;User Id=sa;Password=old;Password=new", "sa", "new"),
            ("Server=db;Database=app;User Id=sa;Password=\"mssql://x\"", "sa", "mssql://x"),
        ] {
            assert_eq!(login(&parse(text)), (user, password), "{text}");
        }
    }

    #[test]
    fn encryption_is_required_unless_it_is_said_otherwise() {
        use Encryption::{Login, None, Required, Strict};
        for (value, wanted) in [
            ("true", Required),
            ("Mandatory", Required),
            ("yes", Required),
            ("STRICT", Strict),
            ("false", Login),
            ("Optional", Login),
            ("DANGER_PLAINTEXT", None),
        ] {
            assert_eq!(parse(&format!("mssql://sa:x@db/app?encrypt={value}")).encryption, wanted);
            assert_eq!(parse(&format!("Server=db;Database=app;Encrypt={value}")).encryption, wanted);
        }
        for text in ["mssql://sa:x@db/app", "Server=db;Database=app"] {
            let address = parse(text);
            assert_eq!(
                (address.encryption, address.trust_any, address.authority),
                (Required, false, Option::None)
            );
        }
    }

    #[test]
    fn parameters_are_set_in_both_forms() {
        for text in [
            "mssql://sa:x@db/app?TrustServerCertificate=true&applicationName=my%20chat&connectTimeout=7\
             &commandTimeout=9&hostNameInCertificate=sql&multiSubnetFailover=yes&applicationIntent=ReadWrite",
            "Server=db;Database=app;Uid=sa;Pwd=x;Trust Server Certificate=True;Application Name=my chat;\
             Connect Timeout=7;Command Timeout=9;Host Name In Certificate=sql;MultiSubnetFailover=True;\
             Application Intent=ReadWrite",
        ] {
            let wanted = Address {
                host: "db".to_owned(),
                database: "app".to_owned(),
                user: Some("sa".to_owned()),
                password: Some(Password("x".to_owned())),
                trust_any: true,
                certificate_host: Some("sql".to_owned()),
                application: "my chat".to_owned(),
                connect_timeout: Some(Duration::from_secs(7)),
                command_timeout: Some(Duration::from_secs(9)),
                all_at_once: true,
                ..Address::default()
            };
            assert_eq!(parse(text), wanted);
        }
        let address =
            parse("mssql://sa:x@db/app?trustServerCertificateCA=/etc/ca.pem&Connection%20Timeout=3");
        assert_eq!(address.authority, Some(PathBuf::from("/etc/ca.pem")));
        assert_eq!(address.connect_timeout, Some(Duration::from_secs(3)));
    }

    #[test]
    fn what_the_portal_of_azure_shows_is_taken() {
        let address = parse(
            "Server=tcp:chat.database.windows.net,1433;Initial Catalog=app;Persist Security Info=False;User ID=me;\
             Password={x};MultipleActiveResultSets=False;Encrypt=True;TrustServerCertificate=False;\
             Connection Timeout=30;",
        );
        assert_eq!(address.place(), "chat.database.windows.net:1433/app");
        assert_eq!(address.connect_timeout, Some(Duration::from_secs(30)));
        assert_eq!(address.encryption, Encryption::Required);
    }

    #[test]
    fn what_can_not_be_used_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "it is neither"),
            ("db.example.org", "it is neither"),
            ("postgres://sa:x@db/app", "mssql://"),
            ("jdbc:sqlserver://db;database=app", "mssql://"),
            ("mssql://sa:SECRET@db", "no database"),
            ("mssql://sa:SECRET@db/", "no database"),
            ("mssql://sa:SECRET@/app", "no host"),
            ("mssql://:SECRET@db/app", "no user"),
            ("mssql://sa:SECRET#1@db/app", "`%23`"),
            ("mssql://sa:SEC/RET@db/app", "port"),
            ("mssql://sa:x@db:0/app", "port"),
            ("mssql://sa:x@db:65536/app", "port"),
            ("mssql://sa:x@[::1]1433/app", "`:`"),
            ("mssql://sa:SECRET%zz@db/app", "the password has a `%`"),
            ("mssql://sa:SECRET%+1@db/app", "the password has a `%`"),
            ("mssql://sa:SECRET%f@db/app", "the password has a `%`"),
            ("mssql://sa:SECRET%ff@db/app", "the password has a `%`"),
            ("mssql://sa:x@db/app?encrypts=true", "`encrypts` is not known; these are: encrypt, trust"),
            ("mssql://sa:x@db/app?database=other", "`database` is not known"),
            ("mssql://sa:x@db/app?encrypt=maybe", "`encrypt` is one of"),
            ("mssql://sa:x@db/app?connectTimeout=0", "seconds"),
            ("mssql://sa:x@db/app?connectTimeout=soon", "seconds"),
            ("mssql://sa:x@db/app?trustServerCertificate=1", "true or false"),
            ("mssql://sa:x@db/app?trustServerCertificate=true&trustServerCertificateCA=a.pem", "authority"),
            ("mssql://sa:x@db/app?applicationIntent=ReadOnly", "ReadWrite"),
            ("Server=db;Database=app;Password=SECRET", "no user"),
            ("Server=db", "no database"),
            ("Database=app", "no host"),
            ("Server=db;Database=app;Password=\"SECRET", "`\"` at its end"),
            ("Server=db;Database=app;Password='SECRET'x", "follows"),
            ("Server=db;Database=app;Pwd=x;SECRET", "no `=`"),
            ("Server=db;Database=app;Pwd=x;SEC-RET=1", "a parameter there is not known"),
            ("Server=db;Database=app;Integrated Security=SSPI", "Windows"),
            ("Server=db;Database=app;Trusted_Connection=yes", "Windows"),
            ("Server=db;Database=app;Authentication=Active Directory Default", "tokens"),
            ("Server=db;Database=app;ApplicationIntent=ReadOnly", "ReadWrite"),
            ("Server=np:\\\\db\\pipe;Database=app", "only TCP"),
            ("Server=(LocalDB)\\MSSQLLocalDB;Database=app", "only TCP"),
            ("Server=db,x;Database=app", "port"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(!error.contains("SEC"), "{text}: {error}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let address = parse("mssql://sa:SECRET@db/app");
        assert!(!format!("{address:?}").contains("SECRET"));
    }
}

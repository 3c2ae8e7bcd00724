use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use percent_encoding::percent_decode_str;

/// Where mail goes, as one setting: `smtp://…`, `smtps://…`, `folder:DIR` or `log:`. `Debug` does not show the password.
///
/// * `smtp://[USER:PASSWORD@]HOST[:PORT][?OPTION=VALUE&…]`: a server, by STARTTLS. The port is 587 where none is named, and 25 with
///   `tls=none`.
/// * `smtps://…`: a server, by TLS from the first byte on. The port is 465 where none is named.
/// * `folder:DIR`: a file for each mail, to look at.
/// * `log:`: a line for each mail, without its text.
///
/// Letters that have a meaning in addresses are escaped in USER and PASSWORD, such as `@` by `%40`. Options of a server:
///
/// | option | values |
/// |---|---|
/// | `tls` | `required` (the default), `opportunistic`, `none`; for `smtp` alone. A password is sent by TLS alone, or to this machine |
/// | `auth` | `plain`, `login` or `xoauth2`, where the password is a token; by default `plain`, or `login` if the server has only that |
/// | `ca` | a file of certificates (PEM) to trust besides those of the system |
/// | `hello` | the name that is given to the server; by default that of the machine |
/// | `connections` | how many there are at most, 1 to 100; by default 4 |
///
/// ```
/// use messenger_mail::MailUrl;
///
/// let url: MailUrl = "smtp://chat:secret@mail.example.org?auth=login".parse()?;
/// assert_eq!(url.to_string(), "smtp://mail.example.org:587");
/// assert!(!format!("{url:?}").contains("secret"));
/// # Ok::<(), messenger_mail::MailUrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MailUrl {
    /// A server.
    Smtp(SmtpAddress),
    /// A folder.
    Folder(PathBuf),
    /// The log.
    Log,
}

/// Where a mail server is, and how it is spoken with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpAddress {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) security: Security,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Password>,
    pub(crate) mechanism: Option<Mechanism>,
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) hello: Option<String>,
    pub(crate) connections: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    /// TLS from the first byte on.
    Implicit,
    StartTls,
    /// STARTTLS where the server has it.
    Opportunistic,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mechanism {
    Plain,
    Login,
    Xoauth2,
}

/// A password, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password(pub(crate) String);

/// What is wrong with a [`MailUrl`]. It shows nothing of the address, in which a password may be anywhere if it is not escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MailUrlError {
    /// It begins with something else.
    #[error("mail goes to smtp://HOST, smtps://HOST, folder:DIR or log:")]
    Scheme,
    /// It is no URL.
    #[error(
        "the address of the mail server is no URL ({0}); in a user or a password `@` is written `%40`, `:` `%3A`, `/` `%2F`, `?` `%3F`, `#` `%23` and `%` `%25`"
    )]
    Url(#[from] ::url::ParseError),
    /// There is no host.
    #[error("the address of the mail server has no host")]
    Host,
    /// There is something after the host and its port that is no option.
    #[error(
        "the address of the mail server has a path or a fragment; if that is part of a password, `/` is written `%2F` and `#` `%23`"
    )]
    Path,
    /// A user without a password, or a password without a user.
    #[error("the address of the mail server has a user without a password, or a password without a user")]
    Login,
    /// A password that would go over the network in the clear.
    #[error("a password is sent by TLS alone: leave out `tls`, or use smtps://")]
    PasswordInTheClear,
    /// An option that there is not, or that is there twice.
    #[error(
        "the address of the mail server has an option that is not known, or one twice; there are tls, auth, ca, hello and connections; if that is part of a password, `?` is written `%3F`"
    )]
    Option,
    /// An option has a value that it can't have.
    #[error("the option `{option}` of the mail server is {expected}")]
    Value {
        /// The option.
        option: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// `folder:` without a folder.
    #[error("folder: is followed by a folder, as in folder:./mail")]
    Folder,
}

impl FromStr for MailUrl {
    type Err = MailUrlError;

    fn from_str(text: &str) -> Result<Self, MailUrlError> {
        let (scheme, rest) = text.split_once(':').ok_or(MailUrlError::Scheme)?;
        match scheme {
            "smtp" | "smtps" => SmtpAddress::parse(text).map(Self::Smtp),
            "folder" if rest.is_empty() => Err(MailUrlError::Folder),
            "folder" => Ok(Self::Folder(Path::new(rest).to_owned())),
            "log" if rest.is_empty() => Ok(Self::Log),
            _ => Err(MailUrlError::Scheme),
        }
    }
}

impl SmtpAddress {
    fn parse(text: &str) -> Result<Self, MailUrlError> {
        let url = ::url::Url::parse(text)?;
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(MailUrlError::Path);
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(MailUrlError::Host)?;
        // Brackets of an IPv6 address belong to the URL.
        let host = decoded(host)?.trim_matches(['[', ']']).to_owned();
        let implicit = url.scheme() == "smtps";
        let mut address = Self {
            host,
            port: 0,
            security: if implicit { Security::Implicit } else { Security::StartTls },
            user: Some(decoded(url.username())?).filter(|user| !user.is_empty()),
            password: url.password().map(decoded).transpose()?.map(Password),
            mechanism: None,
            authorities: None,
            hello: None,
            connections: 4,
        };
        address.take_options(&url, implicit)?;
        address.port = url.port().unwrap_or_else(|| address.default_port());
        address.check_login()?;
        Ok(address)
    }

    fn take_options(&mut self, url: &::url::Url, implicit: bool) -> Result<(), MailUrlError> {
        let mut seen = Vec::new();
        for (option, value) in url.query_pairs() {
            if seen.contains(&option) {
                return Err(MailUrlError::Option);
            }
            match &*option {
                "tls" if implicit => return Err(wrong("tls", "for smtp:// alone")),
                "tls" => self.security = security(&value)?,
                "auth" => self.mechanism = Some(mechanism(&value)?),
                "ca" if value.is_empty() => return Err(wrong("ca", "a file")),
                "ca" => self.authorities = Some(PathBuf::from(&*value)),
                "hello" => self.hello = Some(hello(&value)?),
                "connections" => self.connections = connections(&value)?,
                _ => return Err(MailUrlError::Option),
            }
            seen.push(option);
        }
        Ok(())
    }

    const fn default_port(&self) -> u16 {
        match self.security {
            Security::Implicit => 465,
            Security::StartTls | Security::Opportunistic => 587,
            Security::None => 25,
        }
    }

    fn check_login(&self) -> Result<(), MailUrlError> {
        if self.user.is_some() != self.password.is_some() {
            return Err(MailUrlError::Login);
        }
        let encrypted = matches!(self.security, Security::Implicit | Security::StartTls);
        let here = self.host == "localhost"
            || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        if self.password.is_some() && !encrypted && !here {
            return Err(MailUrlError::PasswordInTheClear);
        }
        Ok(())
    }
}

/// Without anything that is secret.
impl fmt::Display for MailUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Smtp(address) => address.fmt(f),
            Self::Folder(folder) => write!(f, "folder:{}", folder.display()),
            Self::Log => f.write_str("log:"),
        }
    }
}

/// Without anything that is secret.
impl fmt::Display for SmtpAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.security == Security::Implicit { "smtps" } else { "smtp" };
        let Self { host, port, .. } = self;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

const fn wrong(option: &'static str, expected: &'static str) -> MailUrlError {
    MailUrlError::Value { option, expected }
}

fn security(value: &str) -> Result<Security, MailUrlError> {
    match value {
        "required" => Ok(Security::StartTls),
        "opportunistic" => Ok(Security::Opportunistic),
        "none" => Ok(Security::None),
        _ => Err(wrong("tls", "required, opportunistic or none")),
    }
}

fn mechanism(value: &str) -> Result<Mechanism, MailUrlError> {
    match value {
        "plain" => Ok(Mechanism::Plain),
        "login" => Ok(Mechanism::Login),
        "xoauth2" => Ok(Mechanism::Xoauth2),
        _ => Err(wrong("auth", "plain, login or xoauth2")),
    }
}

/// It is sent to the server as it is.
fn hello(value: &str) -> Result<String, MailUrlError> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-.".contains(&b);
    if value.is_empty() || value.len() > 255 || !value.bytes().all(is_plain) {
        return Err(wrong("hello", "a name such as chat.example.org"));
    }
    Ok(value.to_owned())
}

fn connections(value: &str) -> Result<usize, MailUrlError> {
    let number = value.parse().ok().filter(|number| (1..=100).contains(number));
    number.ok_or(wrong("connections", "a number from 1 to 100"))
}

fn decoded(part: &str) -> Result<String, MailUrlError> {
    let decoded = percent_decode_str(part).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| MailUrlError::Url(::url::ParseError::InvalidDomainCharacter))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smtp(url: &str) -> SmtpAddress {
        match url.parse::<MailUrl>() {
            Ok(MailUrl::Smtp(address)) => address,
            other => panic!("{other:?}"),
        }
    }

    fn wrong_with(url: &str) -> MailUrlError {
        url.parse::<MailUrl>().unwrap_err()
    }

    #[test]
    fn each_kind_has_its_port_and_its_security() {
        for (url, shown, security) in [
            ("smtp://mail.example.org", "smtp://mail.example.org:587", Security::StartTls),
            ("smtp://h?tls=required", "smtp://h:587", Security::StartTls),
            ("smtp://h?tls=opportunistic", "smtp://h:587", Security::Opportunistic),
            ("smtp://h/?tls=none", "smtp://h:25", Security::None),
            ("smtp://h:2525?tls=none", "smtp://h:2525", Security::None),
            ("smtps://[::1]", "smtps://[::1]:465", Security::Implicit),
        ] {
            assert_eq!((smtp(url).to_string(), smtp(url).security), (shown.to_owned(), security), "{url}");
        }
    }

    #[test]
    fn a_login_is_taken_without_its_escapes() {
        let address = smtp("smtp://ada%40example.org:p%40ss%2Fw%25rd+@h");
        assert_eq!(address.user.as_deref(), Some("ada@example.org"));
        assert_eq!(address.password, Some(Password("p@ss/w%rd+".to_owned())));
    }

    #[test]
    fn options_are_taken() {
        let address = smtp("smtps://u:p@h?auth=xoauth2&ca=/etc/ca.pem&hello=chat.example.org&connections=9");
        assert_eq!(address.mechanism, Some(Mechanism::Xoauth2));
        assert_eq!(address.authorities.as_deref(), Some(Path::new("/etc/ca.pem")));
        assert_eq!((address.hello.as_deref(), address.connections), (Some("chat.example.org"), 9));
        assert_eq!(smtp("smtp://u:p@h?auth=login").mechanism, Some(Mechanism::Login));
    }

    #[test]
    fn folders_and_the_log() {
        assert_eq!("folder:./mail".parse(), Ok(MailUrl::Folder("./mail".into())));
        assert_eq!("log:".parse(), Ok(MailUrl::Log));
        assert_eq!(MailUrl::Folder("/a".into()).to_string(), "folder:/a");
        assert_eq!(MailUrl::Log.to_string(), "log:");
    }

    #[test]
    fn what_is_wrong_is_said() {
        use MailUrlError::{Folder, Host, Login, Option, PasswordInTheClear, Path, Scheme};
        for (url, error) in [
            ("mail.example.org", Scheme),
            ("http://h", Scheme),
            ("log:x", Scheme),
            ("folder:", Folder),
            ("smtp:", Host),
            ("smtp://", Host),
            ("smtp://h/path", Path),
            ("smtp://h#x", Path),
            ("smtp://u@h", Login),
            ("smtp://:p@h", Login),
            ("smtp://u:p@h?tls=none", PasswordInTheClear),
            ("smtp://u:p@h?tls=opportunistic", PasswordInTheClear),
            ("smtp://h?x=1", Option),
            ("smtp://h?tls=none&tls=none", Option),
        ] {
            assert_eq!(wrong_with(url), error, "{url}");
        }
        for (url, name) in [
            ("smtp://h?tls=maybe", "tls"),
            ("smtps://h?tls=none", "tls"),
            ("smtp://h?auth=md5", "auth"),
            ("smtp://h?hello=a%0d%0ab", "hello"),
            ("smtp://h?ca=", "ca"),
            ("smtp://h?connections=0", "connections"),
            ("smtp://h?connections=101", "connections"),
        ] {
            assert!(
                matches!(wrong_with(url), MailUrlError::Value { option, .. } if option == name),
                "{url}: {}",
                wrong_with(url)
            );
        }
        assert!(matches!(wrong_with("smtp://h:port"), MailUrlError::Url(_)));
        assert!(smtp("smtp://u:p@127.0.0.1?tls=none").password.is_some(), "to this machine");
    }

    #[test]
    fn no_error_shows_a_password_wherever_it_is_misplaced() {
        for url in [
            "smtp://u:sec/ret@h",
            "smtp://u:sec?ret@h",
            "smtp://u:sec#ret@h",
            "smtp://u:sec%ret@h",
            "smtp://u:sec%ffret@h",
            "smtp://u:secret@",
            "smtp://u:secret@h/secret",
            "smtp://u:secret@h?tls=none",
            "smtp://h?password=secret",
            "smtp://h?secret=1",
            "smtp://h?tls=secret",
            "secret",
            "u:secret@h",
            "smtp://u:secret@h:sec",
        ] {
            let error = wrong_with_or_parsed(url);
            assert!(!error.contains("sec") || error.contains("security"), "{url}: {error}");
        }
    }

    fn wrong_with_or_parsed(url: &str) -> String {
        match url.parse::<MailUrl>() {
            Ok(url) => format!("{url:?}"),
            Err(error) => format!("{error} {error:?}"),
        }
    }
}

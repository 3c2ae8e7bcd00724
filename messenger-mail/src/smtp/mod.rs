//! Mail over SMTP.

mod connection;
mod error;
mod pool;
mod stream;
mod tokens;

use std::{fmt, fs, io, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use lettre::transport::smtp::{
    authentication::{Credentials, Mechanism as Known},
    client::{Certificate, TlsParameters},
    extension::ClientId,
};
use messenger_core::ports::{Notification, Notifier, NotifyError};
use tokio::time::timeout;

use self::{
    connection::{Connection, Limits, Login, Route},
    error::{Cause, Stage},
    pool::{Pool, Turn},
};
use crate::{
    composer::Composer,
    mail::Mail,
    url::{Mechanism, Security, SmtpAddress},
};

pub use self::{error::SmtpError, tokens::TokenSource};

/// One delivery, whatever it waits for: less than the port allows.
const WHOLE: Duration = Duration::from_secs(170);

/// Sends mail over SMTP.
///
/// Connections are encrypted unless the address says otherwise, and kept for the next mail, at most as many as the address says. Each
/// answer of the server has a limit in time. What a server refuses with a code from 500 on is refused for good, and everything else
/// is tried again by whoever called. A connection that is lost before the answer to the whole mail leaves open whether that was taken: the
/// next try has the same Message-ID.
///
/// ```no_run
/// use messenger_mail::{Composer, MailUrl, SmtpNotifier};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let composer = Composer::builder("Chat <chat@example.org>").build()?;
/// let MailUrl::Smtp(address) = "smtp://chat:secret@mail.example.org".parse()? else { return Ok(()) };
/// let notifier = SmtpNotifier::builder(address, composer).build()?;
/// notifier.check().await?;
/// # Ok(())
/// # }
/// ```
pub struct SmtpNotifier {
    composer: Composer,
    route: Route,
    pool: Pool,
}

/// Made by [`SmtpNotifier::builder`].
pub struct SmtpBuilder {
    address: SmtpAddress,
    composer: Composer,
    authorities: Option<Vec<u8>>,
    tokens: Option<(String, Arc<dyn TokenSource>)>,
    limits: Limits,
}

/// Why a mail server can't be used as it is described.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SmtpBuildError {
    /// The file of certificates can't be read.
    #[error("the certificates in {} can't be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Certificates are not PEM, or TLS can't be set up.
    #[error("TLS can't be set up with these certificates and this host")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Tokens are given, and the address would send them in the clear, or has a password or another kind of log-in.
    #[error("tokens go by TLS alone, and in the place of a password")]
    Tokens,
}

impl SmtpNotifier {
    /// Through the server at this address.
    pub fn builder(address: SmtpAddress, composer: Composer) -> SmtpBuilder {
        let limits = Limits {
            connect: Duration::from_secs(15),
            answer: Duration::from_secs(30),
            content: Duration::from_secs(120),
        };
        SmtpBuilder { address, composer, authorities: None, tokens: None, limits }
    }

    /// Connects and logs in, without sending anything, to be told at start of what is wrong.
    ///
    /// # Errors
    /// [`SmtpError`] if the server can't be had.
    pub async fn check(&self) -> Result<(), SmtpError> {
        let connecting = async {
            let turn = self.pool.turn().await;
            let connection = self.route.connect().await?;
            turn.keep(connection, 0);
            Ok(())
        };
        timeout(WHOLE, connecting).await.unwrap_or_else(|_| Err(too_long()))
    }

    async fn deliver(&self, mail: &Mail) -> Result<(), SmtpError> {
        let turn = self.pool.turn().await;
        if let Some((connection, mails)) = turn.used() {
            match self.send(&turn, connection, mails, mail).await {
                Err(error) if error.is_stale_connection() => {}
                done => return done,
            }
        }
        let connection = self.route.connect().await?;
        self.send(&turn, connection, 0, mail).await
    }

    async fn send(
        &self,
        turn: &Turn<'_>,
        mut connection: Connection,
        mails: u32,
        mail: &Mail,
    ) -> Result<(), SmtpError> {
        let sent = connection.send(mail).await;
        let stays = match &sent {
            Ok(()) => true,
            Err(error) => error.leaves_connection() && connection.reset().await.is_ok(),
        };
        if stays {
            turn.keep(connection, mails + 1);
        }
        sent
    }
}

const fn too_long() -> SmtpError {
    SmtpError::new(Stage::Connect, Cause::TimedOut)
}

#[async_trait]
impl Notifier for SmtpNotifier {
    async fn notify(&self, notification: &Notification) -> Result<(), NotifyError> {
        let mail = self.composer.compose(notification)?;
        timeout(WHOLE, self.deliver(&mail)).await.unwrap_or_else(|_| Err(too_long()))?;
        Ok(())
    }
}

impl SmtpBuilder {
    /// Certificates (PEM) to trust besides those of the system.
    #[must_use]
    pub fn ca_certificates(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities = Some(pem.into());
        self
    }

    /// Logs in as `user` with tokens of this source, by XOAUTH2.
    #[must_use]
    pub fn tokens(mut self, user: impl Into<String>, source: Arc<dyn TokenSource>) -> Self {
        self.tokens = Some((user.into(), source));
        self
    }

    /// How long the server may take for each step: to be reached half of it, for an answer all of it, and four times as long for the answer to
    /// a whole mail, into which it may look before. From 100 ms to 30 s; values outside are clamped. Default: 30 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        let answer = timeout.clamp(Duration::from_millis(100), Duration::from_secs(30));
        self.limits = Limits { connect: answer / 2, answer, content: answer * 4 };
        self
    }

    /// Checks the settings, without connecting.
    ///
    /// # Errors
    /// [`SmtpBuildError`] if certificates can't be used, or tokens are not to be sent that way.
    pub fn build(self) -> Result<SmtpNotifier, SmtpBuildError> {
        let Self { address, composer, authorities, tokens, limits } = self;
        let tls = match address.security {
            Security::None => None,
            _ => Some(tls(&address, authorities.as_deref())?),
        };
        let encrypts = matches!(address.security, Security::Implicit | Security::StartTls);
        let (login, mechanisms) = match tokens {
            None => (password(&address), mechanisms(address.mechanism)),
            Some(_) if !encrypts || address.password.is_some() => return Err(SmtpBuildError::Tokens),
            Some(_) if !matches!(address.mechanism, None | Some(Mechanism::Xoauth2)) => {
                return Err(SmtpBuildError::Tokens);
            }
            Some((user, source)) => (Some(Login::Tokens { user, source }), vec![Known::Xoauth2]),
        };
        let SmtpAddress { host, port, security, hello, connections, .. } = address;
        let hello = hello.map_or_else(ClientId::default, ClientId::Domain);
        let route = Route { host, port, security, tls, login, mechanisms, hello, limits };
        Ok(SmtpNotifier { composer, route, pool: Pool::new(connections) })
    }
}

fn tls(address: &SmtpAddress, authorities: Option<&[u8]>) -> Result<TlsParameters, SmtpBuildError> {
    let wrong = |error: lettre::transport::smtp::Error| SmtpBuildError::Tls(error.into());
    let mut builder = TlsParameters::builder(address.host.clone());
    let file = address
        .authorities
        .as_ref()
        .map(|path| fs::read(path).map_err(|source| SmtpBuildError::File { path: path.clone(), source }));
    for pem in [file.transpose()?.as_deref(), authorities].into_iter().flatten() {
        builder = builder.add_root_certificate(Certificate::from_pem(pem).map_err(wrong)?);
    }
    builder.build().map_err(wrong)
}

fn password(address: &SmtpAddress) -> Option<Login> {
    let (user, password) = (address.user.clone()?, address.password.clone()?);
    Some(Login::Password(Credentials::new(user, password.0)))
}

fn mechanisms(wanted: Option<Mechanism>) -> Vec<Known> {
    match wanted {
        None => vec![Known::Plain, Known::Login],
        Some(Mechanism::Plain) => vec![Known::Plain],
        Some(Mechanism::Login) => vec![Known::Login],
        Some(Mechanism::Xoauth2) => vec![Known::Xoauth2],
    }
}

impl fmt::Debug for SmtpNotifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Route { host, port, .. } = &self.route;
        f.debug_struct("SmtpNotifier").field("host", host).field("port", port).finish_non_exhaustive()
    }
}

impl fmt::Debug for SmtpBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpBuilder").field("address", &self.address).finish_non_exhaustive()
    }
}

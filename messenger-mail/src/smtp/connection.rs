use std::{future::Future, sync::Arc, time::Duration};

use lettre::transport::smtp::{
    authentication::{Credentials, Mechanism},
    client::{AsyncSmtpConnection, TlsParameters},
    commands,
    extension::{ClientId, Extension, MailParameter},
    response::Response,
};
use tokio::{net::TcpStream, time::timeout};

use super::{
    error::{Cause, SmtpError, Stage},
    stream::Stream,
    tokens::TokenSource,
};
use crate::{mail::Mail, url::Security};

/// How a connection is made.
pub(super) struct Route {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: Security,
    /// Absent only without TLS.
    pub(super) tls: Option<TlsParameters>,
    pub(super) login: Option<Login>,
    pub(super) mechanisms: Vec<Mechanism>,
    pub(super) hello: ClientId,
    pub(super) limits: Limits,
}

pub(super) enum Login {
    Password(Credentials),
    Tokens { user: String, source: Arc<dyn TokenSource> },
}

/// How long the server may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// To be reached, TLS included.
    pub(super) connect: Duration,
    /// For an answer.
    pub(super) answer: Duration,
    /// To take the mail and answer for it: it may look into it before.
    pub(super) content: Duration,
}

/// A connection on which a mail can be sent.
pub(super) struct Connection {
    smtp: AsyncSmtpConnection,
    limits: Limits,
}

impl Route {
    pub(super) async fn connect(&self) -> Result<Connection, SmtpError> {
        let mut smtp = match (self.security, &self.tls) {
            (Security::Implicit, tls) => self.connect_encrypted(tls.clone()).await?,
            _ => self.connect_plain().await?,
        };
        let starts_tls = match self.security {
            Security::StartTls => true,
            Security::Opportunistic => smtp.can_starttls(),
            Security::Implicit | Security::None => false,
        };
        if starts_tls && let Some(tls) = self.tls.clone() {
            step(Stage::StartTls, self.limits.connect, "", smtp.starttls(tls, &self.hello)).await?;
        }
        self.log_in(&mut smtp).await?;
        Ok(Connection { smtp, limits: self.limits })
    }

    async fn connect_encrypted(&self, tls: Option<TlsParameters>) -> Result<AsyncSmtpConnection, SmtpError> {
        let Limits { connect, .. } = self.limits;
        let server = (self.host.as_str(), self.port);
        let connecting = AsyncSmtpConnection::connect_tokio1(server, Some(connect), &self.hello, tls, None);
        step(Stage::Connect, connect, "", connecting).await
    }

    async fn connect_plain(&self) -> Result<AsyncSmtpConnection, SmtpError> {
        let connecting = TcpStream::connect((self.host.as_str(), self.port));
        let tcp = match timeout(self.limits.connect, connecting).await {
            Ok(Ok(tcp)) => tcp,
            Ok(Err(error)) => return Err(SmtpError::new(Stage::Connect, Cause::Lost(error.into()))),
            Err(_) => return Err(SmtpError::new(Stage::Connect, Cause::TimedOut)),
        };
        let stream = Box::new(Stream::new(tcp, self.tls.is_some()));
        let greeting = AsyncSmtpConnection::connect_with_transport(stream, &self.hello);
        step(Stage::Hello, self.limits.answer, "", greeting).await
    }

    async fn log_in(&self, smtp: &mut AsyncSmtpConnection) -> Result<(), SmtpError> {
        let credentials = match &self.login {
            None => return Ok(()),
            Some(Login::Password(credentials)) => credentials.clone(),
            Some(Login::Tokens { user, source }) => {
                let token = match timeout(self.limits.answer, source.token()).await {
                    Ok(Ok(token)) => token,
                    Ok(Err(error)) => return Err(SmtpError::new(Stage::Token, Cause::Lost(error))),
                    Err(_) => return Err(SmtpError::new(Stage::Token, Cause::TimedOut)),
                };
                Credentials::new(user.clone(), token)
            }
        };
        let login = smtp.auth(&self.mechanisms, &credentials);
        step(Stage::LogIn, self.limits.answer, "", login).await.map(drop)
    }
}

impl Connection {
    pub(super) async fn send(&mut self, mail: &Mail) -> Result<(), SmtpError> {
        let envelope = mail.envelope();
        let mut parameters = Vec::new();
        if !mail.as_bytes().is_ascii() {
            if !self.smtp.server_info().supports_feature(Extension::SmtpUtfEight) {
                return Err(SmtpError::new(Stage::To, Cause::Lacks("a way to addresses beyond ASCII")));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        self.command(Stage::From, "", commands::Mail::new(envelope.from().cloned(), parameters)).await?;
        for to in envelope.to() {
            self.command(Stage::To, to.as_ref(), commands::Rcpt::new(to.clone(), Vec::new())).await?;
        }
        let to = envelope.to().first().map_or("", |to| to.as_ref());
        self.command(Stage::Data, to, commands::Data).await?;
        step(Stage::Content, self.limits.content, to, self.smtp.message(mail.as_bytes())).await.map(drop)
    }

    /// Forgets a mail that was refused.
    pub(super) async fn reset(&mut self) -> Result<(), SmtpError> {
        self.command(Stage::Reset, "", commands::Rset).await.map(drop)
    }

    async fn command(
        &mut self,
        stage: Stage,
        address: &str,
        command: impl std::fmt::Display + Send,
    ) -> Result<Response, SmtpError> {
        step(stage, self.limits.answer, address, self.smtp.command(command)).await
    }
}

async fn step<T>(
    stage: Stage,
    limit: Duration,
    address: &str,
    work: impl Future<Output = Result<T, lettre::transport::smtp::Error>> + Send,
) -> Result<T, SmtpError> {
    match timeout(limit, work).await {
        Ok(done) => done.map_err(|error| SmtpError::of(stage, error, address)),
        Err(_) => Err(SmtpError::new(stage, Cause::TimedOut)),
    }
}

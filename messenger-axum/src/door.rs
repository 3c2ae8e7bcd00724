//! What all routes and sockets share.

use std::{
    net::IpAddr,
    ops::Deref,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, header, request::Parts};
use messenger_core::{Actor, Error, Messenger, Result, context::Context};

use crate::{
    admission::Admission,
    client::{self, Client},
    limits::Limiter,
    operation::Access,
    options::Options,
};

/// The messenger with what the router keeps of its own; a cheap clone.
#[derive(Clone)]
pub(crate) struct Door(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) messenger: Messenger,
    pub(crate) limits: Limiter,
    pub(crate) admission: Admission,
    pub(crate) options: Options,
    /// The document of the routes, once somebody has asked for it.
    pub(crate) openapi: OnceLock<Bytes>,
    /// Gives out the ids of requests.
    pub(crate) context: Context,
}

impl Deref for Door {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Door {
    pub(crate) fn new(messenger: Messenger, options: Options) -> Self {
        let limits = Limiter::new(options.rate_limits);
        let admission = Admission::new(&options);
        Self(Arc::new(Inner {
            messenger,
            limits,
            admission,
            options,
            openapi: OnceLock::new(),
            context: Context::system(),
        }))
    }

    /// Does this, unless it takes longer than a request may.
    ///
    /// # Errors
    /// Those of the work; `unavailable` when it takes too long.
    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let done = tokio::time::timeout(self.timeout(), work).await;
        done.unwrap_or_else(|late| Err(Error::Unavailable(Some(late.into()))))
    }

    /// Who is asking, if they may ask now.
    pub(crate) async fn admit(&self, access: Access, parts: &Parts) -> Result<Actor> {
        match access {
            Access::Anyone => {
                self.limits.login(self.address(parts))?;
                Ok(Actor::anonymous())
            }
            Access::Session => self.log_in(parts, bearer(&parts.headers), true).await,
        }
    }

    /// Who has this token. It counts as a request of the person if it `asks` for something.
    pub(crate) async fn log_in(&self, parts: &Parts, token: Option<&str>, asks: bool) -> Result<Actor> {
        let found = match token {
            Some(token) => {
                let _turn = self.admission.lookups.take(self.client(parts), 0).await?;
                self.messenger.authenticate(token).await
            }
            None => Err(Error::Unauthenticated),
        };
        match found {
            Ok(actor) if asks => self.limits.person(actor.user()?).map(|()| actor),
            Ok(actor) => Ok(actor),
            Err(error) => {
                self.limits.address(self.address(parts))?;
                Err(error)
            }
        }
    }

    /// Where the request comes from, whoever it is.
    pub(crate) fn client(&self, parts: &Parts) -> Client {
        Client::at(self.address(parts))
    }

    pub(crate) fn address(&self, parts: &Parts) -> Option<IpAddr> {
        client::address(&parts.extensions, &parts.headers, self.options.trusted_proxies)
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.options.timeout
    }
}

/// The token of `Authorization: Bearer …` (RFC 6750).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

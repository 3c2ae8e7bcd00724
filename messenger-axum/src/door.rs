//! The shared state of all routes and sockets.

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
    limits::{Limiter, SharedLimiter},
    operation::Access,
    options::Options,
};

/// The messenger together with the router's own state; a cheap clone.
#[derive(Clone)]
pub(crate) struct Door(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) messenger: Messenger,
    pub(crate) limits: Limiter,
    pub(crate) admission: Admission,
    pub(crate) options: Options,
    /// The OpenAPI document, once it was requested.
    pub(crate) openapi: OnceLock<Bytes>,
    /// Generates the ids of requests.
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
        let limits = Limiter::new(options.rate_limits, SharedLimiter::of(&options));
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

    /// Runs the work, within the time limit of a request.
    ///
    /// # Errors
    /// The error of the work; `unavailable` if it takes too long.
    pub(crate) async fn in_time<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let done = tokio::time::timeout(self.timeout(), work).await;
        done.unwrap_or_else(|late| Err(Error::Unavailable(Some(late.into()))))
    }

    /// Authenticates the caller, and checks that they may make a request now.
    pub(crate) async fn admit(&self, access: Access, parts: &Parts) -> Result<Actor> {
        match access {
            Access::Anyone | Access::Everywhere => {
                self.limits.login(self.address(parts)).await?;
                Ok(Actor::anonymous())
            }
            Access::Session => self.log_in(parts, bearer(&parts.headers), true).await,
        }
    }

    /// Authenticates the person who has this token. With `asks`, it counts as a request of the person.
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

    /// The origin of the request, whoever makes it.
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

/// Reads the token of `Authorization: Bearer …` (RFC 6750).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

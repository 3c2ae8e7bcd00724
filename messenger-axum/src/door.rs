//! What all routes and sockets share.

use std::{net::IpAddr, ops::Deref, sync::Arc, time::Duration};

use http::{HeaderMap, header, request::Parts};
use messenger_core::{Actor, Error, Messenger, Result, context::Context};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{client, limits::Limiter, operation::Access, options::Options};

/// The messenger with what the router keeps of its own; a cheap clone.
#[derive(Clone)]
pub(crate) struct Door(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) messenger: Messenger,
    pub(crate) limits: Limiter,
    pub(crate) options: Options,
    /// Gives out the ids of requests.
    pub(crate) context: Context,
    running: Semaphore,
    present: Semaphore,
}

impl Deref for Door {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// The right to be worked on; given back when dropped.
pub(crate) struct Turn<'a> {
    _running: SemaphorePermit<'a>,
    _present: SemaphorePermit<'a>,
}

impl Door {
    pub(crate) fn new(messenger: Messenger, options: Options) -> Self {
        let limits = Limiter::new(options.rate_limits);
        let at_once = options.concurrency.clamp(1, Semaphore::MAX_PERMITS / 2);
        let waiting = options.queue.min(Semaphore::MAX_PERMITS / 2);
        Self(Arc::new(Inner {
            messenger,
            limits,
            options,
            context: Context::system(),
            running: Semaphore::new(at_once),
            present: Semaphore::new(at_once + waiting),
        }))
    }

    /// Waits for a turn; `unavailable` if too many wait already.
    pub(crate) async fn turn(&self) -> Result<Turn<'_>> {
        // Neither semaphore is ever closed, so an error is always "none left".
        let present = self.present.try_acquire().map_err(|_| Error::unavailable())?;
        let running = self.running.acquire().await.map_err(|_| Error::unavailable())?;
        Ok(Turn { _running: running, _present: present })
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
            Some(token) => self.messenger.authenticate(token).await,
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

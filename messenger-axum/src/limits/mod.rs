//! Limits the rate of requests of one caller.

mod buckets;
mod period;
mod requests;
mod shared;

use std::net::IpAddr;

use messenger_core::{Result, UserId};
use sha2::{Digest as _, Sha256};

use crate::{client::network, options::RateLimits};
use buckets::Buckets;
use requests::Requests;
pub(crate) use shared::SharedLimiter;

/// The rate limits, shared by REST and sockets. Each node counts for itself, and where there is a limiter that
/// nodes share, over all of them: log-ins and passwords before they are tried, requests within a second.
pub(crate) struct Limiter {
    buckets: Option<AllBuckets>,
    shared: Option<SharedLimiter>,
}

struct AllBuckets {
    people: Requests<UserId>,
    addresses: Requests<IpAddr>,
    logins: Buckets<IpAddr>,
    wrong_passwords: Buckets<Account>,
    exports: Buckets<UserId>,
}

/// An account for which a password is tried: the person, or the given login name. A hash, the same on all nodes, so that
/// long names take no more memory than short ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Account([u8; 16]);

impl Account {
    pub(crate) fn named(login: &str) -> Self {
        Self::of(b"login", login.to_lowercase().as_bytes())
    }

    pub(crate) fn of_user(user: UserId) -> Self {
        Self::of(b"user", user.as_bytes())
    }

    /// Whoever has this mail address, for what is sent to it.
    pub(crate) fn mailed(email: &str) -> Self {
        Self::of(b"mailed", email.to_lowercase().as_bytes())
    }

    /// A person, for what is sent to them at their request, and what they do with it.
    pub(crate) fn mails_of(user: UserId) -> Self {
        Self::of(b"mails", user.as_bytes())
    }

    fn of(kind: &[u8], name: &[u8]) -> Self {
        let hash = Sha256::new().chain_update(kind).chain_update([0]).chain_update(name).finalize();
        let mut first = [0; 16];
        first.copy_from_slice(&hash[..16]);
        Self(first)
    }
}

impl Limiter {
    pub(crate) fn new(limits: Option<RateLimits>, shared: Option<SharedLimiter>) -> Self {
        let shared = limits.and(shared);
        let limiter = || shared.as_ref().map(SharedLimiter::limiter);
        let buckets = limits.map(|limits| AllBuckets {
            people: Requests::new(limits.requests, limiter()),
            addresses: Requests::new(limits.requests, limiter()),
            logins: Buckets::new(limits.logins),
            wrong_passwords: Buckets::new(limits.wrong_passwords),
            exports: Buckets::new(limits.exports),
        });
        Self { buckets, shared }
    }

    /// Counts a request of a logged-in person.
    pub(crate) fn person(&self, user: UserId) -> Result<()> {
        self.buckets.as_ref().map_or(Ok(()), |buckets| buckets.people.take(&user))
    }

    /// Counts a request of an anonymous caller.
    pub(crate) fn address(&self, address: Option<IpAddr>) -> Result<()> {
        self.by_address(address, |buckets, network| buckets.addresses.take(network))
    }

    /// Counts a registration or log-in.
    pub(crate) async fn login(&self, address: Option<IpAddr>) -> Result<()> {
        self.by_address(address, |buckets, network| buckets.logins.take(network))?;
        match (&self.shared, address) {
            (Some(shared), Some(address)) => shared.login(network(address)).await,
            _ => Ok(()),
        }
    }

    /// Counts a password attempt before it is made. It counts as wrong until it is known to be right, so that
    /// concurrent attempts are limited, too, and hanging up before the answer gains nothing.
    pub(crate) async fn try_password(&self, account: Account) -> Result<()> {
        if let Some(buckets) = &self.buckets {
            buckets.wrong_passwords.take(&account)?;
        }
        match &self.shared {
            Some(shared) => shared.try_password(&account.0).await,
            None => Ok(()),
        }
    }

    /// Takes back an attempt whose password was not wrong.
    pub(crate) fn not_wrong(&self, account: Account) {
        if let Some(buckets) = &self.buckets {
            buckets.wrong_passwords.give_back(&account);
        }
        if let Some(shared) = &self.shared {
            shared.not_wrong(&account.0);
        }
    }

    /// Counts an export of what is held about a person.
    pub(crate) async fn export(&self, user: UserId) -> Result<()> {
        if let Some(buckets) = &self.buckets {
            buckets.exports.take(&user)?;
        }
        match &self.shared {
            Some(shared) => shared.export(user).await,
            None => Ok(()),
        }
    }

    /// Takes back an export that did not begin.
    pub(crate) fn not_exported(&self, user: UserId) {
        if let Some(buckets) = &self.buckets {
            buckets.exports.give_back(&user);
        }
        if let Some(shared) = &self.shared {
            shared.not_exported(user);
        }
    }

    fn by_address(
        &self,
        address: Option<IpAddr>,
        take: impl Fn(&AllBuckets, &IpAddr) -> Result<()>,
    ) -> Result<()> {
        let Some(buckets) = &self.buckets else { return Ok(()) };
        let Some(address) = address else {
            static ONCE: std::sync::Once = std::sync::Once::new();
            ONCE.call_once(|| {
                tracing::warn!(
                    "the address of clients is not known, so that limits by address don't apply: \
                     serve with connect info, or trust a proxy"
                );
            });
            return Ok(());
        };
        take(buckets, &network(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Rate;

    #[tokio::test]
    async fn an_ipv6_client_counts_by_its_network() {
        let limits = RateLimits { logins: Rate::per_second(1, 1), ..RateLimits::default() };
        let limiter = Limiter::new(Some(limits), None);
        let address = |text: &str| Some(text.parse().unwrap());
        assert!(limiter.login(address("2001:db8::1")).await.is_ok());
        assert!(limiter.login(address("2001:db8::2")).await.is_err());
        assert!(limiter.login(address("2001:db8:0:1::2")).await.is_ok());
        assert!(limiter.login(address("::ffff:192.0.2.1")).await.is_ok());
        assert!(limiter.login(address("192.0.2.1")).await.is_err());
    }

    #[test]
    fn an_account_has_one_name_in_any_case() {
        assert_eq!(Account::named("Ada@example.org"), Account::named("ada@EXAMPLE.org"));
        assert_ne!(Account::named("ada"), Account::named("bob"));
    }
}

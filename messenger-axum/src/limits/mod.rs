//! Limits the rate of requests of one caller.

mod buckets;

use std::{
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
};

use messenger_core::{Result, UserId};

use crate::{client::network, options::RateLimits};
use buckets::Buckets;

/// The rate limits of one node, shared by REST and sockets.
pub(crate) struct Limiter {
    buckets: Option<AllBuckets>,
    // Account names are identified by a keyed hash, so that long names take no more memory than short ones.
    hasher: RandomState,
}

struct AllBuckets {
    people: Buckets<UserId>,
    addresses: Buckets<IpAddr>,
    logins: Buckets<IpAddr>,
    wrong_passwords: Buckets<Account>,
}

/// An account for which a password is tried: the person, or the given login name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Account(u64);

impl Limiter {
    pub(crate) fn new(limits: Option<RateLimits>) -> Self {
        let buckets = limits.map(|limits| AllBuckets {
            people: Buckets::new(limits.requests),
            addresses: Buckets::new(limits.requests),
            logins: Buckets::new(limits.logins),
            wrong_passwords: Buckets::new(limits.wrong_passwords),
        });
        Self { buckets, hasher: RandomState::new() }
    }

    /// Counts a request of a logged-in person.
    pub(crate) fn person(&self, user: UserId) -> Result<()> {
        self.buckets.as_ref().map_or(Ok(()), |buckets| buckets.people.take(&user))
    }

    /// Counts a request of an anonymous caller.
    pub(crate) fn address(&self, address: Option<IpAddr>) -> Result<()> {
        self.by_address(address, |buckets| &buckets.addresses)
    }

    /// Counts a registration or log-in.
    pub(crate) fn login(&self, address: Option<IpAddr>) -> Result<()> {
        self.by_address(address, |buckets| &buckets.logins)
    }

    pub(crate) fn account_named(&self, login: &str) -> Account {
        Account(self.hasher.hash_one(login.to_lowercase()))
    }

    pub(crate) fn account_of(&self, user: UserId) -> Account {
        Account(self.hasher.hash_one(user))
    }

    /// Counts a password attempt before it is made. It counts as wrong until it is known to be right, so that
    /// concurrent attempts are limited, too, and hanging up before the answer gains nothing.
    pub(crate) fn try_password(&self, account: Account) -> Result<()> {
        self.buckets.as_ref().map_or(Ok(()), |buckets| buckets.wrong_passwords.take(&account))
    }

    /// Takes back an attempt whose password was not wrong.
    pub(crate) fn not_wrong(&self, account: Account) {
        if let Some(buckets) = &self.buckets {
            buckets.wrong_passwords.give_back(&account);
        }
    }

    fn by_address(
        &self,
        address: Option<IpAddr>,
        bucket: impl Fn(&AllBuckets) -> &Buckets<IpAddr>,
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
        bucket(buckets).take(&network(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Rate;

    #[test]
    fn an_ipv6_client_counts_by_its_network() {
        let limiter =
            Limiter::new(Some(RateLimits { logins: Rate::per_second(1, 1), ..RateLimits::default() }));
        let address = |text: &str| Some(text.parse().unwrap());
        assert!(limiter.login(address("2001:db8::1")).is_ok());
        assert!(limiter.login(address("2001:db8::2")).is_err());
        assert!(limiter.login(address("2001:db8:0:1::2")).is_ok());
        assert!(limiter.login(address("::ffff:192.0.2.1")).is_ok());
        assert!(limiter.login(address("192.0.2.1")).is_err());
    }

    #[test]
    fn an_account_has_one_name_in_any_case() {
        let limiter = Limiter::new(None);
        assert_eq!(limiter.account_named("Ada@example.org"), limiter.account_named("ada@EXAMPLE.org"));
        assert_ne!(limiter.account_named("ada"), limiter.account_named("bob"));
    }
}

//! How often one caller may ask.

mod buckets;

use std::{
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
};

use messenger_core::{Result, UserId};

use crate::{client::network, options::RateLimits};
use buckets::Buckets;

/// The limits of one node, shared by all doors.
pub(crate) struct Limiter {
    buckets: Option<AllBuckets>,
    // Account names are told apart by a keyed hash, so that a long one takes no more room than a short one.
    hasher: RandomState,
}

struct AllBuckets {
    people: Buckets<UserId>,
    addresses: Buckets<IpAddr>,
    logins: Buckets<IpAddr>,
    wrong_passwords: Buckets<Account>,
}

/// An account as a password is tried for it: who it is, or the name that was given.
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

    /// A request of somebody who is logged in.
    pub(crate) fn person(&self, user: UserId) -> Result<()> {
        self.buckets.as_ref().map_or(Ok(()), |buckets| buckets.people.take(&user))
    }

    /// A request of nobody in particular.
    pub(crate) fn address(&self, address: Option<IpAddr>) -> Result<()> {
        self.by_address(address, |buckets| &buckets.addresses)
    }

    /// A registration or log-in.
    pub(crate) fn login(&self, address: Option<IpAddr>) -> Result<()> {
        self.by_address(address, |buckets| &buckets.logins)
    }

    pub(crate) fn account_named(&self, login: &str) -> Account {
        Account(self.hasher.hash_one(login.to_lowercase()))
    }

    pub(crate) fn account_of(&self, user: UserId) -> Account {
        Account(self.hasher.hash_one(user))
    }

    /// A password is about to be tried. It counts as a wrong one until it is known not to be, so that many at the
    /// same time are limited too, and who hangs up before the answer gains nothing.
    pub(crate) fn try_password(&self, account: Account) -> Result<()> {
        self.buckets.as_ref().map_or(Ok(()), |buckets| buckets.wrong_passwords.take(&account))
    }

    /// It was not wrong.
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

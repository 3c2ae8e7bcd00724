//! Accounts for how much each client holds.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use messenger_core::{Error, UserId};

use crate::client::Client;

/// The limits on what may be held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(super) all: usize,
    pub(super) network: usize,
    pub(super) person: usize,
}

/// A group of clients that share a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    All,
    Network(IpAddr),
    Person(UserId),
}

impl Scope {
    /// The scopes that a client belongs to, the widest first.
    fn of(client: Client) -> impl Iterator<Item = Self> {
        let network = client.network.map(Self::Network);
        [Some(Self::All), network, client.person.map(Self::Person)].into_iter().flatten()
    }

    pub(super) fn covers(self, client: Client) -> bool {
        Self::of(client).any(|scope| scope == self)
    }
}

/// The wait suggested to a refused client before it retries.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Why a client is not admitted: its own share is used up, or everything is.
pub(crate) fn refused(scope: Scope) -> Error {
    match scope {
        Scope::All => Error::unavailable(),
        Scope::Network(_) | Scope::Person(_) => Error::RateLimited(TRY_AGAIN),
    }
}

/// How much of one resource is held in each scope. Scopes that hold nothing take no memory.
pub(super) struct Ledger {
    bounds: Bounds,
    held: HashMap<Scope, usize>,
}

impl Ledger {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, held: HashMap::new() }
    }

    /// The widest scope that has no room for `more`.
    pub(super) fn full(&self, client: Client, more: usize) -> Option<Scope> {
        Scope::of(client).find(|scope| self.held(*scope).saturating_add(more) > self.bound(*scope))
    }

    /// Whether nothing is left for anybody.
    pub(super) fn is_used_up(&self) -> bool {
        self.held(Scope::All) >= self.bounds.all
    }

    pub(super) fn held(&self, scope: Scope) -> usize {
        self.held.get(&scope).copied().unwrap_or(0)
    }

    pub(super) fn add(&mut self, client: Client, more: usize) {
        for scope in Scope::of(client) {
            *self.held.entry(scope).or_default() += more;
        }
    }

    pub(super) fn remove(&mut self, client: Client, less: usize) {
        for scope in Scope::of(client) {
            if let Some(held) = self.held.get_mut(&scope) {
                *held = held.saturating_sub(less);
                if *held == 0 {
                    self.held.remove(&scope);
                }
            }
        }
    }

    const fn bound(&self, scope: Scope) -> usize {
        match scope {
            Scope::All => self.bounds.all,
            Scope::Network(_) => self.bounds.network,
            Scope::Person(_) => self.bounds.person,
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

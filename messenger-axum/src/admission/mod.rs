//! Limits what the requests of one client, and of all clients, may hold at a time on this node.
//!
//! A request goes through three phases, each with its own limits for a person, a network and all clients together: its
//! body is received ([`Places`]), it is processed ([`Turns`]), and its answer is sent ([`Places`] again). Only the
//! second phase holds resources that others need, and none of it waits for the client.

mod ledger;
mod places;
mod turns;

use std::sync::Arc;

pub(crate) use places::{Lost, Place, Places, Watch};
pub(crate) use turns::Turns;

use crate::options::Options;
use ledger::Bounds;

/// The limits of all phases of the requests of a node.
pub(crate) struct Admission {
    /// Turns to authenticate callers.
    pub(crate) lookups: Arc<Turns>,
    /// Turns for all work except that on passwords.
    pub(crate) work: Arc<Turns>,
    /// Turns for work that tries or sets a password, which takes long and is rare.
    pub(crate) passwords: Arc<Turns>,
    /// Places for bodies being received.
    pub(crate) bodies: Arc<Places>,
    /// Places for answers being sent.
    pub(crate) answers: Arc<Places>,
    /// Places for exports, each of which is held until the last of it is sent.
    pub(crate) exports: Arc<Places>,
}

impl Admission {
    pub(crate) fn new(options: &Options) -> Self {
        let unread = Bounds::shared(options.unread_limit);
        let turns = |(at_once, waiting)| Turns::new(Bounds::shared(at_once), Bounds::shared(waiting), unread);
        Self {
            lookups: turns(options.concurrency),
            work: turns(options.concurrency),
            passwords: turns(options.password_concurrency),
            bodies: Places::new(Bounds::shared(BODIES), unread, None),
            answers: Places::new(
                Bounds::shared(ANSWERS),
                Bounds::shared(options.unsent_limit),
                Some(options.answer_timeout),
            ),
            // What waits of each is bounded by itself: it is one part.
            exports: Places::new(EXPORTS, Bounds::NONE, Some(options.answer_timeout)),
        }
    }
}

/// Maximum number of bodies waited for at the same time. A connection has at most one, and most arrive with their
/// heads.
const BODIES: usize = 4096;
/// Maximum number of exports under way. Each holds a compressor and a part, less than a megabyte; who does not read gives way.
const EXPORTS: Bounds = Bounds { all: 32, network: 8, person: 1 };
/// Maximum number of answers not yet sent, whatever their length.
const ANSWERS: usize = 8192;

impl Bounds {
    /// Nothing is bounded.
    const NONE: Self = Self { all: usize::MAX, network: usize::MAX, person: usize::MAX };

    /// A network may have a quarter, so that three others can be served whatever it does; a person a quarter of that.
    fn shared(all: usize) -> Self {
        let part = |part: usize| (all / part).max(1).min(all);
        Self { all, network: part(4), person: part(16) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_parts_of_the_whole_and_never_nothing_of_something() {
        let of = |all| {
            let Bounds { all, network, person } = Bounds::shared(all);
            (all, network, person)
        };
        assert_eq!(of(512), (512, 128, 32));
        assert_eq!(of(8), (8, 2, 1));
        assert_eq!(of(1), (1, 1, 1));
        assert_eq!(of(0), (0, 0, 0));
    }
}

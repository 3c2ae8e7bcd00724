//! What the requests of one client, and of all, may hold at a time on this node.
//!
//! A request goes through three phases, each with bounds of its own for a person, a network and all together: its body
//! comes in ([`Places`]), it is worked on ([`Turns`]), and its answer goes out ([`Places`] again). Only the second
//! holds a part of the service that others need, and none of it waits for the client.

mod ledger;
mod places;
mod turns;

use std::sync::Arc;

pub(crate) use places::{Lost, Place, Places};
pub(crate) use turns::Turns;

use crate::options::Options;
use ledger::Bounds;

/// All phases of the requests of a node.
pub(crate) struct Admission {
    /// For finding out who asks.
    pub(crate) lookups: Arc<Turns>,
    /// For all work but that on passwords.
    pub(crate) work: Arc<Turns>,
    /// For work that tries or sets a password, which takes long and is rare.
    pub(crate) passwords: Arc<Turns>,
    /// Bodies that are coming in.
    pub(crate) bodies: Arc<Places>,
    /// Answers that are going out.
    pub(crate) answers: Arc<Places>,
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
        }
    }
}

/// Bodies that are waited for at a time. A connection has one at a time, and most come with their heads.
const BODIES: usize = 4096;
/// Answers that are not sent at a time, whatever their length.
const ANSWERS: usize = 8192;

impl Bounds {
    /// A network may have a quarter, so that three others are served beside it whatever it does; a person a quarter
    /// of that.
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

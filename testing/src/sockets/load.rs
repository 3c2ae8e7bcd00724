//! What clients do in a round.

use std::time::Duration;

use messenger_core::ChatId;

/// What the clients do in a round.
#[derive(Debug, Clone)]
pub struct Load {
    /// Which sockets send, and where to.
    pub senders: Vec<(usize, ChatId)>,
    /// How many sockets get each message, the sender's own among them.
    pub audience: u64,
    /// How they send.
    pub pace: Pace,
    /// Which sockets send one message after the other beside that, each where nobody else listens.
    pub beside: Vec<(usize, ChatId)>,
    /// Which sockets look at the times of what they get.
    pub sampled: Sampled,
    /// What is lost, doubled or disordered is counted, and is not the end of the bench.
    pub counts_faults: bool,
}

impl Load {
    /// One of which every tenth socket looks at the times.
    pub fn new(senders: Vec<(usize, ChatId)>, audience: u64, pace: Pace) -> Self {
        Self { senders, audience, pace, beside: vec![], sampled: Sampled::Some, counts_faults: false }
    }
}

/// How senders send.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// Each sender has so many messages in flight all the time: not answered, or not yet with everybody.
    Steady {
        /// Messages of each sender.
        in_flight: u64,
        /// Of the round.
        length: Duration,
    },
    /// All senders together have so many messages in flight. Who has waited longest sends the next one.
    Shared {
        /// Messages of all of them.
        in_flight: u64,
        /// Of the round.
        length: Duration,
    },
    /// The next message is sent some time after everybody got the one before.
    Alone {
        /// How many each sender sends.
        times: u64,
        /// Until the next one.
        pause: Duration,
    },
    /// Each sender sends a message so often, whatever becomes of those before.
    Constant {
        /// From one message to the next.
        period: Duration,
        /// Of the round.
        length: Duration,
    },
}

impl Pace {
    /// How long a round lasts at least; not known of lone messages.
    pub const fn length(self) -> Duration {
        match self {
            Self::Steady { length, .. } | Self::Shared { length, .. } | Self::Constant { length, .. } => {
                length
            }
            Self::Alone { .. } => Duration::ZERO,
        }
    }
}

/// Which sockets look at the times of what they get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampled {
    /// One of ten, because it costs the clients, who share the machine with the server.
    Some,
    /// All that do not send. Those that do look at the times of their answers.
    Listeners,
}

impl Sampled {
    pub(super) const fn has(self, socket: usize, sends: bool) -> bool {
        const OF: usize = 10;
        match self {
            Self::Some => socket % OF == OF - 1,
            Self::Listeners => !sends,
        }
    }
}

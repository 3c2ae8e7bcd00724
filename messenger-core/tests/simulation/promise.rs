//! What each bus promises, and so what may go wrong on it.

use std::{collections::HashSet, sync::Arc};

use messenger_core::{
    Event,
    ports::{BusMessage, Hint, Topic},
};

/// The bus of a run, by what it promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// As little as the port asks for, and less: it also loses without a word, and says a thing several times.
    Hint,
    /// Everything at once, in order and once; what was lost is followed by a gap.
    Memory,
    /// As on channels of Redis: in order within a topic and from one node, once, however many topics a message has. A node whose
    /// own connection is lost is told so, and later of a gap; what a node says to a server that is about to be given up is lost,
    /// and nobody is told.
    Redis,
    /// As with notifications of PostgreSQL: one order for all, which each node hears all of. They have no content: what a chat
    /// has come to is looked up, and told once for all that one call says of it. Losses are told as on Redis, and no other node
    /// hears nothing of what it lost for longer than the publisher is cut off.
    Postgres,
    /// There is no bus: each node is alone with the store.
    None,
}

impl Promise {
    pub(crate) const ALL: [Self; 5] = [Self::Hint, Self::Memory, Self::Redis, Self::Postgres, Self::None];

    /// Its name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hint => "hint",
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Postgres => "postgres",
            Self::None => "none",
        }
    }

    /// Whether a node that has lost something is told of a gap.
    pub(crate) const fn reports(self) -> bool {
        matches!(self, Self::Memory | Self::Redis | Self::Postgres)
    }

    /// What travels when these are published in one call.
    pub(crate) fn told(self, messages: &[BusMessage]) -> Vec<BusMessage> {
        match self {
            Self::Postgres => without_content(messages),
            _ => messages.to_vec(),
        }
    }
}

fn without_content(messages: &[BusMessage]) -> Vec<BusMessage> {
    let mut looked_up: HashSet<Vec<Topic>> = HashSet::new();
    let told = |message: &BusMessage| {
        if is_of_numbers(&message.hint) {
            return Some(message.clone());
        }
        let topics = message.topics.clone();
        let hint = Arc::new(Hint::Invalidate {});
        looked_up.insert(topics.clone()).then_some(BusMessage { topics, hint })
    };
    messages.iter().filter_map(told).collect()
}

/// Whether it is told as it is.
fn is_of_numbers(hint: &Hint) -> bool {
    match hint {
        Hint::Added { .. } | Hint::SessionsEnded { .. } => true,
        Hint::Event(event) => matches!(
            event,
            Event::ReadMoved(_) | Event::DeliveredMoved(_) | Event::Typing(_) | Event::PresenceChanged(_)
        ),
        Hint::Sealed(_) | Hint::Invalidate {} => false,
    }
}

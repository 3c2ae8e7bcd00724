use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use messenger_core::ports::{Inbox, NodeId, Subscription, Topic};

use crate::{
    inbox::{self, HEADER, Last, Line},
    topology::Topology,
};

/// How many payloads are remembered, so that one that comes over several connections is taken once.
const REMEMBERED: usize = 4096;

/// What the connections of a node have in common.
pub(crate) struct Listener {
    pub(crate) id: NodeId,
    pub(crate) topology: Arc<Topology>,
    topics: Mutex<HashSet<Topic>>,
    /// The queue of the latest subscription.
    inbox: Mutex<Arc<Inbox<Line>>>,
    last: Last,
    recent: Mutex<Recent>,
}

/// The headers of the last payloads.
#[derive(Default)]
struct Recent {
    known: HashSet<[u8; HEADER]>,
    order: VecDeque<[u8; HEADER]>,
}

impl Listener {
    /// Of a node without a subscription.
    pub(crate) fn new(id: NodeId, topology: Arc<Topology>) -> Self {
        Self {
            id,
            topology,
            topics: Mutex::default(),
            inbox: Mutex::new(Inbox::ended()),
            last: Last::default(),
            recent: Mutex::default(),
        }
    }

    /// Begins a new subscription, and ends the former one.
    pub(crate) fn begin(&self) -> Box<dyn Subscription> {
        let inbox = inbox::begin();
        std::mem::replace(&mut *lock(&self.inbox), Arc::clone(&inbox)).end();
        Inbox::subscription(&inbox)
    }

    pub(crate) fn inbox(&self) -> Arc<Inbox<Line>> {
        Arc::clone(&lock(&self.inbox))
    }

    pub(crate) fn remember(&self, topics: &[Topic], wanted: bool) {
        let mut known = lock(&self.topics);
        for topic in topics {
            if wanted {
                known.insert(*topic);
            } else {
                known.remove(topic);
            }
        }
        if known.len() < known.capacity() / 4 {
            // What a burst of connections took is given back.
            known.shrink_to_fit();
        }
    }

    pub(crate) fn wants(&self, topic: &Topic) -> bool {
        lock(&self.topics).contains(topic)
    }

    /// The wanted topics for which this holds.
    pub(crate) fn topics(&self, mut holds: impl FnMut(&Topic) -> bool) -> Vec<Topic> {
        lock(&self.topics).iter().copied().filter(|topic| holds(topic)).collect()
    }

    /// Whether a payload with this header is another one than the last.
    pub(crate) fn is_another(&self, header: [u8; HEADER]) -> bool {
        self.last.is_another(header)
    }

    /// Whether a payload with this header has not come over another connection.
    pub(crate) fn is_new(&self, header: [u8; HEADER]) -> bool {
        let mut recent = lock(&self.recent);
        if !recent.known.insert(header) {
            return false;
        }
        recent.order.push_back(header);
        if recent.order.len() > REMEMBERED
            && let Some(oldest) = recent.order.pop_front()
        {
            recent.known.remove(&oldest);
        }
        true
    }

    pub(crate) fn channel(&self, topic: &Topic) -> String {
        channel(&self.topology.server.prefix, topic)
    }
}

/// The channel of a topic.
pub(crate) fn channel(prefix: &str, topic: &Topic) -> String {
    match topic {
        Topic::Chat(chat) => format!("{prefix}:chat:{chat}"),
        Topic::User(user) => format!("{prefix}:user:{user}"),
        Topic::Nodes => format!("{prefix}:nodes"),
    }
}

/// The topic of a channel.
pub(crate) fn topic(prefix: &str, channel: &[u8]) -> Option<Topic> {
    let name = std::str::from_utf8(channel).ok()?.strip_prefix(prefix)?.strip_prefix(':')?;
    match name.split_once(':') {
        Some(("chat", chat)) => Some(Topic::Chat(chat.parse().ok()?)),
        Some(("user", user)) => Some(Topic::User(user.parse().ok()?)),
        _ => (name == "nodes").then_some(Topic::Nodes),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No holder leaves the value half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use messenger_core::context::Context;

    use super::*;

    #[test]
    fn each_topic_has_a_channel_from_which_it_can_be_told() {
        let context = Context::fixed();
        for of in [Topic::Chat(context.id()), Topic::User(context.id()), Topic::Nodes] {
            assert_eq!(topic("a:b", channel("a:b", &of).as_bytes()), Some(of));
        }
        for other in ["a:b:moon", "a:b:chat:1", "a:nodes", "a:bnodes", ""] {
            assert_eq!(topic("a:b", other.as_bytes()), None, "{other}");
        }
    }
}

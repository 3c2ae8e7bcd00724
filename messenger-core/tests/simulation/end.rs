//! One node's end of the bus: what is on its way to it, and what is wrong with that.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use messenger_core::ports::{BusEvent, BusMessage, NodeId, Topic};
use tokio::{sync::Notify, time::Instant};

use crate::promise::Promise;

/// The longest that a message is on its way while messages are late.
const LATEST: Duration = Duration::from_secs(4);

pub(crate) struct End {
    id: Option<NodeId>,
    pub(crate) topics: HashSet<Topic>,
    /// By the moment of arrival.
    inbox: BTreeMap<(Instant, u64), BusEvent>,
    numbered: u64,
    /// When the last message on a way arrives: the next one comes no earlier.
    last: HashMap<Option<(usize, Topic)>, Instant>,
    pub(crate) arrived: Arc<Notify>,
    /// Rises with each `join`, and when the subscription is ended.
    pub(crate) subscription: u64,
    ended: bool,
    cut_until: Option<Instant>,
    /// It has lost its connection for the so-manyth time.
    cuts: u64,
    /// It is told nothing, since it has lost its connection and until it has one again.
    deaf: bool,
    late_until: Option<Instant>,
    pub(crate) mute_until: Option<Instant>,
    /// So many messages are lost.
    pub(crate) lose: usize,
    whole_since: Instant,
    pub(crate) dead: bool,
    /// Which of the processes that took this place one after the other it is.
    pub(crate) life: u64,
}

/// A message, and when it comes.
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    pub(crate) message: BusMessage,
}

impl End {
    pub(crate) fn new(life: u64) -> Self {
        Self {
            id: None,
            topics: HashSet::new(),
            inbox: BTreeMap::new(),
            numbered: 0,
            last: HashMap::new(),
            arrived: Arc::default(),
            subscription: 0,
            ended: false,
            cut_until: None,
            cuts: 0,
            deaf: false,
            late_until: None,
            mute_until: None,
            lose: 0,
            whole_since: Instant::now(),
            dead: false,
            life,
        }
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut_until.is_some_and(|until| Instant::now() < until)
    }

    pub(crate) const fn is_deaf(&self) -> bool {
        self.deaf
    }

    pub(crate) fn is_late(&self) -> bool {
        self.late_until.is_some_and(|until| Instant::now() < until)
    }

    pub(crate) fn is_mute(&self) -> bool {
        self.mute_until.is_some_and(|until| Instant::now() < until)
    }

    /// Whether what is published now is on its way to it.
    pub(crate) fn takes(&self) -> bool {
        !self.dead && !self.deaf && !self.is_cut()
    }

    /// Since when it has heard, or has been told that it has not heard, everything.
    pub(crate) fn whole_since(&self) -> Option<Instant> {
        (!self.deaf && !self.ended).then_some(self.whole_since)
    }

    /// What happens before then it may hear of later.
    pub(crate) fn lacks_until(&mut self, until: Instant) {
        self.whole_since = self.whole_since.max(until);
    }

    /// The connection is lost, with what is on its way. Which loss it is.
    pub(crate) fn cut(&mut self, until: Instant, reports: bool) -> u64 {
        self.cut_until = self.cut_until.max(Some(until));
        self.cuts += 1;
        self.deaf = true;
        if reports {
            let now = Instant::now();
            self.inbox.retain(|(at, _), _| *at <= now);
        }
        self.cuts
    }

    /// It is noticed that the connection is lost.
    pub(crate) fn is_down(&mut self, cut: u64) {
        if self.cuts == cut && !self.ended {
            self.arrive(Instant::now(), BusEvent::Down);
        }
    }

    /// There is a connection again.
    pub(crate) fn hears_again(&mut self, cut: u64) {
        if self.cuts == cut {
            self.deaf = false;
            self.lacks_until(Instant::now());
            self.arrive(Instant::now(), BusEvent::Gap);
        }
    }

    pub(crate) fn delay(&mut self, until: Instant) {
        self.late_until = Some(until);
        self.lacks_until(until + LATEST);
    }

    /// Begins a subscription. Its number.
    pub(crate) fn join(&mut self, node: NodeId, promise: Promise) -> u64 {
        let again = self.id == Some(node);
        self.subscription += 1;
        self.ended = false;
        self.id = Some(node);
        self.inbox.clear();
        self.lacks_until(Instant::now());
        if again || promise != Promise::Hint {
            self.arrive(Instant::now(), BusEvent::Gap);
        }
        self.subscription
    }

    pub(crate) fn end(&mut self) {
        self.ended = true;
        self.subscription += 1;
        self.inbox.clear();
        self.arrived.notify_one();
    }

    pub(crate) fn heal(&mut self) {
        (self.lose, self.late_until, self.mute_until) = (0, None, None);
    }

    /// When something arrives that takes so long on this way.
    pub(crate) fn way(&mut self, way: Option<(usize, Topic)>, time: Duration) -> Instant {
        let now = Instant::now();
        let last = self.last.entry(way).or_insert(now);
        *last = (*last).max(now + time);
        *last
    }

    /// Lets a message arrive, unless it is one of those that are lost.
    pub(crate) fn carry(&mut self, arrival: Arrival, reports: bool) {
        if self.lose == 0 {
            return self.arrive(arrival.at, BusEvent::Message(arrival.message));
        }
        self.lose -= 1;
        if reports {
            self.lacks_until(arrival.at);
            self.arrive(arrival.at, BusEvent::Gap);
        }
    }

    fn arrive(&mut self, at: Instant, event: BusEvent) {
        if self.ended {
            return;
        }
        self.numbered += 1;
        self.inbox.insert((at, self.numbered), event);
        self.arrived.notify_one();
    }

    /// What has arrived.
    pub(crate) fn take(&mut self) -> Option<BusEvent> {
        let first = self.inbox.first_entry()?;
        (first.key().0 <= Instant::now()).then(|| first.remove())
    }

    pub(crate) fn first_comes_at(&self) -> Option<Instant> {
        self.inbox.first_key_value().map(|(key, _)| key.0)
    }
}

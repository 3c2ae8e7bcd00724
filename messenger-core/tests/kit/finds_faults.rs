//! The kit's cases of the bus, on buses that have a fault each: a case that passes on such a bus holds nobody to anything.

#![cfg(feature = "testkit")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashSet,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use messenger_core::{
    Event,
    memory::MemoryBus,
    ports::{Bus, BusError, BusEvent, BusMessage, Hint, NodeId, Subscription, Topic},
    testkit::{Carried, FreshBus, cases::bus},
};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    BringsANodeItsOwnMessages,
    BeginsWithoutAGap,
    KeepsTheFormerSubscription,
    ReversesACall,
    ShortensLongTexts,
    SaysThatItPublishedOutOfReach,
    HearsTheFirstTopicOnly,
    NeedsAJoinBeforeTopics,
    ForgetsTopicsWithASubscription,
    NeverSubscribesAgain,
    LosesWithADroppedFuture,
    LosesWithoutAGap,
    KeepsAllThatWaits,
    EndsForGood,
    /// No fault, but a bus that carries no content; those below say of themselves that they are such ones, too.
    CarriesNoContent,
    CarriesContentAllTheSame,
    LosesWhatHasContent,
    CarriesNothingButTopics,
    InvalidatesTheFirstTopicOnly,
}

impl Fault {
    fn carried(self) -> Carried {
        match self {
            Self::CarriesNoContent
            | Self::CarriesContentAllTheSame
            | Self::LosesWhatHasContent
            | Self::CarriesNothingButTopics
            | Self::InvalidatesTheFirstTopicOnly => Carried::NoContent,
            _ => Carried::Everything,
        }
    }

    /// A message as this bus carries it.
    fn carry(self, message: &BusMessage) -> Option<BusMessage> {
        let has_content = !matches!(
            &*message.hint,
            Hint::Added { .. }
                | Hint::SessionsEnded { .. }
                | Hint::Event(
                    Event::ReadMoved(_)
                        | Event::DeliveredMoved(_)
                        | Event::Typing(_)
                        | Event::PresenceChanged(_)
                )
        );
        let invalidate =
            |topics: &[Topic]| BusMessage { topics: topics.to_vec(), hint: Arc::new(Hint::Invalidate {}) };
        match self {
            Self::CarriesNoContent if has_content => Some(invalidate(&message.topics)),
            Self::LosesWhatHasContent if has_content => None,
            Self::CarriesNothingButTopics => Some(invalidate(&message.topics)),
            Self::InvalidatesTheFirstTopicOnly if has_content => Some(invalidate(&message.topics[..1])),
            _ => Some(message.clone()),
        }
    }
}

/// A bus in memory with one fault.
struct Faulty {
    bus: MemoryBus,
    fault: Fault,
    /// Topics that were given up once.
    unsubscribed: Mutex<HashSet<Topic>>,
    joined: Mutex<HashSet<NodeId>>,
    topics: Mutex<HashSet<(NodeId, Topic)>>,
    ended: Arc<Mutex<HashSet<NodeId>>>,
}

impl Faulty {
    fn new(fault: Fault) -> Arc<Self> {
        let bus = match fault {
            Fault::KeepsAllThatWaits => MemoryBus::with_capacity(usize::MAX),
            _ => MemoryBus::new(),
        };
        Arc::new(Self {
            bus,
            fault,
            unsubscribed: Mutex::default(),
            joined: Mutex::default(),
            topics: Mutex::default(),
            ended: Arc::default(),
        })
    }

    /// Of all who hear nothing of themselves, this one does.
    fn alias(&self, node: NodeId) -> NodeId {
        match self.fault {
            Fault::BringsANodeItsOwnMessages => NodeId(node.0 + 1000),
            _ => node,
        }
    }
}

#[async_trait]
impl Bus for Faulty {
    async fn join(&self, node: NodeId) -> Result<Box<dyn Subscription>, BusError> {
        let again = !self.joined.lock().unwrap().insert(node);
        if again && self.fault == Fault::ForgetsTopicsWithASubscription {
            let topics: Vec<_> = self.topics.lock().unwrap().iter().map(|(_, topic)| *topic).collect();
            self.bus.unsubscribe(node, &topics).await?;
        }
        // A name of its own for each subscription, so that the former one goes on.
        let name = match self.fault {
            Fault::KeepsTheFormerSubscription if again => NodeId(node.0 + 2000),
            _ => node,
        };
        if name != node {
            let topics: Vec<_> = self.topics.lock().unwrap().iter().map(|(_, topic)| *topic).collect();
            self.bus.subscribe(name, &topics).await?;
        }
        let inner = self.bus.join(name).await?;
        let ended = Arc::clone(&self.ended);
        Ok(Box::new(FaultySubscription { inner, fault: self.fault, ended, node, heard: 0 }))
    }

    async fn publish(&self, from: NodeId, messages: &[BusMessage]) -> Result<(), BusError> {
        let mut messages: Vec<_> = messages.iter().filter_map(|message| self.fault.carry(message)).collect();
        match self.fault {
            Fault::ReversesACall => messages.reverse(),
            Fault::HearsTheFirstTopicOnly => {
                messages.iter_mut().for_each(|message| message.topics.truncate(1));
            }
            Fault::ShortensLongTexts => {
                messages.retain(|message| message.to_bytes().len() < 8000);
            }
            _ => {}
        }
        let published = self.bus.publish(self.alias(from), &messages).await;
        if self.fault == Fault::SaysThatItPublishedOutOfReach { Ok(()) } else { published }
    }

    async fn subscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError> {
        let has_joined = self.joined.lock().unwrap().contains(&node);
        let mut topics = topics.to_vec();
        match self.fault {
            Fault::NeedsAJoinBeforeTopics if !has_joined => return Ok(()),
            Fault::NeverSubscribesAgain => {
                topics.retain(|topic| !self.unsubscribed.lock().unwrap().contains(topic));
            }
            _ => {}
        }
        self.topics.lock().unwrap().extend(topics.iter().map(|topic| (node, *topic)));
        self.bus.subscribe(node, &topics).await
    }

    async fn unsubscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError> {
        self.unsubscribed.lock().unwrap().extend(topics);
        self.bus.unsubscribe(node, topics).await
    }
}

struct FaultySubscription {
    inner: Box<dyn Subscription>,
    fault: Fault,
    ended: Arc<Mutex<HashSet<NodeId>>>,
    node: NodeId,
    heard: usize,
}

#[async_trait]
impl Subscription for FaultySubscription {
    async fn next(&mut self) -> Option<BusEvent> {
        loop {
            let event = self.inner.next().await;
            self.heard += 1;
            match (self.fault, &event) {
                (Fault::BeginsWithoutAGap, Some(BusEvent::Gap)) if self.heard == 1 => {}
                (Fault::LosesWithoutAGap, Some(BusEvent::Gap)) if self.heard > 1 => {}
                // Whoever drops the future here has lost what it was about to give.
                (Fault::LosesWithADroppedFuture, Some(BusEvent::Message(_))) => {
                    tokio::task::yield_now().await;
                    return event;
                }
                (Fault::EndsForGood, None) => {
                    self.ended.lock().unwrap().insert(self.node);
                    return None;
                }
                (Fault::EndsForGood, Some(_)) if self.ended.lock().unwrap().contains(&self.node) => {
                    return None;
                }
                _ => return event,
            }
        }
    }
}

struct Fresh(Arc<Faulty>);

#[async_trait]
impl FreshBus for Fresh {
    fn bus(&self) -> Arc<dyn Bus> {
        Arc::clone(&self.0) as Arc<dyn Bus>
    }

    fn carried(&self) -> Carried {
        self.0.fault.carried()
    }

    async fn cut(&self, node: NodeId) {
        self.0.bus.cut(node);
    }

    async fn heal(&self, node: NodeId) {
        self.0.bus.heal(node);
    }

    async fn end(&self, node: NodeId) -> bool {
        self.0.bus.end(node);
        true
    }
}

type Case = for<'f> fn(&'f dyn FreshBus) -> Pin<Box<dyn Future<Output = ()> + 'f>>;

/// Whether a case passes. What it waits for in vain costs no time here.
fn passes(case: Case, fault: Fault) -> bool {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    catch_unwind(AssertUnwindSafe(|| runtime.block_on(case(&Fresh(Faulty::new(fault)))))).is_ok()
}

macro_rules! cases {
    ($($case:ident: $($fault:ident)+;)+) => {
        /// Each case with the faults that it finds.
        const CASES: &[(&str, Case, &[Fault])] = &[$(
            (stringify!($case), |fresh| Box::pin(bus::$case(fresh)), &[$(Fault::$fault),+]),
        )+];
    };
}

cases! {
    subscriber_hears_the_others_and_not_itself: BringsANodeItsOwnMessages;
    subscription_begins_with_a_gap: BeginsWithoutAGap;
    joining_again_ends_the_former_subscription: KeepsTheFormerSubscription;
    messages_of_a_topic_keep_their_order: ReversesACall;
    messages_arrive_as_they_were_published: ShortensLongTexts CarriesContentAllTheSame LosesWhatHasContent
        CarriesNothingButTopics InvalidatesTheFirstTopicOnly;
    publishing_out_of_reach_fails: SaysThatItPublishedOutOfReach;
    subscribed_topics_are_heard: HearsTheFirstTopicOnly;
    topics_may_be_subscribed_before_joining: NeedsAJoinBeforeTopics;
    topics_outlast_a_subscription: ForgetsTopicsWithASubscription;
    unsubscribed_topics_may_be_subscribed_again: NeverSubscribesAgain;
    dropped_next_loses_nothing: LosesWithADroppedFuture;
    loss_is_followed_by_a_gap: LosesWithoutAGap;
    slow_taker_finds_a_gap: KeepsAllThatWaits LosesWithoutAGap;
    ended_subscription_says_so_and_can_be_joined_again: EndsForGood ForgetsTopicsWithASubscription;
}

#[test]
fn each_case_finds_the_fault_that_it_is_about() {
    for (name, case, faults) in CASES {
        for none in [Fault::None, Fault::CarriesNoContent] {
            assert!(passes(*case, none), "{name} passes on a bus without a fault: {none:?}");
        }
        for fault in *faults {
            assert!(!passes(*case, *fault), "{name} does not find {fault:?}");
        }
    }
}

#[test]
fn every_case_of_the_bus_is_here() {
    let listed = include_str!("../../src/testkit/list.rs");
    let (_, of_the_bus) = listed.split_once("bus {").unwrap();
    let names = of_the_bus.split('}').next().unwrap().split_whitespace();
    let here: Vec<_> = CASES.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names.collect::<Vec<_>>(), here);
}

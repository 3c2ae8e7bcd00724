use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::{
    context::Context,
    domain::{
        ChatId, ChatUpdate, ClientId, Event, MarkMove, Message, MessageBody, MessageChange, MessageKind,
        Presence, Revision, Seq, Typing, UserId,
    },
    ports::{Bus, BusEvent, BusMessage, Hint, NodeId, Subscription, Topic},
    testkit::{Carried, FreshBus, cut_short},
};

/// How long to wait for an answer or a message.
const SOON: Duration = Duration::from_secs(30);

pub async fn subscriber_hears_the_others_and_not_itself(fresh: &dyn FreshBus) {
    let context = Context::fixed();
    let chat = context.id();
    let mut nodes = vec![];
    for n in 1..=3 {
        nodes.push(Node::join(fresh, n, &[Topic::Chat(chat)]).await);
    }
    for n in 0..3 {
        let own: Vec<_> = (0..3).map(|_| added(&context, chat)).collect();
        nodes[n].publish(&own).await;
        for other in (0..3).filter(|other| *other != n) {
            assert_eq!(nodes[other].hear(3).await, own, "by node {other} of node {n}");
        }
    }
    // A message published by the node itself would arrive before this one.
    let last = added(&context, chat);
    nodes[0].publish(std::slice::from_ref(&last)).await;
    assert_eq!(nodes[2].hear(1).await, std::slice::from_ref(&last));
    assert_eq!(nodes[1].hear(1).await, [last]);
}

pub async fn subscription_begins_with_a_gap(fresh: &dyn FreshBus) {
    let context = Context::fixed();
    let chat = context.id();
    let speaker = Node::join(fresh, 2, &[]).await;
    for _ in 0..2 {
        let mut hearer = Node::begin(fresh, 1, &[Topic::Chat(chat)]).await;
        speaker.publish(&[added(&context, chat)]).await;
        assert_eq!(hearer.next().await, Some(BusEvent::Gap), "before anything else");
        assert!(matches!(hearer.next().await, Some(BusEvent::Message(_))));
    }
}

pub async fn joining_again_ends_the_former_subscription(fresh: &dyn FreshBus) {
    let context = Context::fixed();
    let chat = context.id();
    let mut former = Node::join(fresh, 1, &[Topic::Chat(chat)]).await;
    let mut again = Node::join(fresh, 1, &[]).await;
    former.hear_the_end().await;
    let speaker = Node::join(fresh, 2, &[]).await;
    let message = added(&context, chat);
    speaker.publish(std::slice::from_ref(&message)).await;
    assert_eq!(again.hear(1).await, [message], "by the newer one");
    assert_eq!(former.next().await, None, "and no more by the former one");
}

pub async fn messages_of_a_topic_keep_their_order(fresh: &dyn FreshBus) {
    let context = Context::fixed();
    let chats: [ChatId; 3] = std::array::from_fn(|_| context.id());
    let mut hearer = Node::join(fresh, 1, &chats.map(Topic::Chat)).await;
    let speaker = Node::join(fresh, 2, &[]).await;
    let kinds = [added, sessions_ended, message_created];
    let all: Vec<_> = (0..300).map(|n| kinds[n % 3](&context, chats[n / 3 % 3])).collect();
    let mut rest = &all[..];
    for size in (1..=24).cycle() {
        let (now, later) = rest.split_at(size.min(rest.len()));
        speaker.publish(now).await;
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    let heard = hearer.hear(all.len()).await;
    let all = told(fresh, &all);
    for chat in chats {
        let of_chat = |messages: &[BusMessage]| {
            let of_chat = messages.iter().filter(|message| message.topics.contains(&Topic::Chat(chat)));
            of_chat.cloned().collect::<Vec<_>>()
        };
        assert_eq!(of_chat(&heard), of_chat(&all));
    }
    speaker.publish(&[]).await;
}

pub async fn messages_arrive_as_they_were_published(fresh: &dyn FreshBus) {
    let context = Context::fixed();
    let (chat, user) = (context.id(), context.id());
    let mut hearer = Node::join(fresh, 1, &[Topic::Chat(chat)]).await;
    let speaker = Node::join(fresh, 2, &[]).await;
    let mark = MarkMove { chat_id: chat, user_id: user, seq: Seq::new(u64::MAX >> 11) };
    let last_seen_at = Some(context.now());
    // Short, so that it is not the length that keeps a bus from carrying it.
    let mut change = change(&context, chat);
    change.message.body = Some(MessageBody::trusted("hi"));
    let (title, member_count, message) = (None, 7, change.message.clone());
    let events = [
        Event::ReadMoved(mark),
        Event::DeliveredMoved(mark),
        Event::Typing(Typing { chat_id: chat, user_id: user, typing: false, expires_in_ms: 0 }),
        Event::PresenceChanged(Presence { user_id: user, online: false, last_seen_at }),
        Event::MessageEdited(change.clone()),
        Event::MessageDeleted(change),
        Event::ChatUpdated(ChatUpdate {
            chat_id: chat,
            revision: Revision::new(9),
            title,
            member_count,
            message,
        }),
    ];
    let mut all =
        vec![added(&context, chat), sessions_ended(&context, chat), message_created(&context, chat)];
    let hints = [Hint::Invalidate {}].into_iter().chain(events.map(Hint::Event));
    all.extend(hints.map(|hint| about(&context, chat, hint)));
    for message in all {
        speaker.publish(std::slice::from_ref(&message)).await;
        assert_eq!(hearer.hear(1).await, told(fresh, &[message]));
    }
    let users = (0..1000).map(|_| context.id()).collect();
    let long = about(&context, chat, Hint::Added { chat, revision: Revision::new(1), users });
    speaker.publish(std::slice::from_ref(&long)).await;
    let heard = hearer.hear(1).await;
    let is_looked_up = fresh.carried() == Carried::NoContent && heard == [looked_up(&long)];
    assert!(is_looked_up || heard == [long], "{:?}", heard[0].topics);
}

pub async fn publishing_out_of_reach_fails(fresh: &dyn FreshBus) {
    let context = Context::fixed();
    let chat = context.id();
    let mut hearer = Node::join(fresh, 1, &[Topic::Chat(chat)]).await;
    let speaker = Node::join(fresh, 2, &[]).await;
    fresh.cut(speaker.id).await;
    let lost = [added(&context, chat)];
    let answer =
        timeout(SOON, speaker.bus.publish(speaker.id, &lost)).await.expect("it does not wait for long");
    assert!(answer.is_err(), "nobody is told that it was published");
    fresh.heal(speaker.id).await;
    let message = added(&context, chat);
    speaker.publish_when_reached(std::slice::from_ref(&message)).await;
    assert_eq!(hearer.hear(1).await, [message]);
}

pub async fn subscribed_topics_are_heard(fresh: &dyn FreshBus) {
    let context = Context::fixed();
    let (one, two, user): (ChatId, ChatId, UserId) = (context.id(), context.id(), context.id());
    let mut hearer = Node::join(fresh, 1, &[Topic::Chat(one)]).await;
    let speaker = Node::join(fresh, 2, &[]).await;
    let about = |topics: &[Topic]| BusMessage { topics: topics.to_vec(), ..added(&context, one) };
    let (chats, person) = ([Topic::Chat(two), Topic::Chat(one)], [Topic::User(user)]);

    let first = [about(&chats[1..]), about(&chats)];
    speaker.publish(&first).await;
    assert_eq!(hearer.hear(2).await, first, "one topic of several is enough");

    hearer.bus.subscribe(hearer.id, &[Topic::Chat(two), Topic::User(user), Topic::Nodes]).await.unwrap();
    hearer.bus.subscribe(hearer.id, &[Topic::Chat(two)]).await.expect("again is no error");
    for topics in [&chats[..1], &person[..], &chats[1..], &[Topic::Nodes][..]] {
        let message = about(topics);
        speaker.publish(std::slice::from_ref(&message)).await;
        assert_eq!(hearer.hear(1).await, [message], "the new ones and the old one");
    }
}

pub async fn topics_may_be_subscribed_before_joining(fresh: &dyn FreshBus) {
    let context = Context::fixed();
    let chat = context.id();
    let bus = fresh.bus();
    bus.subscribe(NodeId(1), &[Topic::Chat(chat)]).await.unwrap();
    let subscription = bus.join(NodeId(1)).await.unwrap();
    let mut hearer = Node { id: NodeId(1), bus, subscription, last: None, has_gap: false };
    let speaker = Node::join(fresh, 2, &[]).await;
    let message = added(&context, chat);
    speaker.publish(std::slice::from_ref(&message)).await;
    assert_eq!(hearer.hear(1).await, [message]);
}

pub async fn topics_outlast_a_subscription(fresh: &dyn FreshBus) {
    let context = Context::fixed();
    let (chat, other) = (context.id(), context.id());
    let former = Node::join(fresh, 1, &[Topic::Chat(chat), Topic::Chat(other)]).await;
    former.bus.unsubscribe(former.id, &[Topic::Chat(other)]).await.unwrap();
    let speaker = Node::join(fresh, 2, &[]).await;
    // Also subscribes between the two joins.
    former.bus.subscribe(former.id, &[Topic::Nodes]).await.unwrap();
    let mut again = Node::join(fresh, 1, &[]).await;
    for topic in [Topic::Chat(chat), Topic::Nodes] {
        let message = BusMessage { topics: vec![topic], ..added(&context, chat) };
        speaker.publish(std::slice::from_ref(&message)).await;
        assert_eq!(again.hear(1).await, [message]);
    }
}

pub async fn unsubscribed_topics_may_be_subscribed_again(fresh: &dyn FreshBus) {
    let context = Context::fixed();
    let (one, two): (ChatId, ChatId) = (context.id(), context.id());
    let topics = [Topic::Chat(one), Topic::Chat(two)];
    let mut hearer = Node::join(fresh, 1, &topics).await;
    let speaker = Node::join(fresh, 2, &[]).await;
    hearer.bus.unsubscribe(hearer.id, &[topics[0], Topic::Chat(context.id())]).await.unwrap();
    let left = [BusMessage { topics: vec![topics[1]], ..added(&context, two) }];
    speaker.publish(&left).await;
    assert_eq!(hearer.hear(1).await, left, "the others are still heard");
    hearer.bus.subscribe(hearer.id, &topics[..1]).await.unwrap();
    let again = [added(&context, one)];
    speaker.publish(&again).await;
    assert_eq!(hearer.hear(1).await, again);
}

pub async fn dropped_next_loses_nothing(fresh: &dyn FreshBus) {
    let context = Context::fixed();
    let chat = context.id();
    let mut hearer = Node::join(fresh, 1, &[Topic::Chat(chat)]).await;
    let speaker = Node::join(fresh, 2, &[]).await;
    let all: Vec<_> = (0..40).map(|_| added(&context, chat)).collect();
    let mut heard = vec![];
    for (n, message) in all.iter().enumerate() {
        speaker.publish(std::slice::from_ref(message)).await;
        for polls in 0..n % 4 {
            if let Some(event) = cut_short(hearer.subscription.next(), polls).await {
                heard.extend(message_of(event));
            }
            tokio::task::yield_now().await;
        }
    }
    heard.dedup();
    heard.extend(hearer.hear(all.len() - heard.len()).await);
    assert_eq!(heard, all);
}

pub async fn loss_is_followed_by_a_gap(fresh: &dyn FreshBus) {
    let context = Context::fixed();
    let chat = context.id();
    let mut hearer = Node::join(fresh, 1, &[Topic::Chat(chat)]).await;
    let speaker = Node::join(fresh, 2, &[]).await;
    for round in 0..3 {
        let heard = [added(&context, chat)];
        speaker.publish(&heard).await;
        assert_eq!(hearer.hear(1).await, heard, "round {round}");
        fresh.cut(hearer.id).await;
        for _ in 0..round {
            speaker.publish(&[added(&context, chat)]).await;
        }
        fresh.heal(hearer.id).await;
        hearer.has_gap = false;
        // What is published until the node is reached again may be lost, too; messages published in the meantime may
        // arrive.
        let reached = async {
            loop {
                let message = added(&context, chat);
                speaker.publish(std::slice::from_ref(&message)).await;
                let heard = hearer.until(|event| is(event, &message));
                if timeout(Duration::from_millis(500), heard).await.is_ok() {
                    return;
                }
            }
        };
        timeout(SOON, reached).await.expect("the node is reached again");
        assert!(hearer.has_gap, "round {round}: a gap comes first");
    }
}

pub async fn slow_taker_finds_a_gap(fresh: &dyn FreshBus) {
    const MESSAGES: usize = 20_000;
    let context = Context::fixed();
    let chat = context.id();
    let mut slow = Node::join(fresh, 1, &[Topic::Chat(chat)]).await;
    let mut quick = Node::join(fresh, 3, &[Topic::Chat(chat)]).await;
    let speaker = Node::join(fresh, 2, &[]).await;
    let mut published = Vec::with_capacity(MESSAGES);
    for _ in 0..MESSAGES / 100 {
        let some: Vec<_> = (0..100).map(|_| message_created(&context, chat)).collect();
        speaker.publish(&some).await;
        let some = told(fresh, &some);
        assert_eq!(quick.hear(100).await, some, "nobody waits for another");
        published.extend(some);
    }
    let last = added(&context, chat);
    let mut events = slow.take_what_waits().await;
    speaker.publish(std::slice::from_ref(&last)).await;
    events.extend(slow.until(|event| is(event, &last)).await);
    let gaps = events.iter().filter(|event| **event == BusEvent::Gap).count();
    let mut heard: Vec<_> = events.into_iter().filter_map(|event| message_of(Some(event))).collect();
    heard.dedup();
    assert_eq!(heard.pop(), Some(last));
    assert!(gaps > 0, "{} of {MESSAGES} were heard, and no gap", heard.len());
    assert!(heard.len() < MESSAGES, "what waits is bounded");
    let mut rest = published.iter();
    assert!(heard.iter().all(|message| rest.any(|one| one == message)), "what is heard is in order");
}

pub async fn ended_subscription_says_so_and_can_be_joined_again(fresh: &dyn FreshBus) {
    let context = Context::fixed();
    let chat = context.id();
    let mut hearer = Node::join(fresh, 1, &[Topic::Chat(chat)]).await;
    let speaker = Node::join(fresh, 2, &[]).await;
    if !fresh.end(hearer.id).await {
        return;
    }
    hearer.hear_the_end().await;
    speaker.publish(&[added(&context, chat)]).await;
    let mut again = Node::begin(fresh, 1, &[]).await;
    assert_eq!(again.next().await, Some(BusEvent::Gap), "of what was said meanwhile");
    let message = added(&context, chat);
    speaker.publish(std::slice::from_ref(&message)).await;
    assert_eq!(again.hear(1).await, [message], "of the topics that it had");
}

/// A node's bus and subscription.
struct Node {
    id: NodeId,
    bus: Arc<dyn Bus>,
    subscription: Box<dyn Subscription>,
    last: Option<BusMessage>,
    has_gap: bool,
}

impl Node {
    /// A node whose subscription has yet to deliver its first event.
    async fn begin(fresh: &dyn FreshBus, id: u64, topics: &[Topic]) -> Self {
        let (id, bus) = (NodeId(id), fresh.bus());
        let subscription = bus.join(id).await.unwrap();
        if !topics.is_empty() {
            bus.subscribe(id, topics).await.unwrap();
        }
        Self { id, bus, subscription, last: None, has_gap: false }
    }

    /// A node that has received the first event of its subscription.
    async fn join(fresh: &dyn FreshBus, id: u64, topics: &[Topic]) -> Self {
        let mut node = Self::begin(fresh, id, topics).await;
        node.until(|event| *event == BusEvent::Gap).await;
        node
    }

    async fn publish(&self, messages: &[BusMessage]) {
        self.bus.publish(self.id, messages).await.unwrap();
    }

    /// Publishes, retrying: a bus may take some time to reconnect.
    async fn publish_when_reached(&self, messages: &[BusMessage]) {
        let reached = async {
            while self.bus.publish(self.id, messages).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(SOON, reached).await.expect("the bus is reached again");
    }

    async fn next(&mut self) -> Option<BusEvent> {
        timeout(SOON, self.subscription.next()).await.expect("something is heard")
    }

    /// The events up to and including a certain one.
    async fn until(&mut self, is_last: impl Fn(&BusEvent) -> bool) -> Vec<BusEvent> {
        let mut heard = vec![];
        loop {
            let event = self.next().await.expect("the subscription does not end");
            self.has_gap |= event == BusEvent::Gap;
            let ends = is_last(&event);
            heard.push(event);
            if ends {
                return heard;
            }
        }
    }

    async fn hear_the_end(&mut self) {
        while let Some(event) = self.next().await {
            drop(event);
        }
        assert_eq!(self.next().await, None, "an end is an end");
    }

    /// All events that come without a pause.
    async fn take_what_waits(&mut self) -> Vec<BusEvent> {
        let mut taken = vec![];
        while let Ok(event) = timeout(Duration::from_secs(1), self.subscription.next()).await {
            taken.push(event.expect("the subscription does not end"));
        }
        taken
    }

    /// The next `count` messages. A bus may report gaps, and deliver a message of several topics more than once.
    async fn hear(&mut self, count: usize) -> Vec<BusMessage> {
        let mut heard = vec![];
        while heard.len() < count {
            if let Some(message) = message_of(self.next().await)
                && self.last.as_ref() != Some(&message)
            {
                heard.push(message.clone());
                self.last = Some(message);
            }
        }
        heard
    }
}

fn is(event: &BusEvent, message: &BusMessage) -> bool {
    matches!(event, BusEvent::Message(heard) if heard == message)
}

fn message_of(event: Option<BusEvent>) -> Option<BusMessage> {
    match event.expect("the subscription does not end") {
        BusEvent::Message(message) => Some(message),
        BusEvent::Gap | BusEvent::Down => None,
    }
}

fn added(context: &Context, chat: ChatId) -> BusMessage {
    let hint = Hint::Added { chat, revision: Revision::new(1), users: vec![context.id(), context.id()] };
    BusMessage { topics: vec![Topic::Chat(chat)], hint: Arc::new(hint) }
}

fn sessions_ended(context: &Context, chat: ChatId) -> BusMessage {
    let hint = Hint::SessionsEnded { user: context.id(), sessions: vec![context.id()] };
    BusMessage { topics: vec![Topic::Chat(chat), Topic::User(context.id())], hint: Arc::new(hint) }
}

/// A message of its own topics, so that it can be told from others where only these are told.
fn about(context: &Context, chat: ChatId, hint: Hint) -> BusMessage {
    BusMessage { topics: vec![Topic::Chat(chat), Topic::User(context.id())], hint: Arc::new(hint) }
}

fn message_created(context: &Context, chat: ChatId) -> BusMessage {
    about(context, chat, Hint::Event(Event::MessageCreated(change(context, chat))))
}

fn change(context: &Context, chat: ChatId) -> MessageChange {
    let (seq, revision) = (Seq::new(7), Revision::new(9));
    let message = Message {
        id: context.id(),
        chat_id: chat,
        seq,
        revision,
        kind: MessageKind::Text,
        sender_id: context.id(),
        body: Some(MessageBody::trusted("🦀 \"text\"\r\n\0".repeat(500))),
        client_id: Some(ClientId::trusted("c1")),
        reply_to: None,
        created_at: context.now(),
        edited_at: None,
        deleted_at: None,
        system: None,
        truncated: false,
        corrupt: false,
    };
    MessageChange { chat_id: chat, revision, message }
}

/// The messages as they arrive over this bus.
fn told(fresh: &dyn FreshBus, messages: &[BusMessage]) -> Vec<BusMessage> {
    let as_told = |message: &BusMessage| match &*message.hint {
        Hint::Event(
            Event::MessageCreated(_)
            | Event::MessageEdited(_)
            | Event::MessageDeleted(_)
            | Event::ChatUpdated(_),
        ) if fresh.carried() == Carried::NoContent => looked_up(message),
        _ => message.clone(),
    };
    messages.iter().map(as_told).collect()
}

fn looked_up(message: &BusMessage) -> BusMessage {
    BusMessage { topics: message.topics.clone(), hint: Arc::new(Hint::Invalidate {}) }
}

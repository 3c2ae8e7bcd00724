use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::{
    context::Context,
    domain::{
        ChatId, ClientId, Event, Message, MessageBody, MessageChange, MessageKind, Revision, Seq, UserId,
    },
    ports::{Bus, BusEvent, BusMessage, Hint, NodeId, Subscription, Topic},
    testkit::{FreshBus, cut_short},
};

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
    // What a node has published itself would stand before this.
    let last = added(&context, chat);
    nodes[0].publish(std::slice::from_ref(&last)).await;
    assert_eq!(nodes[2].hear(1).await, std::slice::from_ref(&last));
    assert_eq!(nodes[1].hear(1).await, [last]);
}

pub async fn messages_keep_their_order(fresh: &dyn FreshBus) {
    let context = Context::fixed();
    let chats: [ChatId; 3] = std::array::from_fn(|_| context.id());
    let topics = chats.map(Topic::Chat);
    let mut hearer = Node::join(fresh, 1, &topics).await;
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
    assert_eq!(hearer.hear(all.len()).await, all);
    speaker.publish(&[]).await;
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

    hearer.bus.subscribe(hearer.id, &[Topic::Chat(two), Topic::User(user)]).await.unwrap();
    hearer.bus.subscribe(hearer.id, &[Topic::Chat(two)]).await.expect("again is no error");
    let all = [about(&chats[..1]), about(&person), about(&chats[1..])];
    speaker.publish(&all).await;
    assert_eq!(hearer.hear(3).await, all, "the new ones and the old one");

    hearer.bus.unsubscribe(hearer.id, &[Topic::Chat(one), Topic::Chat(context.id())]).await.unwrap();
    let left = [about(&person), about(&chats), about(&chats[..1])];
    speaker.publish(&left).await;
    assert_eq!(hearer.hear(3).await, left, "the others are still heard");
    hearer.bus.subscribe(hearer.id, &chats[1..]).await.unwrap();
    let again = [about(&chats[1..])];
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

/// One node's end of the bus.
struct Node {
    id: NodeId,
    bus: Arc<dyn Bus>,
    subscription: Box<dyn Subscription>,
    last: Option<BusMessage>,
}

impl Node {
    async fn join(fresh: &dyn FreshBus, id: u64, topics: &[Topic]) -> Self {
        let (id, bus) = (NodeId(id), fresh.bus());
        let subscription = bus.join(id).await.unwrap();
        bus.subscribe(id, topics).await.unwrap();
        Self { id, bus, subscription, last: None }
    }

    async fn publish(&self, messages: &[BusMessage]) {
        self.bus.publish(self.id, messages).await.unwrap();
    }

    /// The next `count` messages. A bus may warn of gaps, and say a message of several topics more than once.
    async fn hear(&mut self, count: usize) -> Vec<BusMessage> {
        let mut heard = vec![];
        while heard.len() < count {
            let event = timeout(Duration::from_secs(20), self.subscription.next()).await;
            let event = event.expect("a message comes within 20 s");
            if let Some(message) = message_of(event)
                && self.last.as_ref() != Some(&message)
            {
                heard.push(message.clone());
                self.last = Some(message);
            }
        }
        heard
    }
}

fn message_of(event: Option<BusEvent>) -> Option<BusMessage> {
    match event.expect("the bus does not end") {
        BusEvent::Message(message) => Some(message),
        BusEvent::Gap => None,
    }
}

fn added(context: &Context, chat: ChatId) -> BusMessage {
    let hint = Hint::Added { chat, users: vec![context.id(), context.id()] };
    BusMessage { topics: vec![Topic::Chat(chat)], hint: Arc::new(hint) }
}

fn sessions_ended(context: &Context, chat: ChatId) -> BusMessage {
    let hint = Hint::SessionsEnded { user: context.id(), sessions: vec![context.id()] };
    BusMessage { topics: vec![Topic::Chat(chat), Topic::User(context.id())], hint: Arc::new(hint) }
}

fn message_created(context: &Context, chat: ChatId) -> BusMessage {
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
    };
    let event = Event::MessageCreated(MessageChange { chat_id: chat, revision, message });
    BusMessage { topics: vec![Topic::Chat(chat)], hint: Arc::new(Hint::Event(event)) }
}

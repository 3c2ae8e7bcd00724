//! A bus whose server is cut off, restarted, frozen or away, and what others say on its channel.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use crate::support::nodes::{PATIENCE, nodes};
use messenger_core::{
    ChatId,
    context::Context,
    ports::{Bus as _, BusEvent, BusMessage, Hint, NodeId, Subscription, Topic},
    testkit::cut_short,
};
use messenger_sqlx::{
    PostgresBus, PostgresNodes,
    postgres::{OpenErrorKind, PostgresNodesBuilder},
};
use messenger_testing::{Database, PrivateServer, connect, execute, server_url};
use tokio::time::{Instant, timeout};

const HERE: NodeId = NodeId(1);
const THERE: NodeId = NodeId(2);

fn about(chat: ChatId) -> BusMessage {
    BusMessage { topics: vec![Topic::Chat(chat)], hint: Arc::new(Hint::Invalidate {}) }
}

async fn next(subscription: &mut Box<dyn Subscription>) -> Option<BusEvent> {
    timeout(PATIENCE, subscription.next()).await.expect("something is heard")
}

/// A node that hears of a chat, and one that speaks of it, on buses of their own.
struct Scene {
    bus: PostgresBus,
    speaker: PostgresBus,
    chat: ChatId,
    subscription: Box<dyn Subscription>,
}

impl Scene {
    async fn new(url: &str) -> Self {
        let (bus, speaker, chat) = (nodes(url).bus(), nodes(url).bus(), Context::system().id());
        let mut subscription = bus.join(HERE).await.unwrap();
        bus.subscribe(HERE, &[Topic::Chat(chat)]).await.unwrap();
        assert_eq!(next(&mut subscription).await, Some(BusEvent::Gap));
        let mut scene = Self { bus, speaker, chat, subscription };
        scene.say().await;
        scene.hear().await;
        scene
    }

    async fn say(&self) {
        self.speaker.publish(THERE, &[about(self.chat)]).await.unwrap();
    }

    async fn hear(&mut self) {
        assert_eq!(next(&mut self.subscription).await, Some(BusEvent::Message(about(self.chat))));
    }

    /// Publishes until it is heard after a gap.
    async fn is_heard_after_a_gap(&mut self) {
        let again = async {
            let mut has_gap = false;
            loop {
                let _ = self.speaker.publish(THERE, &[about(self.chat)]).await;
                match timeout(Duration::from_millis(100), self.subscription.next()).await {
                    Ok(Some(BusEvent::Gap)) => has_gap = true,
                    Ok(Some(BusEvent::Message(_))) if has_gap => return,
                    Ok(None) => panic!("the subscription has ended"),
                    _ => {}
                }
            }
        };
        timeout(PATIENCE, again).await.expect("it is heard again");
    }
}

#[tokio::test]
async fn a_connection_that_the_server_ends_is_a_gap() {
    let database = Database::empty(&server_url()).await;
    let mut scene = Scene::new(&database.url()).await;
    let mut admin = connect(&database.url()).await;
    for name in ["messenger bus: listening", "messenger bus"] {
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE application_name = $1 AND datname = current_database()";
        let ended: i64 = sqlx::query_scalar(end).bind(name).fetch_one(&mut admin).await.unwrap();
        assert_eq!(ended, 1, "{name}");
        if name == "messenger bus" {
            scene.speaker.publish(THERE, &[about(scene.chat)]).await.expect_err("it does not get through");
            scene.say().await;
            scene.hear().await;
        } else {
            // That the bus is down is said until it is back.
            let event = match next(&mut scene.subscription).await {
                Some(BusEvent::Down) => next(&mut scene.subscription).await,
                event => event,
            };
            assert_eq!(event, Some(BusEvent::Gap));
            scene.say().await;
            scene.hear().await;
        }
    }
}

#[tokio::test]
async fn a_server_that_is_restarted_is_found_again_with_all_topics() {
    let server = PrivateServer::start(&["fsync=off"]);
    let mut scene = Scene::new(server.url()).await;
    let unwanted = Context::system().id();
    scene.bus.subscribe(HERE, &[Topic::Chat(unwanted)]).await.unwrap();
    server.crash();
    scene.speaker.publish(THERE, &[about(scene.chat)]).await.expect_err("nobody is there");
    scene.bus.unsubscribe(HERE, &[Topic::Chat(unwanted)]).await.unwrap();
    server.start_again();
    scene.is_heard_after_a_gap().await;
    scene.speaker.publish(THERE, &[about(unwanted), about(scene.chat)]).await.unwrap();
    scene.hear().await;
}

#[tokio::test]
async fn a_server_that_freezes_is_noticed_within_two_seconds_and_holds_up_nobody() {
    let server = PrivateServer::start(&["fsync=off"]);
    let mut scene = Scene::new(server.url()).await;
    server.freeze();
    let began = Instant::now();
    for _ in 0..3 {
        let answer = timeout(PATIENCE, scene.speaker.publish(THERE, &[about(scene.chat)])).await;
        answer.expect("it does not wait for long").expect_err("nobody answers");
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    server.thaw();
    scene.is_heard_after_a_gap().await;

    server.freeze();
    // A ping each second has a second to be answered. To join waits for a connection that works.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let joined = timeout(PATIENCE, scene.bus.join(HERE)).await.expect("it does not wait for long");
    assert!(joined.is_err(), "it is noticed that nobody answers");
    server.thaw();
}

#[tokio::test]
async fn without_a_server_nobody_waits_for_long_and_a_node_joins_when_it_comes() {
    let server = PrivateServer::start(&["fsync=off"]);
    server.crash();
    let (bus, began) = (nodes(server.url()).bus(), Instant::now());
    assert!(timeout(PATIENCE, bus.join(HERE)).await.expect("it does not wait for long").is_err());
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    server.start_again();
    let joined = async { while bus.join(HERE).await.is_err() {} };
    timeout(PATIENCE, joined).await.expect("it joins");
}

#[tokio::test]
async fn what_others_say_on_the_channel_is_a_gap_and_what_a_later_release_says_is_looked_up() {
    let database = Database::empty(&server_url()).await;
    let mut scene = Scene::new(&database.url()).await;
    let mut other = connect(&database.url()).await;
    let lines = |lines: &str| format!("SELECT pg_notify('messenger_bus_messenger', E'{lines}')");
    for text in ["hello", "2 7 0\\n{}", "1 7 0\\nhello", ""] {
        execute(&mut other, lines(text)).await;
        assert_eq!(next(&mut scene.subscription).await, Some(BusEvent::Gap), "{text}");
        scene.say().await;
        scene.hear().await;
    }
    let topics = format!(r#""topics":[{{"moon":7}},{{"chat":"{}"}}]"#, scene.chat);
    for later in [
        format!(r#"{{"v":1,{topics},"hint":{{"eclipse":{{}}}}}}"#),
        format!(r#"{{"v":2,{topics},"hint":7}}"#),
    ] {
        execute(&mut other, lines(&format!("1 7 0\\n{later}"))).await;
        scene.hear().await;
    }
}

#[tokio::test]
async fn schemas_of_one_database_do_not_hear_each_other() {
    let database = Database::empty(&server_url()).await;
    let mut scene = Scene::new(&database.url()).await;
    let other = PostgresNodes::builder(&database.url()).schema("other").build().unwrap().bus();
    other.publish(THERE, &[about(scene.chat)]).await.unwrap();
    scene.bus.unsubscribe(HERE, &[Topic::Chat(scene.chat)]).await.unwrap();
    scene.bus.subscribe(HERE, &[Topic::Nodes]).await.unwrap();
    let last = BusMessage { topics: vec![Topic::Nodes], ..about(scene.chat) };
    scene.speaker.publish(THERE, std::slice::from_ref(&last)).await.unwrap();
    assert_eq!(next(&mut scene.subscription).await, Some(BusEvent::Message(last)));
}

#[tokio::test]
async fn publishing_that_is_given_up_half_way_leaves_the_bus_usable() {
    let database = Database::empty(&server_url()).await;
    let mut scene = Scene::new(&database.url()).await;
    for polls in 0..20 {
        let _ = cut_short(scene.speaker.publish(THERE, &[about(scene.chat)]), polls).await;
    }
    let last = BusMessage { topics: vec![Topic::Chat(scene.chat), Topic::Nodes], ..about(scene.chat) };
    // An attempt to connect that was given up counts as one that has failed, for a moment.
    while scene.speaker.publish(THERE, std::slice::from_ref(&last)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while next(&mut scene.subscription).await != Some(BusEvent::Message(last.clone())) {}
}

#[tokio::test]
async fn a_subscription_ends_with_its_bus_and_so_do_its_connections() {
    let database = Database::empty(&server_url()).await;
    let Scene { bus, speaker, mut subscription, .. } = Scene::new(&database.url()).await;
    drop((bus, speaker));
    assert_eq!(next(&mut subscription).await, None);
    let mut admin = connect(&database.url()).await;
    let ended = async {
        let left = "SELECT count(*) FROM pg_stat_activity
            WHERE application_name LIKE 'messenger%' AND datname = current_database()";
        while sqlx::query_scalar::<_, i64>(left).fetch_one(&mut admin).await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, ended).await.expect("no connection is left");
}

#[test]
fn what_can_not_be_used_is_refused_with_a_reason() {
    let refused = |builder: PostgresNodesBuilder| {
        assert!(!format!("{builder:?}").contains("secret"));
        let error = builder.build().unwrap_err();
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
        error.kind()
    };
    for url in ["mysql://ada:secret@h/chat", "postgres://ada:secret@h:port/chat"] {
        assert_eq!(refused(PostgresNodes::builder(url)), OpenErrorKind::Address, "{url}");
    }
    assert_eq!(refused(PostgresNodes::builder("postgres://h/chat").schema("Chat")), OpenErrorKind::Schema);
}

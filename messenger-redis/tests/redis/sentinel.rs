//! A server with a replica, and a Sentinel that says which of the two is the primary.

use std::{error::Error as _, time::Duration};

use messenger_core::{
    ChatId,
    context::Context,
    ports::{Bus as _, BusEvent, PresenceStore as _, Subscription, Topic},
};
use messenger_redis::{Redis, RedisBus};
use messenger_testing::RedisServer;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::support::{HERE, PATIENCE, People, THERE, about, is_heard_again, next, redis_at};

struct Scene {
    primary: RedisServer,
    replica: RedisServer,
    sentinel: RedisServer,
    _folder: TempDir,
}

impl Scene {
    async fn new() -> Self {
        let primary = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]).await;
        let replica = RedisServer::start().await;
        assert_eq!(replica.command(&format!("REPLICAOF 127.0.0.1 {}", primary.port())).await.unwrap(), "+OK");
        primary.until("INFO replication", |info| info.contains("state=online")).await;
        let folder = tempfile::tempdir().unwrap();
        let sentinel = RedisServer::start_sentinel(&primary, folder.path(), "").await;
        sentinel.until("SENTINEL REPLICAS main", |replicas| replicas.starts_with("*1")).await;
        Self { primary, replica, sentinel, _folder: folder }
    }

    fn redis(&self) -> Redis {
        // The first one is no longer there.
        redis_at(&format!("redis+sentinel://127.0.0.1:1,{}/main", self.sentinel.address()))
    }
}

/// A node that hears of a chat.
struct Node {
    bus: RedisBus,
    subscription: Box<dyn Subscription>,
    chat: ChatId,
}

impl Node {
    async fn on(redis: &Redis) -> Self {
        let (bus, chat) = (redis.bus(), Context::system().id());
        let mut subscription = bus.join(HERE).await.unwrap();
        bus.subscribe(HERE, &[Topic::Chat(chat)]).await.unwrap();
        assert_eq!(next(&mut subscription).await, Some(BusEvent::Gap));
        Self { bus, subscription, chat }
    }
}

#[tokio::test]
async fn after_a_failover_messages_flow_and_nobody_has_flapped() {
    let mut scene = Scene::new().await;
    let redis = scene.redis();
    let Node { bus, mut subscription, chat } = Node::on(&redis).await;
    let people = People::new(&redis).await;
    bus.publish(THERE, &[about(chat)]).await.unwrap();
    assert_eq!(next(&mut subscription).await, Some(BusEvent::Message(about(chat))));
    scene.primary.kill();
    is_heard_again(&redis, &mut subscription, chat).await;
    people.live_on(4).await;
    let role = scene.replica.bulk("ROLE").await.unwrap();
    assert!(role.contains("master"), "{role}");
    people.first_go().await;
}

#[tokio::test]
async fn a_failover_that_somebody_asks_for_is_followed_too() {
    let scene = Scene::new().await;
    let redis = scene.redis();
    let Node { bus: _bus, mut subscription, chat } = Node::on(&redis).await;
    let people = People::new(&redis).await;
    // It takes the replica for a good one only after it has heard of it.
    scene.sentinel.until("SENTINEL FAILOVER main", |answer| answer.starts_with("+OK")).await;
    scene.replica.until("ROLE", |role| role.contains("master")).await;
    is_heard_again(&redis, &mut subscription, chat).await;
    people.live_on(4).await;
}

#[tokio::test]
async fn a_primary_that_has_become_a_replica_is_lost_though_its_connections_stay() {
    let scene = Scene::new().await;
    let redis = scene.redis();
    let Node { bus, mut subscription, chat } = Node::on(&redis).await;
    let presence = redis.presence();
    presence.query(&[Context::system().id()]).await.unwrap();
    bus.publish(THERE, &[about(chat)]).await.unwrap();
    // Of a server that is not there, so that nothing else happens.
    assert_eq!(scene.primary.command("REPLICAOF 127.0.0.1 1").await.as_deref(), Some("+OK"));
    bus.publish(THERE, &[about(chat)]).await.expect_err("only those would hear it who have not left yet");
    let noticed = async {
        while bus.subscribe(HERE, &[Topic::Nodes]).await.is_ok() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, noticed).await.expect("it is noticed");
    assert_eq!(scene.primary.command("REPLICAOF NO ONE").await.as_deref(), Some("+OK"));
    is_heard_again(&redis, &mut subscription, chat).await;
}

#[tokio::test]
async fn a_former_primary_that_works_on_by_itself_is_left() {
    let scene = Scene::new().await;
    let redis = scene.redis();
    let Node { bus: _bus, mut subscription, chat } = Node::on(&redis).await;
    let people = People::new(&redis).await;
    let other = RedisServer::start().await;
    for command in
        ["SENTINEL REMOVE main".to_owned(), format!("SENTINEL MONITOR main 127.0.0.1 {} 1", other.port())]
    {
        assert_eq!(scene.sentinel.command(&command).await.as_deref(), Some("+OK"), "{command}");
    }
    is_heard_again(&redis, &mut subscription, chat).await;
    let channels = other.bulk("PUBSUB CHANNELS").await.unwrap();
    assert!(channels.contains(&chat.to_string()), "{channels}");
    people.live_on(4).await;
}

#[tokio::test]
async fn nobody_flaps_when_a_promoted_replica_has_an_older_state() {
    let scene = Scene::new().await;
    let people = People::new(&scene.redis()).await;
    // In what the replica has all leases end soon; later they were renewed.
    for node in 0..2 {
        people.presence[node].renew(&people.people[node], Duration::from_millis(100)).await.unwrap();
    }
    scene.primary.command("SET last 1").await.unwrap();
    scene.replica.until("GET last", |last| last.starts_with("$1")).await;
    assert_eq!(scene.replica.command("REPLICAOF NO ONE").await.as_deref(), Some("+OK"));
    for node in 0..2 {
        people.renew(node).await;
    }
    let monitor = format!("SENTINEL MONITOR main 127.0.0.1 {} 1", scene.replica.port());
    for command in ["SENTINEL REMOVE main", &monitor] {
        assert_eq!(scene.sentinel.command(command).await.as_deref(), Some("+OK"), "{command}");
    }
    for _ in 0..30 {
        people.tick().await;
        sleep(Duration::from_millis(200)).await;
    }
    let Scene { mut primary, .. } = scene;
    primary.kill();
    people.live_on(1).await;
}

#[tokio::test]
async fn passwords_and_databases_go_through_and_what_is_wrong_is_said() {
    let primary = RedisServer::start_with(&["--requirepass", "sesame"]).await;
    let folder = tempfile::tempdir().unwrap();
    let more = "sentinel auth-pass main sesame\nrequirepass sesame";
    let sentinel = RedisServer::start_sentinel(&primary, folder.path(), more).await;
    let user = [Context::system().id()];
    for (login, service, reason) in [
        (":sesame@", "main", None),
        ("", "main", Some("Authentication required")),
        (":wrong@", "main", Some("Password authentication failed")),
        (":sesame@", "other", Some("no Sentinel knows a service of the name `other`")),
    ] {
        let redis = redis_at(&format!("redis+sentinel://{login}{}/{service}/3", sentinel.address()));
        assert_eq!(redis.bus().join(HERE).await.is_ok(), reason.is_none(), "{login}{service}");
        let answer = redis.presence().query(&user).await;
        assert_eq!(answer.is_ok(), reason.is_none(), "{login}{service}");
        if let Some(reason) = reason {
            let said = answer.unwrap_err().source().unwrap().to_string();
            assert!(said.contains(reason), "{login}{service}: {said}");
        }
        assert!(!format!("{redis:?}").contains("sesame"));
    }
}

#[tokio::test]
async fn a_user_with_the_rights_that_are_named_does() {
    let scene = Scene::new().await;
    let mut lines = include_str!("../../README.md").lines();
    let acl = lines.find(|line| line.starts_with("ACL SETUSER")).unwrap();
    assert_eq!(scene.primary.command(&format!("{acl} +role")).await.as_deref(), Some("+OK"));
    let url = format!("redis+sentinel://chat:secret@{}/main", scene.sentinel.address());
    let redis = Redis::open(&url).unwrap();
    let Node { bus, mut subscription, chat } = Node::on(&redis).await;
    bus.publish(THERE, &[about(chat)]).await.unwrap();
    assert_eq!(next(&mut subscription).await, Some(BusEvent::Message(about(chat))));
    People::new(&redis).await.first_go().await;
}

use std::time::Duration;

use messenger_core::{
    ChatId, UserId,
    context::Context,
    ports::{Bus as _, BusEvent, Lease, PresenceStore as _, Topic},
};
use messenger_redis::{OpenError, Redis};
use messenger_testing::{Direction, RedisServer, Relay};
use tokio::time::{sleep, timeout};

use crate::support::{HERE, PATIENCE, People, THERE, TTL, about, is_heard_again, next, redis};

#[tokio::test]
async fn a_server_that_is_restarted_is_found_again_with_all_topics() {
    let mut server = RedisServer::start().await;
    let redis = redis(&server.address());
    let (bus, context) = (redis.bus(), Context::system());
    let chats: Vec<ChatId> = (0..2500).map(|_| context.id()).collect();
    let mut subscription = bus.join(HERE).await.unwrap();
    let topics: Vec<Topic> = chats.iter().copied().map(Topic::Chat).collect();
    bus.subscribe(HERE, &topics).await.unwrap();
    assert_eq!(next(&mut subscription).await, Some(BusEvent::Gap));
    server.kill();
    bus.publish(HERE, &[about(chats[0])]).await.expect_err("nobody is there");
    bus.unsubscribe(HERE, &topics[..1]).await.expect_err("nobody is there");
    server.go_on().await;
    is_heard_again(&redis, &mut subscription, chats[2499]).await;
    for chat in [chats[0], chats[1]] {
        redis.bus().publish(THERE, &[about(chat)]).await.unwrap();
    }
    let heard = async {
        loop {
            if let Some(BusEvent::Message(message)) = next(&mut subscription).await
                && message.topics != topics[2499..]
            {
                return message.topics;
            }
        }
    };
    assert_eq!(heard.await, topics[1..2], "the first is wanted no more");
}

#[tokio::test]
async fn a_server_that_freezes_is_noticed_and_holds_up_nobody() {
    let server = RedisServer::start().await;
    let redis = redis(&server.address());
    let (bus, presence, context) = (redis.bus(), redis.presence(), Context::system());
    let chat = context.id();
    let mut subscription = bus.join(HERE).await.unwrap();
    bus.subscribe(HERE, &[Topic::Chat(chat)]).await.unwrap();
    assert_eq!(next(&mut subscription).await, Some(BusEvent::Gap));
    let lease = Lease { user: context.id(), connection: context.id() };
    presence.renew(&[lease], TTL).await.unwrap();
    server.freeze();
    for _ in 0..3 {
        let answer = timeout(PATIENCE, bus.publish(HERE, &[about(chat)])).await;
        answer.expect("it does not wait for long").expect_err("nobody answers");
        let answer = timeout(PATIENCE, presence.query(&[lease.user])).await;
        answer.expect("it does not wait for long").expect_err("nobody answers");
    }
    server.thaw();
    is_heard_again(&redis, &mut subscription, chat).await;
    let again = async {
        loop {
            if let Ok(states) = presence.query(&[lease.user]).await {
                return states[0].online;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(PATIENCE, again).await.expect("it is reached again"));
}

#[tokio::test]
async fn without_a_server_nobody_waits_for_long_and_a_node_joins_when_it_comes() {
    let mut server = RedisServer::start().await;
    server.kill();
    let redis = redis(&server.address());
    let (bus, presence) = (redis.bus(), redis.presence());
    let answer = timeout(PATIENCE, bus.join(HERE)).await.expect("it does not wait for long");
    assert!(answer.is_err());
    assert!(presence.query(&[Context::system().id()]).await.is_err());
    server.go_on().await;
    let joined = async {
        while bus.join(HERE).await.is_err() {}
        while presence.query(&[Context::system().id()]).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, joined).await.expect("it joins");
}

#[tokio::test]
async fn while_the_server_is_away_one_request_waits_and_the_others_fail_at_once() {
    let server = RedisServer::start().await;
    let relay = Relay::to(&server.address()).await;
    let presence = redis(&relay.address().to_string()).presence();
    let user = [Context::system().id()];
    presence.query(&user).await.unwrap();
    relay.stall();
    relay.cut();
    // Whoever tries to connect gives up before the attempt has an end; that is a failure, too.
    while timeout(Duration::from_millis(100), presence.query(&user)).await.is_ok() {
        sleep(Duration::from_millis(10)).await;
    }
    sleep(Duration::from_millis(300)).await;
    let mut first = Box::pin(presence.query(&user));
    assert!(timeout(Duration::from_millis(10), &mut first).await.is_err(), "it tries");
    for _ in 0..100 {
        let answer = timeout(Duration::ZERO, presence.query(&user)).await;
        answer.expect("it does not wait").expect_err("nobody answers");
    }
    relay.resume();
    drop(first);
    let again = async {
        while presence.query(&user).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, again).await.expect("it is reached again");
}

#[tokio::test]
async fn nobody_flaps_when_the_server_is_emptied() {
    let server = RedisServer::start().await;
    let nodes = People::new(&redis(&server.address())).await;
    for node in 0..2 {
        server.command("FLUSHALL").await.unwrap();
        // Who notices by renewing finds people that are new to the server only.
        assert_eq!(nodes.renew(node).await, []);
        server.command("FLUSHALL").await.unwrap();
        // The first that notices, by any call, waits for the others before it says what it sees.
        let all_online = async { nodes.all_are_online().await };
        let others = async {
            sleep(Duration::from_millis(500)).await;
            nodes.tick().await;
        };
        tokio::join!(all_online, others);
        for _ in 0..4 {
            sleep(Duration::from_secs(1)).await;
            nodes.tick().await;
            nodes.all_are_online().await;
        }
    }
    // What is given again is not there for ever.
    nodes.presence[0].release(&nodes.people[0]).await.unwrap();
    let gone = nodes.presence[1].sweep(Duration::ZERO, 500).await.unwrap();
    assert_eq!(gone.len(), 40);
}

#[tokio::test]
async fn who_went_in_the_grace_period_goes_also_if_the_server_is_emptied_meanwhile() {
    let server = RedisServer::start().await;
    let nodes = People::new(&redis(&server.address())).await;
    nodes.presence[0].release(&nodes.people[0][..1]).await.unwrap();
    server.command("FLUSHALL").await.unwrap();
    let gone = async {
        loop {
            for presence in &nodes.presence {
                let gone = presence.sweep(Duration::ZERO, 500).await.unwrap();
                if !gone.is_empty() {
                    return gone;
                }
            }
            sleep(Duration::from_millis(200)).await;
        }
    };
    let gone = timeout(PATIENCE, gone).await.unwrap();
    assert_eq!(gone.iter().map(|gone| gone.user).collect::<Vec<_>>(), [nodes.people[0][0].user]);
}

#[tokio::test]
async fn nobody_flaps_when_the_server_comes_back_with_an_older_state() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    let mut server = RedisServer::start_with(&["--dir", folder]).await;
    let nodes = People::new(&redis(&server.address())).await;
    // In what is saved all leases end soon; later they were renewed.
    for node in 0..2 {
        nodes.presence[node].renew(&nodes.people[node], Duration::from_millis(100)).await.unwrap();
    }
    assert_eq!(server.command("SAVE").await.as_deref(), Some("+OK"));
    for node in 0..2 {
        assert_eq!(nodes.renew(node).await, []);
    }
    server.kill();
    server.go_on().await;
    for _ in 0..5 {
        nodes.tick().await;
        sleep(Duration::from_secs(1)).await;
    }
    nodes.all_are_online().await;
}

#[tokio::test]
async fn nobody_flaps_when_the_server_was_frozen_for_longer_than_a_lease() {
    let server = RedisServer::start().await;
    let nodes = People::new(&redis(&server.address())).await;
    let short = Duration::from_secs(3);
    for node in 0..2 {
        nodes.presence[node].renew(&nodes.people[node], short).await.unwrap();
    }
    server.freeze();
    let frozen = async {
        sleep(Duration::from_secs(4)).await;
        server.thaw();
    };
    // The other node does not ask anything meanwhile: what it would ask could be done late, by the server that goes on.
    let swept = async {
        loop {
            if let Ok(gone) = nodes.presence[0].sweep(Duration::ZERO, 500).await {
                return gone;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let ((), gone) = tokio::join!(frozen, swept);
    assert_eq!(gone, [], "the other node had no time to renew");
    assert_eq!(nodes.renew(1).await, []);
    nodes.all_are_online().await;
}

#[tokio::test]
async fn who_was_reported_as_gone_by_a_server_that_has_its_data_comes_again() {
    let server = RedisServer::start().await;
    let relay = Relay::to(&server.address()).await;
    let (here, there) = (redis(&relay.address().to_string()).presence(), redis(&server.address()).presence());
    let context = Context::system();
    let lease = Lease { user: context.id(), connection: context.id() };
    assert_eq!(here.renew(&[lease], TTL).await.unwrap(), [lease.user]);
    // As a clock of the server does that is set forward.
    there.release(&[lease]).await.unwrap();
    assert_eq!(there.sweep(Duration::ZERO, 10).await.unwrap().len(), 1);
    relay.cut();
    let came = async {
        loop {
            match here.renew(&[lease], TTL).await {
                Ok(came) => return came,
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    };
    assert_eq!(timeout(PATIENCE, came).await.unwrap(), [lease.user]);
}

#[tokio::test]
async fn who_has_gone_is_told_of_wherever_an_answer_is_lost() {
    let server = RedisServer::start().await;
    let relay = Relay::to(&server.address()).await;
    let (cut, other) = (redis(&relay.address().to_string()).presence(), redis(&server.address()).presence());
    let context = Context::system();
    let (mut told, mut all) = (Vec::new(), Vec::new());
    // So that the server knows all scripts.
    let first = Lease { user: context.id(), connection: context.id() };
    cut.renew(&[first], TTL).await.unwrap();
    cut.release(&[first]).await.unwrap();
    assert_eq!(cut.sweep(Duration::ZERO, 500).await.unwrap().len(), 1);
    for bytes in (1..1000).step_by(41) {
        let lease = Lease { user: context.id(), connection: context.id() };
        other.renew(&[lease], TTL).await.unwrap();
        other.release(&[lease]).await.unwrap();
        all.push(lease.user);
        // So that the connection is there.
        cut.query(&[lease.user]).await.unwrap();
        let is_cut = relay.cut_after(Direction::Down, bytes);
        told.extend(cut.sweep(Duration::ZERO, 500).await.unwrap_or_default());
        relay.leave_alone();
        drop(is_cut);
    }
    let by_first = told.len();
    let rest = async {
        while told.len() < all.len() {
            told.extend(other.sweep(Duration::ZERO, 500).await.unwrap());
            sleep(Duration::from_millis(300)).await;
        }
    };
    timeout(PATIENCE, rest).await.expect("everybody is told of");
    assert!(by_first < all.len(), "no answer was lost");
    let mut users: Vec<UserId> = told.iter().map(|gone| gone.user).collect();
    users.sort_unstable();
    users.dedup();
    assert_eq!(users, all);
}

#[tokio::test]
async fn passwords_databases_and_refusals() {
    let server = RedisServer::start_with(&["--requirepass", "sesame"]).await;
    let address = server.address();
    let user = Context::system().id();
    for (login, opens) in [(":sesame@", true), ("default:sesame@", true), ("", false), (":wrong@", false)] {
        let redis = Redis::open(&format!("redis://{login}{address}/3")).unwrap();
        assert_eq!(redis.presence().query(&[user]).await.is_ok(), opens, "{login}");
        assert_eq!(redis.bus().join(HERE).await.is_ok(), opens, "{login}");
        assert!(!format!("{redis:?} {:?}", redis.bus()).contains("sesame"));
    }
}

/// The line of the README.
fn acl() -> &'static str {
    let lines = include_str!("../../README.md").lines();
    lines.into_iter().find(|line| line.starts_with("ACL SETUSER")).unwrap()
}

#[tokio::test]
async fn a_user_with_the_rights_that_are_named_does_and_one_without_info_as_well() {
    for acl in [acl().to_owned(), acl().replace(" +info", "").replace(" +client|setname", "")] {
        let server = RedisServer::start().await;
        assert_eq!(server.command(&acl).await.as_deref(), Some("+OK"), "{acl}");
        let relay = Relay::to(&server.address()).await;
        let redis = Redis::open(&format!("redis://chat:secret@{}", relay.address())).unwrap();
        let (bus, presence, context) = (redis.bus(), redis.presence(), Context::system());
        let (chat, lease) = (context.id(), Lease { user: context.id(), connection: context.id() });
        let mut subscription = bus.join(HERE).await.unwrap();
        bus.subscribe(HERE, &[Topic::Chat(chat)]).await.unwrap();
        bus.unsubscribe(HERE, &[Topic::Nodes]).await.unwrap();
        bus.publish(THERE, &[about(chat)]).await.unwrap();
        assert_eq!(next(&mut subscription).await, Some(BusEvent::Gap));
        assert_eq!(next(&mut subscription).await, Some(BusEvent::Message(about(chat))));
        for _ in 0..2 {
            assert_eq!(presence.renew(&[lease], TTL).await.unwrap(), [lease.user]);
            assert!(presence.query(&[lease.user]).await.unwrap()[0].online);
            presence.release(&[lease]).await.unwrap();
            assert_eq!(presence.sweep(Duration::ZERO, 10).await.unwrap().len(), 1);
        }
        assert_eq!(relay.connections(), 3, "to subscribe, to publish, and for presence");
        relay.cut();
        // The leases are given again over another connection, which may use them, too.
        while presence.renew(&[lease], TTL).await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
        assert!(presence.query(&[lease.user]).await.unwrap()[0].online);
    }
}

#[tokio::test]
async fn a_subscription_ends_with_its_bus() {
    let server = RedisServer::start().await;
    let bus = redis(&server.address()).bus();
    let mut subscription = bus.join(HERE).await.unwrap();
    drop(bus);
    assert_eq!(next(&mut subscription).await, Some(BusEvent::Gap));
    assert_eq!(next(&mut subscription).await, None);
}

#[tokio::test]
async fn nobody_flaps_when_restoring_after_a_restart_fails_at_first() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    let mut server = RedisServer::start_with(&["--dir", folder]).await;
    let relay = Relay::to(&server.address()).await;
    let context = Context::system();
    // The connection ends at some moment after the server has said which run of it this is.
    let info = server.command("INFO server").await.unwrap();
    let info: usize = info.trim_start_matches('$').parse().unwrap();
    let mut failed = 0;
    for more in (0..1200).step_by(80) {
        // What the round before has settled must not be taken for this one's.
        server.command("FLUSHALL").await.unwrap();
        let (presence, other) =
            (redis(&relay.address().to_string()).presence(), redis(&server.address()).presence());
        let own = Lease { user: context.id(), connection: context.id() };
        // One of those that are restored last.
        let others = std::iter::repeat_with(|| context.id::<messenger_core::User>());
        let user = others.into_iter().find(|user| user.as_bytes()[15] % 16 == 15).unwrap();
        let others = Lease { user, connection: context.id() };
        let short = Duration::from_millis(100);
        presence.renew(&[own], short).await.unwrap();
        other.renew(&[others], short).await.unwrap();
        assert_eq!(server.command("SAVE").await.as_deref(), Some("+OK"));
        presence.renew(&[own], TTL).await.unwrap();
        other.renew(&[others], TTL).await.unwrap();
        server.kill();
        server.go_on().await;
        sleep(short).await;
        let is_cut = relay.cut_after(Direction::Down, info + more);
        while presence.renew(&[own], TTL).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
        // Otherwise the cut is still to come.
        failed += usize::from(timeout(Duration::ZERO, is_cut).await.is_ok());
        relay.leave_alone();
        let gone = presence.sweep(Duration::ZERO, 10).await.unwrap();
        assert_eq!(gone, [], "after {more} bytes: the other node has not restored its leases yet");
    }
    assert!(failed > 0, "no attempt failed");
}

#[test]
fn what_can_not_be_used_is_refused_with_a_reason() {
    let refused = |url: &str| Redis::open(url).unwrap_err();
    assert!(matches!(refused("http://h"), OpenError::Scheme));
    assert!(matches!(refused("redis://h:port"), OpenError::Url(_)));
    assert!(matches!(refused("redis://h/first"), OpenError::Url(_)));
    if cfg!(not(feature = "tls")) {
        assert!(matches!(refused("rediss://h"), OpenError::TlsIsOff));
    }
    let builder = || Redis::builder("redis://h");
    for prefix in ["", "a b", "a{b}", "ä", &"x".repeat(65)] {
        assert!(matches!(builder().prefix(prefix).build(), Err(OpenError::Prefix)), "{prefix}");
    }
    for name in ["", "a b", "\n"] {
        assert!(matches!(builder().client_name(name).build(), Err(OpenError::ClientName)), "{name:?}");
    }
    assert!(!refused("redis://ann:hunter2@h:port").to_string().contains("hunter2"));
}

//! What is particular to a cluster.

use std::{sync::Arc, time::Duration};

use messenger_core::{
    ChatId, UserId,
    context::Context,
    ports::{
        Bus as _, BusEvent, BusMessage, Hint, Lease, PresenceState, PresenceStore as _, Subscription, Topic,
        WentOffline,
    },
};
use messenger_redis::{Redis, RedisBus, RedisPresence};
use messenger_testing::RedisCluster;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{
    HERE, PATIENCE, People, THERE, TTL, about, is_heard_again, next, redis_at, run_everywhere,
};

struct Scene {
    cluster: RedisCluster,
    redis: Redis,
    bus: RedisBus,
    subscription: Box<dyn Subscription>,
    /// One for each server.
    chats: [ChatId; 3],
}

impl Scene {
    async fn new() -> Self {
        let cluster = RedisCluster::start().await;
        // The others are found by one of them.
        let redis = redis_at(&format!("redis+cluster://{}", cluster.servers[1].address()));
        let (bus, context) = (redis.bus(), Context::system());
        let mut chats = [None; 3];
        while chats.contains(&None) {
            let chat = context.id();
            chats[RedisCluster::server_of(slot(&cluster, chat).await)] = Some(chat);
        }
        let chats = chats.map(Option::unwrap);
        let mut subscription = bus.join(HERE).await.unwrap();
        bus.subscribe(HERE, &chats.map(Topic::Chat)).await.unwrap();
        // Each connection begins with one.
        while timeout(Duration::from_millis(100), subscription.next()).await.is_ok() {}
        Self { cluster, redis, bus, subscription, chats }
    }

    async fn say(&self, chat: ChatId) {
        self.bus.publish(THERE, &[about(chat)]).await.unwrap();
    }

    async fn all_are_heard_again(&mut self) {
        for chat in self.chats {
            let speaker = self.redis.bus();
            let heard = async {
                loop {
                    let _ = speaker.publish(THERE, &[about(chat)]).await;
                    match timeout(Duration::from_millis(100), self.subscription.next()).await {
                        Ok(Some(BusEvent::Message(message))) if message == about(chat) => return,
                        _ => {}
                    }
                }
            };
            timeout(PATIENCE, heard).await.expect("it is heard again");
        }
    }
}

async fn slot(cluster: &RedisCluster, chat: ChatId) -> u16 {
    cluster.slot(&format!("test:chat:{chat}")).await
}

#[tokio::test]
async fn what_has_topics_on_several_servers_is_heard_once() {
    let mut scene = Scene::new().await;
    for round in 0..100 {
        let topics = scene.chats.map(Topic::Chat).to_vec();
        let message = BusMessage { topics, hint: Arc::new(Hint::Invalidate {}) };
        scene.bus.publish(THERE, std::slice::from_ref(&message)).await.unwrap();
        assert_eq!(next(&mut scene.subscription).await, Some(BusEvent::Message(message)), "{round}");
    }
    assert!(timeout(Duration::from_millis(500), scene.subscription.next()).await.is_err());
}

#[tokio::test]
async fn a_channel_is_only_on_the_server_of_its_slot() {
    let scene = Scene::new().await;
    for (chat, server) in scene.chats.iter().zip(&scene.cluster.servers) {
        let channels = server.bulk("PUBSUB SHARDCHANNELS").await.unwrap();
        assert!(channels.contains(&chat.to_string()));
        assert_eq!(channels.matches("test:").count(), 1, "{channels}");
        assert_eq!(server.command("PUBSUB CHANNELS").await.as_deref(), Some("*0"));
    }
    scene.bus.unsubscribe(HERE, &scene.chats.map(Topic::Chat)).await.unwrap();
    for server in &scene.cluster.servers {
        assert_eq!(server.command("PUBSUB SHARDCHANNELS").await.as_deref(), Some("*0"));
    }
}

#[tokio::test]
async fn a_server_that_is_restarted_is_found_again_and_the_others_are_heard_meanwhile() {
    let mut scene = Scene::new().await;
    scene.cluster.servers[0].kill();
    for _ in 0..20 {
        scene.say(scene.chats[1]).await;
        while next(&mut scene.subscription).await != Some(BusEvent::Message(about(scene.chats[1]))) {}
    }
    scene.bus.publish(THERE, &[about(scene.chats[0])]).await.expect_err("it is away");
    scene.cluster.servers[0].go_on().await;
    is_heard_again(&scene.redis, &mut scene.subscription, scene.chats[0]).await;
    scene.all_are_heard_again().await;
}

#[tokio::test]
async fn a_slot_that_moves_is_followed() {
    let mut scene = Scene::new().await;
    let chat = scene.chats[0];
    let slot = slot(&scene.cluster, chat).await;
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        scene.cluster.move_slot(slot, from, to).await;
        // Whoever publishes finds the way at once, and whoever hears it says that something may have been lost.
        scene.bus.publish(THERE, &[about(chat)]).await.unwrap();
        is_heard_again(&scene.redis, &mut scene.subscription, chat).await;
        scene.all_are_heard_again().await;
    }
}

#[tokio::test]
async fn a_slot_that_is_back_before_anybody_has_looked_is_heard_again() {
    let mut scene = Scene::new().await;
    let chat = scene.chats[0];
    let slot = slot(&scene.cluster, chat).await;
    scene.cluster.move_slot(slot, 0, 1).await;
    scene.cluster.move_slot(slot, 1, 0).await;
    is_heard_again(&scene.redis, &mut scene.subscription, chat).await;
    scene.all_are_heard_again().await;
}

#[tokio::test]
async fn topics_that_come_while_slots_move_are_heard() {
    let mut scene = Scene::new().await;
    let context = Context::system();
    for round in 0..10 {
        let chat: ChatId = context.id();
        let slot = slot(&scene.cluster, chat).await;
        let from = RedisCluster::server_of(slot);
        let moved = scene.cluster.move_slot(slot, from, (from + 1 + round % 2) % 3);
        let topics = [Topic::Chat(chat)];
        let subscribed = scene.bus.subscribe(HERE, &topics);
        let (_, subscribed) = tokio::join!(moved, subscribed);
        // What was refused is heard after a gap, and what was not at once.
        let heard = async {
            loop {
                let _ = scene.bus.publish(THERE, &[about(chat)]).await;
                let heard = timeout(Duration::from_millis(200), async {
                    while next(&mut scene.subscription).await != Some(BusEvent::Message(about(chat))) {}
                });
                if heard.await.is_ok() {
                    return;
                }
            }
        };
        timeout(PATIENCE, heard).await.unwrap_or_else(|_| panic!("{round}: {subscribed:?}"));
    }
}

#[tokio::test]
async fn nobody_flaps_when_a_server_is_restarted_with_nothing_or_loses_its_data() {
    let mut scene = Scene::new().await;
    let people = People::new(&scene.redis).await;
    scene.cluster.servers[2].kill();
    let away = async { while people.tick().await {} };
    timeout(PATIENCE, away).await.expect("it is noticed");
    scene.cluster.servers[2].go_on().await;
    people.live_on(5).await;
    scene.cluster.servers[0].command("FLUSHALL").await.unwrap();
    people.live_on(5).await;
    people.first_go().await;
}

/// People by whether the first server has what is known of them.
struct Divided {
    scene: Scene,
    presence: RedisPresence,
    of_first: Vec<Lease>,
    of_others: Vec<Lease>,
}

impl Divided {
    async fn new() -> Self {
        let scene = Scene::new().await;
        // Otherwise no server answers while one is away.
        run_everywhere(&scene.cluster, "CONFIG SET cluster-require-full-coverage no").await;
        let (presence, context) = (scene.redis.presence(), Context::system());
        let mut is_of_first = [false; 16];
        for (partition, is_of_first) in is_of_first.iter_mut().enumerate() {
            let slot = scene.cluster.slot(&format!("{{test:presence:{partition}}}")).await;
            *is_of_first = RedisCluster::server_of(slot) == 0;
        }
        let leases = (0..96).map(|_| Lease { user: context.id(), connection: context.id() });
        let is_of_first = |lease: &Lease| is_of_first[usize::from(lease.user.as_bytes()[15] % 16)];
        let (of_first, of_others) = leases.partition(is_of_first);
        Self { scene, presence, of_first, of_others }
    }

    fn all(&self) -> Vec<Lease> {
        [&self.of_first[..], &self.of_others].concat()
    }

    /// Who of these people is known to be online, and who to be offline.
    async fn states(&self, leases: &[Lease]) -> [Vec<UserId>; 2] {
        let users: Vec<UserId> = leases.iter().map(|lease| lease.user).collect();
        let states = self.scene.redis.presence().query(&users).await.unwrap();
        let (online, offline) = states.into_iter().partition(|state| state.online);
        [online, offline].map(|states: Vec<PresenceState>| sorted(states.iter().map(|state| state.user)))
    }
}

fn sorted(users: impl IntoIterator<Item = UserId>) -> Vec<UserId> {
    let mut users: Vec<UserId> = users.into_iter().collect();
    users.sort_unstable();
    users
}

fn users(leases: &[Lease]) -> Vec<UserId> {
    sorted(leases.iter().map(|lease| lease.user))
}

#[tokio::test]
async fn a_node_that_starts_while_one_server_is_away_hears_the_others() {
    let mut scene = Scene::new().await;
    run_everywhere(&scene.cluster, "CONFIG SET cluster-require-full-coverage no").await;
    scene.cluster.servers[0].kill();
    // It is known to be away, and a new node finds the others by one that is there.
    let newcomer = redis_at(&format!("redis+cluster://{}", scene.cluster.servers[1].address())).bus();
    let mut subscription = newcomer.join(HERE).await.expect("two of three are there");
    let context = Context::system();
    let topics: Vec<_> =
        (0..500).map(|_| Topic::Chat(context.id())).chain(scene.chats.map(Topic::Chat)).collect();
    for some in topics.chunks(50) {
        let begun = Instant::now();
        newcomer.subscribe(HERE, some).await.expect("what is away is subscribed to later");
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
    let speaker = scene.redis.bus();
    for chat in &scene.chats[1..] {
        speaker.publish(THERE, &[about(*chat)]).await.unwrap();
        let heard = async { while subscription.next().await != Some(BusEvent::Message(about(*chat))) {} };
        timeout(PATIENCE, heard).await.expect("it is heard");
    }
    scene.cluster.servers[0].go_on().await;
    scene.subscription = subscription;
    scene.all_are_heard_again().await;
}

#[tokio::test]
async fn while_one_server_is_away_presence_works_on_the_others() {
    let mut people = Divided::new().await;
    people.scene.cluster.servers[0].kill();
    let came = people.presence.renew(&people.all(), TTL).await.unwrap();
    assert_eq!(sorted(came), users(&people.of_others));
    assert_eq!(people.states(&people.all()).await, [users(&people.of_others), vec![]]);
    people.presence.renew(&people.of_first, TTL).await.expect_err("nobody is renewed");
    people.presence.query(&users(&people.of_first)).await.expect_err("nothing is known");
    let (gone, of_first) = (people.of_others[0], people.of_first[0]);
    people.presence.release(&[of_first, gone]).await.expect_err("one is not released");
    let swept = people.presence.sweep(Duration::ZERO, 500).await.unwrap();
    assert_eq!(swept.iter().map(|gone| gone.user).collect::<Vec<_>>(), [gone.user]);
    people.presence.sweep(Duration::ZERO, 500).await.expect_err("it did not look at everybody");

    people.scene.cluster.servers[0].go_on().await;
    let came = async {
        loop {
            match people.presence.renew(&people.of_first, TTL).await {
                Ok(came) => return came,
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    };
    assert_eq!(sorted(timeout(PATIENCE, came).await.unwrap()), users(&people.of_first));
    let [online, offline] = people.states(&people.all()).await;
    assert_eq!((online.len(), offline), (95, vec![gone.user]));
}

#[tokio::test]
async fn a_server_that_does_not_answer_makes_nobodys_lease_on_the_others_end() {
    let people = Divided::new().await;
    let (all, ttl) = (people.all(), Duration::from_secs(8));
    people.presence.renew(&all, ttl).await.unwrap();
    people.scene.cluster.servers[0].freeze();
    let begun = Instant::now();
    let node = async {
        // As a node with many connections does: one call after the other.
        while begun.elapsed() < 2 * ttl {
            for _ in 0..10 {
                let call = Instant::now();
                assert_eq!(people.presence.renew(&all, ttl).await.unwrap(), [], "nobody has come");
                assert!(call.elapsed() < ttl / 2, "it took {:?}", call.elapsed());
            }
        }
    };
    let other = async {
        while begun.elapsed() < 2 * ttl {
            let swept = people.scene.redis.presence().sweep(Duration::ZERO, 500).await;
            assert_eq!(swept.unwrap_or_default(), [], "nobody has gone");
            assert_eq!(people.states(&all).await, [users(&people.of_others), vec![]]);
        }
    };
    tokio::join!(node, other);
    people.scene.cluster.servers[0].thaw();
}

#[tokio::test]
async fn who_was_renewed_while_a_server_did_not_answer_has_not_gone_when_it_does() {
    let people = Divided::new().await;
    let (all, ttl) = (people.all(), Duration::from_secs(3));
    people.presence.renew(&all, ttl).await.unwrap();
    people.scene.cluster.servers[0].freeze();
    let begun = Instant::now();
    while begun.elapsed() < 3 * ttl {
        assert_eq!(people.presence.renew(&all, ttl).await.unwrap(), []);
    }
    people.presence.renew(&all, TTL).await.unwrap();
    people.scene.cluster.servers[0].thaw();
    let looked = async {
        while people.presence.sweep(Duration::ZERO, 500).await.map(|gone| assert_eq!(gone, [])).is_err() {}
    };
    timeout(PATIENCE, looked).await.expect("it answers again");
    // Longer than nobody goes after that.
    sleep(Duration::from_secs(3)).await;
    assert_eq!(people.presence.sweep(Duration::ZERO, 500).await.unwrap(), []);
    assert_eq!(people.states(&all).await, [users(&all), vec![]]);
}

#[tokio::test]
async fn whom_a_server_does_not_renew_it_does_not_find_gone() {
    let people = Divided::new().await;
    let (all, ttl) = (people.all(), Duration::from_millis(500));
    people.presence.renew(&people.of_others, TTL).await.unwrap();
    people.presence.renew(&people.of_first, ttl).await.unwrap();
    // Renewals need it, and nothing else does.
    let forbid = "ACL SETUSER default -zscore";
    assert_eq!(people.scene.cluster.servers[0].command(forbid).await.as_deref(), Some("+OK"));
    assert_eq!(people.presence.renew(&all, TTL).await.unwrap(), [], "the others are renewed");
    sleep(ttl).await;
    for _ in 0..3 {
        people.presence.sweep(Duration::ZERO, 500).await.expect_err("it does not look at everybody");
    }
    let gone = people.of_others[0];
    people.presence.release(&[gone]).await.unwrap();
    let swept = people.presence.sweep(Duration::ZERO, 500).await.unwrap();
    assert_eq!(swept.iter().map(|gone| gone.user).collect::<Vec<_>>(), [gone.user]);

    let allow = "ACL SETUSER default +@all";
    assert_eq!(people.scene.cluster.servers[0].command(allow).await.as_deref(), Some("+OK"));
    assert_eq!(people.presence.sweep(Duration::ZERO, 500).await.unwrap(), [], "they are renewed first");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(people.presence.sweep(Duration::ZERO, 500).await.unwrap(), []);
    let [online, offline] = people.states(&all).await;
    assert_eq!((online.len(), offline), (95, vec![gone.user]));
}

#[tokio::test]
async fn whom_a_cluster_that_was_down_did_not_renew_has_not_gone_when_it_is_up() {
    let Divided { mut scene, presence, of_others, .. } = Divided::new().await;
    // The others refuse everything while a server is away, over connections that stay.
    run_everywhere(&scene.cluster, "CONFIG SET cluster-require-full-coverage yes").await;
    // Its node has no connections.
    let other = scene.redis.presence();
    other.sweep(Duration::ZERO, 500).await.unwrap();
    scene.cluster.servers[0].kill();
    let short = Duration::from_millis(500);
    let down = async { while presence.renew(&of_others, short).await.is_ok() {} };
    timeout(PATIENCE, down).await.expect("it is noticed");
    sleep(short).await;
    for presence in [&other, &presence] {
        presence.sweep(Duration::ZERO, 500).await.expect_err("it is down");
    }
    scene.cluster.servers[0].go_on().await;
    scene.cluster.is_well().await;
    for presence in [&other, &presence] {
        assert_eq!(swept_again(presence).await, [], "nobody has gone");
    }
    assert_eq!(presence.renew(&of_others, TTL).await.unwrap(), [], "nobody has come");
}

#[tokio::test]
async fn while_a_cluster_is_down_nobody_waits_for_long() {
    let mut scene = Scene::new().await;
    run_everywhere(&scene.cluster, "CONFIG SET cluster-allow-pubsubshard-when-down no").await;
    scene.cluster.servers[0].kill();
    scene.cluster.servers[1].until("CLUSTER INFO", |info| info.contains("cluster_state:fail")).await;
    // Also the servers that are there refuse everything, and no other layout is known.
    let chat = scene.chats[1];
    let published = timeout(PATIENCE, scene.bus.publish(THERE, &[about(chat)])).await;
    published.expect("it does not wait for long").expect_err("it is down");
    scene.cluster.servers[0].go_on().await;
    scene.all_are_heard_again().await;
}

#[tokio::test]
async fn whom_no_node_could_renew_while_a_slot_was_on_its_way_has_not_gone_when_it_stays() {
    let Divided { scene, presence, of_first, .. } = Divided::new().await;
    let partition = |lease: &Lease| lease.user.as_bytes()[15] % 16;
    // Of those that a node gives to the server again, the last one.
    let moved = of_first.iter().map(partition).max().unwrap();
    let (of_moved, of_same_server): (Vec<Lease>, _) =
        of_first.into_iter().partition(|lease| partition(lease) == moved);
    let (other, short) = (scene.redis.presence(), Duration::from_millis(500));
    let of_other = [Lease { user: same_partition(of_moved[0].user), connection: Context::system().id() }];
    presence.renew(&of_same_server, TTL).await.unwrap();
    presence.renew(&of_moved, short).await.unwrap();
    other.renew(&of_other, short).await.unwrap();

    // While its keys are neither all here nor all there, no script works on them.
    let slot = scene.cluster.slot(&format!("{{test:presence:{moved}}}")).await;
    let server = &scene.cluster.servers[0];
    let target = scene.cluster.servers[1].bulk("CLUSTER MYID").await.unwrap();
    let set_slot = async |state: String| {
        let command = format!("CLUSTER SETSLOT {slot} {state}");
        assert_eq!(server.command(&command).await.as_deref(), Some("+OK"), "{command}");
    };
    set_slot(format!("MIGRATING {target}")).await;
    // Longer than a server that answers none is taken for one that was not away.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2500) {
        presence.renew(&of_moved, TTL).await.expect_err("it is on its way");
        other.renew(&of_other, TTL).await.expect_err("it is on its way");
        // The server answers what it is asked of the others.
        let _ = presence.renew(&of_same_server, TTL).await;
    }
    set_slot("STABLE".to_owned()).await;
    assert_eq!(swept_again(&presence).await, [], "the other node had no time to renew");
    assert_eq!(other.renew(&of_other, TTL).await.unwrap(), [], "nobody has come");
    sleep(Duration::from_secs(3)).await;
    assert_eq!(presence.sweep(Duration::ZERO, 500).await.unwrap(), []);
}

fn same_partition(user: UserId) -> UserId {
    let mut bytes = *user.as_bytes();
    bytes[14] ^= 1;
    UserId::from_bytes(bytes)
}

/// The first answer to a sweep.
async fn swept_again(presence: &RedisPresence) -> Vec<WentOffline> {
    let swept = async {
        loop {
            match presence.sweep(Duration::ZERO, 500).await {
                Ok(gone) => return gone,
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    };
    timeout(PATIENCE, swept).await.expect("it answers again")
}

#[tokio::test]
async fn presence_follows_its_slots_and_nobody_flaps() {
    let scene = Scene::new().await;
    let people = People::new(&scene.redis).await;
    for partition in 0..4 {
        let slot = scene.cluster.slot(&format!("{{test:presence:{partition}}}")).await;
        let from = RedisCluster::server_of(slot);
        scene.cluster.move_slot(slot, from, (from + 1) % 3).await;
        people.tick().await;
    }
    people.live_on(4).await;
    people.first_go().await;
}

#[tokio::test]
async fn a_cluster_without_sharded_channels_is_not_taken_for_one_that_works() {
    let arguments = ["--rename-command", "SSUBSCRIBE", "", "--rename-command", "SPUBLISH", ""];
    let cluster = RedisCluster::start_with(&arguments).await;
    let bus = redis_at(&cluster.url()).bus();
    bus.join(HERE).await.unwrap();
    bus.subscribe(HERE, &[Topic::Nodes]).await.expect_err("it can't be subscribed to");
    assert!(bus.join(HERE).await.is_err());
    bus.publish(THERE, &[about(Context::system().id())]).await.expect_err("nor can it be published");
}

/// The line of the README.
fn acl() -> &'static str {
    let lines = include_str!("../../README.md").lines();
    lines.into_iter().rfind(|line| line.starts_with("ACL SETUSER")).unwrap()
}

#[tokio::test]
async fn a_user_with_the_rights_that_are_named_does() {
    let scene = Scene::new().await;
    run_everywhere(&scene.cluster, acl()).await;
    let redis = Redis::open(&scene.cluster.url().replace("://", "://chat:secret@")).unwrap();
    let (bus, presence, context) = (redis.bus(), redis.presence(), Context::system());
    let mut subscription = bus.join(HERE).await.unwrap();
    for _ in 0..10 {
        let chat = context.id();
        bus.subscribe(HERE, &[Topic::Chat(chat)]).await.unwrap();
        bus.publish(THERE, &[about(chat)]).await.unwrap();
        while next(&mut subscription).await != Some(BusEvent::Message(about(chat))) {}
        bus.unsubscribe(HERE, &[Topic::Chat(chat)]).await.unwrap();
        let lease = Lease { user: context.id(), connection: context.id() };
        assert_eq!(presence.renew(&[lease], TTL).await.unwrap(), [lease.user]);
        assert!(presence.query(&[lease.user]).await.unwrap()[0].online);
        presence.release(&[lease]).await.unwrap();
        assert_eq!(presence.sweep(Duration::ZERO, 10).await.unwrap().len(), 1);
    }
}

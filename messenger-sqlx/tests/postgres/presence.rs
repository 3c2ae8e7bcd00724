//! Presence whose tables are emptied, whose server is restarted, frozen or cut off, and whose nodes race.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::support::{
    nodes::{PATIENCE, nodes, relay},
    postgres::migrated,
};
use messenger_core::{
    UserId,
    context::{Clock as _, Context, SystemClock},
    ports::{Lease, PresenceStore},
    testkit::race,
};
use messenger_sqlx::{PostgresPresence, PostgresStore};
use messenger_testing::{Database, Direction, PrivateServer, connect, execute, server_url};
use tokio::time::{sleep, timeout};

const TTL: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// People of two nodes, each connected to one of them.
struct Nodes {
    presence: [Arc<PostgresPresence>; 2],
    people: [Vec<Lease>; 2],
}

impl Nodes {
    async fn new(url: &str) -> Self {
        let context = Context::system();
        let lease = || Lease { user: context.id(), connection: context.id() };
        let people = std::array::from_fn(|_| (0..40).map(|_| lease()).collect());
        let presence = std::array::from_fn(|_| Arc::new(nodes(url).presence()));
        let nodes = Self { presence, people };
        for node in 0..2 {
            assert_eq!(nodes.renew(node, TTL).await.len(), 40);
        }
        nodes
    }

    async fn on_a_server() -> (Self, PrivateServer) {
        let server = PrivateServer::start(&["fsync=off"]);
        let store = PostgresStore::connect(server.url()).await.unwrap();
        messenger_core::ports::Store::close(&store).await;
        (Self::new(server.url()).await, server)
    }

    /// As a node does that works again after a failure.
    async fn renew(&self, node: usize, ttl: Duration) -> Vec<UserId> {
        self.presence[node].renew(&self.people[node], ttl).await.unwrap()
    }

    /// What a node does each second; whoever is said to have come or gone is an error.
    async fn tick(&self) {
        for node in 0..2 {
            let Ok(gone) = self.presence[node].sweep(Duration::ZERO, 500).await else { continue };
            assert_eq!(gone, [], "nobody has gone");
            if let Ok(came) = self.presence[node].renew(&self.people[node][..4], TTL).await {
                assert_eq!(came, [], "nobody has come");
            }
        }
    }

    async fn ticks(&self, seconds: u32) {
        for _ in 0..seconds {
            self.tick().await;
            sleep(SECOND).await;
        }
    }

    async fn all_are_online(&self) {
        let all: Vec<UserId> = self.people.concat().iter().map(|lease| lease.user).collect();
        for presence in &self.presence {
            let states = presence.query(&all).await.unwrap();
            assert!(states.iter().all(|state| state.online));
        }
    }

    /// Sweeps until somebody has gone.
    async fn gone(&self) -> Vec<UserId> {
        let gone = async {
            loop {
                for presence in &self.presence {
                    let gone = presence.sweep(Duration::ZERO, 500).await.unwrap();
                    if !gone.is_empty() {
                        return gone.into_iter().map(|gone| gone.user).collect();
                    }
                }
                sleep(Duration::from_millis(200)).await;
            }
        };
        timeout(PATIENCE, gone).await.unwrap()
    }
}

/// Empties the tables as a crash does, without one.
const EMPTY: &str = "TRUNCATE messenger.messenger_presence, messenger.messenger_presence_epoch";

#[tokio::test]
async fn nobody_flaps_when_the_tables_are_emptied() {
    let database = migrated(&server_url()).await;
    let mut admin = connect(&database.url()).await;
    let nodes = Nodes::new(&database.url()).await;
    for node in 0..2 {
        execute(&mut admin, EMPTY).await;
        // Who notices by renewing finds people that are new to the server only.
        assert_eq!(nodes.renew(node, TTL).await, []);
        execute(&mut admin, EMPTY).await;
        // The first that notices, by any call, waits for the others before it says what it sees.
        let others = async {
            sleep(SECOND / 2).await;
            nodes.tick().await;
        };
        tokio::join!(nodes.all_are_online(), others);
        nodes.ticks(4).await;
        nodes.all_are_online().await;
    }
    // What is given again is not there for ever.
    nodes.presence[0].release(&nodes.people[0]).await.unwrap();
    assert_eq!(nodes.gone().await.len(), 40);
}

#[tokio::test]
async fn nobody_flaps_when_the_server_crashes_and_all_is_right_within_one_renewal() {
    let (nodes, server) = Nodes::on_a_server().await;
    server.crash_and_restart();
    let mut admin = connect(server.url()).await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM messenger.messenger_presence")
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert_eq!(left, 0, "the tables are empty after a crash");
    nodes.presence[0].query(&[nodes.people[0][0].user]).await.expect_err("its connection has ended");
    sleep(SECOND / 4).await;
    nodes.ticks(2).await;
    nodes.all_are_online().await;
    nodes.ticks(3).await;
    nodes.all_are_online().await;
    nodes.presence[0].release(&nodes.people[0][..3]).await.unwrap();
    assert_eq!(nodes.gone().await.len(), 3);
}

#[tokio::test]
async fn nobody_flaps_when_the_server_was_frozen_for_longer_than_a_lease() {
    let (nodes, server) = Nodes::on_a_server().await;
    for node in 0..2 {
        assert_eq!(nodes.renew(node, 3 * SECOND).await, []);
    }
    nodes.tick().await;
    // One is about to look who has gone when it freezes, and the server has that question still before it afterwards.
    let sweep = async {
        sleep(SECOND / 4).await;
        nodes.presence[0].sweep(Duration::ZERO, 500).await
    };
    server.freeze();
    sweep.await.unwrap_err();
    sleep(4 * SECOND).await;
    server.thaw();
    let again = async {
        for node in 0..2 {
            // The one that comes first finds that all leases have ended.
            let gone = loop {
                match nodes.presence[node].sweep(Duration::ZERO, 500).await {
                    Ok(gone) => break gone,
                    Err(_) => sleep(Duration::from_millis(50)).await,
                }
            };
            assert_eq!(gone, [], "nobody has gone");
        }
    };
    timeout(PATIENCE, again).await.expect("it is reached again");
    for node in 0..2 {
        assert_eq!(nodes.renew(node, TTL).await, []);
    }
    nodes.ticks(4).await;
    nodes.all_are_online().await;
}

#[tokio::test]
async fn who_went_in_the_grace_period_goes_also_if_the_tables_are_emptied_meanwhile() {
    // The longer one is not over when the tables are emptied, and longer than it takes to announce somebody.
    for grace in [Duration::ZERO, 4 * SECOND] {
        let database = migrated(&server_url()).await;
        let nodes = Nodes::new(&database.url()).await;
        let [presence, _] = &nodes.presence;
        assert_eq!(presence.sweep(grace, 500).await.unwrap(), []);
        let person = nodes.people[0][0];
        presence.release(&[person]).await.unwrap();
        let went = SystemClock.now();
        sleep(grace.saturating_sub(SECOND)).await;
        assert!(presence.query(&[person.user]).await.unwrap()[0].online);
        execute(&mut connect(&database.url()).await, EMPTY).await;
        let gone = async {
            loop {
                if let [gone] = &presence.sweep(grace, 500).await.unwrap()[..] {
                    return *gone;
                }
                sleep(Duration::from_millis(200)).await;
            }
        };
        let gone = timeout(PATIENCE, gone).await.expect("it is reported");
        assert_eq!(gone.user, person.user);
        assert!(gone.last_seen <= went.after(SECOND / 2), "{gone:?}, {went:?}");
    }
}

#[tokio::test]
async fn who_was_released_out_of_reach_is_not_given_again() {
    let database = migrated(&server_url()).await;
    let (relay, url) = relay(&database.url()).await;
    let presence = nodes(&url).presence();
    let context = Context::system();
    let lease = Lease { user: context.id(), connection: context.id() };
    presence.renew(&[lease], TTL).await.unwrap();
    relay.refuse(true);
    relay.cut();
    presence.release(&[lease]).await.expect_err("it is cut off");
    execute(&mut connect(&database.url()).await, EMPTY).await;
    relay.refuse(false);
    goes(&presence, lease.user).await;
}

#[tokio::test]
async fn who_was_renewed_while_the_release_waited_for_its_turn_is_not_given_again() {
    let database = migrated(&server_url()).await;
    let mut admin = connect(&database.url()).await;
    let presence = nodes(&database.url()).presence();
    let context = Context::system();
    let lease = [Lease { user: context.id(), connection: context.id() }];
    presence.renew(&lease, TTL).await.unwrap();
    // The renewal has the connection, and waits for somebody.
    execute(&mut admin, "BEGIN; SELECT FROM messenger.messenger_presence FOR UPDATE").await;
    let (mut renewal, mut release) = (presence.renew(&lease, TTL), presence.release(&lease));
    assert!(timeout(SECOND / 10, &mut renewal).await.is_err(), "it waits");
    assert!(timeout(Duration::ZERO, &mut release).await.is_err(), "it waits for its turn");
    execute(&mut admin, "COMMIT").await;
    assert_eq!(renewal.await.unwrap(), []);
    release.await.unwrap();
    execute(&mut admin, EMPTY).await;
    goes(&presence, lease[0].user).await;
}

/// Waits until somebody has gone, if they were there at all, and not for so long that their lease would end.
async fn goes(presence: &PostgresPresence, user: UserId) {
    let gone = async {
        while presence.query(&[user]).await.map_or(true, |states| states[0].online) {
            let _ = presence.sweep(Duration::ZERO, 10).await;
            sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(timeout(PATIENCE, gone).await.is_ok(), "nobody holds the lease");
}

#[tokio::test]
async fn a_node_that_begins_with_emptied_tables_notices_the_next_loss() {
    let database = migrated(&server_url()).await;
    let mut admin = connect(&database.url()).await;
    execute(&mut admin, EMPTY).await;
    let nodes = Nodes::new(&database.url()).await;
    execute(&mut admin, EMPTY).await;
    for node in 0..2 {
        assert_eq!(nodes.renew(node, TTL).await, [], "they are new to the server only");
    }
}

#[tokio::test]
async fn a_connection_that_was_lost_for_a_moment_keeps_nobody_online() {
    let database = migrated(&server_url()).await;
    let (relay, url) = relay(&database.url()).await;
    let presence = nodes(&url).presence();
    let context = Context::system();
    let lease = Lease { user: context.id(), connection: context.id() };
    presence.renew(&[lease], TTL).await.unwrap();
    presence.release(&[lease]).await.unwrap();
    relay.cut();
    let first = async {
        loop {
            match presence.sweep(Duration::ZERO, 10).await {
                Ok(gone) => return gone,
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    };
    assert_eq!(timeout(PATIENCE, first).await.unwrap().len(), 1, "the first answer tells of it");
}

#[tokio::test]
async fn a_node_with_many_people_gives_all_of_them_again() {
    let database = migrated(&server_url()).await;
    let presence = nodes(&database.url()).presence();
    let context = Context::system();
    let leases: Vec<Lease> =
        (0..2500).map(|_| Lease { user: context.id(), connection: context.id() }).collect();
    assert_eq!(presence.renew(&leases, TTL).await.unwrap().len(), leases.len());
    execute(&mut connect(&database.url()).await, EMPTY).await;
    let users: Vec<UserId> = leases.iter().map(|lease| lease.user).collect();
    let states = presence.query(&users).await.unwrap();
    assert!(states.iter().all(|state| state.online));
}

#[tokio::test]
async fn a_lease_may_be_for_ever() {
    let database = migrated(&server_url()).await;
    let presence = nodes(&database.url()).presence();
    let context = Context::system();
    let lease = Lease { user: context.id(), connection: context.id() };
    // As long as a clock can count.
    let ttl = Duration::from_secs(1 << 55);
    assert_eq!(presence.renew(&[lease], ttl).await.unwrap(), [lease.user]);
    assert_eq!(presence.sweep(Duration::MAX, 10).await.unwrap(), []);
    assert_eq!(presence.sweep(Duration::ZERO, usize::MAX).await.unwrap(), []);
    presence.release(&[lease]).await.unwrap();
    assert_eq!(presence.sweep(Duration::ZERO, usize::MAX).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_people_of_a_node_that_was_cut_off_for_long_come_anew() {
    let database = migrated(&server_url()).await;
    let (relay, url) = relay(&database.url()).await;
    let (presence, other) = (nodes(&url).presence(), nodes(&database.url()).presence());
    let context = Context::system();
    let [short, long, early] =
        [SECOND, TTL, TTL].map(|ttl| (Lease { user: context.id(), connection: context.id() }, ttl));
    for (lease, ttl) in [short, long, early] {
        presence.renew(&[lease], ttl).await.unwrap();
    }
    relay.refuse(true);
    relay.cut();
    sleep(3 * SECOND).await;
    let all = [short, long, early].map(|(lease, _)| lease);
    presence.renew(&all, TTL).await.expect_err("it is cut off");
    // As if the server's clock had been set, or that of a machine that was suspended had stood still.
    let end = format!(
        "UPDATE messenger.messenger_presence SET ends_at = 1, ends = '{{1}}' WHERE user_id = '{}'",
        early.0.user
    );
    execute(&mut connect(&database.url()).await, &end).await;
    let gone = other.sweep(Duration::ZERO, 500).await.unwrap();
    let gone = each_once(gone.iter().map(|gone| gone.user).collect());
    let who_went = each_once(vec![short.0.user, early.0.user]);
    assert_eq!(gone, who_went);
    relay.refuse(false);
    let came = async {
        loop {
            if let Ok(came) = presence.renew(&all, TTL).await {
                return each_once(came);
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    assert_eq!(timeout(PATIENCE, came).await.unwrap(), who_went, "who was reported as gone");
}

/// Who is being renewed by one node when another one sweeps is not gone, and holds up nobody else's going.
#[tokio::test]
async fn a_sweep_passes_over_who_is_being_renewed() {
    let database = migrated(&server_url()).await;
    let mut admin = connect(&database.url()).await;
    let presence = Arc::new(nodes(&database.url()).presence());
    let context = Context::system();
    let [renewed, ended] = [(); 2].map(|()| Lease { user: context.id(), connection: context.id() });
    presence.renew(&[renewed, ended], TTL).await.unwrap();
    presence.release(&[renewed, ended]).await.unwrap();
    // What a renewal does, with a commit that takes its time.
    execute(&mut admin, "BEGIN").await;
    let renew = format!(
        "UPDATE messenger.messenger_presence SET ends_at = ends_at + 60000000 WHERE user_id = '{}'",
        renewed.user
    );
    execute(&mut admin, &renew).await;
    let gone = presence.sweep(Duration::ZERO, 10).await.expect("it waits for nobody");
    assert_eq!(gone.iter().map(|gone| gone.user).collect::<Vec<_>>(), [ended.user]);
    execute(&mut admin, "COMMIT").await;
    assert_eq!(presence.sweep(Duration::ZERO, 10).await.unwrap(), []);
    assert!(presence.query(&[renewed.user]).await.unwrap()[0].online);
}

/// Sweeps of two nodes whose connections are cut at every place of the answer: all are told of by somebody.
#[tokio::test]
async fn whoever_goes_is_reported_also_if_the_answer_is_lost() {
    let database = migrated(&server_url()).await;
    let other = nodes(&database.url()).presence();
    let context = Context::system();
    let mut cuts = 0;
    for bytes in (1..600).step_by(23) {
        let (relay, url) = relay(&database.url()).await;
        let presence = nodes(&url).presence();
        let lease = Lease { user: context.id(), connection: context.id() };
        assert_eq!(presence.sweep(Duration::ZERO, 10).await.unwrap(), []);
        presence.renew(&[lease], TTL).await.unwrap();
        presence.release(&[lease]).await.unwrap();
        drop(relay.cut_after(Direction::Down, bytes));
        let own = presence.sweep(Duration::ZERO, 10).await;
        let own = own.map(|gone| gone.len());
        cuts += usize::from(own.is_err());
        // The server may not have noticed yet that nobody is there, and holds the row until then.
        let others = async {
            while other.query(&[lease.user]).await.unwrap()[0].online {
                if other.sweep(Duration::ZERO, 10).await.unwrap().len() == 1 {
                    return 1;
                }
                sleep(Duration::from_millis(10)).await;
            }
            0
        };
        let others = timeout(PATIENCE, others).await.unwrap();
        assert!(own.unwrap_or(0) + others >= 1, "after {bytes} bytes nobody was told");
    }
    assert!(cuts > 3, "{cuts} were cut");
}

/// Renewals whose connections are cut at every place of the answer.
#[tokio::test]
async fn a_renewal_whose_answer_is_lost_tells_who_came_the_next_time() {
    let database = migrated(&server_url()).await;
    let context = Context::system();
    // For each number of bytes that came through, whether the next renewal said who came.
    let mut told = vec![];
    for bytes in (1..).step_by(7) {
        let (relay, url) = relay(&database.url()).await;
        let presence = nodes(&url).presence();
        let lease = Lease { user: context.id(), connection: context.id() };
        presence.query(&[lease.user]).await.unwrap();
        let is_cut = relay.cut_after(Direction::Down, bytes);
        if presence.renew(&[lease], TTL).await.is_ok() {
            break;
        }
        is_cut.await;
        told.push((bytes, presence.renew(&[lease], TTL).await.unwrap() == [lease.user]));
    }
    assert!(told.len() > 20, "{told:?}");
    // It is committed with the last answer, of 18 bytes, when who came is known.
    let end = told.last().unwrap().0 + 7;
    let lost = told.iter().filter(|(bytes, is_told)| *bytes + 18 < end - 7 && !is_told);
    assert_eq!(lost.collect::<Vec<_>>(), [] as [&(usize, bool); 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_nodes_that_race_each_change_is_told_once() {
    let database = migrated(&server_url()).await;
    let context = Context::system();
    let people: Vec<UserId> = (0..60).map(|_| context.id()).collect();
    let presence: Vec<_> = (0..4).map(|_| Arc::new(nodes(&database.url()).presence())).collect();
    for round in 0..6 {
        let came = race(presence.iter().enumerate().map(|(node, presence)| {
            let leases = leases_of(&people, node, &context);
            let presence = Arc::clone(presence);
            async move { (presence.renew(&leases, TTL).await.unwrap(), leases) }
        }))
        .await;
        let (came, leases): (Vec<_>, Vec<_>) = came.into_iter().unzip();
        assert_eq!(each_once(came.concat()), people, "round {round}");
        let gone = race(presence.iter().zip(leases).map(|(presence, leases)| {
            let presence = Arc::clone(presence);
            async move {
                presence.release(&leases).await.unwrap();
                presence.sweep(Duration::ZERO, 100).await.unwrap()
            }
        }))
        .await;
        let mut gone: Vec<UserId> = gone.concat().into_iter().map(|gone| gone.user).collect();
        gone.extend(presence[0].sweep(Duration::ZERO, 100).await.unwrap().into_iter().map(|gone| gone.user));
        assert_eq!(each_once(gone), people, "round {round}");
    }
}

/// A lease of each, in another order on each node.
fn leases_of(people: &[UserId], node: usize, context: &Context) -> Vec<Lease> {
    let mut people = people.to_vec();
    let first = node * people.len() / 4;
    people.rotate_left(first);
    if node % 2 == 1 {
        people.reverse();
    }
    people.into_iter().map(|user| Lease { user, connection: context.id() }).collect()
}

fn each_once(mut users: Vec<UserId>) -> Vec<UserId> {
    users.sort_unstable();
    let distinct: BTreeSet<_> = users.iter().collect();
    assert_eq!(distinct.len(), users.len(), "each once");
    users
}

#[tokio::test]
async fn a_database_without_the_tables_is_an_error_and_goes_on_when_they_are_there() {
    let database = Database::empty(&server_url()).await;
    let presence = nodes(&database.url()).presence();
    let context = Context::system();
    let lease = Lease { user: context.id(), connection: context.id() };
    presence.renew(&[lease], TTL).await.unwrap_err();
    messenger_core::ports::Store::close(&PostgresStore::connect(&database.url()).await.unwrap()).await;
    assert_eq!(presence.renew(&[lease], TTL).await.unwrap(), [lease.user]);
}

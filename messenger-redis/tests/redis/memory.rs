//! A server that has used up its memory, and refuses whatever takes more.

use std::time::Duration;

use messenger_core::{
    context::Context,
    ports::{Lease, PresenceStore as _},
};
use messenger_testing::RedisServer;
use tokio::time::sleep;

use crate::support::{People, TTL, redis};

async fn limit_memory(server: &RedisServer, bytes: u64) {
    let command = format!("CONFIG SET maxmemory {bytes}");
    assert_eq!(server.command(&command).await.as_deref(), Some("+OK"));
}

#[tokio::test]
async fn nobody_has_gone_whom_a_server_without_memory_does_not_renew() {
    let server = RedisServer::start().await;
    let redis = redis(&server.address());
    let (nodes, context) = (People::new(&redis).await, Context::system());
    let [presence, _] = &nodes.presence;
    // A node without connections has nothing to renew.
    let other = redis.presence();
    assert_eq!(other.sweep(Duration::ZERO, 500).await.unwrap(), []);
    let short = Duration::from_millis(500);
    presence.renew(&nodes.people[0], short).await.unwrap();

    limit_memory(&server, 1).await;
    let stranger = Lease { user: context.id(), connection: context.id() };
    presence.renew(&[stranger], TTL).await.expect_err("there is no memory for another person");
    presence.renew(&nodes.people[0], TTL).await.expect_err("nor for a lease");
    sleep(short).await;
    for _ in 0..3 {
        other.sweep(Duration::ZERO, 500).await.expect_err("nobody can be claimed");
        presence.sweep(Duration::ZERO, 500).await.expect_err("nobody can be claimed");
    }

    limit_memory(&server, 0).await;
    // Before the nodes that have the connections have done anything.
    assert_eq!(other.sweep(Duration::ZERO, 500).await.unwrap(), []);
    assert_eq!(presence.sweep(Duration::ZERO, 500).await.unwrap(), []);
    assert_eq!(presence.renew(&[stranger], TTL).await.unwrap(), [stranger.user]);
    for _ in 0..4 {
        assert!(nodes.tick().await);
        assert_eq!(other.sweep(Duration::ZERO, 500).await.unwrap(), []);
        sleep(Duration::from_secs(1)).await;
    }
    nodes.all_are_online().await;
    nodes.first_go().await;
}

#[tokio::test]
async fn a_claim_that_a_server_without_memory_refuses_is_made_later() {
    let server = RedisServer::start().await;
    let redis = redis(&server.address());
    let nodes = People::new(&redis).await;
    nodes.presence[0].release(&nodes.people[0]).await.unwrap();
    limit_memory(&server, 1).await;
    nodes.presence[1].sweep(Duration::ZERO, 500).await.expect_err("nobody can be claimed");
    limit_memory(&server, 0).await;
    let mut gone = vec![];
    while gone.len() < 40 {
        gone.extend(nodes.presence[1].sweep(Duration::ZERO, 500).await.unwrap());
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(gone.len(), 40);
}

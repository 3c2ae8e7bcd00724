//! People who have gone are claimed by the node that is about to announce it, which confirms it. The scripts are called here
//! without the rest, as by a node that is lost in between.

use std::time::Duration;

use messenger_core::{
    UserId,
    context::Context,
    ports::{Lease, PresenceStore as _},
};
use messenger_redis::RedisPresence;
use messenger_testing::RedisServer;
use redis::{Script, aio::MultiplexedConnection};

use crate::support::redis;

const TTL: Duration = Duration::from_secs(60);

struct Scene {
    presence: RedisPresence,
    raw: MultiplexedConnection,
    /// Two of one person.
    leases: [Lease; 2],
    _server: RedisServer,
}

impl Scene {
    async fn new() -> Self {
        let server = RedisServer::start().await;
        let (presence, context) = (redis(&server.address()).presence(), Context::system());
        let user = context.id();
        let leases = std::array::from_fn(|_| Lease { user, connection: context.id() });
        let client = ::redis::Client::open(server.url()).unwrap();
        let raw = client.get_multiplexed_async_connection().await.unwrap();
        Self { presence, raw, leases, _server: server }
    }

    fn user(&self) -> UserId {
        self.leases[0].user
    }

    fn key(&self, name: &str) -> String {
        format!("test:{{test:presence:{}}}:{name}", self.user().as_bytes()[15] % 16)
    }

    async fn comes(&self) -> Vec<UserId> {
        self.presence.renew(&self.leases, TTL).await.unwrap()
    }

    async fn goes(&self) {
        self.presence.release(&self.leases).await.unwrap();
    }

    async fn sweep(&self) -> Vec<UserId> {
        let gone = self.presence.sweep(Duration::ZERO, 10).await.unwrap();
        gone.into_iter().map(|gone| gone.user).collect()
    }

    async fn is_online(&self) -> bool {
        self.presence.query(&[self.user()]).await.unwrap()[0].online
    }

    /// A node claims who has gone, for so long, and is lost before it announces it.
    async fn claim(&mut self, micros: u64) -> usize {
        let script = Script::new(include_str!("../../src/scripts/sweep.lua"));
        let mut call = script.prepare_invoke();
        for name in ["due", "leases", "claimed", "epoch", "settling"] {
            call.key(self.key(name));
        }
        let gone: Vec<Vec<u8>> = call.arg(0).arg(10).arg(micros).invoke_async(&mut self.raw).await.unwrap();
        gone.len() / 2
    }

    async fn confirm(&mut self) {
        let script = Script::new(include_str!("../../src/scripts/confirm.lua"));
        let mut call = script.key(self.key("leases"));
        call.key(self.key("claimed")).arg(self.leases[0].user.as_bytes());
        call.invoke_async::<()>(&mut self.raw).await.unwrap();
    }
}

#[tokio::test]
async fn another_node_announces_who_was_claimed_by_one_that_is_lost() {
    let mut scene = Scene::new().await;
    scene.comes().await;
    scene.goes().await;
    assert_eq!(scene.claim(60_000_000).await, 1);
    assert_eq!(scene.sweep().await, [], "the node may still be there");
    assert!(!scene.is_online().await);
    scene.comes().await;
    scene.goes().await;
    assert_eq!(scene.claim(0).await, 1);
    assert_eq!(scene.sweep().await, [scene.user()]);
    assert_eq!(scene.sweep().await, [], "it is confirmed");
}

#[tokio::test]
async fn who_comes_back_is_claimed_no_more() {
    let mut scene = Scene::new().await;
    scene.comes().await;
    scene.goes().await;
    assert_eq!(scene.claim(0).await, 1);
    assert_eq!(scene.comes().await, [scene.user()]);
    assert_eq!(scene.sweep().await, []);
    assert!(scene.is_online().await);
}

#[tokio::test]
async fn a_confirmation_that_is_late_takes_nothing_from_who_has_come_back() {
    let mut scene = Scene::new().await;
    scene.comes().await;
    scene.goes().await;
    assert_eq!(scene.claim(60_000_000).await, 1);
    scene.comes().await;
    scene.confirm().await;
    scene.presence.release(&scene.leases[..1]).await.unwrap();
    assert_eq!(scene.sweep().await, [], "the other lease is live");
    scene.presence.release(&scene.leases[1..]).await.unwrap();
    assert_eq!(scene.sweep().await, [scene.user()]);
}

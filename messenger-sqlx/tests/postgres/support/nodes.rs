//! Nodes that share a database, each by a way of its own.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use messenger_core::{
    Timestamp,
    context::{Clock as _, SystemClock},
    ports::PresenceStore,
    testkit::{Carried, FreshPresence},
};
use messenger_sqlx::PostgresNodes;
use messenger_testing::{Database, Relay, RelayedBus};
use sqlx::postgres::PgConnectOptions;

/// Longer than anything takes here on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn nodes(url: &str) -> PostgresNodes {
    PostgresNodes::open(url).unwrap()
}

/// A way to the server of a database, and the URL by that way.
pub(crate) async fn relay(url: &str) -> (Relay, String) {
    let target: PgConnectOptions = url.parse().unwrap();
    let relay = Relay::to(&format!("{}:{}", target.get_host(), target.get_port())).await;
    let url = url_at(&target, &relay.address().to_string());
    (relay, url)
}

/// The URL of a database whose server is reached at this address.
fn url_at(target: &PgConnectOptions, address: &str) -> String {
    let (user, database) = (target.get_username(), target.get_database().unwrap());
    format!("postgres://{user}@{address}/{database}")
}

/// A bus whose nodes reach the server of a database each through a relay of its own.
pub(crate) fn relayed(database: &Database) -> RelayedBus {
    let target: PgConnectOptions = database.url().parse().unwrap();
    let server = format!("{}:{}", target.get_host(), target.get_port());
    RelayedBus::to(&server, Carried::NoContent, move |address| nodes(&url_at(&target, address)).bus())
}

/// Presence that lives by real time.
pub(crate) struct RealPresence(pub(crate) Database);

#[async_trait]
impl FreshPresence for RealPresence {
    fn presence(&self) -> Arc<dyn PresenceStore> {
        Arc::new(nodes(&self.0.url()).presence())
    }

    fn unit(&self) -> Duration {
        // A machine that is busy with other tests takes long for some calls.
        Duration::from_secs(1)
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

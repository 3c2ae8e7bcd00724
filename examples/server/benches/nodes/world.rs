//! People and chats, in a database that each set-up gets a copy of.

use std::sync::Arc;

use futures::future::try_join_all;
use messenger_core::{ChatId, Messenger, commands::SendMessage};
use messenger_sqlx::PostgresStore;
use messenger_testing::sockets::{
    people::{Person, group, open, people},
    postgres::Server,
};

use crate::{Plan, Result};

/// Who listens.
pub(crate) const RECEIVERS: usize = 100;
/// Who writes, at the most.
pub(crate) const SENDERS: usize = 20;
/// Messages of each sender that are there before. Else PostgreSQL would plan for an empty table until it is analysed, which
/// may be after a minute.
const HISTORY: usize = 500;
/// The name of what the copies are made of.
const WORLD: &str = "world";

/// Everybody and everything.
pub(crate) struct World {
    server: Server,
    pub(crate) senders: Vec<Person>,
    pub(crate) receivers: Vec<Person>,
    /// The chat of them all.
    pub(crate) group: ChatId,
    /// Of each sender a chat with one of those who listen.
    pub(crate) pairs: Vec<ChatId>,
    /// Of each sender a chat that nobody else is in.
    pub(crate) own: Vec<ChatId>,
}

impl World {
    pub(crate) async fn make(plan: &Plan) -> Result<Self> {
        let server = Server::start("nodes", plan.postgres.as_deref())?;
        server.create(WORLD).await?;
        let messenger = open(Arc::new(PostgresStore::connect(&server.url(WORLD)).await?))?;
        let senders = people(&messenger, "sender", SENDERS).await?;
        let receivers = people(&messenger, "receiver", RECEIVERS).await?;
        let everybody = [&*senders, &*receivers].concat();
        let (mut pairs, mut own) = (Vec::new(), Vec::new());
        for (sender, receiver) in senders.iter().zip(&receivers) {
            pairs.push(group(&messenger, &[sender.clone(), receiver.clone()]).await?);
            own.push(group(&messenger, std::slice::from_ref(sender)).await?);
        }
        let group = group(&messenger, &everybody).await?;
        try_join_all(senders.iter().zip(&own).map(|(sender, chat)| write(&messenger, sender, *chat))).await?;
        messenger.close().await;
        server.tidy(WORLD).await?;
        Ok(Self { server, senders, receivers, group, pairs, own })
    }

    /// What the figures depend on.
    pub(crate) async fn describe(&self) -> Result<String> {
        self.server.describe().await
    }

    /// The URL of a new copy of the database. One of the same name may be in use no more.
    pub(crate) async fn copy(&self, name: &str) -> Result<String> {
        self.server.copy(WORLD, name).await?;
        Ok(self.server.url(name))
    }

    /// The CPU of all processes of PostgreSQL.
    pub(crate) fn cpu(&self) -> messenger_testing::ServerCpu {
        self.server.cpu()
    }
}

async fn write(messenger: &Messenger, sender: &Person, chat_id: ChatId) -> Result {
    for number in 0..HISTORY {
        let client_id = Some(format!("{}-{number}", sender.id));
        let send = SendMessage { chat_id, body: format!("{:.<100}", ""), client_id, reply_to: None };
        messenger.execute(&sender.actor, send).await?;
    }
    Ok(())
}

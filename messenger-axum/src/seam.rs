//! Stands in for the commands of messenger-core until they are there.
use std::{future::Future, sync::Arc};

use messenger_core::{
    ChatId, ClientId, Cursor, Limits, Message, MessageId, Page, Result, SessionId, User, UserId,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

pub struct Cx;
pub trait Command: Send + 'static {
    type Output: Send + 'static;
    const NAME: &'static str;
    fn run(self, cx: &Cx) -> impl Future<Output = Result<Self::Output>> + Send;
}
pub trait Query: Send + 'static {
    type Output: Send;
    const NAME: &'static str;
    fn run(self, cx: &Cx) -> impl Future<Output = Result<Self::Output>> + Send;
}
#[derive(Clone)]
pub struct Messenger {
    cx: Arc<Cx>,
    limits: Arc<Limits>,
}
#[derive(Clone)]
pub struct Actor(Option<UserId>);
impl Actor {
    pub fn anonymous() -> Self {
        Self(None)
    }
    pub fn user(&self) -> Result<UserId> {
        self.0.ok_or(messenger_core::Error::Unauthenticated)
    }
    pub fn session(&self) -> Option<SessionId> {
        None
    }
}
#[derive(Serialize)]
#[serde(transparent)]
pub struct Outcome<T> {
    pub value: T,
    #[serde(skip)]
    pub created: bool,
}
impl Messenger {
    pub fn in_memory() -> Self {
        Self { cx: Arc::new(Cx), limits: Arc::default() }
    }
    pub async fn authenticate(&self, token: &str) -> Result<Actor> {
        match token.strip_prefix("toy-") {
            Some(id) => Ok(Actor(Some(id.parse().map_err(|_| messenger_core::Error::Unauthenticated)?))),
            None => Err(messenger_core::Error::Unauthenticated),
        }
    }
    pub async fn execute<C: Command>(&self, _: &Actor, command: C) -> Result<C::Output> {
        command.run(&self.cx).await
    }
    pub async fn query<Q: Query>(&self, _: &Actor, query: Q) -> Result<Q::Output> {
        query.run(&self.cx).await
    }
    pub async fn ready(&self) -> Result<()> {
        Ok(())
    }
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

/// Logs in. A second sentence.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogIn {
    /// Username or mail address.
    pub login: String,
    pub password: messenger_core::Password,
    pub device: Option<String>,
}
impl Command for LogIn {
    type Output = User;
    const NAME: &'static str = "LogIn";
    async fn run(self, _: &Cx) -> Result<User> {
        match self.login.as_str() {
            "panic" => panic!("toy"),
            "internal" => Err(messenger_core::Error::internal("secret cause")),
            "slow" => std::future::pending().await,
            _ => Err(messenger_core::Error::InvalidCredentials),
        }
    }
}
/// Ends the session.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogOut {}
impl Command for LogOut {
    type Output = ();
    const NAME: &'static str = "LogOut";
    async fn run(self, _: &Cx) -> Result<()> {
        Ok(())
    }
}
/// Sends a message.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SendMessage {
    pub chat_id: ChatId,
    pub body: String,
    pub client_id: Option<String>,
    pub reply_to: Option<MessageId>,
}
impl Command for SendMessage {
    type Output = Outcome<Message>;
    const NAME: &'static str = "SendMessage";
    async fn run(self, _: &Cx) -> Result<Outcome<Message>> {
        let message = Message {
            id: MessageId::from_bytes([1; 16]),
            chat_id: self.chat_id,
            seq: messenger_core::Seq::new(1),
            revision: messenger_core::Revision::new(1),
            kind: messenger_core::MessageKind::Text,
            sender_id: UserId::from_bytes([2; 16]),
            body: Some(messenger_core::MessageBody::trusted(self.body)),
            client_id: self.client_id.map(ClientId::trusted),
            reply_to: self.reply_to,
            created_at: messenger_core::Timestamp::from_micros(0),
            edited_at: None,
            deleted_at: None,
            system: None,
        };
        Ok(Outcome { value: message, created: true })
    }
}
/// Finds people.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FindUsers {
    pub query: String,
    pub limit: Option<u32>,
    pub cursor: Option<Cursor>,
}
impl Query for FindUsers {
    type Output = Page<User>;
    const NAME: &'static str = "FindUsers";
    async fn run(self, _: &Cx) -> Result<Page<User>> {
        let _ = (self.limit, self.cursor);
        Ok(Page::whole(vec![]))
    }
}
/// One account.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetUser {
    pub user_id: UserId,
}
impl Query for GetUser {
    type Output = User;
    const NAME: &'static str = "GetUser";
    async fn run(self, _: &Cx) -> Result<User> {
        Err(messenger_core::Error::NotFound("user"))
    }
}
const _: fn() = || {
    fn owned<T: DeserializeOwned>() {}
    owned::<SendMessage>();
};

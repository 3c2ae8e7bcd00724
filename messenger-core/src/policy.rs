use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    actor::Actor,
    domain::{ChatId, MessageBody},
    error::Result,
    tasks,
};

/// Rules that a host adds: it may refuse any operation, and refuse or rewrite any text.
///
/// It is asked before the rules of the chat are checked, for a person who is authenticated but may not be a member.
///
/// ```
/// use async_trait::async_trait;
/// use messenger_core::{Actor, ChatId, Error, MessageBody, Policy, Result};
///
/// struct NoShouting;
///
/// #[async_trait]
/// impl Policy for NoShouting {
///     async fn allow(&self, _actor: &Actor, _operation: &'static str) -> Result<()> {
///         Ok(())
///     }
///
///     async fn text(&self, _actor: &Actor, _chat: ChatId, body: MessageBody) -> Result<MessageBody> {
///         if body.as_str().contains("!!!") {
///             return Err(Error::Forbidden("Please don't shout."));
///         }
///         Ok(body)
///     }
/// }
/// ```
#[async_trait]
pub trait Policy: Send + Sync + 'static {
    /// Whether the actor may use the command or query of this name now.
    async fn allow(&self, actor: &Actor, operation: &'static str) -> Result<()>;

    /// Returns the text to store in place of `body`, when a message is sent or edited.
    async fn text(&self, actor: &Actor, chat: ChatId, body: MessageBody) -> Result<MessageBody>;
}

/// The only place that calls the host's policy. Each call runs in a task of its own, so that a policy that waits for
/// something makes progress while its caller is not polled.
#[derive(Clone, Default)]
pub(crate) struct PolicyGate(Option<Arc<dyn Policy>>);

impl PolicyGate {
    pub(crate) fn new(policy: Option<Arc<dyn Policy>>) -> Self {
        Self(policy)
    }

    /// Whether the actor may use the operation of this name now; always, if there is no policy.
    pub(crate) async fn allow(&self, actor: &Actor, operation: &'static str) -> Result<()> {
        let Some(policy) = self.0.clone() else { return Ok(()) };
        let actor = *actor;
        tasks::driven(async move { policy.allow(&actor, operation).await }).await
    }

    /// Returns the text to store in place of `body`; `body` itself, if there is no policy.
    pub(crate) async fn text(&self, actor: &Actor, chat: ChatId, body: MessageBody) -> Result<MessageBody> {
        let Some(policy) = self.0.clone() else { return Ok(body) };
        let actor = *actor;
        tasks::driven(async move { policy.text(&actor, chat, body).await }).await
    }
}

use async_trait::async_trait;

use crate::{
    Actor,
    domain::{ChatId, MessageBody},
    error::Result,
};

/// What a host adds to the rules: it may refuse any operation, and refuse or rewrite any text.
///
/// It is asked before the rules of the chat are, with a person who is authenticated but may not be a member.
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
    /// Whether this person may use the command or query of this name now.
    async fn allow(&self, actor: &Actor, operation: &'static str) -> Result<()>;

    /// The text to be stored in place of `body`, when a message is sent or edited.
    async fn text(&self, actor: &Actor, chat: ChatId, body: MessageBody) -> Result<MessageBody>;
}

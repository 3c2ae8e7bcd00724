use serde::Deserialize;

use crate::{
    convert,
    cx::Cx,
    domain::{ChatId, Message, MessageId},
    error::{Error, ErrorCode, OrNotFound as _, Result},
    operation::Query,
};

/// Reads one message.
///
/// Errors: `notFound`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::queries::GetMessage;
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// # let chat_id = messenger_core::doc::direct(&messenger, &ada, &bob).await;
/// # let sent = messenger_core::doc::say(&messenger, &ada, chat_id, "hi").await;
/// let message = messenger.query(&bob, GetMessage { chat_id, message_id: sent.id }).await?;
/// assert_eq!(message, sent);
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetMessage {
    /// The chat.
    pub chat_id: ChatId,
    /// The message.
    pub message_id: MessageId,
}

impl Query for GetMessage {
    type Output = Message;
    const NAME: &'static str = "GetMessage";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::NotFound];

    async fn run(self, cx: &Cx) -> Result<Message> {
        cx.store().membership(self.chat_id, cx.actor().user()?).await?;
        Ok(convert::message(
            cx.store()
                .message(self.chat_id, self.message_id)
                .await
                .or_not_found(|| Error::NotFound("message"))?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ports::StoreErrorKind,
        testing::{Scene, State, Who::*, code},
    };

    #[tokio::test]
    async fn a_message_is_shown_in_its_latest_state() {
        let scene = Scene::new().await;
        for state in [State::Sent, State::Edited, State::Deleted] {
            let message = scene.text(Member, state).await;
            let get = GetMessage { chat_id: message.chat_id, message_id: message.id };
            assert_eq!(scene.ask(Owner, get).await, message, "{state:?}");
            assert_eq!(message.body.is_none(), state == State::Deleted, "{state:?}");
            assert_eq!(message.edited_at.is_some(), state == State::Edited, "{state:?}");
        }
    }

    #[tokio::test]
    async fn a_message_is_found_in_its_own_chat_only() {
        let scene = Scene::new().await;
        let message_id = scene.says(Owner, "hello").await.id;
        let unknown = scene.messenger.service().context.id();
        for (chat_id, message_id) in [(scene.direct, message_id), (scene.group, unknown)] {
            let answer = scene.query(Owner, GetMessage { chat_id, message_id }).await;
            assert_eq!(code(&answer), "notFound");
            assert!(answer.unwrap_err().to_string().contains("such message"));
        }
    }

    #[tokio::test]
    async fn a_store_that_fails_is_no_unknown_message() {
        for method in ["membership", "message"] {
            let scene = Scene::new().await;
            let message = scene.says(Owner, "hello").await;
            scene.store.fail(method, StoreErrorKind::Unavailable, 1);
            let get = GetMessage { chat_id: message.chat_id, message_id: message.id };
            assert_eq!(code(&scene.query(Owner, get).await), "unavailable", "{method}");
        }
    }
}

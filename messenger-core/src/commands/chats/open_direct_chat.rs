use std::sync::Arc;

use serde::Deserialize;

use crate::{
    commands::view,
    domain::{Chat, UserId},
    error::{Error, Result},
    messenger::{Command, Cx, Outcome},
    ports::{BusMessage, DirectChat, Hint, StoreErrorKind, Topic},
};

/// Opens the direct chat with somebody, or finds the one there is.
///
/// Errors: `notFound` for an unknown person, `invalid` for oneself.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OpenDirectChat {
    /// The other person.
    pub user_id: UserId,
}

impl Command for OpenDirectChat {
    type Output = Outcome<Chat>;
    const NAME: &'static str = "OpenDirectChat";

    async fn run(self, cx: &mut Cx) -> Result<Outcome<Chat>> {
        let user = cx.actor().user()?;
        if user == self.user_id {
            return Err(Error::invalid("userId", "must be somebody else"));
        }
        let users = [user, self.user_id];
        let chat = DirectChat { id: cx.context().id(), users, created_at: cx.context().now() };
        let opened = match cx.store().open_direct(chat).await {
            Err(error) if error.kind() == StoreErrorKind::NotFound => return Err(Error::NotFound("person")),
            opened => opened?,
        };
        if opened.created {
            let topics = users.map(Topic::User).to_vec();
            let hint = Arc::new(Hint::Added { chat: opened.chat, users: users.to_vec() });
            cx.tell(Some(opened.chat), BusMessage { topics, hint });
        }
        Ok(Outcome { value: view(cx, opened.chat, user).await?, created: opened.created })
    }
}

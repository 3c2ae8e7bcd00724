use std::sync::Arc;

use serde::Deserialize;

use crate::{
    commands::view,
    domain::{Chat, Revision, UserId},
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
        cx.writes(users.map(Topic::User));
        let opened = match cx.store().open_direct(chat).await {
            Err(error) if error.kind() == StoreErrorKind::NotFound => return Err(Error::NotFound("person")),
            opened => opened?,
        };
        let topics = users.map(Topic::User).to_vec();
        if opened.created {
            let (chat, revision) = (opened.chat, Revision::ZERO);
            let hint = Arc::new(Hint::Added { chat, revision, users: users.to_vec() });
            cx.tell(Some(chat), BusMessage { topics, hint });
        } else {
            // Whoever opened it may not have been answered, and then has told nobody.
            cx.tell_invalid(topics);
        }
        Ok(Outcome { value: view(cx, opened.chat, user).await?, created: opened.created })
    }
}

use serde::Deserialize;

use super::roster::{Draft, change, note};
use crate::{
    commands::view,
    domain::{Chat, ChatId, SystemEvent, SystemNote, Title},
    error::{Checks, Error, Result},
    messenger::{Command, Cx},
};

/// Changes the title of a group; owner or admin. The title it has already changes nothing.
///
/// Errors: `notFound`, `forbidden`, `invalid`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateChat {
    /// The group.
    pub chat_id: ChatId,
    /// Its title from now on.
    pub title: String,
}

impl Command for UpdateChat {
    type Output = Chat;
    const NAME: &'static str = "UpdateChat";

    async fn run(self, cx: &mut Cx) -> Result<Chat> {
        let user = cx.actor().user()?;
        let mut checks = Checks::default();
        let title = checks.field("title", Title::parse(&self.title, cx.limits()));
        checks.finish()?;
        let title = title.ok_or_else(|| Error::invalid("title", "is missing"))?;
        change(cx, self.chat_id, user, |snapshot| {
            snapshot.require_admin()?;
            if snapshot.roster.chat.title.as_ref() == Some(&title) {
                return Ok(None);
            }
            let said =
                SystemNote { title: Some(title.clone()), ..note(SystemEvent::TitleChanged, Vec::new()) };
            Ok(Some(Draft { title: Some(title.clone()), notes: vec![said], ..Draft::default() }))
        })
        .await?;
        view(cx, self.chat_id, user).await
    }
}

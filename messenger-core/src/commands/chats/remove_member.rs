use serde::Deserialize;

use super::roster::{Draft, change, note};
use crate::{
    domain::{ChatId, SystemEvent, UserId},
    error::{Error, Result},
    messenger::{Command, Cx},
};

/// Takes somebody out of a group; owner or admin, and only somebody of a lower role.
///
/// Errors: `notFound`, `forbidden`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemoveMember {
    /// The group.
    pub chat_id: ChatId,
    /// Who is taken out.
    pub user_id: UserId,
}

impl Command for RemoveMember {
    type Output = ();
    const NAME: &'static str = "RemoveMember";

    async fn run(self, cx: &mut Cx) -> Result<()> {
        let user = cx.actor().user()?;
        let whom = self.user_id;
        change(cx, self.chat_id, user, |snapshot| {
            snapshot.require_admin()?;
            let member = snapshot.member(whom).ok_or(Error::NotFound("member"))?;
            if member.role >= snapshot.me.role {
                return Err(Error::Forbidden("Only members of a lower role than one's own can be removed."));
            }
            let notes = vec![note(SystemEvent::MembersRemoved, vec![whom])];
            Ok(Some(Draft { remove: vec![whom], notes, ..Draft::default() }))
        })
        .await?;
        Ok(())
    }
}

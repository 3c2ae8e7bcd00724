use serde::Deserialize;

use super::roster::{Draft, Snapshot, change, note};
use crate::{
    domain::{ChatId, Role, SystemEvent, SystemNote, UserId},
    error::Result,
    messenger::{Command, Cx},
};

/// Leaves a group. An owner hands over to the longest-standing admin, else to the longest-standing member.
///
/// Errors: `notFound`, `forbidden` for a direct chat.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeaveChat {
    /// The group.
    pub chat_id: ChatId,
}

impl Command for LeaveChat {
    type Output = ();
    const NAME: &'static str = "LeaveChat";

    async fn run(self, cx: &mut Cx) -> Result<()> {
        let user = cx.actor().user()?;
        leave(cx, self.chat_id, user).await
    }
}

pub(crate) async fn leave(cx: &mut Cx, chat: ChatId, user: UserId) -> Result<()> {
    change(cx, chat, user, |snapshot| {
        let mut draft = Draft { remove: vec![user], ..Draft::default() };
        if snapshot.me.role == Role::Owner
            && let Some(heir) = heir(snapshot)
        {
            draft.roles.push((heir, Role::Owner));
            draft
                .notes
                .push(SystemNote { role: Some(Role::Owner), ..note(SystemEvent::RoleChanged, vec![heir]) });
        }
        draft.notes.push(note(SystemEvent::MemberLeft, vec![user]));
        Ok(Some(draft))
    })
    .await?;
    Ok(())
}

/// Members are listed in the order of joining, so the first of a role is the longest-standing.
fn heir(snapshot: &Snapshot) -> Option<UserId> {
    let others = || snapshot.roster.members.iter().filter(|member| member.user_id != snapshot.me.user_id);
    others()
        .find(|member| member.role == Role::Admin)
        .or_else(|| others().next())
        .map(|member| member.user_id)
}

use serde::Deserialize;

use super::roster::{Draft, Snapshot, change, note};
use crate::{
    convert,
    domain::{ChatId, Member, Role, SystemEvent, SystemNote, UserId},
    error::{Error, Result},
    messenger::{Command, Cx},
};

/// Gives a member of a group a role; owner only. Naming another owner hands ownership over: who was the owner is an
/// admin then.
///
/// Errors: `notFound`, `forbidden`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetRole {
    /// The group.
    pub chat_id: ChatId,
    /// The member.
    pub user_id: UserId,
    /// The role from now on.
    pub role: Role,
}

impl Command for SetRole {
    type Output = Member;
    const NAME: &'static str = "SetRole";

    async fn run(self, cx: &mut Cx) -> Result<Member> {
        let user = cx.actor().user()?;
        let Self { chat_id, user_id: whom, role } = self;
        change(cx, chat_id, user, |snapshot| decide(snapshot, whom, role)).await?;
        let roster = cx.store().roster(chat_id).await?;
        let member =
            roster.members.iter().find(|member| member.user_id == whom).ok_or(Error::NotFound("member"))?;
        Ok(convert::member(cx.store().user(whom).await?, member))
    }
}

fn decide(snapshot: &Snapshot, whom: UserId, role: Role) -> Result<Option<Draft>> {
    if snapshot.me.role != Role::Owner {
        return Err(Error::Forbidden("Only the owner of the group may give roles."));
    }
    let member = snapshot.member(whom).ok_or(Error::NotFound("member"))?;
    if member.role == role {
        return Ok(None);
    }
    if whom == snapshot.me.user_id {
        return Err(Error::Forbidden("An owner becomes something else by making somebody else the owner."));
    }
    let mut roles = vec![(whom, role)];
    if role == Role::Owner {
        roles.push((snapshot.me.user_id, Role::Admin));
    }
    let said = SystemNote { role: Some(role), ..note(SystemEvent::RoleChanged, vec![whom]) };
    Ok(Some(Draft { roles, notes: vec![said], ..Draft::default() }))
}

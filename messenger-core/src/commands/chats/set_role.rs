use serde::Deserialize;

use super::roster::{Draft, Snapshot, change, note};
use crate::{
    convert,
    cx::Cx,
    domain::{ChatId, Member, Role, SystemEvent, SystemNote, UserId},
    error::{Error, ErrorCode, Result},
    operation::Command,
};

/// Gives a member of a group a role; owner only. Naming another owner transfers ownership: the former owner becomes an
/// admin.
///
/// Errors: `notFound`, `forbidden`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{Role, commands::SetRole, queries::GetChat};
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// # let chat_id = messenger_core::doc::group(&messenger, &ada, &[&bob]).await;
/// let member = messenger.execute(&ada, SetRole { chat_id, user_id: bob.user()?, role: Role::Owner }).await?;
/// assert_eq!(member.role, Role::Owner);
/// assert_eq!(messenger.query(&ada, GetChat { chat_id }).await?.me.role, Role::Admin);
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetRole {
    /// The group.
    pub chat_id: ChatId,
    /// The member.
    pub user_id: UserId,
    /// The new role.
    pub role: Role,
}

impl Command for SetRole {
    type Output = Member;
    const NAME: &'static str = "SetRole";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::NotFound, ErrorCode::Forbidden, ErrorCode::Conflict];

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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        commands::LeaveChat,
        queries::ListMembers,
        testing::{
            Scene,
            Who::{self, *},
            code,
        },
    };

    fn set(scene: &Scene, whom: Who, role: Role) -> SetRole {
        SetRole { chat_id: scene.group, user_id: scene.id(whom), role }
    }

    fn said(scene: &Scene, whom: Who, role: Role) -> SystemNote {
        SystemNote { role: Some(role), ..note(SystemEvent::RoleChanged, scene.ids([whom])) }
    }

    const ROLES: [Role; 3] = [Role::Member, Role::Admin, Role::Owner];

    #[tokio::test]
    async fn only_the_owner_gives_roles() {
        for (who, outcome) in [(Owner, "ok"), (Admin, "forbidden"), (Member, "forbidden")] {
            for whom in [OtherAdmin, OtherMember] {
                for role in ROLES {
                    let scene = Scene::new().await;
                    let before = scene.role(whom).await;
                    let answer = scene.execute(who, set(&scene, whom, role)).await;
                    assert_eq!(code(&answer), outcome, "{who:?} {whom:?} {role:?}");
                    let is_done = outcome == "ok";
                    assert_eq!(scene.role(whom).await, if is_done { Some(role) } else { before });
                    // Giving the role that somebody already has is no change.
                    let expected = [scene.update(who, said(&scene, whom, role))];
                    let is_told = is_done && before != Some(role);
                    assert_eq!(scene.updates().await, expected[..usize::from(is_told)]);
                }
            }
        }
    }

    #[tokio::test]
    async fn the_answer_is_the_member_with_the_role() {
        let scene = Scene::new().await;
        let list = ListMembers { chat_id: scene.group, limit: None, cursor: None };
        for role in [Role::Admin, Role::Admin, Role::Owner] {
            let member = scene.must(Owner, set(&scene, Member, role)).await;
            assert_eq!((member.user.id, member.role), (scene.id(Member), role));
            assert!(scene.ask(Owner, list.clone()).await.items.contains(&member));
        }
    }

    #[tokio::test]
    async fn who_hands_ownership_over_is_an_admin_then() {
        for heir in [Admin, Member] {
            let scene = Scene::new().await;
            scene.must(Owner, set(&scene, heir, Role::Owner)).await;
            assert_eq!(scene.updates().await, [scene.update(Owner, said(&scene, heir, Role::Owner))]);
            assert_eq!(scene.role(Owner).await, Some(Role::Admin));
            assert_eq!(scene.role(heir).await, Some(Role::Owner));
            assert_eq!(scene.role(OtherAdmin).await, Some(Role::Admin));
            assert_eq!(code(&scene.execute(Owner, set(&scene, Member, Role::Admin)).await), "forbidden");
        }
    }

    #[tokio::test]
    async fn an_owner_stays_it_until_somebody_else_is() {
        for (role, outcome) in [(Role::Member, "forbidden"), (Role::Admin, "forbidden"), (Role::Owner, "ok")]
        {
            let scene = Scene::new().await;
            assert_eq!(code(&scene.execute(Owner, set(&scene, Owner, role)).await), outcome, "{role:?}");
            assert_eq!(scene.role(Owner).await, Some(Role::Owner), "{role:?}");
            assert_eq!(scene.updates().await, [], "{role:?}");
        }
    }

    #[tokio::test]
    async fn who_is_not_in_the_group_has_no_role_in_it() {
        let scene = Scene::new().await;
        for whom in [Left, Removed, Erased, Stranger, Nobody] {
            for role in ROLES {
                assert_eq!(
                    code(&scene.execute(Owner, set(&scene, whom, role)).await),
                    "notFound",
                    "{whom:?}"
                );
                assert_eq!(
                    code(&scene.execute(Admin, set(&scene, whom, role)).await),
                    "forbidden",
                    "{whom:?}"
                );
            }
        }
        assert_eq!(scene.updates().await, []);
        assert_eq!(scene.role(Owner).await, Some(Role::Owner));
    }

    #[tokio::test]
    async fn who_handed_over_meanwhile_gives_no_roles() {
        let scene = Scene::new().await;
        let (messenger, owner) = (scene.messenger.clone(), scene.actor(Owner));
        let hand_over = set(&scene, Admin, Role::Owner);
        scene.store.meanwhile("change_roster", async move {
            messenger.execute(&owner, hand_over).await.unwrap();
        });
        assert_eq!(code(&scene.execute(Owner, set(&scene, Member, Role::Admin)).await), "forbidden");
        assert_eq!(scene.role(Member).await, Some(Role::Member));
    }

    #[tokio::test]
    async fn who_left_right_after_it_is_no_member_to_answer_with() {
        let scene = Scene::new().await;
        let (messenger, member) = (scene.messenger.clone(), scene.actor(Member));
        let leave = LeaveChat { chat_id: scene.group };
        let (store, left) = (Arc::clone(&scene.store), async move {
            messenger.execute(&member, leave).await.unwrap();
        });
        // The roster is read once more for the answer.
        scene.store.meanwhile("change_roster", async move { store.meanwhile("roster", left) });
        assert_eq!(code(&scene.execute(Owner, set(&scene, Member, Role::Admin)).await), "notFound");
        assert_eq!(scene.told().await.len(), 2);
    }
}

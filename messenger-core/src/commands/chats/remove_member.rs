use serde::Deserialize;

use super::roster::{Draft, change, note};
use crate::{
    cx::Cx,
    domain::{ChatId, SystemEvent, UserId},
    error::{Error, ErrorCode, Result},
    operation::Command,
};

/// Removes a member from a group; for its owner and admins, and only a member of a lower role than theirs.
///
/// Errors: `notFound`, `forbidden`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{commands::RemoveMember, queries::GetChat};
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// # let chat_id = messenger_core::doc::group(&messenger, &ada, &[&bob]).await;
/// messenger.execute(&ada, RemoveMember { chat_id, user_id: bob.user()? }).await?;
/// assert_eq!(messenger.query(&bob, GetChat { chat_id }).await.unwrap_err().code(), "notFound");
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemoveMember {
    /// The group.
    pub chat_id: ChatId,
    /// The member to remove.
    pub user_id: UserId,
}

impl Command for RemoveMember {
    type Output = ();
    const NAME: &'static str = "RemoveMember";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::NotFound, ErrorCode::Forbidden, ErrorCode::Conflict];

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commands::{AddMembers, LeaveChat, SetRole},
        domain::Role,
        testing::{
            Scene,
            Who::{self, *},
            code,
        },
    };

    fn remove(scene: &Scene, whom: Who) -> RemoveMember {
        RemoveMember { chat_id: scene.group, user_id: scene.id(whom) }
    }

    #[tokio::test]
    async fn one_removes_only_members_of_a_lower_role_than_ones_own() {
        let cases = [
            (Owner, Owner, "forbidden"),
            (Owner, Admin, "ok"),
            (Owner, Member, "ok"),
            (Admin, Owner, "forbidden"),
            (Admin, Admin, "forbidden"),
            (Admin, OtherAdmin, "forbidden"),
            (Admin, Member, "ok"),
            (Member, Owner, "forbidden"),
            (Member, Admin, "forbidden"),
            (Member, Member, "forbidden"),
            (Member, OtherMember, "forbidden"),
        ];
        for (who, whom, outcome) in cases {
            let scene = Scene::new().await;
            let role = scene.role(whom).await;
            assert_eq!(code(&scene.execute(who, remove(&scene, whom)).await), outcome, "{who:?} {whom:?}");
            let is_done = outcome == "ok";
            assert_eq!(scene.role(whom).await, if is_done { None } else { role }, "{who:?} {whom:?}");
            let said = note(SystemEvent::MembersRemoved, scene.ids([whom]));
            let expected = [scene.update(who, said)];
            assert_eq!(scene.updates().await, expected[..usize::from(is_done)], "{who:?} {whom:?}");
        }
    }

    #[tokio::test]
    async fn who_is_not_in_the_group_is_no_member_of_it() {
        let scene = Scene::new().await;
        for whom in [Left, Removed, Erased, Stranger, Nobody] {
            for (who, outcome) in [(Owner, "notFound"), (Admin, "notFound"), (Member, "forbidden")] {
                assert_eq!(
                    code(&scene.execute(who, remove(&scene, whom)).await),
                    outcome,
                    "{who:?} {whom:?}"
                );
            }
        }
        assert_eq!(scene.updates().await, []);
    }

    #[tokio::test]
    async fn who_became_an_admin_meanwhile_is_not_removed_by_another() {
        let scene = Scene::new().await;
        let (messenger, owner) = (scene.messenger.clone(), scene.actor(Owner));
        let promote = SetRole { chat_id: scene.group, user_id: scene.id(Member), role: Role::Admin };
        scene.store.meanwhile("change_roster", async move {
            messenger.execute(&owner, promote).await.unwrap();
        });
        assert_eq!(code(&scene.execute(Admin, remove(&scene, Member)).await), "forbidden");
        assert_eq!(scene.role(Member).await, Some(Role::Admin));
    }

    #[tokio::test]
    async fn who_left_meanwhile_is_no_member_any_more() {
        let scene = Scene::new().await;
        let (messenger, member) = (scene.messenger.clone(), scene.actor(Member));
        let leave = LeaveChat { chat_id: scene.group };
        scene.store.meanwhile("change_roster", async move {
            messenger.execute(&member, leave).await.unwrap();
        });
        assert_eq!(code(&scene.execute(Admin, remove(&scene, Member)).await), "notFound");
    }

    #[tokio::test]
    async fn who_was_removed_comes_back_as_a_member() {
        let scene = Scene::new().await;
        scene.must(Owner, remove(&scene, Admin)).await;
        let add = AddMembers { chat_id: scene.group, user_ids: scene.ids([Admin]) };
        scene.must(Owner, add).await;
        assert_eq!(scene.role(Admin).await, Some(Role::Member));
    }
}

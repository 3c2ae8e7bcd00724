use serde::Deserialize;

use super::roster::{Draft, Snapshot, change, note};
use crate::{
    cx::Cx,
    domain::{ChatId, Role, SystemEvent, SystemNote, UserId},
    error::{ErrorCode, Result},
    operation::Command,
};

/// Leaves a group. Ownership passes to the longest-standing admin, or else to the longest-standing member.
///
/// Errors: `notFound`, `forbidden` for a direct chat.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{Role, commands::LeaveChat, queries::GetChat};
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// # let chat_id = messenger_core::doc::group(&messenger, &ada, &[&bob]).await;
/// messenger.execute(&ada, LeaveChat { chat_id }).await?;
/// assert_eq!(messenger.query(&bob, GetChat { chat_id }).await?.me.role, Role::Owner);
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
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
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::NotFound, ErrorCode::Forbidden, ErrorCode::Conflict];

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commands::{AddMembers, RemoveMember, SetRole},
        testing::{
            Scene,
            Who::{self, *},
            code,
        },
    };

    fn left(scene: &Scene, who: Who) -> SystemNote {
        note(SystemEvent::MemberLeft, scene.ids([who]))
    }

    fn owns(scene: &Scene, who: Who) -> SystemNote {
        SystemNote { role: Some(Role::Owner), ..note(SystemEvent::RoleChanged, scene.ids([who])) }
    }

    #[tokio::test]
    async fn everybody_may_leave_and_is_not_in_the_group_any_more() {
        for who in [Admin, OtherAdmin, Member, OtherMember] {
            let scene = Scene::new().await;
            scene.must(who, LeaveChat { chat_id: scene.group }).await;
            assert_eq!(scene.updates().await, [scene.update(who, left(&scene, who))]);
            assert_eq!((scene.role(who).await, scene.role(Owner).await), (None, Some(Role::Owner)));
            let again = scene.execute(who, LeaveChat { chat_id: scene.group }).await;
            assert_eq!(code(&again), "notFound", "{who:?}");
        }
    }

    #[tokio::test]
    async fn an_owner_hands_over_to_the_longest_standing_admin_else_member() {
        // The member has been in the group longer than the admins, and the first admin longer than the other.
        let cases = [
            (&[][..], Some(Admin)),
            (&[Admin][..], Some(OtherAdmin)),
            (&[Admin, OtherAdmin][..], Some(Member)),
            (&[Admin, OtherAdmin, Member][..], Some(OtherMember)),
            (&[Admin, OtherAdmin, Member, OtherMember][..], None),
        ];
        for (gone, heir) in cases {
            let scene = Scene::new().await;
            for who in gone {
                scene.must(*who, LeaveChat { chat_id: scene.group }).await;
            }
            scene.told().await;
            scene.must(Owner, LeaveChat { chat_id: scene.group }).await;
            // The change of ownership is recorded before the leaving, and the sender of both is the former owner.
            let notes = heir.map(|heir| owns(&scene, heir)).into_iter().chain([left(&scene, Owner)]);
            let expected: Vec<_> = notes.map(|note| scene.update(Owner, note)).collect();
            assert_eq!(scene.updates().await, expected, "{heir:?}");
            assert_eq!(scene.role(Owner).await, None);
            if let Some(heir) = heir {
                assert_eq!(scene.role(heir).await, Some(Role::Owner), "{heir:?}");
            }
        }
    }

    #[tokio::test]
    async fn all_others_keep_their_roles_when_an_owner_leaves() {
        let scene = Scene::new().await;
        scene.must(Owner, LeaveChat { chat_id: scene.group }).await;
        let roles = [(Admin, Role::Owner), (OtherAdmin, Role::Admin), (Member, Role::Member)];
        for (who, role) in roles {
            assert_eq!(scene.role(who).await, Some(role), "{who:?}");
        }
    }

    #[tokio::test]
    async fn standing_counts_from_the_last_joining() {
        let scene = Scene::new().await;
        let chat_id = scene.group;
        scene.must(Owner, RemoveMember { chat_id, user_id: scene.id(Admin) }).await;
        scene.must(Owner, AddMembers { chat_id, user_ids: scene.ids([Admin]) }).await;
        scene.must(Owner, SetRole { chat_id, user_id: scene.id(Admin), role: Role::Admin }).await;
        scene.must(Owner, LeaveChat { chat_id }).await;
        assert_eq!(scene.role(OtherAdmin).await, Some(Role::Owner));
    }

    #[tokio::test]
    async fn who_became_the_owner_meanwhile_hands_over_too() {
        let scene = Scene::new().await;
        let (messenger, owner) = (scene.messenger.clone(), scene.actor(Owner));
        let hand_over = SetRole { chat_id: scene.group, user_id: scene.id(Member), role: Role::Owner };
        scene.store.meanwhile("change_roster", async move {
            messenger.execute(&owner, hand_over).await.unwrap();
        });
        scene.must(Member, LeaveChat { chat_id: scene.group }).await;
        // The former owner is the longest-standing admin now.
        assert_eq!(scene.role(Owner).await, Some(Role::Owner));
    }
}

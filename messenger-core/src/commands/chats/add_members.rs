use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::roster::{Draft, change, note};
use crate::{
    cx::Cx,
    domain::{ChatId, SystemEvent, UserId},
    error::{Error, ErrorCode, Result},
    operation::Command,
    ports::Topic,
};

/// Adds people to a group; for its owner and admins. Naming somebody who is already a member is no error.
///
/// Errors: `notFound`, `forbidden`, `invalid` for people who don't exist and for too many members.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::commands::AddMembers;
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// # let eve = messenger_core::doc::register(&messenger, "eve").await;
/// # let chat_id = messenger_core::doc::group(&messenger, &ada, &[&bob]).await;
/// let user_ids = vec![bob.user()?, eve.user()?];
/// let refused = messenger.execute(&bob, AddMembers { chat_id, user_ids: user_ids.clone() }).await;
/// assert_eq!(refused.unwrap_err().code(), "forbidden");
///
/// let added = messenger.execute(&ada, AddMembers { chat_id, user_ids }).await?.added;
/// assert_eq!(added, [eve.user()?]); // bob was in it
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AddMembers {
    /// The group.
    pub chat_id: ChatId,
    /// The people to add.
    pub user_ids: Vec<UserId>,
}

/// The result of adding members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AddedMembers {
    /// The people who were added, without those who were members already.
    pub added: Vec<UserId>,
}

impl Command for AddMembers {
    type Output = AddedMembers;
    const NAME: &'static str = "AddMembers";
    const ERRORS: &'static [ErrorCode] =
        &[ErrorCode::NotFound, ErrorCode::Forbidden, ErrorCode::Invalid, ErrorCode::Conflict];

    async fn run(self, cx: &mut Cx) -> Result<AddedMembers> {
        let user = cx.actor().user()?;
        let max = cx.limits().members;
        let mut seen = HashSet::new();
        let wanted: Vec<UserId> = self.user_ids.into_iter().filter(|id| seen.insert(*id)).collect();
        if wanted.len() > max {
            return Err(Error::invalid("userIds", format!("may name at most {max} people")));
        }
        let added = std::sync::Mutex::new(Vec::new());
        let changed = change(cx, self.chat_id, user, |snapshot| {
            snapshot.require_admin()?;
            let new: Vec<UserId> =
                wanted.iter().copied().filter(|id| snapshot.member(*id).is_none()).collect();
            if new.is_empty() {
                return Ok(None);
            }
            if snapshot.roster.members.len() + new.len() > max {
                return Err(Error::invalid(
                    "userIds",
                    format!("would make the group larger than {max} people"),
                ));
            }
            if let Ok(mut added) = added.lock() {
                added.clone_from(&new);
            }
            let notes = vec![note(SystemEvent::MembersAdded, new.clone())];
            Ok(Some(Draft { add: new, notes, ..Draft::default() }))
        })
        .await;
        match changed? {
            None => {
                // The added people may not have been told either.
                cx.invalidate(wanted.into_iter().map(Topic::User).collect());
                Ok(AddedMembers { added: Vec::new() })
            }
            Some(_) => Ok(AddedMembers { added: added.into_inner().unwrap_or_default() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commands::{LeaveChat, SetRole},
        domain::{Limits, Role},
        ports::Topic,
        queries::GetHistory,
        testing::{
            Scene, Setup, Update,
            Who::{self, *},
            code, pointers,
        },
    };

    fn add<const N: usize>(scene: &Scene, whom: [Who; N]) -> AddMembers {
        AddMembers { chat_id: scene.group, user_ids: scene.ids(whom) }
    }

    fn added_by(scene: &Scene, by: Who, whom: &[UserId]) -> Update {
        let update = scene.update(by, note(SystemEvent::MembersAdded, whom.to_vec()));
        // The added people don't listen to the chat yet.
        Update {
            to: [vec![Topic::Chat(scene.group)], whom.iter().copied().map(Topic::User).collect()].concat(),
            ..update
        }
    }

    #[tokio::test]
    async fn only_the_owner_and_admins_add_people() {
        let cases = [
            (Owner, "ok"),
            (Admin, "ok"),
            (Member, "forbidden"),
            (Left, "notFound"),
            (Removed, "notFound"),
            (Stranger, "notFound"),
            (Nobody, "notFound"),
        ];
        for (who, outcome) in cases {
            let scene = Scene::new().await;
            let answer = scene.execute(who, add(&scene, [Stranger])).await;
            assert_eq!(code(&answer), outcome, "{who:?}");
            let expected = [added_by(&scene, who, &scene.ids([Stranger]))];
            assert_eq!(scene.updates().await, expected[..usize::from(outcome == "ok")], "{who:?}");
            assert_eq!(scene.role(Stranger).await, (outcome == "ok").then_some(Role::Member), "{who:?}");
        }
    }

    #[tokio::test]
    async fn who_is_in_already_or_named_twice_is_not_added_again() {
        let scene = Scene::new().await;
        let answer = scene.must(Admin, add(&scene, [Left, Member, Stranger, Owner, Left, Stranger])).await;
        assert_eq!(answer.added, scene.ids([Left, Stranger]));
        assert_eq!(scene.updates().await, [added_by(&scene, Admin, &answer.added)]);
        assert_eq!(scene.role(Owner).await, Some(Role::Owner));
    }

    #[tokio::test]
    async fn adding_nobody_new_changes_nothing() {
        let scene = Scene::new().await;
        let before = scene.chat(Owner, scene.group).await;
        for whom in [scene.ids([]), scene.ids([Member, Admin])] {
            let answer = scene.must(Owner, AddMembers { chat_id: scene.group, user_ids: whom }).await;
            assert_eq!(answer.added, []);
        }
        assert_eq!(scene.updates().await, []);
        assert_eq!(scene.chat(Owner, scene.group).await, before);
        // The command is still reserved for the owner and admins.
        assert_eq!(code(&scene.execute(Member, add(&scene, [Admin])).await), "forbidden");
    }

    #[tokio::test]
    async fn nobody_is_added_if_one_of_them_has_no_account() {
        let scene = Scene::new().await;
        for bad in [Nobody, Erased] {
            let answer = scene.execute(Owner, add(&scene, [Stranger, bad])).await;
            assert_eq!(pointers(&answer), ["/userIds"], "{bad:?}");
        }
        assert_eq!(scene.role(Stranger).await, None);
        assert_eq!(scene.updates().await, []);
    }

    #[tokio::test]
    async fn a_group_never_has_more_members_than_it_may() {
        // The group has five members.
        let limits = Limits { members: 6, ..Limits::default() };
        let scene = Scene::with(Setup { limits, ..Setup::default() }).await;
        let answer = scene.execute(Owner, add(&scene, [Left, Stranger])).await;
        assert_eq!(pointers(&answer), ["/userIds"]);
        assert_eq!(scene.role(Left).await, None);
        scene.must(Owner, add(&scene, [Left, Member])).await;
        assert_eq!(scene.chat(Owner, scene.group).await.member_count, 6);
        assert_eq!(pointers(&scene.execute(Owner, add(&scene, [Stranger])).await), ["/userIds"]);
        // A member who leaves frees a place.
        scene.must(Left, LeaveChat { chat_id: scene.group }).await;
        scene.must(Owner, add(&scene, [Stranger])).await;
    }

    #[tokio::test]
    async fn a_request_names_at_most_as_many_as_a_group_may_have() {
        let scene = Scene::new().await;
        let max = scene.messenger.limits().members;
        // Each person counts once.
        let mut user_ids: Vec<UserId> =
            (0..max - 1).map(|_| scene.messenger.service().context.id()).collect();
        user_ids.extend(scene.ids([Member, Member]));
        let ask = |user_ids: &[UserId]| AddMembers { chat_id: scene.group, user_ids: user_ids.to_vec() };
        let detail = |answer: Result<AddedMembers>| answer.unwrap_err().to_string();
        let of_the_group = detail(scene.execute(Owner, ask(&user_ids)).await);
        assert!(of_the_group.contains("would make the group larger than 1000 people"), "{of_the_group}");
        user_ids.push(scene.id(Stranger));
        let of_the_request = detail(scene.execute(Owner, ask(&user_ids)).await);
        assert!(of_the_request.contains("may name at most 1000 people"), "{of_the_request}");
    }

    #[tokio::test]
    async fn who_is_added_sees_the_history_from_its_beginning_and_nothing_unread() {
        let scene = Scene::new().await;
        let before = scene.says(Owner, "before").await;
        scene.must(Owner, add(&scene, [Stranger])).await;
        let chat = scene.chat(Stranger, scene.group).await;
        assert_eq!((chat.me.role, chat.me.unread), (Role::Member, 0));
        let history =
            GetHistory { chat_id: scene.group, before: None, after: None, around: None, limit: None };
        let history = scene.ask(Stranger, history).await;
        assert_eq!(history.items[0].seq.get(), 1);
        assert!(history.items.contains(&before));
    }

    #[tokio::test]
    async fn who_lost_the_role_meanwhile_adds_nobody() {
        let scene = Scene::new().await;
        let (messenger, owner) = (scene.messenger.clone(), scene.actor(Owner));
        let demote = SetRole { chat_id: scene.group, user_id: scene.id(Admin), role: Role::Member };
        scene.store.meanwhile("change_roster", async move {
            messenger.execute(&owner, demote).await.unwrap();
        });
        assert_eq!(code(&scene.execute(Admin, add(&scene, [Stranger])).await), "forbidden");
        assert_eq!(scene.role(Stranger).await, None);
    }

    #[tokio::test]
    async fn whom_somebody_else_adds_meanwhile_is_added_once() {
        let scene = Scene::new().await;
        let (messenger, owner) = (scene.messenger.clone(), scene.actor(Owner));
        let first = add(&scene, [Stranger]);
        scene.store.meanwhile("change_roster", async move {
            messenger.execute(&owner, first).await.unwrap();
        });
        let answer = scene.must(Admin, add(&scene, [Left, Stranger])).await;
        assert_eq!(answer.added, scene.ids([Left]));
        assert_eq!(scene.chat(Owner, scene.group).await.member_count, 7);
    }
}

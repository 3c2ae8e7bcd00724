use std::collections::HashSet;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::roster::note;
use crate::{
    announcements,
    commands::view,
    convert,
    cx::Cx,
    domain::{Chat, ClientId, Revision, SystemEvent, SystemNote, Title, UserId},
    error::{Checks, Error, ErrorCode, OrNotFound as _, Result},
    operation::{Command, Idempotent},
    ports::{Content, Fingerprint, NewGroup, NewSystemMessage, Topic},
};

/// Creates a group; its creator owns it. With a client id, a repetition returns the group created before.
///
/// Errors: `invalid`, also for people who don't exist; `clientIdReused`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{Role, commands::CreateGroupChat};
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// let command = CreateGroupChat {
///     title: "Engines".into(),
///     member_ids: vec![bob.user()?],
///     client_id: Some("group-1".into()),
/// };
/// let made = messenger.execute(&ada, command.clone()).await?;
/// assert_eq!(made.value.me.role, Role::Owner);
///
/// // A client that was not answered says the same again.
/// let found = messenger.execute(&ada, command).await?;
/// assert_eq!(found.value.id, made.value.id);
/// assert!(!found.created);
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateGroupChat {
    /// The title.
    pub title: String,
    /// The other members; naming the creator or somebody twice is no error.
    pub member_ids: Vec<UserId>,
    /// The client's identifier of this request.
    pub client_id: Option<String>,
}

impl Command for CreateGroupChat {
    type Output = Idempotent<Chat>;
    const NAME: &'static str = "CreateGroupChat";
    const ERRORS: &'static [ErrorCode] =
        &[ErrorCode::Invalid, ErrorCode::ClientIdReused, ErrorCode::NotFound];

    async fn run(self, cx: &mut Cx) -> Result<Idempotent<Chat>> {
        let user = cx.actor().user()?;
        let group = self.checked(cx, user)?;
        let everyone: Vec<UserId> = [user].into_iter().chain(group.members.iter().copied()).collect();
        let people: Vec<Topic> = everyone.iter().map(|user| Topic::User(*user)).collect();
        cx.begin_write(people.clone());
        let opened = cx.store().create_group(group).await.or_not_found(unknown_members)?;
        if !opened.same_request {
            return Err(Error::ClientIdReused);
        }
        if opened.created {
            let added = announcements::added(opened.chat, Revision::new(1), everyone);
            cx.publish(Some(opened.chat), added);
        } else {
            // The call that created it may have lost its answer, and then has not told anybody.
            cx.invalidate(people);
        }
        let chat = view(cx, opened.chat, user).await?;
        Ok(Idempotent { value: chat, created: opened.created })
    }
}

impl CreateGroupChat {
    fn checked(self, cx: &Cx, user: UserId) -> Result<NewGroup> {
        let limits = cx.limits();
        let mut checks = Checks::default();
        let title = checks.field("title", Title::parse(&self.title, limits));
        let client_id =
            checks.optional("clientId", self.client_id.as_deref().map(|id| ClientId::parse(id, limits)));
        let mut seen = HashSet::from([user]);
        let members: Vec<UserId> = self.member_ids.into_iter().filter(|id| seen.insert(*id)).collect();
        if members.len() >= limits.members {
            let too_many = format!("may name at most {} people", limits.members.saturating_sub(1));
            checks.field::<()>("memberIds", Err(too_many));
        }
        checks.finish()?;
        let title = title.ok_or_else(|| Error::invalid("title", "is missing"))?;
        let fingerprint = fingerprint(&title, &members);

        let mut everyone = vec![user];
        everyone.extend_from_slice(&members);
        let said = SystemNote { title: Some(title.clone()), ..note(SystemEvent::Created, everyone) };
        let created_at = cx.context().now();
        let id = cx.context().id();
        Ok(NewGroup {
            id,
            creator: user,
            members,
            title: Content::from(title.as_str()),
            client_id: client_id.map(|client_id| (client_id, fingerprint)),
            created_at,
            message: NewSystemMessage {
                id: cx.context().id(),
                sender: user,
                note: convert::write_note(&said),
                at: created_at,
            },
        })
    }
}

/// The same for the same title and members, in any order.
fn fingerprint(title: &Title, members: &[UserId]) -> Fingerprint {
    let mut members = members.to_vec();
    members.sort_unstable();
    let mut hash = Sha256::new();
    for member in &members {
        hash.update(member.as_bytes());
    }
    hash.update(title.as_str());
    let digest: [u8; 32] = hash.finalize().into();
    Fingerprint::of(&digest)
}

fn unknown_members() -> Error {
    Error::invalid("memberIds", "names somebody who does not exist")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commands::{AddMembers, UpdateChat},
        domain::{ChatKind, Limits, Role},
        ports::StoreErrorKind,
        queries::ListMembers,
        testing::{
            Scene, Setup, Told,
            Who::{self, *},
            code, pointers,
        },
    };

    fn group<const N: usize>(scene: &Scene, title: &str, members: [Who; N]) -> CreateGroupChat {
        CreateGroupChat { title: title.into(), member_ids: scene.ids(members), client_id: None }
    }

    fn named(client_id: &str, group: CreateGroupChat) -> CreateGroupChat {
        CreateGroupChat { client_id: Some(client_id.into()), ..group }
    }

    async fn roles(scene: &Scene, chat_id: crate::ChatId) -> Vec<(UserId, Role)> {
        let list = ListMembers { chat_id, limit: None, cursor: None };
        let members = scene.ask(Stranger, list).await.items;
        members.iter().map(|member| (member.user.id, member.role)).collect()
    }

    #[tokio::test]
    async fn who_makes_a_group_owns_it_and_the_others_are_members() {
        let scene = Scene::new().await;
        // The creator and repeated names are ignored.
        let made = scene.must(Stranger, group(&scene, "Chess", [Left, Stranger, Member, Left])).await;
        let (chat, everyone) = (made.value, scene.ids([Stranger, Left, Member]));
        assert!(made.created);
        assert_eq!((chat.kind, chat.member_count, chat.me.unread), (ChatKind::Group, 3, 0));
        assert_eq!(chat.title, Some(Title::trusted("Chess")));
        let expected = [Role::Owner, Role::Member, Role::Member];
        assert_eq!(roles(&scene, chat.id).await, everyone.iter().copied().zip(expected).collect::<Vec<_>>());
        assert_eq!(scene.told().await, [Told::added(chat.id, 1, &everyone)]);
        assert_eq!(scene.chat(Stranger, chat.id).await, chat);
    }

    #[tokio::test]
    async fn its_first_message_says_who_is_in_it_and_what_it_is_called() {
        let scene = Scene::new().await;
        let chat = scene.must(Stranger, group(&scene, "Chess", [Left, Member])).await.value;
        let first = chat.last_message.unwrap();
        let note = SystemNote {
            title: Some(Title::trusted("Chess")),
            ..note(SystemEvent::Created, scene.ids([Stranger, Left, Member]))
        };
        assert_eq!((first.seq.get(), first.revision.get(), first.sender_id), (1, 1, scene.id(Stranger)));
        assert_eq!((first.system, first.created_at), (Some(note), chat.created_at));
        assert_eq!(chat.created_at, scene.messenger.service().context.now());
    }

    #[tokio::test]
    async fn a_group_may_be_of_one() {
        let scene = Scene::new().await;
        let chat = scene.must(Stranger, group(&scene, "Notes", [])).await.value;
        assert_eq!(roles(&scene, chat.id).await, [(scene.id(Stranger), Role::Owner)]);
    }

    #[tokio::test]
    async fn no_group_is_made_with_somebody_who_has_no_account() {
        let scene = Scene::new().await;
        for whom in [Nobody, Erased] {
            let answer = scene.execute(Stranger, group(&scene, "Chess", [Member, whom])).await;
            assert_eq!(pointers(&answer), ["/memberIds"], "{whom:?}");
        }
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn the_owner_counts_among_those_who_fit_into_a_group() {
        let limits = Limits { members: 10, ..Limits::default() };
        let scene = Scene::with(Setup { limits, ..Setup::default() }).await;
        let small = |members| CreateGroupChat { title: "Chess".into(), member_ids: members, client_id: None };
        let mut members: Vec<UserId> = Vec::new();
        for n in 0..10 {
            members.push(crate::doc::register(&scene.messenger, &format!("guest-{n}")).await.user().unwrap());
        }
        assert_eq!(pointers(&scene.execute(Stranger, small(members.clone())).await), ["/memberIds"]);
        // The creator and repeated names don't count.
        members[9] = members[8];
        members.push(scene.id(Stranger));
        assert_eq!(scene.must(Stranger, small(members)).await.value.member_count, 10);
    }

    #[tokio::test]
    async fn where_nobody_may_be_a_member_no_group_is_made() {
        let scene = Scene::new().await;
        let limits = Limits { members: 0, ..Limits::default() };
        let messenger = crate::Messenger::builder(std::sync::Arc::clone(&scene.store) as _).limits(limits);
        let alone = CreateGroupChat { title: "Chess".into(), member_ids: Vec::new(), client_id: None };
        let made = messenger.build().unwrap().execute(&scene.actor(Stranger), alone).await;
        assert_eq!(pointers(&made), ["/memberIds"]);
    }

    #[tokio::test]
    async fn all_fields_that_do_not_fit_are_named() {
        let limits = Limits { members: 6, ..Limits::default() };
        let scene = Scene::with(Setup { limits, ..Setup::default() }).await;
        let bad = named("no blanks", group(&scene, "", [Owner, Admin, Member, OtherMember, Left, Removed]));
        let answer = scene.execute(Stranger, bad).await;
        assert_eq!(pointers(&answer), ["/title", "/clientId", "/memberIds"]);
    }

    #[tokio::test]
    async fn a_title_has_1_to_128_characters_and_a_client_id_1_to_64() {
        let scene = Scene::new().await;
        for (title, client_id, wrong) in [
            (1, 1, &[][..]),
            (128, 64, &[]),
            (0, 1, &["/title"]),
            (129, 1, &["/title"]),
            (1, 0, &["/clientId"]),
            (1, 65, &["/clientId"]),
        ] {
            let group = named(&"x".repeat(client_id), group(&scene, &"x".repeat(title), []));
            assert_eq!(pointers(&scene.execute(Owner, group).await), wrong, "{title} {client_id}");
        }
    }

    #[tokio::test]
    async fn a_repetition_finds_the_group_made_before() {
        let scene = Scene::new().await;
        let first = named("g-1", group(&scene, "Chess", [Member, Left]));
        let made = scene.must(Stranger, first.clone()).await.value;
        scene.told().await;
        // In any order of the members, and although the group has changed since.
        let user_ids = scene.ids([Admin]);
        scene.must(Stranger, AddMembers { chat_id: made.id, user_ids }).await;
        scene.must(Stranger, UpdateChat { chat_id: made.id, title: "Go".into() }).await;
        scene.told().await;
        for again in [first, named("g-1", group(&scene, "Chess", [Left, Stranger, Member, Left]))] {
            let found = scene.must(Stranger, again).await;
            assert_eq!((found.value.id, found.created), (made.id, false));
            assert_eq!(found.value, scene.chat(Stranger, made.id).await);
        }
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn a_client_id_is_for_one_title_and_the_same_members() {
        let scene = Scene::new().await;
        scene.must(Stranger, named("g-1", group(&scene, "Chess", [Member, Left]))).await;
        scene.told().await;
        for other in [
            group(&scene, "Go", [Member, Left]),
            group(&scene, "Chess", [Member]),
            group(&scene, "Chess", [Member, Left, Admin]),
            group(&scene, "Chess", [Member, Admin]),
            group(&scene, "Chess", []),
        ] {
            let answer = scene.execute(Stranger, named("g-1", other.clone())).await;
            assert_eq!(code(&answer), "clientIdReused", "{other:?}");
        }
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn client_ids_of_different_people_have_nothing_to_do_with_each_other() {
        let scene = Scene::new().await;
        let first = scene.must(Stranger, named("g-1", group(&scene, "Chess", []))).await;
        let second = scene.must(Left, named("g-1", group(&scene, "Chess", []))).await;
        let unnamed = scene.must(Stranger, group(&scene, "Chess", [])).await;
        assert!(first.created && second.created && unnamed.created);
        assert_ne!(first.value.id, second.value.id);
        assert_ne!(first.value.id, unnamed.value.id);
    }

    #[tokio::test]
    async fn a_repetition_after_leaving_is_not_shown_the_group() {
        let scene = Scene::new().await;
        let first = named("g-1", group(&scene, "Chess", [Member]));
        let made = scene.must(Stranger, first.clone()).await.value;
        scene.must(Stranger, crate::commands::LeaveChat { chat_id: made.id }).await;
        assert_eq!(code(&scene.execute(Stranger, first).await), "notFound");
    }

    #[tokio::test]
    async fn a_store_that_fails_is_no_unknown_member() {
        let scene = Scene::new().await;
        scene.store.fail("create_group", StoreErrorKind::Unavailable, 1);
        assert_eq!(code(&scene.execute(Stranger, group(&scene, "Chess", [])).await), "unavailable");
    }
}

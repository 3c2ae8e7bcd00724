use serde::Deserialize;

use crate::{
    commands::{attempts::Attempts, auth::publish_ended, chats::leave},
    convert,
    cx::Cx,
    domain::{ChatId, ChatKind, Password, UserId, Username},
    error::{Error, ErrorCode, Result},
    operation::Command,
    ports::{StoreErrorKind, Topic},
};

/// Erases the caller's account: its messages become tombstones, it leaves its groups, and name, address, password and
/// sessions are removed. An interrupted erasure continues when the command is sent again.
///
/// Errors: `invalidCredentials`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{Password, commands::EraseMe, queries::{GetHistory, GetUser}};
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// # let chat_id = messenger_core::doc::direct(&messenger, &ada, &bob).await;
/// # messenger_core::doc::say(&messenger, &ada, chat_id, "forget me").await;
/// messenger.execute(&ada, EraseMe { password: Password::new("correct horse") }).await?;
///
/// let user = messenger.query(&bob, GetUser { user_id: ada.user()? }).await?;
/// assert_ne!(user.username.as_str(), "ada");
/// let history = GetHistory { chat_id, before: None, after: None, around: None, limit: None };
/// assert!(messenger.query(&bob, history).await?.items[0].body.is_none());
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EraseMe {
    /// The current password.
    pub password: Password,
}

/// How many messages are erased in one transaction.
const MESSAGES_AT_ONCE: usize = 200;

impl Command for EraseMe {
    type Output = ();
    const NAME: &'static str = "EraseMe";
    const ERRORS: &'static [ErrorCode] =
        &[ErrorCode::InvalidCredentials, ErrorCode::Conflict, ErrorCode::NotFound];

    async fn run(self, cx: &mut Cx) -> Result<()> {
        let user = cx.actor().user()?;
        let account = cx.store().user(user).await?;
        let hash = account.password_hash.as_deref();
        if !cx.passwords().verify(self.password, hash).await? {
            return Err(Error::InvalidCredentials);
        }
        for chat in cx.store().chats_ever_joined(user).await? {
            erase_messages(cx, chat, user).await?;
            leave_group(cx, chat, user).await?;
        }
        erase_account(cx, user).await
    }
}

async fn erase_messages(cx: &mut Cx, chat: ChatId, user: UserId) -> Result<()> {
    loop {
        let at = cx.context().now();
        cx.begin_write([Topic::Chat(chat)]);
        let erased = cx.store().erase_messages(chat, user, at, MESSAGES_AT_ONCE).await?;
        if erased.is_empty() {
            return Ok(());
        }
        let head = cx.store().roster(chat).await?.chat;
        cx.publish_changes(&head, erased);
        // Announced at once: a long history would be much to keep in memory until the end.
        cx.flush().await;
    }
}

async fn leave_group(cx: &mut Cx, chat: ChatId, user: UserId) -> Result<()> {
    match cx.store().membership(chat, user).await {
        Err(error) if error.kind() == StoreErrorKind::NotMember => Ok(()),
        Ok(membership) if membership.chat.kind == ChatKind::Direct => Ok(()),
        found => {
            found?;
            match leave(cx, chat, user).await {
                // Somebody else removed the person in the meantime.
                Err(Error::NotFound(_)) => Ok(()),
                left => left,
            }
        }
    }
}

async fn erase_account(cx: &mut Cx, user: UserId) -> Result<()> {
    // Nobody can register this name: it is longer than a username may be, and has a character that no username may
    // have.
    let username = Username::trusted(format!("deleted:{user}"));
    let mut attempts = Attempts::new();
    loop {
        let version = cx.store().user(user).await?.version;
        let (name, now) = (convert::erased_display_name(), cx.context().now());
        cx.begin_write([Topic::User(user)]);
        let erased = cx.store().erase_user(user, version, &username, &name, now).await;
        if let Some(ended) = attempts.settled(erased)? {
            publish_ended(cx, user, ended);
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use super::*;
    use crate::{
        Actor,
        commands::{LeaveChat, LogIn, OpenDirectChat, RegisterUser, RemoveMember, UpdateProfile},
        domain::{Event, Message, Role, SystemEvent},
        ports::{Anchor, Budget, MessageStore as _, UserStore as _},
        queries::{GetUser, ListMembers},
        testing::{Scene, State, Told, Who::*, change, code, pointers},
    };

    fn erase(password: &str) -> EraseMe {
        EraseMe { password: Password::new(password) }
    }

    /// Reads the message from the store, whoever may still see it.
    async fn stored(scene: &Scene, message: &Message) -> Message {
        convert::message(scene.store.message(message.chat_id, message.id).await.unwrap())
    }

    fn deleted(message: &Message) -> Told {
        Told::in_chat(message.chat_id, Event::MessageDeleted(change(message)))
    }

    #[tokio::test]
    async fn all_that_one_wrote_becomes_tombstones_wherever_it_is() {
        let scene = Scene::new().await;
        // Also in a group that the person has left.
        let left = scene.makes_group(Member, [Owner]).await;
        let texts = [
            scene.text(Member, State::Sent).await,
            scene.text(Member, State::Edited).await,
            scene.says_in(scene.direct, Member, "hello").await,
            scene.says_in(left, Member, "hello").await,
        ];
        let gone = scene.text(Member, State::Deleted).await;
        let others = [scene.says(Owner, "hello").await, scene.says_in(scene.direct, Owner, "hello").await];
        scene.must(Member, LeaveChat { chat_id: left }).await;
        scene.told().await;
        scene.clock.advance(Duration::from_secs(60));
        scene.must(Member, erase("correct horse")).await;

        let now = scene.messenger.service().context.now();
        let told = scene.told().await;
        for text in texts {
            let tombstone = stored(&scene, &text).await;
            let expected =
                Message { body: None, deleted_at: Some(now), revision: tombstone.revision, ..text };
            assert_eq!(tombstone, expected);
            assert_eq!(told.iter().filter(|told| **told == deleted(&tombstone)).count(), 1);
        }
        assert_eq!(stored(&scene, &gone).await, gone);
        for other in others {
            assert_eq!(stored(&scene, &other).await, other);
        }
        // Four tombstones, one departure, and the end of the session.
        assert_eq!(told.len(), 6, "{told:#?}");
    }

    #[tokio::test]
    async fn one_leaves_ones_groups_and_an_owner_hands_over() {
        let scene = Scene::new().await;
        scene.must(Owner, erase("correct horse")).await;
        let last_two = scene
            .store
            .history(scene.group, scene.id(Admin), Anchor::Newest, Budget::of_messages(2))
            .await
            .unwrap()
            .messages;
        let events = last_two.into_iter().map(|m| convert::message(m).system.unwrap().event);
        assert_eq!(events.collect::<Vec<_>>(), [SystemEvent::RoleChanged, SystemEvent::MemberLeft]);
        assert_eq!(scene.role(Admin).await, Some(Role::Owner));
        let list = ListMembers { chat_id: scene.group, limit: None, cursor: None };
        let members = scene.ask(Admin, list).await.items;
        assert!(members.iter().all(|member| member.user.id != scene.id(Owner)));
    }

    #[tokio::test]
    async fn a_direct_chat_stays_for_the_other_side() {
        let scene = Scene::new().await;
        scene.must(Member, erase("correct horse")).await;
        let chat = scene.chat(Owner, scene.direct).await;
        assert_eq!((chat.member_count, chat.peer.unwrap().id), (2, scene.id(Member)));
        // No chat can be opened with an erased person, not even the existing one.
        let open = OpenDirectChat { user_id: scene.id(Member) };
        assert_eq!(code(&scene.execute(Owner, open).await), "notFound");
    }

    #[tokio::test]
    async fn only_the_id_is_left_of_the_account() {
        let scene = Scene::new().await;
        scene.must(Member, erase("correct horse")).await;
        assert_eq!(scene.told().await.last(), Some(&Told::ended(scene.id(Member), &[scene.session(Member)])));
        let user = scene.ask(Owner, GetUser { user_id: scene.id(Member) }).await;
        assert_eq!(user.username.as_str(), format!("deleted:{}", scene.id(Member)));
        assert_eq!(user.display_name.as_str(), "Deleted account");
        let record = scene.store.user(scene.id(Member)).await.unwrap();
        assert_eq!((record.email, record.password_hash), (None, None));
        assert_eq!(record.erased_at, Some(scene.messenger.service().context.now()));
        let login = LogIn { login: "member".into(), password: Password::new("correct horse"), device: None };
        let answer = scene.messenger.execute(&Actor::anonymous(), login).await;
        assert_eq!(code(&answer), "invalidCredentials");
        // Name and address can be used by others.
        crate::doc::register(&scene.messenger, "member").await;
    }

    #[tokio::test]
    async fn nobody_can_take_the_name_of_an_erased_account_beforehand() {
        let scene = Scene::new().await;
        let register = RegisterUser {
            username: format!("deleted:{}", scene.id(Member)),
            email: "new@example.org".into(),
            password: Password::new("correct horse"),
            display_name: None,
            device: None,
        };
        let answer = scene.messenger.execute(&Actor::anonymous(), register).await;
        assert_eq!(pointers(&answer), ["/username"]);
    }

    #[tokio::test]
    async fn without_the_password_nothing_is_erased() {
        let scene = Scene::new().await;
        let text = scene.says(Member, "hello").await;
        scene.told().await;
        for (who, password) in [(Member, "wrong horse"), (Member, ""), (Erased, "correct horse")] {
            assert_eq!(code(&scene.execute(who, erase(password)).await), "invalidCredentials", "{who:?}");
        }
        assert_eq!(code(&scene.execute(Nobody, erase("correct horse")).await), "notFound");
        assert_eq!(scene.told().await, []);
        assert_eq!(stored(&scene, &text).await, text);
    }

    #[tokio::test]
    async fn a_long_history_is_erased_in_steps_and_each_message_is_told_once() {
        let scene = Scene::new().await;
        let mut ids = HashSet::new();
        for _ in 0..401 {
            ids.insert(scene.says(Member, "hello").await.id);
        }
        scene.told().await;
        let before = scene.store.calls("erase_messages");
        scene.must(Member, erase("correct horse")).await;
        let mut revision = scene.chat(Owner, scene.group).await.revision.get() - 402;
        for told in scene.told().await {
            if let Some(Event::MessageDeleted(change)) = told.event() {
                revision += 1;
                assert_eq!(change.revision.get(), revision);
                assert!(ids.remove(&change.message.id), "told twice");
            }
        }
        assert_eq!(ids.len(), 0);
        // In the group four calls erase 200, 200, 1 and no messages; in the direct chat one call erases none.
        assert_eq!(scene.store.calls("erase_messages") - before, 5);
    }

    #[tokio::test]
    async fn what_was_broken_off_goes_on_when_it_is_asked_for_again() {
        for (method, after) in [
            ("chats_ever_joined", 0),
            ("erase_messages", 0),
            ("erase_messages", 1),
            ("erase_messages", 2),
            ("erase_messages", 3),
            ("roster", 0),
            ("roster", 1),
            ("membership", 0),
            ("membership", 1),
            ("change_roster", 0),
            ("user", 1),
            ("erase_user", 0),
        ] {
            let scene = Scene::new().await;
            let texts =
                [scene.says(Member, "hello").await, scene.says_in(scene.direct, Member, "hello").await];
            scene.store.fail_after(method, after, StoreErrorKind::Unavailable);
            let answer = scene.execute(Member, erase("correct horse")).await;
            assert_eq!(code(&answer), "unavailable", "{method} {after}");
            scene.must(Member, erase("correct horse")).await;
            let told = scene.told().await;
            for text in texts {
                let tombstone = stored(&scene, &text).await;
                assert!(tombstone.body.is_none(), "{method} {after}");
                let times = told.iter().filter(|told| **told == deleted(&tombstone)).count();
                // The read that is needed for the announcement may be what fails: then the other nodes find the change
                // in the store.
                assert!(times == 1 || (method, after) == ("roster", 0), "{method} {after}: {times}");
            }
            assert_eq!(scene.role(Member).await, None, "{method} {after}");
            let record = scene.store.user(scene.id(Member)).await.unwrap();
            assert!(record.erased_at.is_some(), "{method} {after}");
        }
    }

    #[tokio::test]
    async fn others_may_get_ahead_of_it_seven_times() {
        for method in ["erase_user", "change_roster"] {
            for (times, outcome) in [(7, "ok"), (8, "conflict")] {
                let scene = Scene::new().await;
                scene.store.fail(method, StoreErrorKind::Conflict, times);
                let answer = scene.execute(Member, erase("correct horse")).await;
                assert_eq!(code(&answer), outcome, "{method} {times}");
                let is_erased = scene.store.user(scene.id(Member)).await.unwrap().erased_at.is_some();
                assert_eq!(is_erased, outcome == "ok", "{method} {times}");
            }
        }
    }

    #[tokio::test]
    async fn one_who_is_removed_from_a_group_meanwhile_has_left_it() {
        let scene = Scene::new().await;
        let (messenger, owner) = (scene.messenger.clone(), scene.actor(Owner));
        let remove = RemoveMember { chat_id: scene.group, user_id: scene.id(Member) };
        scene.store.meanwhile("roster", async move {
            messenger.execute(&owner, remove).await.unwrap();
        });
        scene.must(Member, erase("correct horse")).await;
        let record = scene.store.user(scene.id(Member)).await.unwrap();
        assert!(record.erased_at.is_some());
    }

    #[tokio::test]
    async fn another_change_of_the_account_is_no_hindrance() {
        let scene = Scene::new().await;
        let (messenger, member) = (scene.messenger.clone(), scene.actor(Member));
        let rename = UpdateProfile { display_name: Some("M.".into()), ..UpdateProfile::default() };
        scene.store.meanwhile("erase_user", async move {
            messenger.execute(&member, rename).await.unwrap();
        });
        scene.must(Member, erase("correct horse")).await;
        let user = scene.ask(Owner, GetUser { user_id: scene.id(Member) }).await;
        assert_eq!(user.display_name.as_str(), "Deleted account");
    }
}

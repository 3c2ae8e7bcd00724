use std::time::Duration;

use serde::Deserialize;
use tokio::time::timeout;

use super::erasing;
use crate::{
    commands::attempts::Attempts,
    cx::Cx,
    domain::{Password, UserId},
    error::{Error, ErrorCode, Result},
    operation::Command,
};

/// Erases the caller's account: name, address, password and sessions are removed, its messages become tombstones, and it
/// leaves its groups.
///
/// The first of this is done in one step: from then on nobody can log in or write with the account, add it to a group or
/// write to it. The rest is done before the answer, if it takes no longer than half a minute and the store can be reached;
/// otherwise a background job goes on with it until nothing is left.
///
/// Errors: `invalidCredentials`; `forbidden` while the account is under a legal hold.
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

/// How long the caller waits for what comes after the mark: less than the job does before it begins.
const PATIENCE: Duration = Duration::from_secs(30);

impl Command for EraseMe {
    type Output = ();
    const NAME: &'static str = "EraseMe";
    const ERRORS: &'static [ErrorCode] =
        &[ErrorCode::InvalidCredentials, ErrorCode::Forbidden, ErrorCode::Conflict, ErrorCode::NotFound];

    async fn run(self, cx: &mut Cx) -> Result<()> {
        let user = cx.actor().user()?;
        let mut attempts = Attempts::new();
        let job = loop {
            let account = cx.store().user(user).await?;
            let hash = account.password_hash.as_deref();
            if !cx.passwords().verify(self.password.clone(), hash).await? {
                return Err(Error::InvalidCredentials);
            }
            if let Some(job) = erasing::mark(cx, &account, &mut attempts).await? {
                break job;
            }
        };
        match timeout(PATIENCE, erasing::finish(cx, user, &|_| ())).await {
            Ok(Ok(_)) => erasing::forget(cx, job).await,
            Ok(Err(error)) => leave_the_rest(cx, user, &error),
            Err(late) => leave_the_rest(cx, user, &late),
        }
        Ok(())
    }
}

/// The account is erased, and its owner can't ask again: the job goes on.
fn leave_the_rest(cx: &mut Cx, user: UserId, why: &(dyn std::error::Error + 'static)) {
    cx.invalidate_write();
    tracing::warn!(%user, error = why, "what an erased account has left is erased later");
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use super::*;
    use crate::{
        Actor,
        commands::{
            ChangePassword, EditMessage, LeaveChat, LogIn, OpenDirectChat, RegisterUser, RemoveMember,
            SendMessage, UpdateProfile,
        },
        convert,
        domain::{Event, Message, Role, SystemEvent},
        ports::{
            Anchor, Budget, JobCounts, KeyId, KeyStore as _, MessageStore as _, StoreErrorKind,
            UserStore as _,
        },
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

    async fn is_erased(scene: &Scene) -> bool {
        scene.store.user(scene.id(Member)).await.unwrap().erased_at.is_some()
    }

    /// How many jobs wait that finish erasures.
    async fn waiting(scene: &Scene) -> u64 {
        let counts = scene.messenger.jobs().counts().await.unwrap();
        let of_kind = |counts: &&JobCounts| counts.kind.as_str() == crate::commands::ERASE_USER;
        counts.iter().find(of_kind).map_or(0, |of| of.due + of.scheduled + of.running)
    }

    /// Lets a minute pass, and the jobs be done that are due then.
    async fn minute(scene: &Scene) {
        scene.clock.advance(Duration::from_secs(60));
        tokio::time::sleep(Duration::from_secs(10)).await;
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
        assert_eq!(
            scene.told().await.first(),
            Some(&Told::ended(scene.id(Member), &[scene.session(Member)]))
        );
        let user = scene.ask(Owner, GetUser { user_id: scene.id(Member) }).await;
        assert_eq!(user.username.as_str(), format!("deleted:{}", scene.id(Member)));
        assert_eq!(user.display_name.as_str(), "Deleted account");
        let record = scene.store.user(scene.id(Member)).await.unwrap();
        assert_eq!((record.email, record.password_hash), (None, None));
        let keys = scene.store.keys(&[KeyId::of_user(scene.id(Member))]).await.unwrap();
        assert_eq!(keys.iter().map(|key| key.wrapped.is_none()).collect::<Vec<_>>(), [true]);
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
        let mut revision = scene.chat(Owner, scene.group).await.revision.get() - 401;
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
    async fn what_was_broken_off_before_the_mark_is_asked_for_again() {
        for method in ["user", "erase_user"] {
            let scene = Scene::new().await;
            let text = scene.says(Member, "hello").await;
            scene.store.fail(method, StoreErrorKind::Unavailable, 1);
            assert_eq!(code(&scene.execute(Member, erase("correct horse")).await), "unavailable", "{method}");
            assert_eq!(stored(&scene, &text).await, text, "{method}");
            assert!(!is_erased(&scene).await, "{method}");
            scene.must(Member, erase("correct horse")).await;
            assert!(stored(&scene, &text).await.body.is_none() && is_erased(&scene).await, "{method}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_broken_off_after_the_mark_is_finished_by_a_job() {
        for (method, after) in [
            ("chats_ever_joined", 0),
            ("chats_ever_joined", 1),
            ("erase_messages", 0),
            ("erase_messages", 1),
            ("erase_messages", 2),
            ("erase_messages", 3),
            ("roster", 0),
            ("roster", 1),
            ("roster", 2),
            ("membership", 0),
            ("membership", 1),
            ("change_roster", 0),
        ] {
            let scene = Scene::new().await;
            let texts =
                [scene.says(Member, "hello").await, scene.says_in(scene.direct, Member, "hello").await];
            scene.store.fail_after(method, after, StoreErrorKind::Unavailable);
            scene.must(Member, erase("correct horse")).await;
            assert!(is_erased(&scene).await, "{method} {after}");
            assert_eq!(waiting(&scene).await, 1, "{method} {after}");
            minute(&scene).await;
            let told = scene.told().await;
            for text in texts {
                let tombstone = stored(&scene, &text).await;
                assert!(tombstone.body.is_none(), "{method} {after}");
                let times = told.iter().filter(|told| **told == deleted(&tombstone)).count();
                // The read that is needed for the announcement may be what fails: then the other nodes find the change
                // in the store.
                assert!(times == 1 || method == "roster", "{method} {after}: {times}");
            }
            assert_eq!(scene.role(Member).await, None, "{method} {after}");
            assert_eq!(waiting(&scene).await, 0, "{method} {after}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_store_that_hangs_is_answered_in_half_a_minute() {
        let scene = Scene::new().await;
        let text = scene.says(Member, "hello").await;
        scene.store.meanwhile("erase_messages", std::future::pending());
        let begun = tokio::time::Instant::now();
        scene.must(Member, erase("correct horse")).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(30));
        assert_eq!(stored(&scene, &text).await, text);
        minute(&scene).await;
        assert!(stored(&scene, &text).await.body.is_none());
    }

    #[tokio::test]
    async fn once_all_is_erased_there_is_no_job() {
        let scene = Scene::new().await;
        scene.must(Member, erase("correct horse")).await;
        let all = scene.messenger.jobs().list(&Default::default(), None, 10).await.unwrap();
        assert!(all.iter().all(|job| job.kind.as_str() != crate::commands::ERASE_USER), "{all:?}");
        // If it can't be removed, it finds nothing to do.
        let scene = Scene::new().await;
        scene.store.fail("change_job", StoreErrorKind::Unavailable, 1);
        scene.must(Member, erase("correct horse")).await;
        assert_eq!(waiting(&scene).await, 1);
    }

    #[tokio::test]
    async fn the_mark_comes_before_all_else() {
        let scene = Scene::new().await;
        let text = scene.says_in(scene.direct, Member, "hello").await;
        let (messenger, member, owner) = (scene.messenger.clone(), scene.actor(Member), scene.actor(Owner));
        let (direct, group, id, away) = (scene.direct, scene.group, scene.id(Member), scene.id(Stranger));
        let (said, answers) = tokio::sync::oneshot::channel();
        // By sessions that were authenticated before.
        scene.store.meanwhile("chats_ever_joined", async move {
            let send = |chat_id| SendMessage { chat_id, body: "hi".into(), client_id: None, reply_to: None };
            let edit = EditMessage { chat_id: direct, message_id: text.id, body: "hi".into() };
            let answers = [
                code(&messenger.execute(&member, send(direct)).await),
                code(&messenger.execute(&member, send(group)).await),
                code(&messenger.execute(&member, edit).await),
                code(&messenger.execute(&member, OpenDirectChat { user_id: away }).await),
                code(&messenger.execute(&owner, send(direct)).await),
                code(&messenger.execute(&owner, OpenDirectChat { user_id: id }).await),
            ];
            said.send(answers).unwrap();
        });
        scene.must(Member, erase("correct horse")).await;
        assert_eq!(answers.await.unwrap(), ["notFound"; 6]);
    }

    #[tokio::test]
    async fn with_a_password_that_is_changed_meanwhile_nothing_is_erased() {
        let scene = Scene::new().await;
        let (messenger, member) = (scene.messenger.clone(), scene.actor(Member));
        let change =
            ChangePassword { current: Password::new("correct horse"), new: Password::new("battery staple") };
        scene.store.meanwhile("erase_user", async move {
            messenger.execute(&member, change).await.unwrap();
        });
        let answer = scene.execute(Member, erase("correct horse")).await;
        assert_eq!(code(&answer), "invalidCredentials");
        assert!(!is_erased(&scene).await);
    }

    #[tokio::test(start_paused = true)]
    async fn others_may_get_ahead_of_it_seven_times() {
        for (times, outcome) in [(7, "ok"), (8, "conflict")] {
            let scene = Scene::new().await;
            scene.store.fail("erase_user", StoreErrorKind::Conflict, times);
            let answer = scene.execute(Member, erase("correct horse")).await;
            assert_eq!(code(&answer), outcome, "{times}");
            assert_eq!(is_erased(&scene).await, outcome == "ok", "{times}");
        }
        for (times, left) in [(7, None), (8, Some(Role::Member))] {
            let scene = Scene::new().await;
            scene.store.fail("change_roster", StoreErrorKind::Conflict, times);
            scene.must(Member, erase("correct horse")).await;
            assert_eq!(scene.role(Member).await, left, "{times}");
            minute(&scene).await;
            assert_eq!(scene.role(Member).await, None, "{times}");
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

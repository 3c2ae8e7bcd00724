use serde::Deserialize;

use super::{changed, find};
use crate::{
    commands::attempts::Attempts,
    convert,
    cx::Cx,
    domain::{ChatId, Message, MessageId, Role},
    error::{Error, ErrorCode, Result},
    operation::Command,
    ports::{self, Topic},
};

/// Deletes a message: the caller's own, or anybody's as owner or admin. A tombstone remains; deleting that again
/// changes nothing.
///
/// Errors: `notFound`, `forbidden`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::commands::DeleteMessage;
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// # let chat_id = messenger_core::doc::group(&messenger, &ada, &[&bob]).await;
/// # let message = messenger_core::doc::say(&messenger, &bob, chat_id, "oops").await;
/// // Ada owns the group.
/// let tombstone = messenger.execute(&ada, DeleteMessage { chat_id, message_id: message.id }).await?;
/// assert_eq!((tombstone.id, tombstone.seq), (message.id, message.seq));
/// assert!(tombstone.body.is_none() && tombstone.deleted_at.is_some());
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeleteMessage {
    /// The chat.
    pub chat_id: ChatId,
    /// The message.
    pub message_id: MessageId,
}

impl Command for DeleteMessage {
    type Output = Message;
    const NAME: &'static str = "DeleteMessage";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::NotFound, ErrorCode::Forbidden, ErrorCode::Conflict];

    async fn run(self, cx: &mut Cx) -> Result<Message> {
        let user = cx.actor().user()?;
        let mut attempts = Attempts::new();
        loop {
            let (membership, record) = find(cx, self.chat_id, self.message_id, user).await?;
            if record.sender != user && membership.member.role < Role::Admin {
                return Err(Error::Forbidden(
                    "Only who wrote a message, the owner and admins may delete it.",
                ));
            }
            if record.deleted_at.is_some() {
                // The call that deleted it may have lost its answer, and then has not told anybody.
                cx.invalidate(vec![Topic::Chat(self.chat_id)]);
                return Ok(convert::message(record));
            }
            let delete = ports::DeleteMessage {
                chat: self.chat_id,
                message: self.message_id,
                expected: record.revision,
                deleted_at: cx.context().now(),
            };
            cx.begin_write([Topic::Chat(self.chat_id)]);
            if let Some(record) = attempts.settled(cx.store().delete_message(delete).await)? {
                return changed(cx, &membership, record);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        commands::{EditMessage, SetRole},
        domain::Event,
        ports::StoreErrorKind,
        testing::{Scene, State, Told, Who::*, change, code},
    };

    fn delete(message: &Message) -> DeleteMessage {
        DeleteMessage { chat_id: message.chat_id, message_id: message.id }
    }

    #[tokio::test]
    async fn one_deletes_ones_own_and_the_owner_and_admins_delete_anybodys() {
        for author in [Owner, Admin, OtherAdmin, Member] {
            for state in [State::Sent, State::Edited, State::Deleted] {
                for who in [Owner, Admin, Member, OtherMember, Left, Removed, Erased, Stranger, Nobody] {
                    let scene = Scene::new().await;
                    let message = scene.text(author, state).await;
                    scene.told().await;
                    let answer = scene.execute(who, delete(&message)).await;
                    let outcome = match who {
                        Left | Removed | Erased | Stranger | Nobody => "notFound",
                        Owner | Admin => "ok",
                        _ if who == author => "ok",
                        _ => "forbidden",
                    };
                    assert_eq!(code(&answer), outcome, "{state:?} of {author:?} by {who:?}");
                    let now = scene.message(Owner, &message).await;
                    // Deleting a tombstone again changes nothing.
                    let is_done = outcome == "ok" && state != State::Deleted;
                    let told = [Told::in_chat(scene.group, Event::MessageDeleted(change(&now)))];
                    assert_eq!(scene.told().await, told[..usize::from(is_done)]);
                    assert_eq!(now == message, !is_done, "{state:?} of {author:?} by {who:?}");
                    if let Ok(answer) = answer {
                        assert_eq!(answer, now);
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn what_is_left_is_a_tombstone_with_the_chats_next_revision() {
        let scene = Scene::new().await;
        let message = scene.text(Member, State::Edited).await;
        scene.clock.advance(Duration::from_secs(60));
        let tombstone = scene.must(Admin, delete(&message)).await;
        let expected = Message {
            body: None,
            revision: message.revision.next(),
            deleted_at: Some(scene.messenger.service().context.now()),
            ..message
        };
        assert_eq!(tombstone, expected);
    }

    #[tokio::test]
    async fn in_a_direct_chat_one_deletes_only_ones_own() {
        let scene = Scene::new().await;
        let message = scene.says_in(scene.direct, Member, "hello").await;
        assert_eq!(code(&scene.execute(Owner, delete(&message)).await), "forbidden");
        assert!(scene.must(Member, delete(&message)).await.body.is_none());
    }

    #[tokio::test]
    async fn what_the_chat_says_itself_is_deleted_by_nobody() {
        let scene = Scene::new().await;
        let message = scene.system_message().await;
        scene.told().await;
        for (who, outcome) in [(Owner, "forbidden"), (Admin, "forbidden"), (Stranger, "notFound")] {
            assert_eq!(code(&scene.execute(who, delete(&message)).await), outcome, "{who:?}");
        }
        assert_eq!(scene.told().await, []);
        assert_eq!(scene.message(Owner, &message).await, message);
    }

    #[tokio::test]
    async fn a_message_is_found_in_its_own_chat_only() {
        let scene = Scene::new().await;
        let message = scene.says(Owner, "hello").await;
        let elsewhere = DeleteMessage { chat_id: scene.direct, ..delete(&message) };
        assert_eq!(code(&scene.execute(Owner, elsewhere).await), "notFound");
        let message_id = scene.messenger.service().context.id();
        let unknown = scene.execute(Owner, DeleteMessage { message_id, ..delete(&message) }).await;
        assert!(unknown.unwrap_err().to_string().contains("such message"));
        assert_eq!(scene.message(Owner, &message).await, message);
    }

    #[tokio::test]
    async fn who_lost_the_role_meanwhile_deletes_nothing_of_others() {
        let scene = Scene::new().await;
        let message = scene.says(Member, "hello").await;
        let (messenger, owner, member) = (scene.messenger.clone(), scene.actor(Owner), scene.actor(Member));
        let demote = SetRole { chat_id: scene.group, user_id: scene.id(Admin), role: Role::Member };
        let (chat_id, message_id) = (message.chat_id, message.id);
        let edit = EditMessage { chat_id, message_id, body: "hi".into() };
        scene.store.meanwhile("delete_message", async move {
            messenger.execute(&owner, demote).await.unwrap();
            messenger.execute(&member, edit).await.unwrap();
        });
        assert_eq!(code(&scene.execute(Admin, delete(&message)).await), "forbidden");
        assert!(scene.message(Owner, &message).await.body.is_some());
    }

    #[tokio::test]
    async fn a_message_that_is_deleted_meanwhile_is_deleted_once() {
        let scene = Scene::new().await;
        let message = scene.says(Member, "hello").await;
        let (messenger, admin, first) = (scene.messenger.clone(), scene.actor(Admin), delete(&message));
        scene.store.meanwhile("delete_message", async move {
            messenger.execute(&admin, first).await.unwrap();
        });
        scene.told().await;
        let tombstone = scene.must(Member, delete(&message)).await;
        assert_eq!(tombstone.revision, message.revision.next());
        assert_eq!(scene.told().await.len(), 1);
    }

    #[tokio::test]
    async fn others_may_get_ahead_of_it_seven_times() {
        for (times, outcome) in [(7, "ok"), (8, "conflict")] {
            let scene = Scene::new().await;
            let message = scene.says(Member, "hello").await;
            scene.told().await;
            scene.store.fail("delete_message", StoreErrorKind::Conflict, times);
            assert_eq!(code(&scene.execute(Member, delete(&message)).await), outcome, "{times}");
            assert_eq!(scene.told().await.len(), usize::from(outcome == "ok"), "{times}");
        }
    }

    #[tokio::test]
    async fn a_store_that_fails_is_not_asked_again() {
        for method in ["membership", "message", "delete_message"] {
            let scene = Scene::new().await;
            let message = scene.says(Member, "hello").await;
            scene.store.fail(method, StoreErrorKind::Unavailable, 1);
            assert_eq!(code(&scene.execute(Member, delete(&message)).await), "unavailable", "{method}");
            assert_eq!(scene.message(Owner, &message).await, message, "{method}");
        }
    }
}

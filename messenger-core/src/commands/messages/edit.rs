use serde::Deserialize;

use super::{changed, find};
use crate::{
    commands::attempts::Attempts,
    cx::Cx,
    domain::{ChatId, Message, MessageBody, MessageId},
    error::{Checks, Error, ErrorCode, Result},
    operation::Command,
    ports::{self, Content, Topic},
};

/// Changes the text of one of the caller's own messages.
///
/// Errors: `notFound`, `forbidden` for another person's message or a deleted one, `invalid`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::commands::EditMessage;
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// # let chat_id = messenger_core::doc::direct(&messenger, &ada, &bob).await;
/// # let message = messenger_core::doc::say(&messenger, &ada, chat_id, "helo").await;
/// let edit = EditMessage { chat_id, message_id: message.id, body: "hello".into() };
/// let edited = messenger.execute(&ada, edit.clone()).await?;
/// assert_eq!(edited.seq, message.seq);
/// assert!(edited.revision > message.revision && edited.edited_at.is_some());
///
/// assert_eq!(messenger.execute(&bob, edit).await.unwrap_err().code(), "forbidden");
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EditMessage {
    /// The chat.
    pub chat_id: ChatId,
    /// The message.
    pub message_id: MessageId,
    /// The new text.
    pub body: String,
}

impl Command for EditMessage {
    type Output = Message;
    const NAME: &'static str = "EditMessage";
    const ERRORS: &'static [ErrorCode] =
        &[ErrorCode::NotFound, ErrorCode::Forbidden, ErrorCode::Invalid, ErrorCode::Conflict];

    async fn run(self, cx: &mut Cx) -> Result<Message> {
        let user = cx.actor().user()?;
        let mut checks = Checks::default();
        let body = checks.field("body", MessageBody::parse(&self.body, cx.limits()));
        checks.finish()?;
        let body = body.ok_or_else(|| Error::invalid("body", "is missing"))?;
        let body = cx.policy().text(cx.actor(), self.chat_id, body).await?;
        let mut attempts = Attempts::new();
        loop {
            let (membership, record) = find(cx, self.chat_id, self.message_id, user).await?;
            if record.sender != user {
                return Err(Error::Forbidden("Only who wrote a message may change it."));
            }
            if record.deleted_at.is_some() {
                return Err(Error::Forbidden("A deleted message can't be changed."));
            }
            let edit = ports::EditMessage {
                chat: self.chat_id,
                message: self.message_id,
                sender: user,
                expected: record.revision,
                body: Content::from(body.as_str()),
                edited_at: cx.context().now(),
            };
            cx.begin_write([Topic::Chat(self.chat_id)]);
            if let Some(record) = attempts.settled(cx.store().edit_message(edit).await)? {
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
        commands::{DeleteMessage, LeaveChat},
        domain::Event,
        ports::StoreErrorKind,
        testing::{HostPolicy, Scene, Setup, State, Told, Who::*, change, code, pointers},
    };

    fn edit(message: &Message, body: &str) -> EditMessage {
        EditMessage { chat_id: message.chat_id, message_id: message.id, body: body.into() }
    }

    /// Whether the message is unchanged and nobody was told anything.
    async fn is_untouched(scene: &Scene, message: &Message) -> bool {
        scene.told().await.is_empty() && scene.message(Owner, message).await == *message
    }

    #[tokio::test]
    async fn only_who_wrote_a_message_changes_it_and_none_that_is_deleted() {
        for author in [Owner, Admin, Member] {
            for state in [State::Sent, State::Edited, State::Deleted] {
                for who in [Owner, Admin, Member, OtherMember, Left, Removed, Erased, Stranger, Nobody] {
                    let scene = Scene::new().await;
                    let message = scene.text(author, state).await;
                    scene.told().await;
                    let answer = scene.execute(who, edit(&message, "changed")).await;
                    let outcome = match who {
                        Left | Removed | Erased | Stranger | Nobody => "notFound",
                        _ if who != author || state == State::Deleted => "forbidden",
                        _ => "ok",
                    };
                    assert_eq!(code(&answer), outcome, "{state:?} of {author:?} by {who:?}");
                    if outcome != "ok" {
                        assert!(is_untouched(&scene, &message).await, "{state:?} of {author:?} by {who:?}");
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn an_edited_message_keeps_its_place_and_has_the_chats_next_revision() {
        let scene = Scene::new().await;
        let message = scene.says(Member, "hello").await;
        scene.says(Owner, "and more").await;
        scene.told().await;
        for (n, body) in [(2, "changed"), (3, "changed")] {
            scene.clock.advance(Duration::from_secs(60));
            let edited = scene.must(Member, edit(&message, body)).await;
            let expected = Message {
                body: Some(MessageBody::trusted(body)),
                revision: crate::Revision::new(message.revision.get() + n),
                edited_at: Some(scene.messenger.service().context.now()),
                ..message.clone()
            };
            assert_eq!(edited, expected);
            assert_eq!(scene.message(Owner, &message).await, expected);
            // Setting the same text again is a change, too.
            let told = Told::in_chat(scene.group, Event::MessageEdited(change(&edited)));
            assert_eq!(scene.told().await, [told]);
        }
    }

    #[tokio::test]
    async fn what_the_chat_says_itself_is_changed_by_nobody() {
        let scene = Scene::new().await;
        let message = scene.system_message().await;
        scene.told().await;
        for (who, outcome) in [(Owner, "forbidden"), (Admin, "forbidden"), (Stranger, "notFound")] {
            let answer = scene.execute(who, edit(&message, "changed")).await;
            assert_eq!(code(&answer), outcome, "{who:?}");
        }
        assert!(is_untouched(&scene, &message).await);
    }

    #[tokio::test]
    async fn a_message_is_found_in_its_own_chat_only() {
        let scene = Scene::new().await;
        let message = scene.says(Owner, "hello").await;
        scene.told().await;
        let chat_id = scene.direct;
        let elsewhere = scene.execute(Owner, EditMessage { chat_id, ..edit(&message, "changed") }).await;
        assert_eq!(code(&elsewhere), "notFound");
        let message_id = scene.messenger.service().context.id();
        let unknown = scene.execute(Owner, EditMessage { message_id, ..edit(&message, "changed") }).await;
        assert!(unknown.unwrap_err().to_string().contains("such message"));
        assert!(is_untouched(&scene, &message).await);
    }

    #[tokio::test]
    async fn a_text_has_1_to_8000_characters_and_is_not_blank() {
        let scene = Scene::new().await;
        let message = scene.says(Member, "hello").await;
        for good in ["x".to_owned(), "ü".repeat(8000), "two\nlines".into()] {
            let edited = scene.must(Member, edit(&message, &good)).await;
            assert_eq!(edited.body.unwrap().as_str(), good);
        }
        let message = scene.message(Member, &message).await;
        scene.told().await;
        for bad in [String::new(), "ü".repeat(8001), " \n ".into(), "a\0b".into()] {
            // The text is checked first, whoever the caller is.
            for who in [Member, Owner, Stranger] {
                assert_eq!(pointers(&scene.execute(who, edit(&message, &bad)).await), ["/body"], "{bad:?}");
            }
        }
        assert!(is_untouched(&scene, &message).await);
    }

    #[tokio::test]
    async fn the_host_has_the_last_word_on_the_text() {
        let scene = Scene::with(Setup { policy: true, ..Setup::default() }).await;
        let message = scene.says(Member, "hello").await;
        scene.policy.asked();
        let edited = scene.must(Member, edit(&message, "changed")).await;
        assert_eq!(edited.body.as_ref().unwrap().as_str(), HostPolicy::numbered("changed", 2));
        assert_eq!(scene.message(Owner, &message).await, edited);
        assert_eq!(code(&scene.execute(Member, edit(&message, "damn")).await), "forbidden");
        assert_eq!(scene.message(Owner, &message).await, edited);
        // The policy is asked before the rules of the chat are checked.
        assert_eq!(code(&scene.execute(Stranger, edit(&message, "let me in")).await), "notFound");
        let asked = [(Member, "changed"), (Member, "damn"), (Stranger, "let me in")];
        let asked = asked.map(|(who, body)| (scene.id(who), scene.group, body.to_owned()));
        assert_eq!(scene.policy.asked(), asked);
    }

    #[tokio::test]
    async fn a_message_that_is_deleted_meanwhile_is_not_changed() {
        let scene = Scene::new().await;
        let message = scene.says(Member, "hello").await;
        let (messenger, admin) = (scene.messenger.clone(), scene.actor(Admin));
        let delete = DeleteMessage { chat_id: message.chat_id, message_id: message.id };
        scene.store.meanwhile("edit_message", async move {
            messenger.execute(&admin, delete).await.unwrap();
        });
        assert_eq!(code(&scene.execute(Member, edit(&message, "changed")).await), "forbidden");
        assert!(scene.message(Owner, &message).await.body.is_none());
    }

    #[tokio::test]
    async fn a_message_that_is_edited_meanwhile_is_changed_once_more() {
        let scene = Scene::new().await;
        let message = scene.says(Member, "hello").await;
        let (messenger, member, first) =
            (scene.messenger.clone(), scene.actor(Member), edit(&message, "1st"));
        scene.store.meanwhile("edit_message", async move {
            messenger.execute(&member, first).await.unwrap();
        });
        let edited = scene.must(Member, edit(&message, "2nd")).await;
        assert_eq!(edited.revision.get(), message.revision.get() + 2);
        assert_eq!(scene.message(Owner, &message).await, edited);
    }

    #[tokio::test]
    async fn who_left_changes_nothing_of_what_they_wrote() {
        let scene = Scene::new().await;
        let message = scene.says(Member, "hello").await;
        scene.must(Member, LeaveChat { chat_id: scene.group }).await;
        assert_eq!(code(&scene.execute(Member, edit(&message, "changed")).await), "notFound");
    }

    #[tokio::test]
    async fn others_may_get_ahead_of_it_seven_times() {
        for (times, outcome) in [(7, "ok"), (8, "conflict")] {
            let scene = Scene::new().await;
            let message = scene.says(Member, "hello").await;
            scene.told().await;
            scene.store.fail("edit_message", StoreErrorKind::Conflict, times);
            assert_eq!(code(&scene.execute(Member, edit(&message, "changed")).await), outcome, "{times}");
            assert_eq!(scene.told().await.len(), usize::from(outcome == "ok"), "{times}");
        }
    }

    #[tokio::test]
    async fn a_store_that_fails_is_not_asked_again() {
        for method in ["membership", "message", "edit_message"] {
            let scene = Scene::new().await;
            let message = scene.says(Member, "hello").await;
            scene.told().await;
            scene.store.fail(method, StoreErrorKind::Unavailable, 1);
            let answer = scene.execute(Member, edit(&message, "changed")).await;
            assert_eq!(code(&answer), "unavailable", "{method}");
            assert!(is_untouched(&scene, &message).await, "{method}");
        }
    }
}

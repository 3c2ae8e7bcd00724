use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::{
    announcements::SentMessage,
    cx::Cx,
    domain::{ChatId, ClientId, Message, MessageBody, MessageId, MessageKind, UserId},
    error::{Checks, Error, ErrorCode, OrNotFound as _, Result},
    operation::{Command, Idempotent},
    ports::{Content, Fingerprint, NewMessage, StoreErrorKind},
};

/// Sends a message. The answer comes once the message is durable. With a client id, a repetition always returns the
/// message stored before, without a time limit.
///
/// Errors: `notFound`, `invalid`, `clientIdReused`, `unavailable`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::commands::SendMessage;
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// # let chat_id = messenger_core::doc::direct(&messenger, &ada, &bob).await;
/// let send = SendMessage { chat_id, body: "hi".into(), client_id: Some("m-1".into()), reply_to: None };
/// let sent = messenger.execute(&ada, send.clone()).await?;
///
/// // Without an answer a client can't know, so it sends again, and has one message all the same.
/// let again = messenger.execute(&ada, send.clone()).await?;
/// assert_eq!(again.value.id, sent.value.id);
/// assert!(sent.created && !again.created);
///
/// let other = SendMessage { body: "something else".into(), ..send };
/// assert_eq!(messenger.execute(&ada, other).await.unwrap_err().code(), "clientIdReused");
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SendMessage {
    /// The chat.
    pub chat_id: ChatId,
    /// The text.
    pub body: String,
    /// The client's identifier of this message: different for each message, the same for each repetition of one.
    pub client_id: Option<String>,
    /// The message of the same chat that it replies to.
    pub reply_to: Option<MessageId>,
}

impl Command for SendMessage {
    type Output = Idempotent<Message>;
    const NAME: &'static str = "SendMessage";
    const ERRORS: &'static [ErrorCode] =
        &[ErrorCode::NotFound, ErrorCode::Invalid, ErrorCode::ClientIdReused];
    /// The lane stores the message and announces it.
    const DETACHED: bool = false;

    async fn run(self, cx: &mut Cx) -> Result<Idempotent<Message>> {
        let user = cx.actor().user()?;
        let chat = self.chat_id;
        let message = self.checked(cx, user).await?;
        let placed = cx.sends().place(message.chat, message).await?;
        cx.placed();
        let answer = match placed.answer().await {
            Err(Error::NotFound(_)) => Err(Error::NotFound(what_is_not_there(cx, chat, user).await?)),
            answer => answer,
        };
        let SentMessage { message, created, same_request } = answer?;
        // A deleted message no longer has a fingerprint: then client id and chat must suffice.
        if message.chat_id != chat || !same_request {
            return Err(Error::ClientIdReused);
        }
        Ok(Idempotent { value: message, created })
    }
}

impl SendMessage {
    async fn checked(self, cx: &Cx, user: UserId) -> Result<NewMessage> {
        let limits = cx.limits();
        let mut checks = Checks::default();
        let body = checks.field("body", MessageBody::parse(&self.body, limits));
        let client_id =
            checks.optional("clientId", self.client_id.as_deref().map(|id| ClientId::parse(id, limits)));
        checks.finish()?;
        let body = body.ok_or_else(|| Error::invalid("body", "is missing"))?;
        if let Some(reply_to) = self.reply_to {
            check_reply(cx, self.chat_id, user, reply_to).await?;
        }
        // The fingerprint covers what the client asked for, whatever a policy makes of it.
        let client_id = client_id.map(|id| (id, fingerprint(self.chat_id, &body, self.reply_to)));
        let body = cx.policy().text(cx.actor(), self.chat_id, body).await?;
        Ok(NewMessage {
            id: cx.context().id(),
            chat: self.chat_id,
            sender: user,
            body: Content::from(body.as_str()),
            client_id,
            reply_to: self.reply_to,
            created_at: cx.context().now(),
        })
    }
}

/// What a message can't be sent to: a chat, or in a direct one the other person, who is erased.
async fn what_is_not_there(cx: &Cx, chat: ChatId, user: UserId) -> Result<&'static str> {
    match cx.store().membership(chat, user).await {
        Ok(_) => Ok("person"),
        Err(error) if error.kind() == StoreErrorKind::NotMember => Ok("chat"),
        Err(error) => Err(error.into()),
    }
}

async fn check_reply(cx: &Cx, chat: ChatId, user: UserId, reply_to: MessageId) -> Result<()> {
    cx.store().membership(chat, user).await?;
    let unknown = || Error::invalid("replyTo", "must be a message of the same chat");
    let message = cx.store().message(chat, reply_to).await.or_not_found(unknown)?;
    if message.kind == MessageKind::System {
        return Err(Error::invalid("replyTo", "must be a message that somebody wrote"));
    }
    Ok(())
}

fn fingerprint(chat: ChatId, body: &MessageBody, reply_to: Option<MessageId>) -> Fingerprint {
    let mut hash = Sha256::new();
    hash.update(chat.as_bytes());
    hash.update(reply_to.as_ref().map_or(&[0; 16], MessageId::as_bytes));
    hash.update(body.as_str());
    let digest: [u8; 32] = hash.finalize().into();
    Fingerprint::of(&digest)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{sync::oneshot, time::timeout};

    use super::*;
    use crate::{
        Begun,
        commands::{DeleteMessage, EditMessage, EraseMe},
        domain::{Event, Password},
        testing::{HostPolicy, Scene, Setup, State, Told, Who::*, change, code, pointers},
    };

    fn send(chat_id: ChatId, body: &str) -> SendMessage {
        SendMessage { chat_id, body: body.into(), client_id: None, reply_to: None }
    }

    fn named(chat_id: ChatId, client_id: &str, body: &str) -> SendMessage {
        SendMessage { client_id: Some(client_id.into()), ..send(chat_id, body) }
    }

    #[tokio::test]
    async fn every_member_writes_and_nobody_else() {
        let scene = Scene::new().await;
        for who in [Owner, Admin, Member] {
            for chat_id in [scene.group, scene.direct] {
                let answer = scene.execute(who, send(chat_id, "hello")).await;
                let is_in = chat_id == scene.group || who != Admin;
                assert_eq!(code(&answer), if is_in { "ok" } else { "notFound" }, "{who:?}");
                let told = answer.map(|sent| Event::MessageCreated(change(&sent.value)));
                let told = told.map(|event| Told::in_chat(chat_id, event));
                assert_eq!(scene.told().await, told.ok().into_iter().collect::<Vec<_>>(), "{who:?}");
            }
        }
        for who in [Left, Removed, Erased, Stranger, Nobody] {
            let answer = scene.execute(who, send(scene.group, "hello")).await;
            assert_eq!(code(&answer), "notFound", "{who:?}");
        }
        let unknown = scene.messenger.service().context.id();
        assert_eq!(code(&scene.execute(Owner, send(unknown, "hello")).await), "notFound");
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn nobody_writes_to_somebody_who_is_erased() {
        let scene = Scene::new().await;
        let before = scene.must(Owner, named(scene.direct, "c-1", "hello")).await;
        scene.must(Member, EraseMe { password: Password::new("correct horse") }).await;
        let refused = scene.execute(Owner, send(scene.direct, "hello?")).await;
        assert_eq!(refused.unwrap_err().to_string(), Error::NotFound("person").to_string());
        // What was sent before is answered all the same, and can be changed.
        let again = scene.must(Owner, named(scene.direct, "c-1", "hello")).await;
        assert_eq!((again.value, again.created), (before.value, false));
    }

    #[tokio::test]
    async fn a_message_has_the_chats_next_place_and_is_read_by_who_wrote_it() {
        let scene = Scene::new().await;
        let before = scene.chat(Member, scene.group).await;
        let sent = scene.must(Member, named(scene.group, "c-1", "hello")).await;
        let expected = Message {
            id: sent.value.id,
            chat_id: scene.group,
            seq: before.last_seq.next(),
            revision: before.revision.next(),
            kind: MessageKind::Text,
            sender_id: scene.id(Member),
            body: Some(MessageBody::trusted("hello")),
            client_id: Some(ClientId::trusted("c-1")),
            reply_to: None,
            created_at: scene.messenger.service().context.now(),
            edited_at: None,
            deleted_at: None,
            system: None,
            truncated: false,
            corrupt: false,
        };
        assert_eq!((&sent.value, sent.created), (&expected, true));
        assert_eq!(scene.message(Owner, &expected).await, expected);
        let read = scene.chat(Member, scene.group).await.me;
        assert_eq!((read.read_seq, read.unread), (expected.seq, 0));
        assert_eq!(scene.chat(Owner, scene.group).await.me.unread, 1);
    }

    #[tokio::test]
    async fn a_text_has_1_to_8000_characters_and_a_client_id_1_to_64() {
        let scene = Scene::new().await;
        for (body, client_id, wrong) in [
            (1, 1, &[][..]),
            (8000, 64, &[]),
            (0, 1, &["/body"]),
            (8001, 1, &["/body"]),
            (1, 0, &["/clientId"]),
            (1, 65, &["/clientId"]),
            (0, 65, &["/body", "/clientId"]),
        ] {
            let send = named(scene.group, &"x".repeat(client_id), &"ü".repeat(body));
            assert_eq!(pointers(&scene.execute(Owner, send).await), wrong, "{body} {client_id}");
        }
        for (body, client_id, wrong) in
            [(" \n ", "c-1", "/body"), ("a\0b", "c-1", "/body"), ("hello", "c 1", "/clientId")]
        {
            // The fields are checked first, whoever the caller is.
            for who in [Owner, Stranger] {
                let answer = scene.execute(who, named(scene.group, client_id, body)).await;
                assert_eq!(pointers(&answer), [wrong], "{body:?}");
            }
        }
    }

    #[tokio::test]
    async fn one_answers_what_somebody_wrote_in_the_same_chat() {
        let scene = Scene::new().await;
        for state in [State::Sent, State::Edited, State::Deleted] {
            let to = scene.text(Owner, state).await.id;
            let reply = SendMessage { reply_to: Some(to), ..send(scene.group, "indeed") };
            assert_eq!(scene.must(Member, reply).await.value.reply_to, Some(to), "{state:?}");
        }
        let system = scene.system_message().await.id;
        let elsewhere = scene.says_in(scene.direct, Owner, "hello").await.id;
        let unknown = scene.messenger.service().context.id();
        scene.told().await;
        for to in [system, elsewhere, unknown] {
            let reply = SendMessage { reply_to: Some(to), ..send(scene.group, "indeed") };
            assert_eq!(pointers(&scene.execute(Owner, reply.clone()).await), ["/replyTo"]);
            // A person who is not in the chat must not learn what is in it.
            assert_eq!(code(&scene.execute(Stranger, reply).await), "notFound");
        }
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn a_repetition_is_answered_with_the_message_as_it_is_now() {
        let scene = Scene::new().await;
        let to = scene.says(Owner, "hello").await.id;
        let first = SendMessage { reply_to: Some(to), ..named(scene.group, "c-1", "indeed") };
        let sent = scene.must(Member, first.clone()).await.value;
        scene.told().await;
        let repeated = scene.must(Member, first.clone()).await;
        assert_eq!((&repeated.value, repeated.created), (&sent, false));
        assert_eq!(scene.told().await, []);

        let (chat_id, message_id) = (sent.chat_id, sent.id);
        let edited = EditMessage { chat_id, message_id, body: "truly".into() };
        let edited = scene.must(Member, edited).await;
        let repeated = scene.must(Member, first.clone()).await;
        assert_eq!((repeated.value, repeated.created), (edited, false));
        // The text that the policy made is not the text that was sent.
        let other = SendMessage { body: "truly".into(), ..first.clone() };
        assert_eq!(code(&scene.execute(Member, other).await), "clientIdReused");

        let deleted = scene.must(Member, DeleteMessage { chat_id, message_id }).await;
        let repeated = scene.must(Member, first).await;
        assert_eq!((repeated.value, repeated.created), (deleted, false));
    }

    #[tokio::test]
    async fn a_client_id_is_for_one_chat_text_and_reply() {
        let scene = Scene::new().await;
        let (to, other) = (scene.says(Owner, "one").await.id, scene.says(Owner, "two").await.id);
        let first = SendMessage { reply_to: Some(to), ..named(scene.group, "c-1", "indeed") };
        scene.must(Member, first.clone()).await;
        scene.must(Member, named(scene.group, "c-2", "indeed")).await;
        scene.told().await;
        for reused in [
            SendMessage { body: "indeed!".into(), ..first.clone() },
            SendMessage { reply_to: Some(other), ..first.clone() },
            SendMessage { reply_to: None, ..first.clone() },
            SendMessage { chat_id: scene.direct, reply_to: None, ..first.clone() },
            named(scene.direct, "c-2", "indeed"),
            SendMessage { reply_to: Some(to), ..named(scene.group, "c-2", "indeed") },
        ] {
            let answer = scene.execute(Member, reused.clone()).await;
            assert_eq!(code(&answer), "clientIdReused", "{reused:?}");
        }
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn a_client_id_stays_used_when_its_message_is_deleted() {
        let scene = Scene::new().await;
        let sent = scene.must(Member, named(scene.group, "c-1", "hello")).await.value;
        let delete = DeleteMessage { chat_id: sent.chat_id, message_id: sent.id };
        scene.must(Member, delete).await;
        // The tombstone has nothing left to tell another text from the original.
        let again = scene.must(Member, named(scene.group, "c-1", "something else")).await;
        assert_eq!((again.value.id, again.created), (sent.id, false));
        let elsewhere = scene.execute(Member, named(scene.direct, "c-1", "hello")).await;
        assert_eq!(code(&elsewhere), "clientIdReused");
    }

    #[tokio::test]
    async fn client_ids_of_different_people_have_nothing_to_do_with_each_other() {
        let scene = Scene::new().await;
        for who in [Owner, Admin, Member] {
            assert!(scene.must(who, named(scene.group, "c-1", "hello")).await.created, "{who:?}");
        }
        // Without a client id, the same text twice is two messages.
        for _ in 0..2 {
            assert!(scene.must(Owner, send(scene.group, "hello")).await.created);
        }
    }

    #[tokio::test]
    async fn the_host_has_the_last_word_on_the_text() {
        let scene = Scene::with(Setup { policy: true, ..Setup::default() }).await;
        let sent = scene.must(Member, named(scene.group, "c-1", "hello")).await.value;
        assert_eq!(sent.body.as_ref().unwrap().as_str(), HostPolicy::numbered("hello", 1));
        assert_eq!(scene.message(Owner, &sent).await, sent);
        // A repetition is recognised by what the client sent, whatever the policy makes of it this time.
        let again = scene.must(Member, named(scene.group, "c-1", "hello")).await;
        assert_eq!((again.value, again.created), (sent.clone(), false));
        let other = named(scene.group, "c-1", &HostPolicy::numbered("hello", 1));
        assert_eq!(code(&scene.execute(Member, other).await), "clientIdReused");

        scene.told().await;
        assert_eq!(code(&scene.execute(Member, send(scene.group, "damn")).await), "forbidden");
        assert_eq!(scene.told().await, []);
        assert_eq!(scene.chat(Owner, scene.group).await.last_seq, sent.seq);
        // The policy is asked before membership is checked.
        scene.policy.asked();
        assert_eq!(code(&scene.execute(Stranger, send(scene.group, "let me in")).await), "notFound");
        assert_eq!(scene.policy.asked(), [(scene.id(Stranger), scene.group, "let me in".to_owned())]);
    }

    #[tokio::test]
    async fn its_place_is_taken_before_it_is_stored() {
        let scene = Scene::new().await;
        let (placed, seen) = oneshot::channel();
        scene.store.meanwhile("append_messages", async move {
            let _ = seen.await;
        });
        let send = send(scene.group, "hello");
        let actor = scene.actor(Owner);
        let begun = scene.messenger.begin(&actor, send);
        let begun = timeout(Duration::from_secs(60), begun).await.expect("it is begun before it is stored");
        assert!(matches!(begun, Begun::UnderWay(_)));
        placed.send(()).unwrap();
        begun.answer().await.unwrap();
    }

    #[tokio::test]
    async fn a_store_that_fails_says_nothing_about_the_fields() {
        for method in ["membership", "message", "append_messages"] {
            let scene = Scene::new().await;
            let to = scene.says(Owner, "hello").await.id;
            scene.told().await;
            scene.store.fail(method, StoreErrorKind::Unavailable, 1);
            let reply = SendMessage { reply_to: Some(to), ..send(scene.group, "indeed") };
            assert_eq!(code(&scene.execute(Owner, reply).await), "unavailable", "{method}");
            assert_eq!(scene.told().await, [], "{method}");
        }
    }
}

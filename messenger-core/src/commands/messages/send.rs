use std::{collections::BTreeSet, sync::Arc};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::{
    commands::told,
    convert,
    domain::{ChatId, ClientId, Event, Message, MessageBody, MessageChange, MessageId, MessageKind, UserId},
    error::{Checks, Error, Result},
    messenger::{Command, Cx, Outcome, Sent},
    ports::{
        Appended, BusMessage, Content, Fingerprint, Hint, MessageRecord, NewMessage, StoreErrorKind,
        StoreResult, Topic,
    },
};

/// Sends a message. It is answered when the message is durable. With a client id, a repetition is answered with the
/// message stored before, for good.
///
/// Errors: `notFound`, `invalid`, `clientIdReused`, `unavailable`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SendMessage {
    /// The chat.
    pub chat_id: ChatId,
    /// The text.
    pub body: String,
    /// What the client calls this message: different for each, the same for each repetition of one.
    pub client_id: Option<String>,
    /// The message of the same chat that it answers.
    pub reply_to: Option<MessageId>,
}

impl Command for SendMessage {
    type Output = Outcome<Message>;
    const NAME: &'static str = "SendMessage";
    /// The lane stores it and tells of it.
    const DETACHED: bool = false;

    async fn run(self, cx: &mut Cx) -> Result<Outcome<Message>> {
        let user = cx.actor().user()?;
        let chat = self.chat_id;
        let message = self.checked(cx, user).await?;
        let expected = message.client_id.as_ref().map(|(_, fingerprint)| *fingerprint);
        let placed = cx.sends().place(message.chat, message).await?;
        cx.placed();
        let Sent { message, created, fingerprint } = placed.answer().await?;
        // A deleted message has no fingerprint any more: then client id and chat have to do.
        let is_other = message.chat_id != chat || fingerprint.is_some() && fingerprint != expected;
        if !created && is_other {
            return Err(Error::ClientIdReused);
        }
        Ok(Outcome { value: message, created })
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
        // Of what the client asked for, whatever a policy makes of it.
        let client_id = client_id.map(|id| (id, fingerprint(self.chat_id, &body, self.reply_to)));
        let body = match cx.policy() {
            Some(policy) => policy.text(cx.actor(), self.chat_id, body).await?,
            None => body,
        };
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

async fn check_reply(cx: &Cx, chat: ChatId, user: UserId, reply_to: MessageId) -> Result<()> {
    cx.store().membership(chat, user).await?;
    match cx.store().message(chat, reply_to).await {
        Err(error) if error.kind() == StoreErrorKind::NotFound => {
            Err(Error::invalid("replyTo", "must be a message of the same chat"))
        }
        Ok(message) if message.kind == MessageKind::System => {
            Err(Error::invalid("replyTo", "must be a message that somebody wrote"))
        }
        found => {
            found?;
            Ok(())
        }
    }
}

fn fingerprint(chat: ChatId, body: &MessageBody, reply_to: Option<MessageId>) -> Fingerprint {
    let mut hash = Sha256::new();
    hash.update(chat.as_bytes());
    hash.update(reply_to.as_ref().map_or(&[0; 16], MessageId::as_bytes));
    hash.update(body.as_str());
    let digest: [u8; 32] = hash.finalize().into();
    Fingerprint::of(&digest)
}

/// What became of a batch: an answer for each sender, and what the others are to be told.
pub(crate) fn stored(batch: Vec<StoreResult<Appended>>) -> (Vec<StoreResult<Sent>>, Vec<BusMessage>) {
    let mut messages = Vec::with_capacity(batch.len());
    let outcomes = batch
        .into_iter()
        .map(|appended| match appended? {
            Appended::New(record) => {
                let sent = sent(record, true)?;
                let message = sent.message.clone();
                let (chat_id, revision) = (message.chat_id, message.revision);
                let change = MessageChange { chat_id, revision, message };
                messages.push(told(chat_id, Event::MessageCreated(change)));
                Ok(sent)
            }
            Appended::Existing(record) => {
                // Whoever stored it may not have been answered, and then has told nobody.
                messages.push(invalid(record.chat));
                sent(record, false)
            }
        })
        .collect();
    (outcomes, messages)
}

/// What the others are to be told of a batch whose answer is lost, though it may be stored.
pub(crate) fn in_doubt(batch: &[NewMessage]) -> Vec<BusMessage> {
    let chats: BTreeSet<ChatId> = batch.iter().map(|message| message.chat).collect();
    chats.into_iter().map(invalid).collect()
}

fn invalid(chat: ChatId) -> BusMessage {
    BusMessage { topics: vec![Topic::Chat(chat)], hint: Arc::new(Hint::Invalidate {}) }
}

fn sent(record: MessageRecord, created: bool) -> StoreResult<Sent> {
    let fingerprint = record.fingerprint;
    Ok(Sent { message: convert::message(record)?, created, fingerprint })
}

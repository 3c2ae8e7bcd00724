use super::content::Content;
use crate::domain::{ChatId, ClientId, MessageId, MessageKind, Revision, Seq, Timestamp, UserId};

/// A message as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRecord {
    /// Its id.
    pub id: MessageId,
    /// The chat.
    pub chat: ChatId,
    /// Its place.
    pub seq: Seq,
    /// The chat's revision when it was written.
    pub created_revision: Revision,
    /// The chat's revision at its last change.
    pub revision: Revision,
    /// Text or system.
    pub kind: MessageKind,
    /// Who wrote it, or whose doing it was.
    pub sender: UserId,
    /// The text, or the [`SystemNote`](crate::SystemNote) as JSON; `None` once deleted.
    pub body: Option<Content>,
    /// What the sender's client called it; stays when the message is deleted.
    pub client_id: Option<ClientId>,
    /// The mark of the request; gone when the message is deleted.
    pub fingerprint: Option<Fingerprint>,
    /// The message that it answers.
    pub reply_to: Option<MessageId>,
    /// When it was sent.
    pub created_at: Timestamp,
    /// When its text was last changed.
    pub edited_at: Option<Timestamp>,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
}

impl MessageRecord {
    /// What a message weighs without its body, in bytes: so that very many short ones are not for nothing.
    pub const BASE_WEIGHT: usize = 256;

    /// What it weighs in a [`Budget`]: the bytes of the stored body, and [`BASE_WEIGHT`](Self::BASE_WEIGHT).
    pub fn weight(&self) -> usize {
        Self::BASE_WEIGHT + self.body.as_ref().map_or(0, |body| body.0.len())
    }
}

/// How much of something one answer of a store holds, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Messages.
    pub messages: usize,
    /// What they [weigh](MessageRecord::weight) together. The first one comes however heavy it is, so that every
    /// answer leads further.
    pub bytes: usize,
}

impl Budget {
    /// So many messages, whatever they weigh.
    pub const fn of_messages(messages: usize) -> Self {
        Self { messages, bytes: usize::MAX }
    }

    /// Whether a message comes after others that weigh `before` together, which is nothing for the first one.
    pub fn admits(self, before: usize, message: &MessageRecord) -> bool {
        before == 0 || before.saturating_add(message.weight()) <= self.bytes
    }

    /// How many of these messages, from the first on, fit in.
    pub fn fitting<'m>(self, messages: impl IntoIterator<Item = &'m MessageRecord>) -> usize {
        let mut sum = 0;
        let fits = |message: &&MessageRecord| {
            let fits = self.admits(sum, message);
            sum += message.weight();
            fits
        };
        messages.into_iter().take(self.messages).take_while(fits).count()
    }
}

/// A short hash of what a request asked for: tells a repetition from another request with the same client id. Only stores
/// compare it, byte by byte, so that a wrapper may put a keyed hash of it in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 16]);

impl Fingerprint {
    /// The first half of a SHA-256.
    pub fn of(digest: &[u8; 32]) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        Self(half)
    }
}

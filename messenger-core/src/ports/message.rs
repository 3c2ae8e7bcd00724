use super::content::Content;
use crate::domain::{ChatId, ClientId, MessageId, MessageKind, Revision, Seq, Timestamp, UserId};

/// A message as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRecord {
    /// Its id.
    pub id: MessageId,
    /// The chat.
    pub chat: ChatId,
    /// Its place in the chat.
    pub seq: Seq,
    /// The chat's revision when it was written.
    pub created_revision: Revision,
    /// The chat's revision at its last change.
    pub revision: Revision,
    /// Text or system.
    pub kind: MessageKind,
    /// The author, or, for a system message, the person whose action it records.
    pub sender: UserId,
    /// The text, or the [`SystemNote`](crate::SystemNote) as JSON; `None` once deleted.
    pub body: Option<Content>,
    /// The client id of the sender's request; kept when the message is deleted.
    pub client_id: Option<ClientId>,
    /// The fingerprint of the request; removed when the message is deleted.
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
    /// The weight of a message without its body, in bytes: so that very many short messages still count.
    pub const BASE_WEIGHT: usize = 256;

    /// Its weight in a [`Budget`]: the bytes of the stored body, plus [`BASE_WEIGHT`](Self::BASE_WEIGHT).
    pub fn weight(&self) -> usize {
        Self::BASE_WEIGHT + self.body.as_ref().map_or(0, |body| body.0.len())
    }
}

/// The most that one answer of a store may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// The number of messages.
    pub messages: usize,
    /// The sum of their [weights](MessageRecord::weight). The first message is always included, whatever it weighs, so
    /// that every answer makes progress.
    pub bytes: usize,
}

impl Budget {
    /// Allows this many messages, whatever they weigh.
    pub const fn of_messages(messages: usize) -> Self {
        Self { messages, bytes: usize::MAX }
    }

    /// Whether a message fits after others that weigh `before` together; 0 for the first one.
    pub fn admits(self, before: usize, message: &MessageRecord) -> bool {
        before == 0 || before.saturating_add(message.weight()) <= self.bytes
    }

    /// How many of these messages fit, counted from the first.
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

/// A short hash of the content of a request: distinguishes a repetition from another request with the same client id.
/// Only stores compare fingerprints, byte by byte, so a wrapper may replace them by a keyed hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 16]);

impl Fingerprint {
    /// Takes the first half of a SHA-256 digest.
    pub fn of(digest: &[u8; 32]) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&digest[..16]);
        Self(half)
    }
}

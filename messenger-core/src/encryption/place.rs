use crate::{
    domain::{ChatId, JobId, MessageId, SessionId, UserId},
    ports::KeyId,
};

/// Where a sealed value is stored. It is authenticated together with the value: what is copied to another place does
/// not open there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The text of a message.
    Text {
        chat: ChatId,
        message: MessageId,
        author: UserId,
    },
    /// What a system message says. It outlasts the person whose action it records, so their key does not seal it.
    Note {
        chat: ChatId,
        message: MessageId,
        actor: UserId,
    },
    Title {
        chat: ChatId,
    },
    Address {
        user: UserId,
    },
    DisplayName {
        user: UserId,
    },
    Device {
        session: SessionId,
        user: UserId,
    },
    /// The payload of a job.
    Payload {
        job: JobId,
    },
    /// Why an attempt of a job failed.
    Reason {
        job: JobId,
    },
    /// A message between nodes.
    Bus,
}

/// The keys that belong to no single person, by number.
pub(super) const SHARED: KeyId = KeyId::of_all(1);
pub(super) const INDEX: KeyId = KeyId::of_all(2);
pub(super) const FINGERPRINTS: KeyId = KeyId::of_all(3);

const CONTEXT: &[u8; 16] = b"messenger sealed";
/// The context, the number of the field, and up to three ids.
const LONGEST: usize = CONTEXT.len() + 1 + 3 * 16;

impl Place {
    /// The key that seals what is there.
    pub(super) const fn key(&self) -> KeyId {
        match *self {
            Self::Text { author: user, .. }
            | Self::Address { user }
            | Self::DisplayName { user }
            | Self::Device { user, .. } => KeyId::of_user(user),
            Self::Note { .. }
            | Self::Title { .. }
            | Self::Payload { .. }
            | Self::Reason { .. }
            | Self::Bus => SHARED,
        }
    }

    /// Calls `then` with the bytes of the place, different ones for each place: a field always has the same number of
    /// ids.
    pub(super) fn with_bytes<T>(&self, then: impl FnOnce(&[u8]) -> T) -> T {
        let none = [0; 16];
        let (field, ids, used) = match self {
            Self::Text { chat, message, author } => {
                (1, [chat.as_bytes(), message.as_bytes(), author.as_bytes()], 3)
            }
            Self::Note { chat, message, actor } => {
                (2, [chat.as_bytes(), message.as_bytes(), actor.as_bytes()], 3)
            }
            Self::Title { chat } => (3, [chat.as_bytes(), &none, &none], 1),
            Self::Address { user } => (4, [user.as_bytes(), &none, &none], 1),
            Self::DisplayName { user } => (5, [user.as_bytes(), &none, &none], 1),
            Self::Device { session, user } => (6, [session.as_bytes(), user.as_bytes(), &none], 2),
            Self::Payload { job } => (7, [job.as_bytes(), &none, &none], 1),
            Self::Reason { job } => (8, [job.as_bytes(), &none, &none], 1),
            Self::Bus => (9, [&none, &none, &none], 0),
        };
        let mut bytes = [0; LONGEST];
        let (context, rest) = bytes.split_at_mut(CONTEXT.len());
        context.copy_from_slice(CONTEXT);
        rest[0] = field;
        for (slot, id) in rest[1..].chunks_exact_mut(16).zip(ids) {
            slot.copy_from_slice(id);
        }
        then(&bytes[..CONTEXT.len() + 1 + used * 16])
    }
}

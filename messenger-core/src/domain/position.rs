use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize};

use super::{ChatId, Revision};

/// How far a client is in all chats of its person at once: it has everything that happened up to here. Opaque: the
/// client takes it from [`Event::CaughtUp`](super::Event::CaughtUp) or [`Synced`](crate::queries::Synced) and sends it
/// with the next resume or sync.
///
/// It is valid for one person and one store. One that is not understood, because it is from another store or release,
/// is no error: the client is told, and states its revision of each chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
#[serde(transparent)]
pub struct Position(String);

/// The position that a client states. In JSON: absent, `null`, or the position.
///
/// ```
/// use messenger_core::{Since, queries::SyncChats};
///
/// let sync: SyncChats = serde_json::from_str(r#"{ "position": null }"#)?;
/// assert_eq!(sync.position, Since::Nowhere);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Since {
    /// The client does not use positions, and is given none.
    #[default]
    Unsaid,
    /// The client has no position yet.
    Nowhere,
    /// The client has everything up to this position.
    At(Position),
}

impl Since {
    /// The position, if there is one.
    pub const fn position(&self) -> Option<&Position> {
        match self {
            Self::At(position) => Some(position),
            Self::Unsaid | Self::Nowhere => None,
        }
    }
}

impl<'de> Deserialize<'de> for Since {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let position = Option::<Position>::deserialize(deserializer)?;
        Ok(position.map_or(Self::Nowhere, Self::At))
    }
}

/// The contents of a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Identifies the sequence of commit numbers it belongs to.
    pub(crate) history: u64,
    /// The last commit that changed a chat of the person, 0 if none has.
    pub(crate) commit: u64,
    /// The chat changed by that commit, and its revision then. If the store no longer has that change, it has lost its
    /// latest commits, as a store restored from a backup has.
    pub(crate) newest: Option<(ChatId, Revision)>,
}

/// The first of the encoded values, so that positions of other releases are told apart.
const FORM: u8 = 1;

impl Position {
    pub(crate) fn of(checkpoint: &Checkpoint) -> Self {
        // Numbers and ids always serialise.
        let json = serde_json::to_vec(&(FORM, checkpoint.history, checkpoint.commit, checkpoint.newest))
            .unwrap_or_default();
        Self(URL_SAFE_NO_PAD.encode(json))
    }

    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        let json = URL_SAFE_NO_PAD.decode(&self.0).ok()?;
        let (form, history, commit, newest): (u8, _, _, _) = serde_json::from_slice(&json).ok()?;
        (form == FORM).then_some(Checkpoint { history, commit, newest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written() {
        for newest in [None, Some((ChatId::from_bytes([7; 16]), Revision::new(41)))] {
            let checkpoint = Checkpoint { history: u64::MAX, commit: 5, newest };
            let text = serde_json::to_string(&Position::of(&checkpoint)).unwrap();
            assert_eq!(serde_json::from_str::<Position>(&text).unwrap().checkpoint(), Some(checkpoint));
        }
    }

    #[test]
    fn a_client_says_nothing_of_positions_or_that_it_has_none_or_where_it_is() {
        #[derive(Deserialize)]
        struct Said {
            #[serde(default)]
            position: Since,
        }

        let here = Position("here".into());
        for (said, since) in [
            ("{}", Since::Unsaid),
            (r#"{"position":null}"#, Since::Nowhere),
            (r#"{"position":"here"}"#, Since::At(here.clone())),
        ] {
            assert_eq!(serde_json::from_str::<Said>(said).unwrap().position, since, "{said}");
        }
        assert_eq!(Since::At(here.clone()).position(), Some(&here));
        assert_eq!((Since::Unsaid.position(), Since::Nowhere.position()), (None, None));
    }

    #[test]
    fn what_is_no_position_stands_for_nothing() {
        let other = URL_SAFE_NO_PAD.encode(format!("[{},1,2,null]", FORM + 1));
        for text in ["", "?", "AAAA", "bm90IGpzb24", &other] {
            let position: Position = serde_json::from_value(text.into()).unwrap();
            assert_eq!(position.checkpoint(), None, "{text}");
        }
    }
}

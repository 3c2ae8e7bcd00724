use std::{
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::{Chat, Message, Session, Timestamp, User};

/// The id of an entity of kind `K`: a UUIDv7 (RFC 9562), so ids sort by the time they were made.
///
/// ```
/// use messenger_core::UserId;
///
/// let id: UserId = "0193a5c1-7e2b-7c3d-8e4f-5a6b7c8d9e0f".parse()?;
/// assert_eq!(id.to_string(), "0193a5c1-7e2b-7c3d-8e4f-5a6b7c8d9e0f");
/// assert!("seven".parse::<UserId>().is_err());
/// # Ok::<(), uuid::Error>(())
/// ```
pub struct Id<K> {
    uuid: Uuid,
    kind: PhantomData<fn() -> K>,
}

/// The id of an account.
pub type UserId = Id<User>;
/// The id of a chat.
pub type ChatId = Id<Chat>;
/// The id of a message.
pub type MessageId = Id<Message>;
/// The id of a session (not its token).
pub type SessionId = Id<Session>;
/// The id of a background job.
pub type JobId = Id<BackgroundJob>;
/// The id of one live connection to one node.
pub type ConnectionId = Id<LiveConnection>;

/// The kind of a [`JobId`]; has no values.
#[derive(Debug)]
pub enum BackgroundJob {}

/// The kind of a [`ConnectionId`]; has no values.
#[derive(Debug)]
pub enum LiveConnection {}

impl<K> Id<K> {
    /// Makes an id of this UUID.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self { uuid, kind: PhantomData }
    }

    /// The id as a UUID.
    pub const fn as_uuid(&self) -> Uuid {
        self.uuid
    }

    /// The 16 bytes, most significant first: bytewise order is the order of the ids.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.uuid.as_bytes()
    }

    /// The least id of the millisecond of `at`: an id made then or later is not less.
    ///
    /// ```
    /// use messenger_core::{MessageId, context::Context};
    ///
    /// let context = Context::fixed();
    /// let message: MessageId = context.id();
    /// assert!(MessageId::least_at(context.now()) < message);
    /// assert!(MessageId::least_at(context.now().after(std::time::Duration::from_millis(1))) > message);
    /// ```
    pub fn least_at(at: Timestamp) -> Self {
        let millis = at.as_micros().unsigned_abs() / 1000;
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        Self::from_bytes(bytes)
    }

    /// Makes an id of the 16 bytes that [`as_bytes`](Self::as_bytes) returns.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self::from_uuid(Uuid::from_bytes(bytes))
    }
}

// Written out because a derive would require `K` to implement these traits, and `K` is only a marker.
impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.uuid == other.uuid
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.uuid.cmp(&other.uuid)
    }
}
impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.uuid.hash(state);
    }
}
impl<K> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.uuid, f)
    }
}
impl<K> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.uuid, f)
    }
}
impl<K> FromStr for Id<K> {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Only the hyphenated form: every id has exactly one spelling on the wire.
        uuid::fmt::Hyphenated::from_str(text).map(|id| Self::from_uuid(id.into_uuid()))
    }
}
impl<K> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut buffer = [0; uuid::fmt::Hyphenated::LENGTH];
        serializer.serialize_str(self.uuid.hyphenated().encode_lower(&mut buffer))
    }
}
impl<'de, K> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<K>(PhantomData<fn() -> K>);
        impl<K> serde::de::Visitor<'_> for Visitor<K> {
            type Value = Id<K>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id (a UUID as text)")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                text.parse().map_err(|_| E::invalid_value(serde::de::Unexpected::Other("text"), &self))
            }
        }
        deserializer.deserialize_str(Visitor(PhantomData))
    }
}

#[cfg(feature = "openapi")]
impl<K> utoipa::PartialSchema for Id<K> {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{ObjectBuilder, SchemaFormat, Type};
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::Custom("uuid".into())))
            .into()
    }
}
#[cfg(feature = "openapi")]
impl<K> utoipa::ToSchema for Id<K> {
    fn name() -> std::borrow::Cow<'static, str> {
        "Id".into()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cmp::Ordering,
        collections::HashSet,
        hash::{BuildHasher as _, RandomState},
    };

    use super::*;

    const TEXT: &str = "0193a5c1-7e2b-7c3d-8e4f-5a6b7c8d9e0f";
    const BYTES: [u8; 16] = [1, 147, 165, 193, 126, 43, 124, 61, 142, 79, 90, 107, 124, 141, 158, 15];

    #[test]
    fn an_id_is_its_sixteen_bytes() {
        let id = UserId::from_bytes(BYTES);
        assert_eq!((id.as_bytes(), id.as_uuid()), (&BYTES, Uuid::from_bytes(BYTES)));
        assert_eq!(UserId::from_uuid(id.as_uuid()), id);
        assert_eq!(TEXT.parse::<UserId>().unwrap(), id);
    }

    #[test]
    fn ids_are_in_the_order_of_their_bytes() {
        let [a, b] = [[1; 16], [2; 16]].map(ChatId::from_bytes);
        assert!(a < b && a != b);
        // Covers `clone`, which generic code calls by name.
        assert_eq!(Clone::clone(&a), a);
        assert_eq!((a.cmp(&b), b.cmp(&a), a.cmp(&a)), (Ordering::Less, Ordering::Greater, Ordering::Equal));
        assert_eq!(a.partial_cmp(&b), Some(Ordering::Less));
        assert_eq!(HashSet::from([a, a, b]).len(), 2);
        let state = RandomState::new();
        assert_eq!(state.hash_one(a), state.hash_one(a));
        assert_ne!(state.hash_one(a), state.hash_one(b));
    }

    #[test]
    fn an_id_has_one_spelling() {
        let id = UserId::from_bytes(BYTES);
        assert_eq!((id.to_string(), format!("{id:?}")), (TEXT.into(), TEXT.into()));
        assert_eq!(serde_json::to_value(id).unwrap(), TEXT);
        assert_eq!(serde_json::from_value::<UserId>(TEXT.into()).unwrap(), id);
        let [braces, urn] = [format!("{{{TEXT}}}"), format!("urn:uuid:{TEXT}")];
        let plain = TEXT.replace('-', "");
        for bad in ["", "seven", &braces, &urn, &plain, &TEXT[1..], &TEXT.replace('0', "g")] {
            assert!(bad.parse::<UserId>().is_err(), "{bad}");
            let error = serde_json::from_value::<UserId>(bad.into()).unwrap_err().to_string();
            assert!(error.contains("an id (a UUID as text)"), "{error}");
            assert!(bad.is_empty() || !error.contains(bad), "what somebody sent is not quoted: {error}");
        }
        let error = serde_json::from_str::<UserId>("7").unwrap_err().to_string();
        assert!(error.contains("an id (a UUID as text)"), "{error}");
    }
}

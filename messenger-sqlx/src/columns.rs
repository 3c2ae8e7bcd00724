//! What is read from rows, the same on every engine.
//!
//! The column lists and the functions that read them stand side by side: a row is read from left to right, by
//! position, without a look at the names.

use messenger_core::{
    ChatKind, ClientId, Device, DisplayName, Id, MessageKind, Revision, Role, Seq, Timestamp, Title,
    Username,
    ports::{
        ChatRecord, ChatView, Content, Fingerprint, MemberRecord, MessageRecord, SessionRecord, StoreError,
        StoreErrorKind, StoreResult, StoredAddress, UserRecord,
    },
};
use sqlx::{ColumnIndex, Decode, Row};

/// Of `messenger_users AS u`.
pub(crate) const USER: &str = "u.id, u.username, u.display_name, u.email, u.email_key, u.password_hash, \
    u.notify_email, u.created_at, u.last_seen_at, u.erased_at, u.version, u.memberships";
/// Of `messenger_sessions AS s`.
pub(crate) const SESSION: &str = "s.id, s.user_id, s.device, s.created_at, s.last_used_at, s.expires_at";
/// Of `messenger_chats AS c`.
pub(crate) const CHAT: &str = "c.id, c.kind, c.title, c.created_at, c.revision, c.last_seq, c.texts, \
    c.member_count, c.roster_version";
/// Of `messenger_members AS p`.
pub(crate) const MEMBER: &str = "p.user_id, p.role, p.joined_at, p.read_seq, p.read_texts, \
    p.delivered_seq, p.muted_until";
/// Of `messenger_messages AS m`.
pub(crate) const MESSAGE: &str = "m.id, m.chat_id, m.seq, m.created_revision, m.revision, m.kind, \
    m.sender_id, m.body, m.client_id, m.fingerprint, m.reply_to, m.created_at, m.edited_at, m.deleted_at";

const USER_WIDTH: usize = 12;
const CHAT_WIDTH: usize = 9;

/// In place of [`CHAT`], in a row that has none.
pub(crate) const NO_CHAT: &str = "NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL";
/// In place of [`MESSAGE`], in a row that has none.
pub(crate) const NO_MESSAGE: &str =
    "NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL";

/// A row, of which the columns up to `next` have been read.
pub(crate) struct Columns<'r, R> {
    row: &'r R,
    next: usize,
}

impl<'r, R> Columns<'r, R> {
    pub(crate) const fn of(row: &'r R) -> Self {
        Self { row, next: 0 }
    }
}

impl<'r, R> Columns<'r, R>
where
    R: Row,
    usize: ColumnIndex<R>,
    bool: Decode<'r, R::Database>,
    i64: Decode<'r, R::Database>,
    &'r str: Decode<'r, R::Database>,
    &'r [u8]: Decode<'r, R::Database>,
{
    pub(crate) fn user(&mut self) -> StoreResult<UserRecord> {
        Ok(UserRecord {
            id: self.id()?,
            username: Username::trusted(self.text()?),
            display_name: DisplayName::trusted(self.text()?),
            email: self.address()?,
            password_hash: self.optional_text()?.map(str::to_owned),
            notify_email: self.flag()?,
            created_at: self.time()?,
            last_seen_at: self.optional_time()?,
            erased_at: self.optional_time()?,
            version: self.number()?,
            memberships: self.number()?,
        })
    }

    /// The user of a row that has one.
    pub(crate) fn optional_user(&mut self) -> StoreResult<Option<UserRecord>> {
        if self.next_is_null()? {
            self.next += USER_WIDTH;
            return Ok(None);
        }
        self.user().map(Some)
    }

    pub(crate) fn session(&mut self) -> StoreResult<SessionRecord> {
        Ok(SessionRecord {
            id: self.id()?,
            user_id: self.id()?,
            device: self.optional_text()?.map(Device::trusted),
            created_at: self.time()?,
            last_used_at: self.time()?,
            expires_at: self.time()?,
        })
    }

    pub(crate) fn chat(&mut self) -> StoreResult<ChatRecord> {
        Ok(ChatRecord {
            id: self.id()?,
            kind: match self.integer()? {
                0 => ChatKind::Direct,
                1 => ChatKind::Group,
                _ => return Err(corrupt("an unknown kind of chat")),
            },
            title: self.optional_text()?.map(Title::trusted),
            created_at: self.time()?,
            revision: self.revision()?,
            last_seq: self.seq()?,
            texts: self.number()?,
            member_count: u32::try_from(self.number()?).map_err(corrupt)?,
            roster_version: self.number()?,
        })
    }

    /// The chat of a row that has one.
    pub(crate) fn optional_chat(&mut self) -> StoreResult<Option<ChatRecord>> {
        if self.next_is_null()? {
            self.next += CHAT_WIDTH;
            return Ok(None);
        }
        self.chat().map(Some)
    }

    pub(crate) fn member(&mut self) -> StoreResult<MemberRecord> {
        Ok(MemberRecord {
            user_id: self.id()?,
            role: match self.integer()? {
                0 => Role::Member,
                1 => Role::Admin,
                2 => Role::Owner,
                _ => return Err(corrupt("an unknown role")),
            },
            joined_at: self.time()?,
            read_seq: self.seq()?,
            read_texts: self.number()?,
            delivered_seq: self.seq()?,
            muted_until: self.optional_time()?,
        })
    }

    /// Chat, member, peer and last message, as the last thing of a row.
    pub(crate) fn chat_view(&mut self) -> StoreResult<ChatView> {
        Ok(ChatView {
            chat: self.chat()?,
            me: self.member()?,
            peer: self.optional_user()?,
            last_message: self.optional_message()?,
        })
    }

    pub(crate) fn message(&mut self) -> StoreResult<MessageRecord> {
        Ok(MessageRecord {
            id: self.id()?,
            chat: self.id()?,
            seq: self.seq()?,
            created_revision: self.revision()?,
            revision: self.revision()?,
            kind: match self.integer()? {
                0 => MessageKind::Text,
                1 => MessageKind::System,
                _ => return Err(corrupt("an unknown kind of message")),
            },
            sender: self.id()?,
            body: self.optional_bytes()?.map(|body| Content(body.to_vec())),
            client_id: self.optional_text()?.map(ClientId::trusted),
            fingerprint: self.fingerprint()?,
            reply_to: self.optional_id()?,
            created_at: self.time()?,
            edited_at: self.optional_time()?,
            deleted_at: self.optional_time()?,
        })
    }

    /// The message of a row that has one, as the last thing of it.
    pub(crate) fn optional_message(&mut self) -> StoreResult<Option<MessageRecord>> {
        if self.next_is_null()? { Ok(None) } else { self.message().map(Some) }
    }

    pub(crate) fn id<K>(&mut self) -> StoreResult<Id<K>> {
        array(self.get::<&[u8]>()?).map(Id::from_bytes)
    }

    pub(crate) fn optional_id<K>(&mut self) -> StoreResult<Option<Id<K>>> {
        self.optional_bytes()?.map(|bytes| array(bytes).map(Id::from_bytes)).transpose()
    }

    pub(crate) fn fingerprint(&mut self) -> StoreResult<Option<Fingerprint>> {
        self.optional_bytes()?.map(|bytes| array(bytes).map(Fingerprint)).transpose()
    }

    pub(crate) fn seq(&mut self) -> StoreResult<Seq> {
        self.number().map(Seq::new)
    }

    pub(crate) fn revision(&mut self) -> StoreResult<Revision> {
        self.number().map(Revision::new)
    }

    pub(crate) fn number(&mut self) -> StoreResult<u64> {
        u64::try_from(self.integer()?).map_err(corrupt)
    }

    pub(crate) fn integer(&mut self) -> StoreResult<i64> {
        self.get()
    }

    pub(crate) fn flag(&mut self) -> StoreResult<bool> {
        self.get()
    }

    pub(crate) fn index(&mut self) -> StoreResult<usize> {
        usize::try_from(self.integer()?).map_err(corrupt)
    }

    /// A place in a list that was sent, which the engine counts from 1.
    #[cfg(feature = "postgres")]
    pub(crate) fn place(&mut self) -> StoreResult<usize> {
        self.index()?.checked_sub(1).ok_or_else(|| StoreErrorKind::Corrupt.into())
    }

    /// A list, which only some engines have.
    #[cfg(feature = "postgres")]
    pub(crate) fn optional_integers(&mut self) -> StoreResult<Option<Vec<i64>>>
    where
        Vec<i64>: Decode<'r, R::Database>,
    {
        self.get()
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn optional_number(&mut self) -> StoreResult<Option<u64>> {
        self.get::<Option<i64>>()?.map(|number| u64::try_from(number).map_err(corrupt)).transpose()
    }

    fn time(&mut self) -> StoreResult<Timestamp> {
        self.integer().map(Timestamp::from_micros)
    }

    fn optional_time(&mut self) -> StoreResult<Option<Timestamp>> {
        Ok(self.get::<Option<i64>>()?.map(Timestamp::from_micros))
    }

    fn text(&mut self) -> StoreResult<&'r str> {
        self.get()
    }

    fn optional_text(&mut self) -> StoreResult<Option<&'r str>> {
        self.get()
    }

    fn optional_bytes(&mut self) -> StoreResult<Option<&'r [u8]>> {
        self.get()
    }

    fn address(&mut self) -> StoreResult<Option<StoredAddress>> {
        let (content, key) = (self.optional_bytes()?, self.optional_bytes()?);
        Ok(content
            .zip(key)
            .map(|(content, key)| StoredAddress { content: Content(content.to_vec()), key: key.to_vec() }))
    }

    fn next_is_null(&self) -> StoreResult<bool> {
        let value = self.row.try_get_raw(self.next).map_err(corrupt)?;
        Ok(sqlx::ValueRef::is_null(&value))
    }

    /// The engines have types of different names for the same values: the 16 bytes of an id, a number of any width.
    /// What is of another kind or length fails to be decoded.
    fn get<T: Decode<'r, R::Database>>(&mut self) -> StoreResult<T> {
        let value = self.row.try_get_unchecked(self.next).map_err(corrupt)?;
        self.next += 1;
        Ok(value)
    }
}

/// How a kind is stored, as [`Columns::chat`] reads it.
pub(crate) const fn chat_kind(kind: ChatKind) -> i64 {
    match kind {
        ChatKind::Direct => 0,
        ChatKind::Group => 1,
    }
}

/// How a role is stored, as [`Columns::member`] reads it.
pub(crate) const fn role(role: Role) -> i64 {
    match role {
        Role::Member => 0,
        Role::Admin => 1,
        Role::Owner => 2,
    }
}

/// How a number of the domain is stored; those end at 2^53.
pub(crate) const fn integer(number: u64) -> i64 {
    number.cast_signed()
}

/// How many rows a query is to return.
pub(crate) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn array<const N: usize>(bytes: &[u8]) -> StoreResult<[u8; N]> {
    bytes.try_into().map_err(corrupt)
}

fn corrupt(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, error)
}

//! Reads rows; common to all engines.
//!
//! The column lists are next to the functions that read them: a row is read from left to right, by position, without
//! looking at the names.

use messenger_core::{
    ChatKind, ClientId, Id, MessageKind, Revision, Role, Seq, Timestamp, Username,
    ports::{
        ChangedChat, ChatRecord, ChatView, Content, Fingerprint, FoundUser, MemberRecord, MessageRecord,
        SessionRecord, StoreError, StoreErrorKind, StoreResult, StoredAddress, UserRecord,
    },
};

/// The columns of `messenger_users AS u`.
pub const USER: &str = "u.id, u.username, u.display_name, u.email, u.email_key, u.password_hash, \
    u.notify_email, u.created_at, u.last_seen_at, u.erased_at, u.version, u.memberships, u.language, u.time_zone, \
    u.quiet_from, u.quiet_to, u.mail_refusals, u.mail_suppressed_at, u.notified_at, u.notified_since, u.notified_times, \
    u.email_confirmed_key, u.email_confirmed_at";
/// The columns of `messenger_sessions AS s`.
pub const SESSION: &str = "s.id, s.user_id, s.device, s.created_at, s.last_used_at, s.expires_at";
/// The columns of `messenger_chats AS c`.
pub const CHAT: &str = "c.id, c.kind, c.title, c.created_at, c.revision, c.last_seq, c.texts, \
    c.member_count, c.roster_version";
/// The columns of `messenger_members AS p`.
pub const MEMBER: &str = "p.user_id, p.role, p.joined_at, p.read_seq, p.read_texts, \
    p.delivered_seq, p.muted_until, p.notify_level";
/// The columns of `messenger_messages AS m`.
pub const MESSAGE: &str = "m.id, m.chat_id, m.seq, m.created_revision, m.revision, m.kind, \
    m.sender_id, m.body, m.client_id, m.fingerprint, m.reply_to, m.created_at, m.edited_at, m.deleted_at";

/// The columns of the last message of a chat, `m`: by how much its body exceeds the requested length, and [`MESSAGE`]
/// with no more of the body than that. `length` and `cut` are the engine's functions, and `preview` is a parameter.
pub fn last_message(length: &str, cut: &str, preview: &str) -> String {
    let message = MESSAGE.replace("m.body", &format!("{cut}(m.body, 1, {preview})"));
    format!("{length}(m.body) - {preview}, {message}")
}

const USER_WIDTH: usize = 23;
const CHAT_WIDTH: usize = 9;

/// In place of [`CHAT`], in a row without a chat.
pub const NO_CHAT: &str = "NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL";
/// In place of [`MESSAGE`], in a row without a message.
pub const NO_MESSAGE: &str =
    "NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL";

/// A row as an engine's driver gives it. Columns are counted from 0.
///
/// The engines have types of different names for the same values. A value of another type is `Corrupt`.
pub trait Row {
    /// A number of any width.
    fn integer(&self, column: usize) -> StoreResult<Option<i64>>;

    /// A boolean.
    fn flag(&self, column: usize) -> StoreResult<Option<bool>>;

    /// A text.
    fn text(&self, column: usize) -> StoreResult<Option<&str>>;

    /// A text of only ASCII, which is compared bytewise: an engine may store it as bytes.
    fn ascii(&self, column: usize) -> StoreResult<Option<&str>> {
        self.text(column)
    }

    /// A text that came in a list: an engine may store it as bytes.
    fn utf8(&self, column: usize) -> StoreResult<Option<&str>> {
        self.text(column)
    }

    /// Bytes, including the 16 bytes of an id.
    fn bytes(&self, column: usize) -> StoreResult<Option<&[u8]>>;
}

/// A row whose columns before `next` have been read.
#[derive(Debug)]
pub struct Columns<'r, R: ?Sized> {
    row: &'r R,
    next: usize,
}

impl<'r, R: Row + ?Sized> Columns<'r, R> {
    /// Reads from the first column on.
    pub const fn of(row: &'r R) -> Self {
        Self { row, next: 0 }
    }

    /// The row and its next column, for types that only some engines have. The column counts as read.
    pub const fn next_column(&mut self) -> (&'r R, usize) {
        let column = self.next;
        self.next += 1;
        (self.row, column)
    }

    /// Reads the columns of [`USER`].
    pub fn user(&mut self) -> StoreResult<UserRecord> {
        let mut user = UserRecord {
            id: self.id()?,
            username: Username::trusted(self.text()?),
            display_name: Content::from(self.text()?),
            email: self.address()?,
            email_confirmed_at: None,
            password_hash: self.optional_text()?.map(str::to_owned),
            notify_email: self.flag()?,
            created_at: self.time()?,
            last_seen_at: self.optional_time()?,
            erased_at: self.optional_time()?,
            version: self.number()?,
            memberships: self.number()?,
            preferences: self.preferences()?,
            mail: self.mail_state()?,
        };
        // A node that knows nothing of confirmations changes the address alone.
        let (key, at) = (self.optional_bytes()?, self.optional_time()?);
        let is_it = key.is_some() && key == user.email.as_ref().map(|email| email.key.as_slice());
        user.email_confirmed_at = at.filter(|_| is_it);
        Ok(user)
    }

    /// Reads a name, and the columns of [`USER`].
    pub fn found_user(&mut self) -> StoreResult<FoundUser> {
        Ok(FoundUser { name: self.text()?.to_owned(), user: self.user()? })
    }

    /// Reads the columns of [`USER`], if the row has a user.
    pub fn optional_user(&mut self) -> StoreResult<Option<UserRecord>> {
        if self.next_is_null()? {
            self.next += USER_WIDTH;
            return Ok(None);
        }
        self.user().map(Some)
    }

    /// Reads the columns of [`SESSION`].
    pub fn session(&mut self) -> StoreResult<SessionRecord> {
        Ok(SessionRecord {
            id: self.id()?,
            user_id: self.id()?,
            device: self.optional_text()?.map(Content::from),
            created_at: self.time()?,
            last_used_at: self.time()?,
            expires_at: self.time()?,
        })
    }

    /// Reads the columns of [`CHAT`].
    pub fn chat(&mut self) -> StoreResult<ChatRecord> {
        Ok(ChatRecord {
            id: self.id()?,
            kind: match self.integer()? {
                0 => ChatKind::Direct,
                1 => ChatKind::Group,
                _ => return Err(corrupt("an unknown kind of chat")),
            },
            title: self.optional_text()?.map(Content::from),
            created_at: self.time()?,
            revision: self.revision()?,
            last_seq: self.seq()?,
            texts: self.number()?,
            member_count: u32::try_from(self.number()?).map_err(corrupt)?,
            roster_version: self.number()?,
        })
    }

    /// Reads the columns of [`CHAT`], if the row has a chat.
    pub fn optional_chat(&mut self) -> StoreResult<Option<ChatRecord>> {
        if self.next_is_null()? {
            self.next += CHAT_WIDTH;
            return Ok(None);
        }
        self.chat().map(Some)
    }

    /// Reads the columns of [`MEMBER`].
    pub fn member(&mut self) -> StoreResult<MemberRecord> {
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
            notify_level: self.notify_level()?,
        })
    }

    /// Reads chat, its retention, member, peer and the columns of [`last_message`], at the end of a row.
    pub fn chat_view(&mut self) -> StoreResult<ChatView> {
        let (chat, retention) = (self.chat()?, self.retention()?);
        let (me, peer) = (self.member()?, self.optional_user()?);
        let is_cut = self.optional_integer()?.is_some_and(|more| more > 0);
        Ok(ChatView { chat, me, peer, last_message: self.optional_message()?, is_cut, retention })
    }

    /// Reads the columns of [`MESSAGE`].
    pub fn message(&mut self) -> StoreResult<MessageRecord> {
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
            client_id: self.client_id()?,
            fingerprint: self.fingerprint()?,
            reply_to: self.optional_id()?,
            created_at: self.time()?,
            edited_at: self.optional_time()?,
            deleted_at: self.optional_time()?,
        })
    }

    /// Reads the columns of [`MESSAGE`] at the end of a row, if it has a message.
    pub fn optional_message(&mut self) -> StoreResult<Option<MessageRecord>> {
        if self.next_is_null()? { Ok(None) } else { self.message().map(Some) }
    }

    /// A chat that was changed lately: its id, a revision, and whether somebody may have joined.
    pub fn changed_chat(&mut self) -> StoreResult<ChangedChat> {
        Ok(ChangedChat { chat: self.id()?, revision: self.revision()?, may_have_new_members: self.flag()? })
    }

    /// An id.
    pub fn id<K>(&mut self) -> StoreResult<Id<K>> {
        self.optional_id().and_then(needed)
    }

    /// An id, or NULL.
    pub fn optional_id<K>(&mut self) -> StoreResult<Option<Id<K>>> {
        self.optional_bytes()?.map(|bytes| array(bytes).map(Id::from_bytes)).transpose()
    }

    /// The fingerprint of a client id, or NULL.
    pub fn fingerprint(&mut self) -> StoreResult<Option<Fingerprint>> {
        self.optional_bytes()?.map(|bytes| array(bytes).map(Fingerprint)).transpose()
    }

    /// The number of a message in its chat.
    pub fn seq(&mut self) -> StoreResult<Seq> {
        self.number().map(Seq::new)
    }

    /// The number of a change in its chat.
    pub fn revision(&mut self) -> StoreResult<Revision> {
        self.number().map(Revision::new)
    }

    /// A domain number, stored as [`integer`] gives it.
    pub fn number(&mut self) -> StoreResult<u64> {
        u64::try_from(self.integer()?).map_err(corrupt)
    }

    /// Any number.
    pub fn integer(&mut self) -> StoreResult<i64> {
        self.optional_integer().and_then(needed)
    }

    /// A boolean.
    pub fn flag(&mut self) -> StoreResult<bool> {
        let (row, column) = self.next_column();
        row.flag(column).and_then(needed)
    }

    /// An index in a list that was sent, which the engine counts from 0.
    pub fn index(&mut self) -> StoreResult<usize> {
        usize::try_from(self.integer()?).map_err(corrupt)
    }

    /// An index in a list that was sent, which the engine counts from 1.
    pub fn place(&mut self) -> StoreResult<usize> {
        self.index()?.checked_sub(1).ok_or_else(|| StoreErrorKind::Corrupt.into())
    }

    /// A domain number, or NULL.
    pub fn optional_number(&mut self) -> StoreResult<Option<u64>> {
        self.optional_integer()?.map(|number| u64::try_from(number).map_err(corrupt)).transpose()
    }

    /// Any number, or NULL.
    pub fn optional_integer(&mut self) -> StoreResult<Option<i64>> {
        let (row, column) = self.next_column();
        row.integer(column)
    }

    /// A timestamp.
    pub fn time(&mut self) -> StoreResult<Timestamp> {
        self.integer().map(Timestamp::from_micros)
    }

    /// A timestamp, or NULL.
    pub fn optional_time(&mut self) -> StoreResult<Option<Timestamp>> {
        Ok(self.optional_integer()?.map(Timestamp::from_micros))
    }

    /// A text.
    pub fn text(&mut self) -> StoreResult<&'r str> {
        self.optional_text().and_then(needed)
    }

    /// A text, or NULL.
    pub fn optional_text(&mut self) -> StoreResult<Option<&'r str>> {
        let (row, column) = self.next_column();
        row.text(column)
    }

    /// Bytes, or NULL.
    pub fn optional_bytes(&mut self) -> StoreResult<Option<&'r [u8]>> {
        let (row, column) = self.next_column();
        row.bytes(column)
    }

    fn client_id(&mut self) -> StoreResult<Option<ClientId>> {
        let (row, column) = self.next_column();
        Ok(row.ascii(column)?.map(ClientId::trusted))
    }

    fn address(&mut self) -> StoreResult<Option<StoredAddress>> {
        let (content, key) = (self.optional_bytes()?, self.optional_bytes()?);
        Ok(content
            .zip(key)
            .map(|(content, key)| StoredAddress { content: Content(content.to_vec()), key: key.to_vec() }))
    }

    /// Whether a record is missing whose id would be the next column.
    fn next_is_null(&self) -> StoreResult<bool> {
        self.row.bytes(self.next).map(|id| id.is_none())
    }
}

/// The stored form of a kind, as [`Columns::chat`] reads it.
pub const fn chat_kind(kind: ChatKind) -> i64 {
    match kind {
        ChatKind::Direct => 0,
        ChatKind::Group => 1,
    }
}

/// The stored form of a role, as [`Columns::member`] reads it.
pub const fn role(role: Role) -> i64 {
    match role {
        Role::Member => 0,
        Role::Admin => 1,
        Role::Owner => 2,
    }
}

/// The stored form of a domain number; those end at 2^53.
pub const fn integer(number: u64) -> i64 {
    number.cast_signed()
}

/// A limit on the rows, or the bytes, that a query returns.
pub fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// How many bytes of a body are requested. More than a GiB means all of it.
pub fn cut_at(preview: usize) -> i32 {
    const MOST: i32 = 1 << 30;
    i32::try_from(preview).map_or(MOST, |preview| preview.min(MOST))
}

/// The weight of a message, as [`MessageRecord::weight`] defines it, where `length` is that of its stored body or NULL.
/// A statement takes a message if its weight and those before it fit, or if there are none before it.
pub fn weight(length: &str) -> String {
    format!("coalesce({length}, 0) + {}", MessageRecord::BASE_WEIGHT)
}

fn array<const N: usize>(bytes: &[u8]) -> StoreResult<[u8; N]> {
    bytes.try_into().map_err(corrupt)
}

fn needed<T>(value: Option<T>) -> StoreResult<T> {
    value.ok_or_else(|| corrupt("NULL where a value is needed"))
}

/// An error for stored data that no backend would have stored.
pub fn corrupt(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::{
        Value::{self, Bytes, Flag, Integer, Null, Text},
        Values,
    };

    const ID: &[u8] = &[7; 16];

    fn message() -> Vec<Value> {
        let head = [Bytes(ID), Bytes(ID), Integer(3), Integer(5), Integer(6), Integer(0), Bytes(ID)];
        let tail = [Null, Bytes(b"its-name"), Bytes(ID), Null, Integer(1), Null, Integer(2)];
        head.into_iter().chain(tail).collect()
    }

    fn chat(kind: i64) -> Values {
        let head = [Bytes(ID), Integer(kind), Text("Tea"), Integer(1)];
        Values(head.into_iter().chain((2..=6).map(Integer)).collect())
    }

    fn member(role: i64) -> Values {
        Values(vec![Bytes(ID), Integer(role), Integer(1), Integer(2), Integer(3), Integer(4), Null, Null])
    }

    fn is_corrupt<T>(result: StoreResult<T>) -> bool {
        result.is_err_and(|error| error.kind() == StoreErrorKind::Corrupt)
    }

    #[test]
    fn a_message_is_read_from_left_to_right() {
        let read = Columns::of(&Values(message())).message().unwrap();
        assert_eq!((read.seq, read.revision), (Seq::new(3), Revision::new(6)));
        assert_eq!(read.client_id.as_ref().map(ClientId::as_str), Some("its-name"));
        assert_eq!((read.body, read.edited_at), (None, None));
        assert_eq!(read.deleted_at, Some(Timestamp::from_micros(2)));
    }

    #[test]
    fn null_where_a_value_is_needed_is_corrupt() {
        let row = Values((0..14).map(|_| Null).collect());
        assert!(is_corrupt(Columns::of(&row).id::<()>()));
        assert!(is_corrupt(Columns::of(&row).flag()));
        assert!(is_corrupt(Columns::of(&row).number()));
        assert!(is_corrupt(Columns::of(&row).text()));
        assert!(is_corrupt(Columns::of(&row).message()));
        assert_eq!(Columns::of(&row).optional_message().unwrap(), None);
    }

    #[test]
    fn what_is_of_another_kind_or_length_is_corrupt() {
        let row = Values(vec![Bytes(b"short"), Integer(-1), Text("12"), Flag(true)]);
        let mut columns = Columns::of(&row);
        assert!(is_corrupt(columns.id::<()>()));
        assert!(is_corrupt(columns.number()));
        assert!(is_corrupt(columns.integer()));
        assert!(columns.flag().unwrap());
        assert!(is_corrupt(columns.flag()));
    }

    #[test]
    fn a_record_that_is_not_there_is_passed_over() {
        for (width, list) in [(USER_WIDTH, USER), (CHAT_WIDTH, CHAT)] {
            assert_eq!(list.split(", ").count(), width);
        }
        let row = Values((0..USER_WIDTH + CHAT_WIDTH).map(|_| Null).chain([Integer(9)]).collect());
        let mut columns = Columns::of(&row);
        assert!(columns.optional_user().unwrap().is_none());
        assert!(columns.optional_chat().unwrap().is_none());
        assert_eq!(columns.integer().unwrap(), 9);
        for (list, nulls) in [(CHAT, NO_CHAT), (MESSAGE, NO_MESSAGE)] {
            assert_eq!(list.split(", ").count(), nulls.split(", ").count());
        }
    }

    #[test]
    fn kinds_and_roles_are_read_as_they_were_stored() {
        for kind in [ChatKind::Direct, ChatKind::Group] {
            assert_eq!(Columns::of(&chat(chat_kind(kind))).chat().unwrap().kind, kind);
        }
        for one in [Role::Member, Role::Admin, Role::Owner] {
            assert_eq!(Columns::of(&member(role(one))).member().unwrap().role, one);
        }
        for (stored, kind) in [(0, MessageKind::Text), (1, MessageKind::System)] {
            let mut row = message();
            row[5] = Integer(stored);
            assert_eq!(Columns::of(&Values(row)).message().unwrap().kind, kind);
        }
    }

    #[test]
    fn unknown_kinds_and_roles_are_corrupt() {
        for unknown in [-1, 3] {
            assert!(is_corrupt(Columns::of(&chat(unknown)).chat()));
            assert!(is_corrupt(Columns::of(&member(unknown)).member()));
            let mut row = message();
            row[5] = Integer(unknown);
            assert!(is_corrupt(Columns::of(&Values(row)).message()));
        }
    }

    #[test]
    fn numbers_are_read_as_they_were_stored() {
        for number in [0, 1, 1 << 53] {
            assert_eq!(Columns::of(&Values(vec![Integer(integer(number))])).number().unwrap(), number);
        }
    }

    #[test]
    fn a_preview_is_at_most_a_gib() {
        for (preview, cut) in
            [(0, 0), (1024, 1024), (1 << 30, 1 << 30), ((1 << 30) + 1, 1 << 30), (usize::MAX, 1 << 30)]
        {
            assert_eq!(cut_at(preview), cut);
        }
    }

    #[test]
    fn of_a_last_message_the_body_alone_is_another() {
        let list = last_message("length", "substr", "$5");
        let whole = list.replace("substr(m.body, 1, $5)", "m.body");
        assert_eq!(whole, format!("length(m.body) - $5, {MESSAGE}"));
    }

    #[test]
    fn a_limit_beyond_what_an_engine_counts_is_none() {
        assert_eq!((rows(0), rows(200), rows(usize::MAX)), (0, 200, i64::MAX));
    }
}

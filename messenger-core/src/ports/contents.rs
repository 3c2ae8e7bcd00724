use async_trait::async_trait;

use super::{Content, StoreResult};
use crate::domain::{ChatId, JobId, MessageId, MessageKind, SessionId, UserId};

/// What people wrote, wherever it is stored: for a wrapper that seals what was stored before there was one.
///
/// Replacing a content is no change of what has it: revisions, versions and times stay, and nobody is told.
#[async_trait]
pub trait ContentStore: Send + Sync + 'static {
    /// Reads a page of the contents of a field, in the order of their rows.
    ///
    /// # Behavior
    /// - `contents_have_each_field_with_its_place`
    /// - `contents_skip_what_begins_with_that_byte`: an empty content begins with none.
    /// - `contents_skip_what_was_removed`: nothing of the erased, of deleted messages, of chats and sessions without one.
    /// - `contents_page_by_row`: none is missing or comes twice while others are replaced, and no page looks at more rows
    ///   than it may.
    async fn contents(&self, asked: &AskContents) -> StoreResult<ContentPage>;

    /// Puts contents in the place of others, each by itself, if what is stored is what was expected, and tells how many were
    /// replaced. No row may come twice. One that others are changing at that moment may be left as it is.
    ///
    /// The key of an address that was confirmed is replaced together with that of the address.
    ///
    /// # Behavior
    /// - `replace_contents_changes_nothing_else`: neither what is read beside it nor what is told to clients.
    /// - `replace_contents_leaves_what_was_changed_meanwhile`: edited, deleted, erased, or replaced.
    /// - `replace_contents_moves_the_key_of_an_address`: a confirmed one stays confirmed.
    /// - `replace_contents_of_a_taken_address_is_refused`: `AlreadyExists`, and then nothing is replaced.
    /// - `replace_contents_overwrites_nothing_while_others_write`
    async fn replace_contents(
        &self,
        field: ContentField,
        replacements: &[ReplaceContent],
    ) -> StoreResult<usize>;
}

/// Where contents are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContentField {
    /// The address of a person.
    Address,
    /// The display name of a person.
    DisplayName,
    /// The device of a session.
    Device,
    /// The title of a group.
    Title,
    /// The text or the note of a message.
    Body,
    /// The payload of a job.
    Payload,
    /// Why a job failed.
    Reason,
}

impl ContentField {
    /// All, those about people first.
    pub const ALL: [Self; 7] = [
        Self::Address,
        Self::DisplayName,
        Self::Device,
        Self::Title,
        Self::Body,
        Self::Payload,
        Self::Reason,
    ];

    /// Whether its contents are always UTF-8 text, because their column is.
    pub const fn is_text(self) -> bool {
        matches!(self, Self::DisplayName | Self::Device | Self::Title | Self::Reason)
    }
}

/// Which contents to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskContents {
    /// Of which field.
    pub field: ContentField,
    /// Those that don't begin with this byte, one of ASCII for a [field of text](ContentField::is_text).
    pub unlike: u8,
    /// Those in rows after this one; zeros for the beginning.
    pub after: RowId,
    /// At most so many contents, at least 1.
    pub limit: usize,
    /// Look at no more rows than this, at least 1.
    pub rows: usize,
}

/// The 16 bytes of the id of a message, a chat, a person, a session or a job; they order rows.
pub type RowId = [u8; 16];

/// A page of contents.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContentPage {
    /// What was found.
    pub contents: Vec<StoredContent>,
    /// Where the next page begins; `None` if there is nothing more.
    pub next: Option<RowId>,
}

/// A content as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredContent {
    /// Where.
    pub place: ContentPlace,
    /// The content.
    pub content: Content,
    /// What was made of it and is stored beside it: the key of an address; the fingerprint of the request, if it has one,
    /// of a message or a group. Nothing for other fields.
    pub derived: Option<Vec<u8>>,
}

/// Where a content is stored, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContentPlace {
    /// In [`ContentField::Address`].
    Address {
        /// Whose.
        user: UserId,
    },
    /// In [`ContentField::DisplayName`].
    DisplayName {
        /// Whose.
        user: UserId,
    },
    /// In [`ContentField::Device`].
    Device {
        /// The session.
        session: SessionId,
        /// Whose.
        user: UserId,
    },
    /// In [`ContentField::Title`].
    Title {
        /// The group.
        chat: ChatId,
    },
    /// In [`ContentField::Body`].
    Body {
        /// The message.
        message: MessageId,
        /// Its chat.
        chat: ChatId,
        /// Who sent it, or whose action it records.
        sender: UserId,
        /// Whether it is a text or a note.
        kind: MessageKind,
    },
    /// In [`ContentField::Payload`].
    Payload {
        /// The job.
        job: JobId,
    },
    /// In [`ContentField::Reason`].
    Reason {
        /// The job.
        job: JobId,
    },
}

impl ContentPlace {
    /// The row.
    pub const fn row(&self) -> RowId {
        match self {
            Self::Address { user } | Self::DisplayName { user } => *user.as_bytes(),
            Self::Device { session, .. } => *session.as_bytes(),
            Self::Title { chat } => *chat.as_bytes(),
            Self::Body { message, .. } => *message.as_bytes(),
            Self::Payload { job } | Self::Reason { job } => *job.as_bytes(),
        }
    }
}

/// A content that takes the place of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplaceContent {
    /// In which row.
    pub row: RowId,
    /// What is stored now.
    pub expected: Content,
    /// What is stored from then on.
    pub content: Content,
    /// What is stored beside it from then on, as in [`StoredContent::derived`]; for a display name, the
    /// [key](super::StoredName::key) under which it is found, none if it is not.
    pub derived: Option<Vec<u8>>,
}

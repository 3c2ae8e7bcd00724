//! Contents, wherever they are stored; common to all engines.

use messenger_core::{
    MessageKind,
    ports::{
        Content, ContentField, ContentPage, ContentPlace, ReplaceContent, RowId, StoreResult, StoredContent,
    },
};

use crate::columns::{Columns, Row, corrupt};

/// Where the contents of a field are, as statements need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The name of the table, which is `t` in statements.
    pub table: &'static str,
    /// The columns that [`Columns::stored_content`] reads.
    pub columns: &'static str,
    /// The column of the contents.
    pub content: &'static str,
    /// Which rows have any, beside that it is not null.
    pub condition: &'static str,
}

/// The shape of a field.
pub const fn shape(field: ContentField) -> Shape {
    let (table, columns, content) = match field {
        ContentField::Address => ("messenger_users", "t.id, t.email, t.email_key", "email"),
        ContentField::DisplayName => ("messenger_users", "t.id, t.display_name", "display_name"),
        ContentField::Device => ("messenger_sessions", "t.id, t.user_id, t.device", "device"),
        ContentField::Title => ("messenger_chats", "t.id, t.title, t.fingerprint", "title"),
        ContentField::Body => {
            ("messenger_messages", "t.id, t.chat_id, t.sender_id, t.kind, t.body, t.fingerprint", "body")
        }
        ContentField::Payload => ("messenger_jobs", "t.id, t.payload", "payload"),
        ContentField::Reason => ("messenger_jobs", "t.id, t.reason", "reason"),
    };
    let condition = match field {
        ContentField::DisplayName => " AND t.erased_at IS NULL",
        _ => "",
    };
    Shape { table, columns, content, condition }
}

/// What is set when a content is replaced. `content` and `derived` are the values in the engine's spelling; on the right of
/// `=` are the columns as they were.
pub fn assignments(field: ContentField, content: &str, derived: &str) -> String {
    match field {
        ContentField::Address => format!(
            "email = {content},
            email_confirmed_at = CASE WHEN email_confirmed_key = email_key THEN email_confirmed_at END,
            email_confirmed_key = CASE WHEN email_confirmed_key = email_key THEN {derived} END,
            email_key = {derived}"
        ),
        ContentField::DisplayName => format!("display_name = {content}, display_folded = {derived}"),
        ContentField::Device => format!("device = {content}"),
        ContentField::Title => format!("title = {content}, fingerprint = {derived}"),
        ContentField::Body => format!("body = {content}, fingerprint = {derived}"),
        ContentField::Payload => format!("payload = {content}"),
        ContentField::Reason => format!("reason = {content}"),
    }
}

/// Whether something that was made of the content is stored beside it.
pub const fn has_derived(field: ContentField) -> bool {
    !matches!(field, ContentField::Device | ContentField::Payload | ContentField::Reason)
}

impl<R: Row + ?Sized> Columns<'_, R> {
    /// Reads the columns of a [`Shape`].
    pub fn stored_content(&mut self, field: ContentField) -> StoreResult<StoredContent> {
        let place = match field {
            ContentField::Address => ContentPlace::Address { user: self.id()? },
            ContentField::DisplayName => ContentPlace::DisplayName { user: self.id()? },
            ContentField::Device => ContentPlace::Device { session: self.id()?, user: self.id()? },
            ContentField::Title => ContentPlace::Title { chat: self.id()? },
            ContentField::Body => ContentPlace::Body {
                message: self.id()?,
                chat: self.id()?,
                sender: self.id()?,
                kind: match self.integer()? {
                    0 => MessageKind::Text,
                    1 => MessageKind::System,
                    _ => return Err(corrupt("an unknown kind of message")),
                },
            },
            ContentField::Payload => ContentPlace::Payload { job: self.id()? },
            ContentField::Reason => ContentPlace::Reason { job: self.id()? },
        };
        let content = self.content(field)?;
        let derived = match field {
            ContentField::Address | ContentField::Title | ContentField::Body => {
                self.optional_bytes()?.map(<[u8]>::to_vec)
            }
            _ => None,
        };
        Ok(StoredContent { place, content, derived })
    }

    fn content(&mut self, field: ContentField) -> StoreResult<Content> {
        let null = || corrupt("NULL where a value is needed");
        let (row, column) = self.next_column();
        match field {
            ContentField::Reason => row.utf8(column)?.map(Content::from).ok_or_else(null),
            field if field.is_text() => row.text(column)?.map(Content::from).ok_or_else(null),
            _ => row.bytes(column)?.map(|bytes| Content(bytes.to_vec())).ok_or_else(null),
        }
    }
}

/// The page of what was found up to `edge`, the last row that it looked at, if that was not the last of all.
pub fn page(contents: Vec<StoredContent>, edge: Option<RowId>, limit: usize) -> ContentPage {
    let next = match contents.last() {
        Some(last) if contents.len() >= limit => Some(last.place.row()),
        _ => edge,
    };
    ContentPage { contents, next }
}

/// What was made of a display name: the key by which it is found.
///
/// # Errors
/// `Corrupt` if it is no text.
pub fn name_key(replacement: &ReplaceContent) -> StoreResult<&str> {
    let key = replacement.derived.as_deref().unwrap_or_default();
    std::str::from_utf8(key).map_err(corrupt)
}

#[cfg(test)]
mod tests {
    use messenger_core::ports::StoreErrorKind;

    use super::*;
    use crate::values::{
        Value::{self, Bytes, Integer, Null, Text},
        Values,
    };

    const ID: &[u8] = &[7; 16];

    /// A row of a field, with this content.
    fn row(field: ContentField, content: Value) -> Values {
        let place = match field {
            ContentField::Device => vec![Bytes(ID)],
            ContentField::Body => vec![Bytes(ID), Bytes(ID), Integer(1)],
            _ => vec![],
        };
        let head = [Bytes(ID)].into_iter().chain(place);
        Values(head.chain([content, Bytes(b"made of it")]).collect())
    }

    #[test]
    fn contents_are_read_with_their_places() {
        for field in ContentField::ALL {
            let said = if field.is_text() { Text("said") } else { Bytes(b"said") };
            let row_of_field = row(field, said);
            let read = Columns::of(&row_of_field).stored_content(field).unwrap();
            assert_eq!((read.place.row(), read.content), ([7; 16], Content::from("said")), "{field:?}");
            let has = matches!(field, ContentField::Address | ContentField::Title | ContentField::Body);
            assert_eq!(read.derived.is_some(), has, "{field:?}");
            let width = shape(field).columns.split(", ").count();
            assert_eq!(width, row_of_field.0.len() - usize::from(!has), "{field:?}");
            let error = Columns::of(&row(field, Null)).stored_content(field).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Corrupt);
        }
    }
}

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::Cursor;

/// A part of what is held about a person. `Debug` does not show its lines.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportPart {
    /// The file that its lines belong to.
    pub file: ExportFile,
    /// JSON Lines: an object and a line feed for each.
    pub lines: String,
    /// How many lines there are.
    pub count: u64,
    /// Asks for the next part; absent in the last one.
    pub next_cursor: Option<Cursor>,
}

impl fmt::Debug for ExportPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExportPart")
            .field("file", &self.file)
            .field("count", &self.count)
            .field("next_cursor", &self.next_cursor)
            .finish_non_exhaustive()
    }
}

/// What is held about a person, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum ExportFile {
    /// The account.
    Profile,
    /// The log-ins.
    Sessions,
    /// The chats that the person is or was in.
    Chats,
    /// How far the person has read, and what they want to be told of, by chat.
    Marks,
    /// What the person wrote, and what chats have recorded of them.
    Messages,
    /// What is known of mail to the person.
    Mails,
}

impl ExportFile {
    /// All of them, in their order.
    pub const ALL: [Self; 6] =
        [Self::Profile, Self::Sessions, Self::Chats, Self::Marks, Self::Messages, Self::Mails];

    /// A text for whoever reads the files: what is in which.
    pub const README: &'static str = include_str!("README.txt");

    /// The name of the file.
    ///
    /// ```
    /// use messenger_core::queries::ExportFile;
    ///
    /// assert_eq!(ExportFile::Messages.name(), "messages.jsonl");
    /// assert!(ExportFile::ALL.iter().all(|file| ExportFile::README.contains(file.name())));
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Self::Profile => "profile.jsonl",
            Self::Sessions => "sessions.jsonl",
            Self::Chats => "chats.jsonl",
            Self::Marks => "marks.jsonl",
            Self::Messages => "messages.jsonl",
            Self::Mails => "mails.jsonl",
        }
    }
}

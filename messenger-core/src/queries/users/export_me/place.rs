use serde::{Deserialize, Serialize};

use super::part::ExportFile;
use crate::domain::{ChatId, JobId, Revision};

/// Where a part begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Place {
    Profile,
    Sessions,
    /// After this chat.
    Chats(Option<ChatId>),
    /// After this chat.
    Marks(Option<ChatId>),
    Messages(Option<Reached>),
    Mails,
    /// Jobs of this kind before this one.
    Sent(Mailing, Option<JobId>),
}

/// How far the messages are done, in the order of the ids of chats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reached {
    pub(super) chat: ChatId,
    /// Up to this revision; `None` if all of the chat is done.
    pub(super) revision: Option<Revision>,
}

/// The kinds of jobs that mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Mailing {
    Unread,
    Account,
}

impl Place {
    pub(super) const fn file(self) -> ExportFile {
        match self {
            Self::Profile => ExportFile::Profile,
            Self::Sessions => ExportFile::Sessions,
            Self::Chats(_) => ExportFile::Chats,
            Self::Marks(_) => ExportFile::Marks,
            Self::Messages(_) => ExportFile::Messages,
            Self::Mails | Self::Sent(..) => ExportFile::Mails,
        }
    }
}

impl Reached {
    /// Whether something of this chat is still to be read.
    pub(super) fn leaves(self, chat: ChatId) -> bool {
        chat > self.chat || chat == self.chat && self.revision.is_some()
    }

    /// From where this chat is to be read.
    pub(super) fn since(reached: Option<Self>, chat: ChatId) -> Revision {
        let within = reached.filter(|reached| reached.chat == chat);
        within.and_then(|reached| reached.revision).unwrap_or(Revision::ZERO)
    }
}

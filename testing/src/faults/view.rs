//! What a client has at the moment: what it says when it resumes, and what the run waits for in the end.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{Id, Told};

/// What a client has, as `docs/realtime.md` says that it should keep it.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    /// Whether a socket is open, and everything that was missed has come over it.
    pub(super) is_live: bool,
    /// The last revision of each chat.
    pub(super) has: BTreeMap<Id, u64>,
    /// Chats of which it has read the history, too.
    pub(super) loaded: BTreeSet<Id>,
    pub(super) online: BTreeMap<Id, bool>,
    /// Requests that are not answered for good.
    pub(super) unanswered: usize,
}

impl View {
    /// What it names in a resume.
    pub(super) fn named(&self) -> BTreeMap<Id, u64> {
        let loaded = self.has.iter().filter(|(chat, _)| self.loaded.contains(*chat));
        loaded.map(|(chat, revision)| (Id::clone(chat), *revision)).collect()
    }

    /// A new socket is open, over which this is named.
    pub(super) fn resumes(&mut self, named: &BTreeMap<Id, u64>) {
        self.has.clone_from(named);
        self.online.clear();
        self.is_live = false;
    }

    /// Takes an event. A chat whose history is to be read now.
    pub(super) fn take(&mut self, told: &Told) -> Option<Id> {
        match told {
            Told::Changed { chat, message, .. } => {
                if let Some(has) = self.has.get_mut(chat) {
                    *has = message.revision;
                }
            }
            Told::Added { chat, revision } | Told::Reset { chat, revision } => {
                self.has.insert(Id::clone(chat), *revision);
                self.loaded.remove(chat);
                return Some(Id::clone(chat));
            }
            Told::Removed { chat } => {
                self.has.remove(chat);
                self.loaded.remove(chat);
            }
            Told::Presence { user, online } => {
                self.online.insert(Id::clone(user), *online);
            }
            Told::CaughtUp => self.is_live = true,
        }
        None
    }

    /// Whether it has exactly this, with the histories.
    pub(super) fn is_at(&self, heads: &BTreeMap<Id, u64>) -> bool {
        self.is_live && self.has == *heads && heads.keys().all(|chat| self.loaded.contains(chat))
    }
}

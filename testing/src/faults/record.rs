//! What clients saw, what they were promised, and what is stored.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;

/// An id of a person, a chat or a message, as text.
pub(super) type Id = Arc<str>;

/// A message as somebody was shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) seq: u64,
    pub(super) revision: u64,
    pub(super) id: Id,
    pub(super) sender: Id,
    pub(super) client_id: Option<Id>,
    pub(super) body: Option<Id>,
    pub(super) system: Option<System>,
}

/// What a system message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct System {
    pub(super) event: String,
    pub(super) users: Vec<Id>,
}

impl Shown {
    /// Of a message in JSON.
    pub(super) fn of(message: &Value) -> Option<Self> {
        let text = |field: &str| message[field].as_str().map(Id::from);
        let system = message.get("system").and_then(|system| {
            let users = system["userIds"].as_array().into_iter().flatten();
            Some(System {
                event: system["event"].as_str()?.to_owned(),
                users: users.filter_map(|user| user.as_str().map(Id::from)).collect(),
            })
        });
        Some(Self {
            seq: message["seq"].as_u64()?,
            revision: message["revision"].as_u64()?,
            id: text("id")?,
            sender: text("senderId")?,
            client_id: text("clientId"),
            body: text("body"),
            system,
        })
    }
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// A change of a chat, which has a revision.
    Changed {
        event: &'static str,
        chat: Id,
        message: Shown,
    },
    Added {
        chat: Id,
        revision: u64,
    },
    Reset {
        chat: Id,
        revision: u64,
    },
    Removed {
        chat: Id,
    },
    Presence {
        user: Id,
        online: bool,
    },
    CaughtUp,
}

/// What happened to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// A socket to this node is open.
    Opened {
        node: usize,
    },
    /// It said what it has.
    Resumes(BTreeMap<Id, u64>),
    Told(Told),
    /// It was answered with the newest page of a history.
    Page {
        chat: Id,
        items: Vec<Shown>,
    },
    /// It was answered who is online.
    Watches(Vec<(Id, bool)>),
    /// The socket has ended.
    Lost,
}

/// An entry and its time since the beginning of the run.
#[derive(Debug, Clone)]
pub(super) struct Noted {
    pub(super) at: Duration,
    pub(super) entry: Entry,
}

/// Everything that happened to one client.
#[derive(Debug, Clone)]
pub(super) struct Diary {
    pub(super) client: String,
    pub(super) user: Id,
    pub(super) entries: Vec<Noted>,
    /// Whether the client was there at the end, when all had had its time.
    pub(super) stayed: bool,
}

/// A message, or its new text, that was acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Acknowledged {
    pub(super) at: Duration,
    pub(super) chat: Id,
    pub(super) message: Shown,
    /// Of an edit: `message` is what the edit made of it.
    pub(super) is_edit: bool,
}

/// A change of members that was acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Moved {
    pub(super) chat: Id,
    pub(super) user: Id,
    pub(super) added: bool,
}

/// A chat, as it is stored in the end.
#[derive(Debug, Clone, Default)]
pub(super) struct Stored {
    /// Of a direct chat, which has no system messages: its two people.
    pub(super) direct: BTreeSet<Id>,
    /// By seq.
    pub(super) messages: Vec<Shown>,
}

/// What a run has left to be judged.
#[derive(Debug, Clone, Default)]
pub(super) struct Evidence {
    pub(super) diaries: Vec<Diary>,
    pub(super) acknowledged: Vec<Acknowledged>,
    pub(super) moved: Vec<Moved>,
    /// Client ids of all sends that were tried, whatever became of them.
    pub(super) tried: BTreeSet<Id>,
    pub(super) stored: BTreeMap<Id, Stored>,
    /// Who is to be online in the end, and who was ever there.
    pub(super) online: BTreeMap<Id, bool>,
}

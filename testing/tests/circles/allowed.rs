/// Files of one crate that may import each other.
pub(crate) struct Allowed {
    /// Each of them must be in such a circle.
    pub(crate) files: &'static [&'static str],
    /// Why they belong together, so that nobody has to understand one without the others.
    pub(crate) reason: &'static str,
}

pub(crate) const ALLOWED: &[Allowed] = &[
    Allowed {
        files: &[
            "messenger-core/src/domain/chat.rs",
            "messenger-core/src/domain/id.rs",
            "messenger-core/src/domain/message.rs",
            "messenger-core/src/domain/session.rs",
            "messenger-core/src/domain/user.rs",
        ],
        reason: "an id is typed by what it is the id of, and that holds ids, its own and others'",
    },
    Allowed {
        files: &[
            "messenger-core/src/memory/chats.rs",
            "messenger-core/src/memory/jobs.rs",
            "messenger-core/src/memory/mod.rs",
            "messenger-core/src/memory/retention.rs",
            "messenger-core/src/memory/schedules.rs",
            "messenger-core/src/memory/sessions.rs",
            "messenger-core/src/memory/unread.rs",
            "messenger-core/src/memory/users.rs",
        ],
        reason: "the store is one struct, and each file has the data of one port beside the methods that work on it",
    },
    Allowed {
        files: &[
            "messenger-signalr/src/session/mod.rs",
            "messenger-signalr/src/session/receiving.rs",
            "messenger-signalr/src/session/timing.rs",
        ],
        reason: "a session is one state machine, and each file has one part of its state beside the methods that work on it",
    },
];

/// Files of one crate that may import each other.
pub(crate) struct Allowed {
    /// Each of them must be in such a circle.
    pub(crate) files: &'static [&'static str],
    /// Why they belong together, so that nobody has to understand one without the others.
    pub(crate) reason: &'static str,
}

pub(crate) const ALLOWED: &[Allowed] = &[
    Allowed {
        files: &["messenger-axum/src/options.rs", "messenger-axum/src/signalr/options.rs"],
        reason: "not taken apart yet",
    },
    Allowed {
        files: &[
            "messenger-axum/src/signalr/ask.rs",
            "messenger-axum/src/signalr/hub.rs",
            "messenger-axum/src/signalr/uploads.rs",
        ],
        reason: "not taken apart yet",
    },
    Allowed {
        files: &[
            "messenger-axum/src/signalr/endpoint.rs",
            "messenger-axum/src/signalr/negotiate.rs",
            "messenger-axum/src/signalr/session/mod.rs",
            "messenger-axum/src/signalr/session/receiving.rs",
            "messenger-axum/src/signalr/session/timing.rs",
        ],
        reason: "not taken apart yet",
    },
    Allowed {
        files: &[
            "messenger-axum/src/signalr/protocol/argument.rs",
            "messenger-axum/src/signalr/protocol/json.rs",
            "messenger-axum/src/signalr/protocol/message.rs",
            "messenger-axum/src/signalr/protocol/messagepack.rs",
            "messenger-axum/src/signalr/protocol/mod.rs",
            "messenger-axum/src/signalr/protocol/records.rs",
            "messenger-axum/src/signalr/protocol/tokens.rs",
            "messenger-axum/src/signalr/protocol/transcode.rs",
        ],
        reason: "not taken apart yet",
    },
    Allowed {
        files: &["messenger-axum/src/web_socket/decoder.rs", "messenger-axum/src/web_socket/mod.rs"],
        reason: "not taken apart yet",
    },
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
            "messenger-core/src/memory/mod.rs",
            "messenger-core/src/memory/sessions.rs",
            "messenger-core/src/memory/users.rs",
        ],
        reason: "the store is one struct, and each file has the data of one port beside the methods that work on it",
    },
    Allowed {
        files: &[
            "messenger-mssql/src/append.rs",
            "messenger-mssql/src/chats.rs",
            "messenger-mssql/src/lib.rs",
            "messenger-mssql/src/markers.rs",
            "messenger-mssql/src/messages.rs",
            "messenger-mssql/src/sessions.rs",
            "messenger-mssql/src/users.rs",
        ],
        reason: "not taken apart yet",
    },
    Allowed {
        files: &[
            "messenger-sqlx/src/postgres/append.rs",
            "messenger-sqlx/src/postgres/chats.rs",
            "messenger-sqlx/src/postgres/connections.rs",
            "messenger-sqlx/src/postgres/markers.rs",
            "messenger-sqlx/src/postgres/messages.rs",
            "messenger-sqlx/src/postgres/mod.rs",
            "messenger-sqlx/src/postgres/open.rs",
            "messenger-sqlx/src/postgres/sessions.rs",
            "messenger-sqlx/src/postgres/users.rs",
        ],
        reason: "not taken apart yet",
    },
    Allowed {
        files: &["messenger-sqlx/src/sqlite/mod.rs", "messenger-sqlx/src/sqlite/open.rs"],
        reason: "not taken apart yet",
    },
    Allowed {
        files: &["messenger-sqlx/src/sqlite/sessions.rs", "messenger-sqlx/src/sqlite/users.rs"],
        reason: "not taken apart yet",
    },
    Allowed {
        files: &[
            "examples/server/src/config/mod.rs",
            "examples/server/src/config/sources.rs",
            "examples/server/src/config/store.rs",
        ],
        reason: "not taken apart yet",
    },
];

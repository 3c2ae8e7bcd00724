/// One setting: the same name is the key in the file, the flag after `--`, and, in capitals with `_` for `-`
/// after `MESSENGER_`, the environment variable.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) value: &'static str,
    pub(crate) default: &'static str,
    pub(crate) help: &'static str,
}

impl Setting {
    pub(crate) fn variable(&self) -> String {
        variable(self.name)
    }

    /// Whether no part of its value may be shown.
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self.name, "operator-key" | "password-pepper" | "secret" | "encryption-keys")
    }

    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }
}

pub(crate) fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_uppercase().replace('-', "_"))
}

pub(crate) const PREFIX: &str = "MESSENGER_";

/// Every setting there is, in the order in which `--help` and `check-config` show them.
pub(crate) const SETTINGS: &[Setting] = &[
    Setting {
        name: "listen",
        value: "ADDRESS",
        default: "127.0.0.1:8080",
        help: "Address and port to serve the page and the API at; port 0 takes a free one",
    },
    Setting {
        name: "store-url",
        value: "URL",
        default: "sqlite://messenger.db",
        help: "Where the data lies: `sqlite://PATH` is a file, made when missing (relative to the working \
               directory, or `sqlite:///` and an absolute path); `postgres://USER:PASSWORD@HOST:PORT/DATABASE` \
               is a PostgreSQL database, with parameters such as `?sslmode=verify-full`; \
               `mssql://USER:PASSWORD@HOST:PORT/DATABASE` is an SQL Server or Azure SQL database, with parameters \
               such as `?trustServerCertificateCA=FILE`; `memory:` keeps everything in memory until the server ends",
    },
    Setting {
        name: "store-schema",
        value: "NAME",
        default: "messenger",
        help: "For PostgreSQL and SQL Server: the schema in which the tables lie, made when missing",
    },
    Setting {
        name: "store-connections",
        value: "NUMBER",
        default: "16",
        help: "For PostgreSQL and SQL Server: how many connections to the database are open at most",
    },
    Setting {
        name: "store-transaction-pooling",
        value: "on|off",
        default: "off",
        help: "For PostgreSQL: whether the URL leads to a pooler that gives each transaction another connection, \
               such as PgBouncer with `pool_mode = transaction`",
    },
    Setting {
        name: "store-statement-timeout",
        value: "TIME",
        default: "10s",
        help: "For PostgreSQL and SQL Server: how long the database may work on a statement, waits for locks \
               included, before it is given up",
    },
    Setting {
        name: "encryption",
        value: "on|off|strict",
        default: "",
        help: "Whether what people write is encrypted in the database, on the bus and in backups; with `strict` whatever is \
               not encrypted counts as damaged. By default it is on for new data in an SQLite file, and where there are \
               keys",
    },
    Setting {
        name: "encryption-keys-file",
        value: "FILE",
        default: "",
        help: "The file with the keys for that, as `messenger-server keys generate` makes it; by default one beside the \
               SQLite file. All servers on a database have the same keys",
    },
    Setting {
        name: "encryption-keys",
        value: "KEYS",
        default: "",
        help: "Those keys themselves, with commas between them; better in the variable",
    },
    Setting {
        name: "encryption-display-names",
        value: "on|off",
        default: "off",
        help: "Whether the names that people show are encrypted, too; then people are found by their usernames alone",
    },
    Setting {
        name: "encryption-padding",
        value: "on|off",
        default: "off",
        help: "Whether texts are made up to 12 % longer before they are encrypted, so that their lengths tell less",
    },
    Setting {
        name: "redis-url",
        value: "URL",
        default: "",
        help: "For several nodes on one database: the Redis or Valkey over which they hear of each other, \
               `redis://USER:PASSWORD@HOST:PORT/DATABASE`, `redis+sentinel://HOST:PORT,HOST:PORT/SERVICE` or \
               `redis+cluster://HOST:PORT,HOST:PORT`, each with `rediss` for TLS",
    },
    Setting {
        name: "redis-ca",
        value: "FILE",
        default: "",
        help: "The certificates, as PEM, of the authorities that are trusted with `rediss`; by default those of the \
               system",
    },
    Setting {
        name: "redis-prefix",
        value: "TEXT",
        default: "messenger",
        help: "What the names of all keys and channels in Redis begin with; nodes with the same one belong together",
    },
    Setting {
        name: "bus",
        value: "memory|postgres|redis",
        default: "",
        help: "How nodes hear at once what happens on the others; by default `redis` where there is a --redis-url, \
               else `postgres` where the store is on PostgreSQL, else `memory`, and what happens elsewhere is seen \
               up to 5 s later",
    },
    Setting {
        name: "presence",
        value: "memory|postgres|redis",
        default: "",
        help: "Where it is kept who is online; by default in the same place as the bus. With `memory` each node knows \
               its own people alone",
    },
    Setting {
        name: "bus-url",
        value: "URL",
        default: "",
        help: "For a bus or presence on PostgreSQL, where --store-url leads to a pooler for transactions: the URL of \
               the same database on the server itself; by default that of --store-url",
    },
    Setting {
        name: "node-name",
        value: "NAME",
        default: "",
        help: "What this node is called in its log, as the label `node` of its metrics, and in the list of clients of \
               Redis: 1 to 64 letters, digits, `.`, `_` and `-`; by default it has no name there",
    },
    Setting {
        name: "workers",
        value: "on|off",
        default: "on",
        help: "Whether this server does background jobs; with `off` others on the same database must, such as \
               `messenger-server work`",
    },
    Setting {
        name: "operator-key",
        value: "KEY",
        default: "",
        help: "The key with which an operator sees and changes background jobs at /ops, 20 to 200 characters; \
               without one there is no /ops. It is better in the variable or in a file",
    },
    Setting { name: "operator-key-file", value: "FILE", default: "", help: "The file that holds that key" },
    Setting {
        name: "mail-url",
        value: "URL",
        default: "",
        help: "Where mail about what stays unread goes: `smtp://USER:PASSWORD@HOST:PORT` (STARTTLS) or `smtps://…` is a \
               server, `folder:DIR` a folder with a file for each mail, `log:` a line in the log; by default there is \
               no mail. A password is better in the variable or in a file",
    },
    Setting { name: "mail-url-file", value: "FILE", default: "", help: "The file that holds that URL" },
    Setting {
        name: "mail-from",
        value: "ADDRESS",
        default: "",
        help: "Who mail is from, such as `Chat <chat@example.org>`; by default `Messenger <messenger@HOST>` with the host \
               of --public-url",
    },
    Setting {
        name: "mail-after",
        value: "TIME",
        default: "5m",
        help: "How long a message stays unread, and its reader away, until there is a mail; seconds will do for a trial",
    },
    Setting {
        name: "mail-content",
        value: "on|off",
        default: "on",
        help: "Whether mails have the texts of messages, or only names and numbers",
    },
    Setting {
        name: "mail-link",
        value: "URL",
        default: "",
        help: "Where a chat is opened, with `{chat}` for its id, such as `https://chat.example.org/#/chat/{chat}`; by \
               default on the page of this server",
    },
    Setting {
        name: "mail-templates",
        value: "DIR",
        default: "",
        help: "A folder with templates and words in place of those that come with the server",
    },
    Setting {
        name: "mail-quiet-hours",
        value: "HH:MM-HH:MM",
        default: "",
        help: "When people who have not said so themselves get no mail, such as `22:00-07:00`",
    },
    Setting {
        name: "mail-time-zone",
        value: "ZONE",
        default: "",
        help: "The time zone of people who have not said theirs, such as `Europe/Berlin`; by default UTC",
    },
    Setting {
        name: "public-url",
        value: "URL",
        default: "",
        help: "Where people reach the page, such as `https://chat.example.org`: links in mails begin with it; by default \
               `http://` and where the server listens",
    },
    Setting {
        name: "secret",
        value: "KEY",
        default: "",
        help: "The key that signs links in mails, at least 32 random letters, the same for all servers on a database; by \
               default one is made beside an SQLite file, and else there is one for this process. It is better in the \
               variable or in a file",
    },
    Setting {
        name: "secret-file",
        value: "FILE",
        default: "",
        help: "The file that holds that key; further lines are keys of before, whose links still work",
    },
    Setting {
        name: "password-pepper",
        value: "KEY",
        default: "",
        help: "A key that goes into the hash of each password and is not in the database, at least 32 random letters, the same for \
               all servers on a database; by default there is none. Without it nobody can log in any more whose password was \
               hashed with it. It is better in the variable or in a file",
    },
    Setting {
        name: "password-pepper-file",
        value: "FILE",
        default: "",
        help: "The file that holds that key; further lines are keys of before: whoever logs in gets a hash with the first",
    },
    Setting {
        name: "retention",
        value: "TIME|off",
        default: "off",
        help: "How long messages are kept, such as `365d`, from a minute to a hundred years; those that are older are purged for good, \
               except what is under a hold (`messenger-server retention`). The owner of a group can let its messages be kept for \
               less. The same for all servers on a database; by default messages are kept for good",
    },
    Setting {
        name: "rate-limits",
        value: "on|off",
        default: "on",
        help: "Whether callers who send too many requests are slowed down",
    },
    Setting {
        name: "trusted-proxies",
        value: "NUMBER",
        default: "0",
        help: "How many reverse proxies stand in front and add to `X-Forwarded-For`, so that limits go by the \
               address of the client and not of the proxy",
    },
    Setting {
        name: "allow-origins",
        value: "ORIGINS",
        default: "",
        help: "Web pages of these origins may use the API, with commas between them, such as \
               `https://chat.example.org`; pages of the server's own origin always may",
    },
    Setting {
        name: "log",
        value: "FILTER",
        default: "info",
        help: "What to log to standard output: `off`, `error`, `warn`, `info`, `debug`, `trace`, or a level for \
               each part such as `warn,messenger_core=debug`",
    },
    Setting {
        name: "log-format",
        value: "text|json",
        default: "text",
        help: "How to write the log: for people, or one JSON object a line",
    },
    Setting {
        name: "max-connections",
        value: "NUMBER",
        default: "50000",
        help: "Connections open at a time; further ones wait until one ends",
    },
    Setting {
        name: "request-timeout",
        value: "TIME",
        default: "30s",
        help: "How long a request may be worked on before it is answered with 503; WebSockets last",
    },
    Setting {
        name: "body-timeout",
        value: "TIME",
        default: "30s",
        help: "How long the body of a request may take to come",
    },
    Setting {
        name: "header-timeout",
        value: "TIME",
        default: "10s",
        help: "How long a client may take to send the head of a request, and how long an idle connection is kept",
    },
    Setting {
        name: "write-timeout",
        value: "TIME",
        default: "30s",
        help: "How long a client may read nothing of what it is sent before its connection is cut",
    },
    Setting {
        name: "shutdown-timeout",
        value: "TIME",
        default: "10s",
        help: "How long work under way may take to finish after SIGTERM or Ctrl-C; a second signal ends at once",
    },
];

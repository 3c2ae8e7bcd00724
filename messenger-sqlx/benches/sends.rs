//! Durable sends a second through the whole service, beside bare inserts on the same disk in the same run; and asking what
//! has changed, beside very many chats.
//!
//! `cargo bench -p messenger-sqlx --bench sends -- --help`

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use messenger_core::{ChatId, context::Context, ports::Store as _};
use messenger_sqlx::SqliteStore;
use messenger_testing::bench::{
    BATCH, BODY, Changes, IDLE, MESSAGES_OF_IDLE, Options, Result, Service, Table, verdict,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tempfile::TempDir;

const HELP: &str = "\
Durable sends a second on SQLite, through Messenger::execute, beside bare inserts on the same disk; and asking what has
changed, beside 1,000 and 100,000 chats.

Usage: cargo bench -p messenger-sqlx --bench sends -- [--quick] [PART]...

  sends     1, 8 and 64 senders over one chat and ten
  changes   the chats that have changed lately: none, 10 and 1,000

  --quick   three rounds of 0.3 s each instead of five of 1 s
  --help    this

Rounds are interleaved. Each figure is the median of the rounds and the best of them; a ratio is the median of the
ratios of each round, because what is measured next to each other has had the same disk and the same neighbours.";

fn main() -> Result {
    let Some(options) = Options::read(HELP, &["sends", "changes"], &[])? else { return Ok(()) };
    // Where the build is, which is on a disk; the system's folder for temporary files may be in memory.
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    tokio::runtime::Runtime::new()?.block_on(async {
        if options.wants("sends") {
            sends(&folder, &options).await?;
        }
        if options.wants("changes") {
            changes(&folder, &options).await?;
        }
        Ok(())
    })
}

async fn sends(folder: &TempDir, options: &Options) -> Result {
    let (rounds, length) =
        (options.rounds(), options.length(Duration::from_millis(300), Duration::from_secs(1)));
    let mut bare = Bare::open(folder).await?;
    let store = SqliteStore::open(folder.path().join("service.db")).await?;
    let service = Service::open(Arc::new(store), SENDERS).await?;
    let chats = Chats::make(&service).await?;
    let mut table = Table::new(BATCHES, None);
    println!("{rounds} rounds of {length:?} for each line, in {}", folder.path().display());
    for _ in 0..rounds {
        table.measure(PLAIN, PLAIN, bare.insert_for(length, 1)).await?;
        table.measure(BATCHES, PLAIN, bare.insert_for(length, BATCH)).await?;
        for (name, senders, place) in CASES {
            table.measure(name, PLAIN, chats.send_for(&service, length, senders, place)).await?;
        }
    }
    service.close().await;
    table.print();
    print_aims(&table);
    Ok(())
}

fn print_aims(table: &Table) {
    let rate = |name, to| table.ratio(name, to, |line| line.rate);
    let (plain, batches) = (rate(MOST, PLAIN), rate(BATCHES, MOST));
    println!("Aims, with {MOST}:");
    println!("  at least 6 times the plain inserts: {plain:.1} times, {}", verdict(plain >= 6.0));
    println!("  within 2.5 times of bare batches:   {batches:.1} times, {}", verdict(batches <= 2.5));
}

const PLAIN: &str = "bare insert, 1 row a transaction";
const BATCHES: &str = "bare insert, 128 rows a transaction";
const MOST: &str = "64 senders, 10 chats";
const CASES: [(&str, usize, Place); 6] = [
    ("1 sender, 10 chats", 1, Place::Spread),
    ("8 senders, 10 chats", 8, Place::Spread),
    (MOST, 64, Place::Spread),
    ("1 sender, one chat", 1, Place::OneChat),
    ("8 senders, one chat", 8, Place::OneChat),
    ("64 senders, one chat", 64, Place::OneChat),
];
const CHATS: usize = 10;
const SENDERS: usize = 64;
/// Where the messages of a case go.
#[derive(Clone, Copy)]
enum Place {
    Spread,
    OneChat,
}

/// A connection that inserts rows of a message's columns into a table without an index but its key: what the
/// engine can do when nothing is looked at.
struct Bare {
    conn: SqliteConnection,
    context: Context,
    chats: Vec<ChatId>,
    seq: i64,
}

const TABLE: &str = "CREATE TABLE bare (
    chat_id BLOB NOT NULL, seq INTEGER NOT NULL, id BLOB NOT NULL, sender_id BLOB NOT NULL, kind INTEGER NOT NULL,
    created_revision INTEGER NOT NULL, revision INTEGER NOT NULL, texts INTEGER NOT NULL, body BLOB, client_id TEXT,
    fingerprint BLOB, reply_to BLOB, created_at INTEGER NOT NULL, edited_at INTEGER, deleted_at INTEGER,
    PRIMARY KEY (chat_id, seq)
) STRICT, WITHOUT ROWID";

impl Bare {
    async fn open(folder: &TempDir) -> Result<Self> {
        // As the store opens its file, so that the difference is what the store does with it.
        let options = SqliteConnectOptions::new()
            .filename(folder.path().join("bare.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("wal_autocheckpoint", "4000")
            .pragma("cache_size", "-16384")
            .disable_statement_logging();
        let mut conn = options.connect().await?;
        sqlx::query(TABLE).execute(&mut conn).await?;
        let context = Context::system();
        let chats = (0..CHATS).map(|_| context.id()).collect();
        Ok(Self { conn, context, chats, seq: 0 })
    }

    async fn insert_for(&mut self, length: Duration, rows: usize) -> Result<usize> {
        let row = "(?,?,?,?,0,?,?,?,?,?,?,NULL,?,NULL,NULL)";
        let sql = format!("INSERT INTO bare VALUES {}", vec![row; rows].join(","));
        let (until, mut inserted) = (Instant::now() + length, 0);
        while Instant::now() < until {
            self.insert(&sql, rows).await?;
            inserted += rows;
        }
        Ok(inserted)
    }

    /// One statement is one transaction.
    async fn insert(&mut self, sql: &str, rows: usize) -> Result {
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for row in 0..rows {
            self.seq += 1;
            let (id, chat) = (self.context.id::<()>(), self.chats[row % self.chats.len()]);
            query = query
                .bind(chat.as_bytes().as_slice())
                .bind(self.seq)
                .bind(id.as_bytes().as_slice())
                .bind(chat.as_bytes().as_slice())
                .bind(self.seq)
                .bind(self.seq)
                .bind(self.seq)
                .bind(BODY.as_bytes())
                .bind(id.to_string())
                .bind(id.as_bytes().as_slice())
                .bind(self.context.now().as_micros());
        }
        query.execute(&mut self.conn).await?;
        Ok(())
    }
}

/// The chats of the cases, with everybody in them.
struct Chats {
    many: Vec<ChatId>,
    one: ChatId,
}

impl Chats {
    async fn make(service: &Service) -> Result<Self> {
        let everybody: Vec<usize> = (0..SENDERS).collect();
        let one = service.make_group(&everybody).await?;
        let mut many = Vec::new();
        for _ in 0..CHATS {
            many.push(service.make_group(&everybody).await?);
        }
        Ok(Self { many, one })
    }

    async fn send_for(
        &self,
        service: &Service,
        length: Duration,
        senders: usize,
        place: Place,
    ) -> Result<usize> {
        let chats = match place {
            Place::Spread => self.many.clone(),
            Place::OneChat => vec![self.one],
        };
        let senders = (0..senders).map(|number| (number, chats.clone())).collect();
        service.send_until(Instant::now() + length, senders).await
    }
}

async fn changes(folder: &TempDir, options: &Options) -> Result {
    let mut stores = vec![];
    for idle in IDLE {
        let file = folder.path().join(format!("{idle}.db"));
        // Makes the tables, and lets go of the file.
        SqliteStore::open(&file).await?.close().await;
        let mut conn = SqliteConnectOptions::new().filename(&file).connect().await?;
        for statement in idle_chats(idle) {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut conn).await?;
        }
        conn.close().await?;
        stores.push(Changes::beside(idle, Arc::new(SqliteStore::open(&file).await?)).await);
    }
    Changes::compare(&stores, None, options).await
}

fn idle_chats(chats: usize) -> [String; 2] {
    let id =
        |number: &str| format!("unhex(format('%012x70008000%012x', 1735689600000 + {number}, {number}))");
    let (chat, message) = (id("c"), id(&format!("({MESSAGES_OF_IDLE} * c + n)")));
    let series = |name: &str, last: usize| {
        format!(
            "(WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {last})
                SELECT n AS {name} FROM s WHERE n <= {last})"
        )
    };
    let (all, each) = (series("c", chats), series("n", MESSAGES_OF_IDLE));
    [
        format!(
            "INSERT INTO messenger_chats (id, kind, created_at, activity_at, revision, last_seq, texts, member_count,
                roster_version, commit_no)
            SELECT {chat}, 1, c, c, 5, {MESSAGES_OF_IDLE}, 2, 2, 1, 1 FROM {all}"
        ),
        format!(
            "INSERT INTO messenger_messages (id, chat_id, seq, sender_id, kind, created_revision, revision, texts,
                created_at, edited_at, deleted_at, body)
            SELECT {message}, {chat}, n, {chat}, 0, n, n + CASE WHEN c % 10 = 0 AND n > 1 THEN 2 ELSE 0 END, n, c,
                CASE WHEN c % 10 = 0 AND n = 2 THEN c END, CASE WHEN c % 10 = 0 AND n = 3 THEN c END,
                CAST('{BODY}' AS BLOB)
            FROM {all} CROSS JOIN {each}"
        ),
    ]
}

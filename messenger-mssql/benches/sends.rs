//! Durable sends a second on SQL Server through the whole service, and pages of a long history, beside bare SQL on the
//! same server in the same run; and asking what has changed, beside very many chats.
//!
//! `cargo bench -p messenger-mssql --bench sends -- --help`

use std::{env, hint::black_box, process::ExitCode, sync::Arc};

use messenger_core::{context::Context, ports::Store};
use messenger_mssql::{MssqlBuilder, MssqlStore};
use messenger_testing::{
    MssqlConnection, MssqlDatabase, ServerCpu,
    bench::{
        BATCH, BODY, Bare, CHATS, Changes, IDLE, Inserter, LongChat, MESSAGES_OF_IDLE, Options, PAGE, PEOPLE,
        Result, Sends, Table, line, plain, verdict,
    },
};
use tiberius::{Row, ToSql};

const HELP: &str = "\
Durable sends a second on SQL Server, through Messenger::execute, and pages of a history of 200,000 messages, beside bare
SQL on the same server in the same run; and asking what has changed, beside 1,000 and 100,000 chats. The server is the one
that MESSENGER_TEST_MSSQL_URL names, with its own settings; each part has databases of its own there, which are dropped at
the end. The CPU of the server is not measured, but with --server.

Usage: cargo bench -p messenger-mssql --bench sends -- [OPTION]... [PART]...

  sends             1, 8, 64 and 256 senders over 1, 64 and 1,000 chats
  history           a page of 50 from the middle
  changes           the chats that have changed lately: none, 10 and 1,000

  --quick           three rounds of 0.5 s each instead of five of 1.5 s
  --lanes N         batches under way at the same time (default: that of the store)
  --connections N   connections of the store at most (default: that of the store)
  --senders N       so many senders only: for a profiler
  --server PID      the first process of the server, where it runs on this machine, whose CPU is measured
  --help            this

Plain: one row by one parameterised statement and one commit, over a connection for each client, encrypted as those of the
store are. Batches: 128 rows by one INSERT, which cuts them out of one varbinary, as the store's statements do. VALUES with
a parameter for each of the 1,024 values is more usual, but the server takes several times as long for it.

Rounds are interleaved. Each figure is the median of the rounds and the best of them; a ratio is the median of the
ratios of each round, because what is measured next to each other has had the same server and the same neighbours.";

fn main() -> Result<ExitCode> {
    let numbers = ["--lanes", "--connections", "--senders", "--server"];
    let Some(options) = Options::read(HELP, &["sends", "history", "changes"], &numbers)? else {
        return Ok(ExitCode::SUCCESS);
    };
    if env::var_os("MESSENGER_TEST_MSSQL_URL").is_none() {
        eprintln!(
            "This needs an SQL Server: set MESSENGER_TEST_MSSQL_URL to \
             `mssql://USER:PASSWORD@HOST:PORT/master?trustServerCertificate=true`, with a user that may make databases."
        );
        return Ok(ExitCode::from(2));
    }
    tokio::runtime::Runtime::new()?.block_on(async {
        if options.wants("history") {
            history(&options).await?;
        }
        if options.wants("sends") {
            sends(&options).await?;
        }
        if options.wants("changes") {
            changes(&options).await?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn store(database: &MssqlDatabase, options: &Options) -> Result<MssqlBuilder> {
    let mut store = MssqlStore::builder(&database.url());
    if let Some(lanes) = options.number("--lanes") {
        store = store.lanes(lanes);
    }
    if let Some(connections) = options.number("--connections") {
        store = store.max_connections(connections.try_into()?);
    }
    Ok(store)
}

/// Its CPU time, if its first process was named.
fn server_cpu(options: &Options) -> Result<Option<ServerCpu>> {
    let server = options.number("--server").map(u32::try_from).transpose()?;
    Ok(server.map(ServerCpu::of))
}

const BATCHES: &str = "bare list, 128 rows, 2 writers";

async fn sends(options: &Options) -> Result {
    let database = MssqlDatabase::create().await;
    let store = Arc::new(store(&database, options)?.open().await?);
    let bare = Connection::open_all(&database).await?;
    let table = Sends::prepare(store, bare, options).await?.measure(BATCHES, server_cpu(options)?).await?;
    print_aims(&table);
    Ok(())
}

fn print_aims(table: &Table) {
    println!("Aims:");
    for (senders, aim) in [(64, 8.0), (1, 0.9)].into_iter().filter(|(senders, _)| table.has(&plain(*senders)))
    {
        for chats in CHATS {
            let name = line(senders, chats);
            let times = table.ratio(&name, &plain(senders), |line| line.rate);
            println!("  {name}: {aim} times the plain inserts: {times:.2}, {}", verdict(times >= aim));
        }
    }
}

struct Connection {
    connection: MssqlConnection,
    context: Context,
}

const TABLE: &str = "CREATE TABLE bare (
    id binary(16) NOT NULL PRIMARY KEY, chat_id binary(16) NOT NULL, sender_id binary(16) NOT NULL, seq bigint NOT NULL,
    created_revision bigint NOT NULL, revision bigint NOT NULL, texts bigint NOT NULL, created_at bigint NOT NULL,
    kind tinyint NOT NULL, is_changed bit NOT NULL, edited_at bigint NULL, deleted_at bigint NULL,
    reply_to binary(16) NULL, client_id varbinary(64) NULL, fingerprint binary(16) NULL, body varbinary(max) NULL
)";

const INSERT: &str =
    "INSERT INTO bare (id, chat_id, sender_id, seq, created_revision, revision, texts, created_at, kind, is_changed,
        client_id, fingerprint, body)
    VALUES (@P1, @P2, @P3, @P4, @P4, @P4, @P4, @P5, 0, 0, @P6, @P7, @P8)";

/// The same values, of fixed lengths, one row after the other.
const INSERT_BATCH: &str =
    "INSERT INTO bare (id, chat_id, sender_id, seq, created_revision, revision, texts, created_at, kind, is_changed,
        client_id, fingerprint, body)
    SELECT SUBSTRING(@P1, a.at, 16), SUBSTRING(@P1, a.at + 16, 16), SUBSTRING(@P1, a.at + 32, 16), a.seq, a.seq, a.seq,
        a.seq, CAST(SUBSTRING(@P1, a.at + 56, 8) AS bigint), 0, 0, SUBSTRING(@P1, a.at + 64, 36),
        SUBSTRING(@P1, a.at + 100, 16), SUBSTRING(@P1, a.at + 116, 100)
    FROM (
        SELECT 216 * n - 215 AS at, CAST(SUBSTRING(@P1, 216 * n - 167, 8) AS bigint) AS seq
        FROM messenger.messenger_numbers WHERE n <= DATALENGTH(@P1) / 216
    ) AS a";

impl Connection {
    async fn open_all(database: &MssqlDatabase) -> Result<Bare<Self>> {
        database.execute(TABLE).await;
        let mut connections = Vec::new();
        for _ in 0..PEOPLE {
            let connection = database.connect().await?;
            connections.push(Self { connection, context: Context::system() });
        }
        Ok(Bare::new(connections))
    }

    async fn insert_row(&mut self) -> Result {
        let (id, at) = (self.context.id::<()>(), self.context.now().as_micros());
        let (name, id) = (id.to_string(), id.as_bytes().as_slice());
        let values: [&dyn ToSql; 8] = [&id, &id, &id, &1_i64, &at, &name.as_bytes(), &id, &BODY.as_bytes()];
        self.connection.execute(INSERT, &values).await?;
        Ok(())
    }

    async fn insert_batch(&mut self) -> Result {
        let mut list = Vec::new();
        for _ in 0..BATCH {
            let (id, at) = (self.context.id::<()>(), self.context.now().as_micros());
            let (name, id) = (id.to_string(), id.as_bytes());
            for value in [id, id, id, &1_i64.to_be_bytes()[..], &at.to_be_bytes(), name.as_bytes(), id] {
                list.extend_from_slice(value);
            }
            list.extend_from_slice(BODY.as_bytes());
        }
        self.connection.execute(INSERT_BATCH, &[&list]).await?;
        Ok(())
    }
}

impl Inserter for Connection {
    async fn insert(&mut self, rows: usize) -> Result {
        if rows == 1 { self.insert_row().await } else { self.insert_batch().await }
    }
}

const MESSAGES: usize = 200_000;

/// As a host would write it that knows the place and asks nothing else.
const BARE_PAGE: &str =
    "SELECT id, chat_id, seq, created_revision, revision, kind, sender_id, body, client_id, fingerprint,
        reply_to, created_at, edited_at, deleted_at
    FROM messenger.messenger_messages WHERE chat_id = CAST(@P1 AS binary(16)) AND seq >= @P2 AND seq < @P2 + 50
    ORDER BY seq";
const _: () = assert!(PAGE == 50, "the page of the query");

async fn history(options: &Options) -> Result {
    let database = MssqlDatabase::create().await;
    let store = store(&database, options)?.open().await?;
    let long = fill(&database).await;
    let mut bare = database.connect().await?;
    let read = async |place| {
        let rows = bare.query(BARE_PAGE, &[&long.chat.as_bytes().as_slice(), &place]).await?;
        let rows = rows.into_first_result().await?;
        rows.iter().try_for_each(decode)?;
        Ok(rows.len())
    };
    long.compare(&store, options.rounds(), read).await?;
    Store::close(&store).await;
    Ok(())
}

fn decode(row: &Row) -> Result {
    for column in [0, 1, 6, 7, 8, 9, 10] {
        black_box(row.try_get::<&[u8], _>(column)?.map(<[u8]>::to_vec));
    }
    for column in [2, 3, 4, 11, 12, 13] {
        black_box(row.try_get::<i64, _>(column)?);
    }
    black_box(row.try_get::<u8, _>(5)?);
    Ok(())
}

/// A chat of one with a long history.
async fn fill(database: &MssqlDatabase) -> LongChat {
    eprintln!("writing {MESSAGES} messages");
    let context = Context::system();
    let (chat, user) = (context.id::<messenger_core::Chat>(), context.id::<messenger_core::User>());
    let (chat_id, user_id) = (literal(chat.as_bytes()), literal(user.as_bytes()));
    let body = literal(BODY.as_bytes());
    database
        .execute(&format!(
            "INSERT INTO messenger.messenger_chats (id, kind, created_at, activity_at, revision, last_seq, texts,
    member_count, roster_version)
VALUES ({chat_id}, 1, 1, 1, {MESSAGES}, {MESSAGES}, {MESSAGES}, 1, 1);
INSERT INTO messenger.messenger_members (chat_id, user_id, role, joined_at, join_order, read_seq, read_texts,
    delivered_seq)
VALUES ({chat_id}, {user_id}, 0, 1, 1, 0, 0, 0);
INSERT INTO messenger.messenger_messages (id, chat_id, seq, sender_id, kind, is_changed, created_revision, revision,
    texts, created_at, client_id, fingerprint, body)
SELECT CAST(NEWID() AS binary(16)), {chat_id}, a.n, {user_id}, 0, 0, a.n, a.n, a.n, a.n,
    CAST(CAST(NEWID() AS char(36)) AS varbinary(64)), 0x00112233445566778899AABBCCDDEEFF, {body}
FROM (
    SELECT TOP ({MESSAGES}) CAST(low.n AS bigint) + 65536 * (high.n - 1) AS n
    FROM messenger.messenger_numbers AS high CROSS JOIN messenger.messenger_numbers AS low
    WHERE high.n <= 4 ORDER BY high.n, low.n
) AS a;"
        ))
        .await;
    LongChat { chat, user, messages: MESSAGES }
}

/// Bytes as they stand in a statement.
fn literal(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("0x{hex}")
}

async fn changes(options: &Options) -> Result {
    let (mut databases, mut stores) = (vec![], vec![]);
    for idle in IDLE {
        let database = MssqlDatabase::create().await;
        let store = store(&database, options)?.open().await?;
        database.execute(&idle_chats(idle)).await;
        stores.push(Changes::beside(idle, Arc::new(store)).await);
        databases.push(database);
    }
    Changes::compare(&stores, server_cpu(options)?, options).await
}

fn idle_chats(chats: usize) -> String {
    let six_bytes = |number: &str| format!("SUBSTRING(CAST(CAST({number} AS bigint) AS binary(8)), 3, 6)");
    let id = |number: &str| {
        let parts = [&six_bytes(&format!("1735689600000 + {number}")), "0x70008000", &six_bytes(number)];
        format!("CAST({} AS binary(16))", parts.join(" + "))
    };
    let (chat, message) = (id("a.c"), id(&format!("({MESSAGES_OF_IDLE} * a.c + b.n)")));
    let all = format!(
        "(
    SELECT TOP ({chats}) CAST(low.n AS bigint) + 65536 * (high.n - 1) AS c
    FROM messenger.messenger_numbers AS high CROSS JOIN messenger.messenger_numbers AS low
    WHERE high.n <= 2 ORDER BY high.n, low.n
) AS a"
    );
    let body = literal(BODY.as_bytes());
    format!(
        "INSERT INTO messenger.messenger_chats (id, kind, created_at, activity_at, revision, last_seq, texts,
    member_count, roster_version)
SELECT {chat}, 1, a.c, a.c, 5, {MESSAGES_OF_IDLE}, 2, 2, 1 FROM {all};
INSERT INTO messenger.messenger_messages (id, chat_id, seq, sender_id, kind, is_changed, created_revision, revision,
    texts, created_at, edited_at, deleted_at, body)
SELECT {message}, {chat}, b.n, {chat}, 0, CASE WHEN a.c % 10 = 0 AND b.n > 1 THEN 1 ELSE 0 END, b.n,
    b.n + CASE WHEN a.c % 10 = 0 AND b.n > 1 THEN 2 ELSE 0 END, b.n, a.c,
    CASE WHEN a.c % 10 = 0 AND b.n = 2 THEN a.c END, CASE WHEN a.c % 10 = 0 AND b.n = 3 THEN a.c END, {body}
FROM {all} JOIN messenger.messenger_numbers AS b ON b.n <= {MESSAGES_OF_IDLE};"
    )
}

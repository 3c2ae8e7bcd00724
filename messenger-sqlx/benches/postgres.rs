//! Durable sends a second on PostgreSQL through the whole service, and pages of a long history, beside bare SQL on the
//! same server in the same run; and asking what has changed, beside very many chats.
//!
//! `cargo bench -p messenger-sqlx --features postgres --bench postgres -- --help`

use std::{hint::black_box, sync::Arc};

use messenger_core::context::Context;
use messenger_sqlx::PostgresStore;
use messenger_testing::{
    Database, PrivateServer,
    bench::{
        BATCH, BODY, Bare, CHATS, Changes, IDLE, Inserter, Line, LongChat, MESSAGES_OF_IDLE, Options, PEOPLE,
        Result, Sends, Table, line, plain, verdict,
    },
    connect, execute,
};
use sqlx::{Decode, PgConnection, Postgres, Row as _, Type, postgres::PgRow, types::Uuid};

const HELP: &str = "\
Durable sends a second on PostgreSQL, through Messenger::execute, and pages of a history of 1,000,000 messages, beside
bare SQL on the same server in the same run; and asking what has changed, beside 1,000 and 100,000 chats. The server is
a private one with PostgreSQL's own settings (fsync = on), in the folder for temporary files: set TMPDIR to a folder on a
disk where that is none.

Usage: cargo bench -p messenger-sqlx --features postgres --bench postgres -- [OPTION]... [PART]...

  sends        1, 8, 64 and 256 senders over 1, 64 and 1,000 chats
  history      a page of 50 from the middle
  changes      the chats that have changed lately: none, 10 and 1,000

  --quick      three rounds of 0.5 s each instead of five of 1.5 s
  --lanes N    batches under way at the same time (default: that of the store)
  --senders N  so many senders only: for a profiler
  --help       this

Rounds are interleaved. Each figure is the median of the rounds and the best of them; a ratio is the median of the
ratios of each round, because what is measured next to each other has had the same disk and the same neighbours.";

fn main() -> Result {
    let Some(options) = Options::read(HELP, &["sends", "history", "changes"], &["--lanes", "--senders"])?
    else {
        return Ok(());
    };
    // Each part has a server of its own, so that none is slowed by what another has left to be cleaned up.
    let server = || PrivateServer::start(&["max_connections=400"]);
    tokio::runtime::Runtime::new()?.block_on(async {
        if options.wants("history") {
            history(&server(), options.rounds()).await?;
        }
        if options.wants("sends") {
            sends(&server(), &options).await?;
        }
        if options.wants("changes") {
            changes(&server(), &options).await?;
        }
        Ok(())
    })
}

const BATCHES: &str = "bare UNNEST, 128 rows, 2 writers";

async fn sends(server: &PrivateServer, options: &Options) -> Result {
    let mut store = PostgresStore::builder(server.url());
    if let Some(lanes) = options.number("--lanes") {
        store = store.lanes(lanes);
    }
    let sends =
        Sends::prepare(Arc::new(store.open().await?), Connection::open_all(server).await, options).await?;
    tidy_up(&mut connect(server.url()).await).await;
    print_aims(&sends.measure(BATCHES, Some(server.cpu())).await?);
    Ok(())
}

/// What the server would do some time later.
async fn tidy_up(conn: &mut PgConnection) {
    for upkeep in ["VACUUM ANALYZE", "CHECKPOINT"] {
        execute(conn, upkeep).await;
    }
}

fn print_aims(table: &Table) {
    println!("Aims:");
    let rate = |name: &str, to: &str| table.ratio(name, to, |line| line.rate);
    for senders in [64, 256].into_iter().filter(|senders| table.has(&plain(*senders))) {
        for chats in CHATS {
            let name = line(senders, chats);
            let times = rate(&name, &plain(senders));
            let cpu = table.ratio(&name, BATCHES, Line::whole_cpu);
            println!("  {name}: 5 times the plain inserts: {times:.1}, {}", verdict(times >= 5.0));
            println!("  {name}: within 3 times the CPU of bare batches: {cpu:.1}, {}", verdict(cpu <= 3.0));
        }
        let hot = rate(&line(senders, 1), &line(senders, 1000));
        println!("  {senders} senders: one chat at 0.5 of 1,000 chats: {hot:.2}, {}", verdict(hot >= 0.5));
    }
    for chats in CHATS.into_iter().filter(|_| table.has(&plain(1))) {
        let one = rate(&line(1, chats), &plain(1));
        println!("  1 sender, {chats} chats: 0.9 of the plain insert: {one:.2}, {}", verdict(one >= 0.9));
    }
}

struct Connection {
    conn: PgConnection,
    context: Context,
}

const TABLE: &str = "CREATE TABLE bare (
    id uuid NOT NULL PRIMARY KEY, chat_id uuid NOT NULL, sender_id uuid NOT NULL, seq bigint NOT NULL,
    created_revision bigint NOT NULL, revision bigint NOT NULL, texts bigint NOT NULL, created_at bigint NOT NULL,
    kind smallint NOT NULL, edited_at bigint, deleted_at bigint, reply_to uuid, client_id text, fingerprint bytea, body bytea
)";

const INSERT: &str =
    "INSERT INTO bare (id, chat_id, sender_id, seq, created_revision, revision, texts, created_at, kind,
        client_id, fingerprint, body)
    VALUES ($1, $2, $3, $4, $4, $4, $4, $5, 0, $6, $7, $8)";

const INSERT_BATCH: &str = "INSERT INTO bare (id, chat_id, sender_id, seq, created_revision, revision, texts, created_at,
        kind, client_id, fingerprint, body)
    SELECT id, chat, sender, seq, seq, seq, seq, at, 0, name, mark, body
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[], $6::text[], $7::bytea[], $8::bytea[])
        AS a (id, chat, sender, seq, at, name, mark, body)";

impl Connection {
    async fn open_all(server: &PrivateServer) -> Bare<Self> {
        execute(&mut connect(server.url()).await, TABLE).await;
        let mut connections = Vec::new();
        for _ in 0..PEOPLE {
            let conn = connect(server.url()).await;
            connections.push(Self { conn, context: Context::system() });
        }
        Bare::new(connections)
    }

    async fn insert_row(&mut self) -> Result {
        let id = self.context.id::<()>().as_uuid();
        sqlx::query(INSERT)
            .bind(id)
            .bind(id)
            .bind(id)
            .bind(1_i64)
            .bind(self.context.now().as_micros())
            .bind(id.to_string())
            .bind(&id.as_bytes()[..])
            .bind(BODY.as_bytes())
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }

    async fn insert_batch(&mut self) -> Result {
        let ids: Vec<Uuid> = (0..BATCH).map(|_| self.context.id::<()>().as_uuid()).collect();
        sqlx::query(INSERT_BATCH)
            .bind(&ids)
            .bind(&ids)
            .bind(&ids)
            .bind(vec![1_i64; BATCH])
            .bind(vec![self.context.now().as_micros(); BATCH])
            .bind(ids.iter().map(ToString::to_string).collect::<Vec<_>>())
            .bind(ids.iter().map(|id| &id.as_bytes()[..]).collect::<Vec<_>>())
            .bind(vec![BODY.as_bytes(); BATCH])
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }
}

impl Inserter for Connection {
    async fn insert(&mut self, rows: usize) -> Result {
        if rows == 1 { self.insert_row().await } else { self.insert_batch().await }
    }
}

const MESSAGES: usize = 1_000_000;

/// As a host would write it that knows the place and asks nothing else.
const BARE_PAGE: &str =
    "SELECT id, chat_id, seq, created_revision, revision, kind, sender_id, body, client_id, fingerprint,
        reply_to, created_at, edited_at, deleted_at
    FROM messenger.messenger_messages WHERE chat_id = $1 AND seq >= $2 AND seq < $2 + 50 ORDER BY seq";

async fn history(server: &PrivateServer, rounds: usize) -> Result {
    let store = PostgresStore::connect(server.url()).await?;
    let long = fill(server).await?;
    let mut bare = connect(server.url()).await;
    let read = async |place| {
        let rows = sqlx::query(BARE_PAGE).bind(long.chat.as_uuid()).bind(place).fetch_all(&mut bare).await?;
        rows.iter().try_for_each(decode)?;
        Ok(rows.len())
    };
    long.compare(&store, rounds, read).await
}

fn decode(row: &PgRow) -> Result {
    fn read<'r, T: Decode<'r, Postgres> + Type<Postgres>>(row: &'r PgRow, column: usize) -> Result {
        black_box(row.try_get::<T, _>(column)?);
        Ok(())
    }
    for column in [0, 1, 6] {
        read::<Uuid>(row, column)?;
    }
    for column in [2, 3, 4, 11] {
        read::<i64>(row, column)?;
    }
    for column in [12, 13] {
        read::<Option<i64>>(row, column)?;
    }
    for column in [7, 9] {
        read::<Option<Vec<u8>>>(row, column)?;
    }
    read::<i16>(row, 5)?;
    read::<Option<String>>(row, 8)?;
    read::<Option<Uuid>>(row, 10)
}

/// A chat of two with a million messages.
async fn fill(server: &PrivateServer) -> Result<LongChat> {
    eprintln!("writing {MESSAGES} messages");
    let context = Context::system();
    let (chat, user) = (context.id::<messenger_core::Chat>(), context.id());
    let mut conn = connect(server.url()).await;
    let rows = format!(
        "INSERT INTO messenger.messenger_chats (id, kind, created_at, activity_at, revision, last_seq, texts,
            member_count, roster_version, commit_no)
        VALUES ('{chat}', 1, 1, 1, {MESSAGES}, {MESSAGES}, {MESSAGES}, 1, 1, 1);
        INSERT INTO messenger.messenger_members (chat_id, user_id, role, joined_at, join_order, read_seq, read_texts,
            delivered_seq)
        VALUES ('{chat}', '{user}', 0, 1, 1, 0, 0, 0);
        INSERT INTO messenger.messenger_messages (id, chat_id, seq, sender_id, kind, created_revision, revision, texts,
            created_at, client_id, fingerprint, body)
        SELECT gen_random_uuid(), '{chat}', n, '{user}', 0, n, n, n, n, gen_random_uuid()::text,
            '\\x00112233445566778899aabbccddeeff', '{BODY}'
        FROM generate_series(1, {MESSAGES}) AS n"
    );
    execute(&mut conn, rows).await;
    tidy_up(&mut conn).await;
    Ok(LongChat { chat, user, messages: MESSAGES })
}

async fn changes(server: &PrivateServer, options: &Options) -> Result {
    let (mut databases, mut stores) = (vec![], vec![]);
    for idle in IDLE {
        let database = Database::empty(server.url()).await;
        let store = PostgresStore::connect(&database.url()).await?;
        let mut conn = connect(&database.url()).await;
        execute(&mut conn, idle_chats(idle)).await;
        stores.push(Changes::beside(idle, Arc::new(store)).await);
        tidy_up(&mut conn).await;
        databases.push(database);
    }
    Changes::compare(&stores, Some(server.cpu()), options).await
}

fn idle_chats(chats: usize) -> String {
    let id = |number: &str| {
        format!(
            "(lpad(to_hex(1735689600000 + {number}), 12, '0') || '70008000' || lpad(to_hex({number}), 12, '0'))::uuid"
        )
    };
    let (chat, message) = (id("c"), id(&format!("({MESSAGES_OF_IDLE} * c + n)")));
    format!(
        "INSERT INTO messenger.messenger_chats (id, kind, created_at, activity_at, revision, last_seq, texts,
            member_count, roster_version, commit_no)
        SELECT {chat}, 1, c, c, 5, {MESSAGES_OF_IDLE}, 2, 2, 1, 1 FROM generate_series(1, {chats}) AS c;
        INSERT INTO messenger.messenger_messages (id, chat_id, seq, sender_id, kind, created_revision, revision, texts,
            created_at, edited_at, deleted_at, body)
        SELECT {message}, {chat}, n, {chat}, 0, n, n + CASE WHEN c % 10 = 0 AND n > 1 THEN 2 ELSE 0 END, n, c,
            CASE WHEN c % 10 = 0 AND n = 2 THEN c END, CASE WHEN c % 10 = 0 AND n = 3 THEN c END, '{BODY}'
        FROM generate_series(1, {chats}) AS c, generate_series(1, {MESSAGES_OF_IDLE}) AS n"
    )
}

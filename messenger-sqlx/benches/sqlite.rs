//! Durable writes a second: bare inserts on the same disk, and what the store makes of it.
//!
//! `cargo bench -p messenger-sqlx`. Compare within one run; another run has another disk cache.

#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use messenger_core::{
    ChatId, ClientId, DisplayName, TokenHash, UserId, Username,
    context::Context,
    ports::{
        Anchor, Budget, ChatStore as _, Content, DirectChat, Fingerprint, MessageStore as _, NewMessage,
        NewSession, NewUser, Store as _, StoredAddress, StoredName, UserStore as _,
    },
};
use messenger_sqlx::SqliteStore;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const BODY: &str =
    "A message of a hundred bytes, give or take a few, as people write them to each other every day.";
/// Senders, each in a chat of their own.
const SENDERS: usize = 64;

/// A table with the columns of a message and no index but its key.
const PLAIN: &str = "CREATE TABLE plain (
    chat_id BLOB NOT NULL, seq INTEGER NOT NULL, id BLOB NOT NULL, sender_id BLOB NOT NULL, revision INTEGER NOT NULL,
    body BLOB, client_id TEXT, created_at INTEGER NOT NULL, PRIMARY KEY (chat_id, seq)
) STRICT, WITHOUT ROWID";

fn bare(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let directory = TempDir::new().unwrap();
    let context = Context::system();
    let mut conn = runtime.block_on(async {
        let options =
            SqliteConnectOptions::new().filename(directory.path().join("bare.db")).create_if_missing(true);
        let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
        let mut conn = options.disable_statement_logging().connect().await.unwrap();
        sqlx::query(PLAIN).execute(&mut conn).await.unwrap();
        conn
    });
    let chats: Vec<ChatId> = (0..SENDERS).map(|_| context.id()).collect();
    let mut seq = 0;

    let mut group = criterion.benchmark_group("bare insert");
    for rows in [1, 128] {
        let sql = format!("INSERT INTO plain VALUES {}", vec!["(?,?,?,?,?,?,?,?)"; rows].join(","));
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(BenchmarkId::from_parameter(rows), |bencher| {
            bencher.iter(|| runtime.block_on(insert(&mut conn, &sql, rows, &chats, &mut seq, &context)));
        });
    }
    group.finish();
}

async fn insert(
    conn: &mut SqliteConnection,
    sql: &str,
    rows: usize,
    chats: &[ChatId],
    seq: &mut i64,
    context: &Context,
) {
    let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for row in 0..rows {
        *seq += 1;
        let (id, chat) = (context.id::<()>(), chats[row % chats.len()]);
        query = query
            .bind(chat.as_bytes().as_slice())
            .bind(*seq)
            .bind(id.as_bytes().as_slice())
            .bind(chat.as_bytes().as_slice())
            .bind(*seq)
            .bind(BODY.as_bytes())
            .bind(id.to_string())
            .bind(context.now().as_micros());
    }
    query.execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
}

fn store(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let directory = TempDir::new().unwrap();
    let context = Context::system();
    let (store, places) = runtime.block_on(async {
        let store = SqliteStore::open(directory.path().join("store.db")).await.unwrap();
        let mut places = vec![];
        for _ in 0..SENDERS {
            places.push(place(&store, &context).await);
        }
        (store, places)
    });

    let mut group = criterion.benchmark_group("append_messages");
    for rows in [1, 8, 64, 128] {
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(BenchmarkId::from_parameter(rows), |bencher| {
            let mut turn = 0;
            bencher.iter(|| {
                let batch: Vec<_> =
                    (0..rows).map(|row| message(&context, places[(turn + row) % SENDERS])).collect();
                turn += rows;
                black_box(runtime.block_on(store.append_messages(&batch)).unwrap())
            });
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("history");
    group.throughput(Throughput::Elements(50));
    let (chat, user) = places[0];
    group.bench_function(BenchmarkId::from_parameter(50), |bencher| {
        bencher.iter(|| {
            runtime.block_on(store.history(chat, user, Anchor::Newest, Budget::of_messages(50))).unwrap()
        });
    });
    group.finish();
    runtime.block_on(store.close());
}

async fn place(store: &SqliteStore, context: &Context) -> (ChatId, UserId) {
    let users = [user(store, context).await, user(store, context).await];
    let chat = DirectChat { id: context.id(), users, created_at: context.now() };
    (store.open_direct(chat).await.unwrap().chat, users[0])
}

async fn user(store: &SqliteStore, context: &Context) -> UserId {
    let (id, now) = (context.id(), context.now());
    let key = format!("{id}@example.org");
    let user = NewUser {
        id,
        username: Username::trusted(id.to_string()),
        display_name: StoredName::from(&DisplayName::trusted("Somebody")),
        email: StoredAddress { content: Content::from(key.as_str()), key: key.into_bytes() },
        password_hash: "-".into(),
        created_at: now,
    };
    let session = NewSession {
        id: context.id(),
        user_id: id,
        token_hash: TokenHash(context.random()),
        device: None,
        created_at: now,
        expires_at: now.after(Duration::from_secs(3600)),
    };
    store.create_user(user, session).await.unwrap();
    id
}

fn message(context: &Context, (chat, sender): (ChatId, UserId)) -> NewMessage {
    let id = context.id();
    NewMessage {
        id,
        chat,
        sender,
        body: Content::from(BODY),
        client_id: Some((ClientId::trusted(id.to_string()), Fingerprint(context.random()))),
        reply_to: None,
        created_at: context.now(),
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(4));
    targets = bare, store
}
criterion_main!(benches);

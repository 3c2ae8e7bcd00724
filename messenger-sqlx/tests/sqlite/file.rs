//! What is particular to a database that is a file: opening it, sharing it, and dying while it is written.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use futures::future::join_all;
use messenger_core::{
    ChatId, DisplayName, TokenHash, UserId, Username,
    context::Context,
    ports::{
        Anchor, Appended, Budget, ChatStore as _, Content, DirectChat, MessageStore as _, NewMessage,
        NewSession, NewUser, Store as _, StoreErrorKind, StoredAddress, StoredName, UserStore as _,
    },
};
use messenger_sqlx::{
    SqliteStore,
    sqlite::{OpenErrorKind, migrations_sql},
};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions,
};
use tempfile::tempdir;

#[tokio::test]
async fn a_file_that_can_not_be_used_is_refused_in_one_sentence() {
    let directory = tempdir().unwrap();
    let text = directory.path().join("text.db");
    std::fs::write(&text, "a file of another kind, long enough to have a header".repeat(100)).unwrap();
    for (path, reason) in [
        (directory.path().join("missing/chat.db"), "there is no such directory"),
        (directory.path().to_owned(), "unable to open database file"),
        (text, "file is not a database"),
    ] {
        let error = SqliteStore::open(&path).await.unwrap_err();
        let sentence = format!("the database file `{}` can't be used: {reason}", path.display());
        assert_eq!(error.to_string(), sentence);
    }
}

#[tokio::test]
async fn a_file_that_must_be_there_is_not_made() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("chat.db");
    let url = format!("sqlite://{}?mode=rw", path.display());
    let error = SqliteStore::open(&url).await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Failed, "{error}");
    assert!(!path.exists());
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("chat.db");
    SqliteStore::open(&path).await.unwrap().close().await;
    let insert = "INSERT INTO messenger_migrations VALUES (999, 'later', x'00', 0, 'contract')";
    sqlx::query(insert).execute(&mut connect(&path).await).await.unwrap();

    let error = SqliteStore::open(&path).await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Newer { found: 999, known: 7 }, "{error}");
    assert!(error.to_string().contains("is newer than this program"), "{error}");
}

#[tokio::test]
async fn a_database_of_other_migrations_is_refused() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("chat.db");
    SqliteStore::open(&path).await.unwrap().close().await;
    let update = "UPDATE messenger_migrations SET checksum = x'00' WHERE version = 1";
    sqlx::query(update).execute(&mut connect(&path).await).await.unwrap();

    let error = SqliteStore::open(&path).await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Changed { version: 1 }, "{error}");
}

#[tokio::test]
async fn a_host_can_run_the_migrations_itself_in_its_own_file() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("host.db");
    let mut host = connect(&path).await;
    sqlx::query("CREATE TABLE users (id INTEGER PRIMARY KEY)").execute(&mut host).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(migrations_sql())).execute(&mut host).await.unwrap();

    let store = SqliteStore::open(&path).await.unwrap();
    register(&store, &Context::system()).await;
    let tables = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'messenger_%'
        AND name NOT LIKE 'sqlite_%'";
    let others: i64 = sqlx::query_scalar(tables).fetch_one(&mut host).await.unwrap();
    assert_eq!(others, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_open_a_new_file_at_the_same_time_share_it() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("chat.db");
    let context = Context::system();
    let opened =
        join_all((0..8).map(|_| tokio::spawn(SqliteStore::builder(&path).shared(true).open()))).await;
    let stores: Vec<SqliteStore> = opened.into_iter().map(|opened| opened.unwrap().unwrap()).collect();

    let (chat, sender) = open_chat(&stores[0], &context).await;
    let batches: Vec<_> =
        stores.iter().map(|_| [message(&context, chat, sender), message(&context, chat, sender)]).collect();
    let answers =
        join_all(stores.iter().zip(&batches).map(|(store, batch)| store.append_messages(batch))).await;
    let mut seqs: Vec<u64> = answers
        .into_iter()
        .flat_map(Result::unwrap)
        .map(|answer| match answer.unwrap() {
            Appended::New(message) => message.seq.get(),
            Appended::Existing { .. } => 0,
        })
        .collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=16).collect::<Vec<_>>());
    for store in &stores {
        assert_eq!(
            store
                .history(chat, sender, Anchor::Newest, Budget::of_messages(20))
                .await
                .unwrap()
                .messages
                .len(),
            16
        );
    }
}

#[tokio::test]
async fn a_write_waits_for_another_process_only_for_so_long() {
    let directory = tempdir().unwrap();
    let path = directory.path().join("chat.db");
    let store = SqliteStore::builder(&path).busy_timeout(Duration::from_millis(20)).open().await.unwrap();
    let mut other = connect(&path).await;
    let held = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    assert_eq!(store.ping().await.unwrap_err().kind(), StoreErrorKind::Unavailable);
    let context = Context::system();
    assert_eq!(store.user(context.id()).await.unwrap_err().kind(), StoreErrorKind::NotFound);

    held.rollback().await.unwrap();
    store.ping().await.unwrap();
    register(&store, &context).await;
}

/// Set in the process that is killed, to the path of the file.
const VICTIM: &str = "MESSENGER_TEST_VICTIM";

#[tokio::test]
async fn what_was_acknowledged_survives_the_death_of_the_process() {
    if let Some(path) = std::env::var_os(VICTIM) {
        return write_until_killed(Path::new(&path)).await;
    }
    let directory = tempdir().unwrap();
    let path = directory.path().join("chat.db");
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["file::what_was_acknowledged_survives_the_death_of_the_process", "--exact", "--nocapture"])
        .env(VICTIM, &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines().map(Result::unwrap);
    // The test's own heading comes first.
    let place = lines.find_map(|line| line.strip_prefix("chat ").map(str::to_owned)).unwrap();
    let (chat, sender) = place.split_once(' ').unwrap();
    let mut acknowledged = lines.by_ref().take(50).last().unwrap();
    victim.kill().unwrap();
    if let Some(later) = lines.filter(|line| line.starts_with("seq ")).last() {
        acknowledged = later;
    }
    victim.wait().unwrap();

    let acknowledged: u64 = acknowledged.strip_prefix("seq ").unwrap().parse().unwrap();
    let store = SqliteStore::open(&path).await.unwrap();
    let (chat, sender) = (chat.parse().unwrap(), sender.parse().unwrap());
    let history = store.history(chat, sender, Anchor::Newest, Budget::of_messages(1_000_000)).await.unwrap();
    assert!(history.last_seq.get() >= acknowledged, "{:?} < {acknowledged}", history.last_seq);
    let seqs = history.messages.iter().map(|message| message.seq.get());
    assert!(seqs.eq(1..=history.last_seq.get()));
}

async fn write_until_killed(path: &Path) {
    let (store, context) = (SqliteStore::open(path).await.unwrap(), Context::system());
    let (chat, sender) = open_chat(&store, &context).await;
    println!("\nchat {chat} {sender}");
    loop {
        let answers = store.append_messages(&[message(&context, chat, sender)]).await.unwrap();
        if let Ok(Appended::New(message)) = &answers[0] {
            println!("seq {}", message.seq);
        }
    }
}

async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap()
}

async fn open_chat(store: &SqliteStore, context: &Context) -> (ChatId, UserId) {
    let users = [register(store, context).await, register(store, context).await];
    let chat = DirectChat { id: context.id(), users, created_at: context.now() };
    (store.open_direct(chat).await.unwrap().chat, users[0])
}

async fn register(store: &SqliteStore, context: &Context) -> UserId {
    let (id, now) = (context.id(), context.now());
    let address = format!("{id}@example.org");
    let user = NewUser {
        id,
        username: Username::trusted(id.to_string()),
        display_name: StoredName::from(&DisplayName::trusted("Somebody")),
        email: StoredAddress { content: Content::from(address.as_str()), key: address.into_bytes() },
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

fn message(context: &Context, chat: ChatId, sender: UserId) -> NewMessage {
    NewMessage {
        id: context.id(),
        chat,
        sender,
        body: Content::from("hello"),
        client_id: None,
        reply_to: None,
        created_at: context.now(),
    }
}

#[tokio::test]
async fn a_file_is_used_by_one_store_at_a_time_unless_it_may_be_shared() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.db");
    let link = directory.path().join("by-another-name.db");
    let store = SqliteStore::open(&path).await.unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(!store.capabilities().shared);
    for path in [&path, &link] {
        let error = SqliteStore::open(path).await.unwrap_err();
        assert_eq!(error.kind(), OpenErrorKind::InUse);
        let sentence = format!(
            "the database file `{}` is in use by another server; several servers need a database on PostgreSQL or SQL Server",
            path.display()
        );
        assert_eq!(error.to_string(), sentence);
    }
    store.ping().await.unwrap();
    store.close().await;
    // A server that is killed lets it go as well.
    drop(SqliteStore::open(&path).await.unwrap());
    let shared = SqliteStore::builder(&path).shared(true);
    let (one, two) = (shared.clone().open().await.unwrap(), shared.open().await.unwrap());
    assert!(one.capabilities().shared);
    two.ping().await.unwrap();
}

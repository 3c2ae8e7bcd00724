//! What is left in the tables, and in their files, of what was stored before it was sealed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use messenger_core::{ports::Store as _, testkit::Planted};
use messenger_sqlx::PostgresStore;
use messenger_testing::{PrivateServer, connect, execute};
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

const MESSAGES: usize = 1500;
const TABLES: [&str; 5] =
    ["messenger_users", "messenger_sessions", "messenger_chats", "messenger_messages", "messenger_jobs"];

/// How many of the words are in any row.
async fn in_rows(conn: &mut PgConnection, words: &[Vec<u8>]) -> i64 {
    let mut dump = String::new();
    for table in TABLES {
        let rows = format!("SELECT coalesce(string_agg(t::text, ' '), '') FROM messenger.{table} AS t");
        dump += &sqlx::query(AssertSqlSafe(rows)).fetch_one(&mut *conn).await.unwrap().get::<String, _>(0);
    }
    let hex = |word: &[u8]| word.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let is_there = |word: &&Vec<u8>| {
        dump.contains(&hex(word)) || std::str::from_utf8(word).is_ok_and(|word| dump.contains(word))
    };
    words.iter().filter(is_there).count() as i64
}

/// How many of the words are in the files of the tables and their indexes.
async fn in_files(conn: &mut PgConnection, words: &[Vec<u8>]) -> i64 {
    execute(conn, "CHECKPOINT").await;
    let found = "SELECT count(*) FROM unnest($1::bytea[]) AS w (word) WHERE EXISTS (
            SELECT FROM (
                SELECT pg_read_binary_file(pg_relation_filepath(c.oid), 0, pg_relation_size(c.oid)) AS bytes
                FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                WHERE n.nspname = 'messenger' AND c.relkind IN ('r', 'i') OFFSET 0
            ) AS f WHERE position(w.word IN f.bytes) > 0
        )";
    sqlx::query(found).bind(words).fetch_one(conn).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_plain_is_left_in_rows_or_after_a_full_vacuum_in_files() {
    let server = PrivateServer::start(&["fsync=off"]);
    let store = Arc::new(PostgresStore::connect(server.url()).await.unwrap());
    let planted = Planted::in_plain(store.clone(), MESSAGES).await;
    let mut conn = connect(server.url()).await;
    let (all, some) = (planted.words(), &planted.words()[..40]);
    assert_eq!(in_rows(&mut conn, all).await, all.len() as i64, "they are found where they are");
    assert_eq!(in_files(&mut conn, some).await, some.len() as i64);
    let so_far = planted.seal().await;
    assert!(so_far.sealed as usize > MESSAGES / 2, "{so_far:?}");
    assert_eq!(in_rows(&mut conn, all).await, 0);
    store.vacuum().await.unwrap();
    store.vacuum_full().await.unwrap();
    assert_eq!(in_files(&mut conn, some).await, 0);
    store.close().await;
}

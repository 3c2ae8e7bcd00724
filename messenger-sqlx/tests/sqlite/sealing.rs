//! What is left in the file of what was stored before it was sealed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::HashSet, path::Path, sync::Arc};

use messenger_core::{ports::Store as _, testkit::Planted};
use messenger_sqlx::SqliteStore;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::tempdir;

const MESSAGES: usize = 1500;
/// How much of the end of a word is searched for: more than is the same by chance or in two of them.
const PART: usize = 12;

/// How many of the words are in the bytes of any of the files.
fn found(folder: &Path, words: &[Vec<u8>]) -> usize {
    let parts: HashSet<&[u8]> = words.iter().map(|word| &word[word.len() - PART..]).collect();
    assert_eq!(parts.len(), words.len());
    let files = std::fs::read_dir(folder).unwrap();
    let files: Vec<_> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    let places = files.iter().flat_map(|bytes| bytes.windows(PART));
    places.filter(|place| parts.contains(place)).collect::<HashSet<_>>().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_plain_is_left_in_the_file_and_its_log() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let store = Arc::new(SqliteStore::open(&path).await.unwrap());
    let planted = Planted::in_plain(store.clone(), MESSAGES).await;
    // What a release of before has left in free pages, which did not overwrite.
    leave_in_free_pages(&path, &planted.words()[5]).await;
    assert_eq!(found(folder.path(), planted.words()), planted.words().len(), "they are found where they are");
    let so_far = planted.seal().await;
    assert!(so_far.sealed as usize > MESSAGES / 2, "{so_far:?}");
    assert_ne!(found(folder.path(), planted.words()), 0, "there is something to be removed");
    assert!(store.vacuum().await.unwrap());
    assert_eq!(found(folder.path(), planted.words()), 0);
    store.close().await;
    assert_eq!(found(folder.path(), planted.words()), 0);
}

async fn leave_in_free_pages(path: &Path, word: &[u8]) {
    let options = SqliteConnectOptions::new().filename(path).pragma("secure_delete", "OFF");
    let mut conn = SqliteConnection::connect_with(&options).await.unwrap();
    let word = String::from_utf8(word.to_vec()).unwrap();
    let leave = format!(
        "CREATE TABLE former (row TEXT);
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
        INSERT INTO former SELECT '{word}' || printf('%1000d', i) FROM n;
        DROP TABLE former"
    );
    sqlx::raw_sql(AssertSqlSafe(leave)).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

//! Rolls out consecutive releases on a file.

use std::{path::Path, sync::Arc};

use messenger_core::{ports::Store, testkit::World};
use sqlx::{AssertSqlSafe, ConnectOptions as _, sqlite::SqliteConnectOptions};

use super::*;
use crate::sqlite::{OpenError, OpenErrorKind, SqliteStore};

/// The last step of this release, and the one that the next release has.
const LAST: i64 = MIGRATIONS.steps.len() as i64;
const NEXT: i64 = LAST + 1;

fn next(phase: Phase) -> &'static Migrations {
    let sql = "ALTER TABLE messenger_messages ADD COLUMN origin TEXT; CREATE TABLE messenger_origins (name TEXT) STRICT;";
    let step = Migration { version: NEXT, name: "origin", phase, sql };
    let steps: Vec<_> = MIGRATIONS.steps.iter().copied().chain([step]).collect();
    Box::leak(Box::new(Migrations { steps: steps.leak(), routines: None }))
}

async fn open(migrations: &'static Migrations, path: &Path) -> Result<Arc<SqliteStore>, OpenError> {
    let mut builder = SqliteStore::builder(path).shared(true);
    builder.migrations = migrations;
    builder.open().await.map(Arc::new)
}

/// A file as the first release has left it.
async fn first_release(path: &Path) {
    let text = format!(
        "CREATE TABLE messenger_migrations (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL,
             checksum BLOB NOT NULL, applied_at INTEGER NOT NULL) STRICT;
         {}
         INSERT INTO messenger_migrations VALUES (1, 'initial',
             x'a1bec9415c88e058de7988e6bae2b5c158eb6e8842963c692deaa151e1b2fda7', 0);",
        MIGRATIONS.steps[0].sql
    );
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut conn = options.connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
}

#[tokio::test]
async fn releases_follow_one_another_on_a_file_of_the_first_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.db");
    first_release(&path).await;
    let old = open(&MIGRATIONS, &path).await.unwrap();
    let world = World::new(Arc::clone(&old) as Arc<dyn Store>);
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    world.send(chat, ada, "before").await;

    // Two processes of two releases, and one of the earlier release that is started again.
    let next = open(next(Phase::Expand), &path).await.unwrap();
    let again = open(&MIGRATIONS, &path).await.unwrap();
    for store in [old, next, again] {
        let mut world = world.clone();
        world.store = store;
        world.send(chat, bob, "after").await;
        world.store.close().await;
    }
    let last = open(&MIGRATIONS, &path).await.unwrap();
    let found = messenger_core::testkit::check_chat(&*last, chat, ada).await;
    assert_eq!(found.len(), 4);
}

#[tokio::test]
async fn a_file_that_was_contracted_refuses_the_release_of_before() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chat.db");
    open(next(Phase::Contract), &path).await.unwrap().close().await;
    let error = open(&MIGRATIONS, &path).await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Newer { found: NEXT, known: LAST }, "{error}");
    assert!(error.to_string().contains("run the release"), "{error}");
}

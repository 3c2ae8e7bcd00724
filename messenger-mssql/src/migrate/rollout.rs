//! Rolls out consecutive releases on a server while nodes are running. These tests need an SQL Server, so they only run
//! on request: cargo test -p messenger-mssql --lib -- --ignored

use std::{collections::HashSet, sync::Arc, time::Duration};

use messenger_core::{
    ChatId, UserId,
    ports::Store,
    testkit::{World, check_chat},
};
use messenger_testing::{Load, MssqlDatabase};

use super::*;
use crate::{MssqlBuilder, MssqlStore, OpenErrorKind};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// An additional column, which the procedures write to.
const ORIGIN: &str = "ALTER TABLE {schema}.messenger_messages ADD origin nvarchar(16) NULL;
GO
CREATE TABLE {schema}.messenger_origins (name nvarchar(16) NOT NULL CONSTRAINT messenger_origins_pkey PRIMARY KEY);";

/// The step that the next release has.
const NEXT: i64 = MIGRATIONS.steps.len() as i64 + 1;

/// An example of the release after this one.
fn next() -> &'static Migrations {
    let routines = MIGRATIONS.routines.unwrap();
    let sql = routines
        .sql
        .replace("fingerprint, body)\n    VALUES (@chat", "fingerprint, body, origin)\n    VALUES (@chat")
        .replace("@fingerprint,\n        @body);", "@fingerprint,\n        @body, N'next');");
    assert_eq!(sql.matches("N'next'").count(), 1, "the statement of one message");
    let step = Migration { version: NEXT, name: "origin", phase: Phase::Expand, sql: ORIGIN };
    after(&MIGRATIONS, step, Routines { release: routines.release + 1, sql: sql.leak() })
}

/// The release after [`next`], which drops a procedure.
fn one_after_next() -> &'static Migrations {
    let sql = "DROP PROCEDURE {schema}.messenger_append_message";
    let drop = Migration { version: NEXT + 1, name: "origin of all", phase: Phase::Contract, sql };
    after(next(), drop, next().routines.unwrap())
}

fn after(before: &Migrations, step: Migration, routines: Routines) -> &'static Migrations {
    let steps: Vec<_> = before.steps.iter().copied().chain([step]).collect();
    Box::leak(Box::new(Migrations { steps: steps.leak(), routines: Some(routines) }))
}

fn release(migrations: &'static Migrations, database: &MssqlDatabase) -> MssqlBuilder {
    let mut builder = MssqlStore::builder(&database.url())
        .max_connections(4)
        .connect_timeout(PATIENCE)
        .acquire_timeout(PATIENCE)
        .timeout(PATIENCE)
        .lock_timeout(PATIENCE);
    builder.migrations = migrations;
    builder
}

async fn open(migrations: &'static Migrations, database: &MssqlDatabase) -> Arc<MssqlStore> {
    Arc::new(release(migrations, database).open().await.unwrap())
}

/// A database as the first release has left it: with its records, and one text with tables and procedures.
async fn first_release() -> MssqlDatabase {
    let database = MssqlDatabase::create().await;
    let schema = Schema::parse("messenger").unwrap();
    let probe = release(&MIGRATIONS, &database).schema("probe").open().await.unwrap();
    probe.close().await;
    let is_bare = "SELECT CAST(COUNT(*) AS bigint) FROM probe.messenger_commits WHERE history IS NULL";
    let commits = if database.number(is_bare).await == 1 { Commits::Bare } else { Commits::Numbered };
    let step = &MIGRATIONS.steps[0];
    let text = format!(
        "CREATE SCHEMA {schema}
GO
CREATE TABLE {schema}.messenger_migrations (
    version bigint NOT NULL CONSTRAINT messenger_migrations_pkey PRIMARY KEY, name nvarchar(64) NOT NULL,
    checksum binary(32) NOT NULL, applied_at bigint NOT NULL
)
GO
{}
GO
INSERT INTO {schema}.messenger_migrations (version, name, checksum, applied_at)
VALUES (1, N'initial', 0x6E38D93DCBC772A6517F2085DEA7069C9BF905B6AB63B739B1068BBCFF05C431, 0)",
        commits.fill(&schema, step.sql)
    );
    database.execute(&text).await;
    database
}

async fn talkers(store: &Arc<MssqlStore>) -> (World, ChatId, [UserId; 2]) {
    let world = World::new(Arc::clone(store) as Arc<dyn Store>);
    let people = world.people(["ada", "bob"]).await;
    let chat = world.direct(people[0], people[1]).await;
    (world, chat, people)
}

/// The same people, through another node.
fn on(world: &World, store: Arc<MssqlStore>) -> World {
    let mut world = world.clone();
    world.store = store;
    world
}

const LATEST_ROUTINES: &str = "SELECT MAX(release) FROM messenger.messenger_routines";
const WITH_ORIGIN: &str = "SELECT COUNT_BIG(*) FROM messenger.messenger_messages WHERE origin = N'next'";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an SQL Server; `scripts/test mssql` runs it"]
async fn nodes_go_on_while_the_next_release_is_rolled_out() {
    let database = first_release().await;
    let (old, chat, people) = talkers(&open(&MIGRATIONS, &database).await).await;
    let own = MIGRATIONS.routines.as_ref().unwrap().release;
    assert_eq!(database.number(LATEST_ROUTINES).await, own);
    let old_load = Load::begin(&old, chat, &people);
    old_load.goes_on().await;

    let new = on(&old, open(next(), &database).await);
    let new_load = Load::begin(&new, chat, &people);
    new_load.goes_on().await;
    // A node of the previous release is started again, and leaves the procedures as they are.
    let again = on(&old, open(&MIGRATIONS, &database).await);
    let again_load = Load::begin(&again, chat, &people);
    again_load.goes_on().await;
    assert_eq!(database.number(LATEST_ROUTINES).await, own + 1);
    let with = database.number(WITH_ORIGIN).await;
    old_load.goes_on().await;
    assert!(database.number(WITH_ORIGIN).await > with, "all nodes run the procedures of the next release");

    let (old_sent, new_sent, again_sent) =
        (old_load.end().await, new_load.end().await, again_load.end().await);
    println!(
        "sent: {} before and after, {} after, {} after a start",
        old_sent.len(),
        new_sent.len(),
        again_sent.len()
    );
    let sent = old_sent.into_iter().chain(new_sent).chain(again_sent);
    let sent: HashSet<_> = sent.map(|message| message.id).collect();
    let found = check_chat(&*old.store, chat, people[0]).await;
    assert_eq!(sent, found.into_iter().map(|message| message.id).collect());
    for node in [old, new, again] {
        node.store.close().await;
    }
    database.end().await;
}

#[tokio::test]
#[ignore = "needs an SQL Server; `scripts/test mssql` runs it"]
async fn a_database_that_was_contracted_refuses_the_release_of_before() {
    let database = first_release().await;
    let error = release(&MIGRATIONS, &database).migrate(false).open().await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Pending { version: 2 }, "{error}");
    open(one_after_next(), &database).await.close().await;
    for migrates in [true, false] {
        let error = release(&MIGRATIONS, &database).migrate(migrates).open().await.unwrap_err();
        assert_eq!(error.kind(), OpenErrorKind::Newer { found: NEXT + 1, known: NEXT - 1 }, "{error}");
        assert!(error.to_string().contains("run the release"), "{error}");
    }
    open(one_after_next(), &database).await.close().await;
    database.end().await;
}

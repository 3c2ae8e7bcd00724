//! Rolls out consecutive releases on a server while nodes are running.

use std::{collections::HashSet, sync::Arc, time::Duration};

use messenger_core::{
    ChatId, UserId,
    ports::Store,
    testkit::{World, check_chat},
};
use messenger_testing::{Database, Load, connect, execute, server_url};
use tokio::time::timeout;

use super::*;
use crate::postgres::{OpenErrorKind, PostgresBuilder, PostgresStore};

/// An additional column, which the functions write to.
const ORIGIN: &str = "ALTER TABLE {schema}.messenger_messages ADD COLUMN origin text;
    CREATE TABLE {schema}.messenger_origins (name text NOT NULL PRIMARY KEY);";

/// An example of the release after this one.
fn next() -> &'static Migrations {
    let routines = MIGRATIONS.routines.unwrap();
    let sql = routines
        .sql
        .replace("client_id, fingerprint, body)", "client_id, fingerprint, body, origin)")
        .replace("p_fingerprint, p_body);", "p_fingerprint, p_body, 'next');")
        .replace("a.fingerprint, a.body\n", "a.fingerprint, a.body, 'next'\n")
        .replace("f.fingerprint, f.body\n", "f.fingerprint, f.body, 'next'\n");
    assert_eq!(sql.matches("'next'").count(), 3);
    leaked(Phase::Expand, ORIGIN, Routines { release: routines.release + 1, sql: sql.leak() })
}

/// The release after [`next`], which needs the column and drops a function.
fn one_after_next() -> &'static Migrations {
    let Migrations { steps, routines } = next();
    let drop = Migration {
        version: version_after(MIGRATIONS.steps) + 1,
        name: "origin of all",
        phase: Phase::Contract,
        sql: "DROP FUNCTION {schema}.messenger_append_message",
    };
    let steps: Vec<_> = steps.iter().copied().chain([drop]).collect();
    Box::leak(Box::new(Migrations { steps: steps.leak(), routines: *routines }))
}

fn version_after(steps: &[Migration]) -> i64 {
    steps.last().map_or(1, |step| step.version + 1)
}

fn leaked(phase: Phase, sql: &'static str, routines: Routines) -> &'static Migrations {
    let step = Migration { version: version_after(MIGRATIONS.steps), name: "origin", phase, sql };
    let steps: Vec<_> = MIGRATIONS.steps.iter().copied().chain([step]).collect();
    Box::leak(Box::new(Migrations { steps: steps.leak(), routines: Some(routines) }))
}

fn release(migrations: &'static Migrations, database: &Database) -> PostgresBuilder {
    let mut builder = PostgresStore::builder(&database.url()).max_connections(4);
    builder.migrations = migrations;
    builder
}

async fn open(migrations: &'static Migrations, database: &Database) -> Arc<PostgresStore> {
    Arc::new(release(migrations, database).open().await.unwrap())
}

/// A database as the first release has left it: with its records, and one text with tables and functions.
async fn first_release() -> Database {
    let database = Database::empty(&server_url()).await;
    let schema = Schema::parse("messenger").unwrap();
    let step = &MIGRATIONS.steps[0];
    let text = format!(
        "CREATE SCHEMA {schema};
         CREATE TABLE {schema}.messenger_migrations (version bigint NOT NULL PRIMARY KEY, name text NOT NULL,
             checksum bytea NOT NULL, applied_at bigint NOT NULL);
         {}
         INSERT INTO {schema}.messenger_migrations VALUES (1, 'initial',
             '\\x7425a8267b3914a21e1fc2a8522f2d9a39f6e67babd3d442202c7207091c21f9', 0)",
        schema.fill(step.sql)
    );
    execute(&mut connect(&database.url()).await, text).await;
    database
}

async fn talkers(store: &Arc<PostgresStore>) -> (World, ChatId, [UserId; 2]) {
    let world = World::new(Arc::clone(store) as Arc<dyn Store>);
    let people = world.people(["ada", "bob"]).await;
    let chat = world.direct(people[0], people[1]).await;
    (world, chat, people)
}

/// The same people, through another node.
fn on(world: &World, store: Arc<PostgresStore>) -> World {
    let mut world = world.clone();
    world.store = store;
    world
}

async fn number(database: &Database, query: &'static str) -> i64 {
    let mut conn = connect(&database.url()).await;
    sqlx::query_scalar(query).fetch_one(&mut conn).await.unwrap()
}

const LATEST_ROUTINES: &str = "SELECT max(release) FROM messenger.messenger_routines";
const WITHOUT_ORIGIN: &str = "SELECT count(*) FROM messenger.messenger_messages WHERE origin IS NULL";

#[test]
fn the_texts_of_a_release_do_not_change() {
    assert!(hex(&MIGRATIONS.steps[0].checksum()).starts_with("7425a826"), "databases have stored it");
    let routines = MIGRATIONS.routines.unwrap();
    // A change of the text requires a higher release number.
    assert_eq!((routines.release, &hex(&routines.checksum())[..8]), (4, "71d01ae8"));
}

#[tokio::test]
async fn a_database_of_the_first_release_moves_on() {
    let database = first_release().await;
    let (world, chat, [ada, _]) = talkers(&open(&MIGRATIONS, &database).await).await;
    world.send(chat, ada, "hello").await;
    assert_eq!(number(&database, LATEST_ROUTINES).await, 4);
    // Opening it without the right to change anything finds no pending migrations.
    release(&MIGRATIONS, &database).migrate(false).open().await.unwrap().close().await;

    world.store.close().await;
    let node = on(&world, open(next(), &database).await);
    node.send(chat, ada, "hello again").await;
    assert_eq!(number(&database, WITHOUT_ORIGIN).await, 1, "what was there before");
    assert_eq!(check_chat(&*node.store, chat, ada).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_go_on_while_the_next_release_is_rolled_out() {
    let database = first_release().await;
    let (old, chat, people) = talkers(&open(&MIGRATIONS, &database).await).await;
    let old_load = Load::begin(&old, chat, &people);
    old_load.goes_on().await;

    let new = on(&old, open(next(), &database).await);
    let new_load = Load::begin(&new, chat, &people);
    new_load.goes_on().await;
    old_load.goes_on().await;
    // A node of the previous release is started again, and leaves the functions as they are.
    let again = on(&old, open(&MIGRATIONS, &database).await);
    let again_load = Load::begin(&again, chat, &people);
    again_load.goes_on().await;
    assert_eq!(number(&database, LATEST_ROUTINES).await, 5);

    let without = number(&database, WITHOUT_ORIGIN).await;
    let (old_sent, new_sent, again_sent) =
        (old_load.end().await, new_load.end().await, again_load.end().await);
    assert_eq!(
        number(&database, WITHOUT_ORIGIN).await,
        without,
        "all nodes run the functions of the next release"
    );
    println!(
        "sent: {} before and after, {} after, {} after a start",
        old_sent.len(),
        new_sent.len(),
        again_sent.len()
    );
    let sent: HashSet<_> =
        old_sent.into_iter().chain(new_sent).chain(again_sent).map(|sent| sent.id).collect();
    let found: HashSet<_> =
        check_chat(&*old.store, chat, people[0]).await.into_iter().map(|found| found.id).collect();
    assert_eq!(sent, found);
}

#[tokio::test]
async fn a_database_that_was_contracted_refuses_the_release_of_before() {
    let database = first_release().await;
    open(one_after_next(), &database).await.close().await;
    for migrates in [true, false] {
        let error = release(&MIGRATIONS, &database).migrate(migrates).open().await.unwrap_err();
        let known = version_after(MIGRATIONS.steps) - 1;
        assert_eq!(error.kind(), OpenErrorKind::Newer { found: known + 2, known }, "{error}");
        assert!(error.to_string().contains("run the release"), "{error}");
    }
    open(one_after_next(), &database).await.close().await;
}

#[tokio::test]
async fn functions_that_are_missing_are_told_to_who_may_not_make_them() {
    let database = first_release().await;
    let first = Migrations { steps: &MIGRATIONS.steps[..1], ..MIGRATIONS };
    let first = Box::leak(Box::new(first));
    let error = release(first, &database).migrate(false).open().await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::PendingRoutines { release: 4 }, "{error}");
    open(&MIGRATIONS, &database).await.close().await;
    let other = leaked(Phase::Expand, ORIGIN, Routines { release: 4, sql: "SELECT 1" });
    let error = release(other, &database).open().await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::ChangedRoutines { release: 4 }, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_waits_for_a_table_holds_nobody_up() {
    let database = first_release().await;
    let store = open(&MIGRATIONS, &database).await;
    let (world, chat, people) = talkers(&store).await;
    let mut reader = connect(&database.url()).await;
    execute(&mut reader, "BEGIN; SELECT FROM messenger.messenger_messages").await;
    let mut migration = tokio::spawn(release(next(), &database).open());
    let load = Load::begin(&world, chat, &people);
    // The migration waits for the table, and everybody else waits behind it.
    wait_until_blocked(&database).await;
    load.goes_on().await;
    assert!(timeout(Duration::ZERO, &mut migration).await.is_err(), "the reader is still there");
    execute(&mut reader, "COMMIT").await;
    migration.await.unwrap().unwrap().close().await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_start_while_a_long_migration_is_under_way() {
    let database = Database::empty(&server_url()).await;
    open(&MIGRATIONS, &database).await.close().await;
    let mut holder = connect(&database.url()).await;
    execute(&mut holder, "BEGIN; SELECT pg_advisory_xact_lock(7)").await;
    let long = leaked(Phase::Expand, "SELECT pg_advisory_xact_lock(7)", MIGRATIONS.routines.unwrap());
    let mut migration = tokio::spawn(release(long, &database).open());
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND objid = 7
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let begun = async {
        while number(&database, waiting).await == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), begun).await.unwrap();
    let another = release(&MIGRATIONS, &database).statement_timeout(Duration::from_millis(500));
    another.open().await.unwrap().close().await;
    assert!(timeout(Duration::ZERO, &mut migration).await.is_err(), "it is still under way");
    execute(&mut holder, "COMMIT").await;
    migration.await.unwrap().unwrap().close().await;
}

async fn wait_until_blocked(database: &Database) {
    let blocked = "SELECT count(*) FROM pg_locks AS l WHERE NOT l.granted AND l.mode = 'AccessExclusiveLock'
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let mut conn = connect(&database.url()).await;
    let look = async {
        while sqlx::query_scalar::<_, i64>(blocked).fetch_one(&mut conn).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), look).await.unwrap();
}

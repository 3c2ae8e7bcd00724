//! Opening a store: what is refused, what several nodes do at the same time, and what a host does by itself.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use messenger_core::{
    ports::{Appended, ChatStore as _, Store},
    testkit::{World, check_chat},
};
use messenger_mssql::{MssqlBuilder, MssqlStore, OpenError, OpenErrorKind, migrations_sql};
use messenger_testing::{MssqlDatabase, mssql_url, with_database};
use tokio::time::Instant;

use crate::support::{fresh, numbers_commits, patient};

const MIGRATIONS: &str = "SELECT COUNT_BIG(*) FROM messenger.messenger_migrations";

async fn refused(builder: MssqlBuilder) -> (OpenError, String) {
    let began = Instant::now();
    assert!(!format!("{builder:?}").contains("hunter2"));
    let error = builder.open().await.unwrap_err();
    let sentence = error.to_string();
    assert!(began.elapsed() < Duration::from_secs(30), "{sentence}");
    let mut shown = format!("{error:?}");
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        shown += &format!(" {error} {error:?}");
        cause = error.source();
    }
    assert!(
        !sentence.contains('\n') && !sentence.contains("hunter2") && !shown.contains("hunter2"),
        "{error:?}"
    );
    (error, sentence)
}

/// The URL with another password.
fn with_password(url: &str, password: &str) -> String {
    let (login, rest) = url.rsplit_once('@').unwrap();
    let (login, _) = login.rsplit_once(':').unwrap();
    format!("{login}:{password}@{rest}")
}

#[tokio::test]
async fn what_can_not_be_opened_is_refused_in_one_sentence() {
    let server = mssql_url();
    for (url, says) in [
        ("mssql://ada:hunter2@127.0.0.1:1/chat", "127.0.0.1:1/chat can't be used"),
        ("postgres://ada:hunter2@h/chat", "`mssql://`"),
        ("mssql://ada:hunter2@h:port/chat", "port"),
        ("mssql://ada:hunter2@h", "no database"),
        (&with_database(&server, "no_such_database"), "no_such_database"),
    ] {
        let (_, sentence) = refused(MssqlStore::builder(url)).await;
        assert!(sentence.contains(says), "{sentence}");
    }
    for name in ["", "2chat", "Chat", "a b", "chat]; DROP", "dbo", "sys", &"x".repeat(64)] {
        let (error, sentence) = refused(MssqlStore::builder(&server).schema(name)).await;
        assert_eq!(error.kind(), OpenErrorKind::Schema, "{sentence}");
        assert_eq!(migrations_sql(name), None);
    }
}

#[tokio::test]
async fn a_wrong_password_is_not_told() {
    let (error, sentence) = refused(MssqlStore::builder(&with_password(&mssql_url(), "hunter2"))).await;
    assert_eq!(error.kind(), OpenErrorKind::Login, "{error:?}");
    assert!(sentence.contains("can't be used: "), "{sentence}");
}

#[tokio::test]
async fn a_database_that_does_not_fit_is_refused_in_one_sentence() {
    let (store, database) = fresh().await;
    store.close().await;
    let builder = || patient(&database.url());

    database
        .execute("INSERT INTO messenger.messenger_migrations (version, name, checksum, applied_at) VALUES (999, N'later', 0x00, 0)")
        .await;
    let (error, sentence) = refused(builder()).await;
    assert_eq!(error.kind(), OpenErrorKind::Newer { found: 999, known: 7 }, "{error:?}");
    assert!(sentence.contains("999"), "{sentence}");
    database.execute("DELETE FROM messenger.messenger_migrations WHERE version = 999").await;
    builder().open().await.unwrap().close().await;

    database.execute("UPDATE messenger.messenger_migrations SET checksum = 0x00").await;
    for migrates in [true, false] {
        let (error, sentence) = refused(builder().migrate(migrates)).await;
        assert_eq!(error.kind(), OpenErrorKind::Changed { version: 1 }, "{sentence}");
    }
    let (error, sentence) = refused(builder().schema("other").migrate(false)).await;
    assert_eq!(error.kind(), OpenErrorKind::Pending { version: 1 }, "{sentence}");
    assert_eq!(database.number("SELECT COUNT_BIG(*) FROM sys.schemas WHERE name = 'other'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_nodes_may_start_at_once_on_an_empty_database() {
    let database = MssqlDatabase::create().await;
    let nodes = (0..8).map(|_| tokio::spawn(patient(&database.url()).max_connections(2).open()));
    let stores: Vec<Arc<MssqlStore>> =
        join_all(nodes).await.into_iter().map(|node| Arc::new(node.unwrap().unwrap())).collect();
    assert_eq!(database.number(MIGRATIONS).await, 1);

    let world = World::new(Arc::clone(&stores[0]) as Arc<dyn Store>);
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    let sends = stores.iter().map(|store| {
        let mut world = world.clone();
        world.store = Arc::clone(store) as Arc<dyn Store>;
        async move { world.append(&world.text(chat, ada, "hello")).await.unwrap() }
    });
    let mut seqs: Vec<u64> = join_all(sends)
        .await
        .into_iter()
        .map(|answer| match answer {
            Appended::New(message) => message.seq.get(),
            Appended::Existing { record: message, .. } => panic!("{message:?} was sent once"),
        })
        .collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=8).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_host_can_run_the_migrations_itself() {
    let database = MssqlDatabase::create().await;
    let mut script = migrations_sql("chat").unwrap();
    let is_sql_server =
        "SELECT CASE WHEN @@VERSION LIKE '%Babelfish%' THEN CAST(0 AS bigint) ELSE CAST(1 AS bigint) END";
    if database.number(is_sql_server).await == 0 {
        // The first step has made them all.
        script = script.replace("CREATE OR ALTER ", "ALTER ");
    }
    if !numbers_commits(&database).await {
        for (numbered, bare) in
            [("rowversion NOT NULL,", "bigint NOT NULL DEFAULT 0,"), ("VALUES (NEWID())", "VALUES (NULL)")]
        {
            assert!(script.contains(numbered));
            script = script.replace(numbered, bare);
        }
    }
    database.execute(&script).await;
    let store = Arc::new(patient(&database.url()).schema("chat").migrate(false).open().await.unwrap());
    let world = World::new(Arc::clone(&store) as Arc<dyn Store>);
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    world.send(chat, ada, "hello").await;
    store.close().await;

    // Who migrates finds nothing left to be done.
    patient(&database.url()).schema("chat").open().await.unwrap().close().await;
    assert_eq!(database.number("SELECT COUNT_BIG(*) FROM chat.messenger_migrations").await, 1);
    assert_eq!(database.number("SELECT COUNT_BIG(*) FROM chat.messenger_messages").await, 1);
}

#[tokio::test]
async fn the_order_of_commits_is_of_one_database() {
    let (first, second) = (fresh().await, fresh().await);
    let mut histories = vec![];
    for (store, database) in [&first, &second] {
        let world = World::new(Arc::clone(store) as Arc<dyn Store>);
        let ada = world.user("ada").await;
        let history = world.store.memberships(ada, None).await.unwrap().history;
        assert_eq!(history.is_some(), numbers_commits(database).await);
        let other_node = patient(&database.url()).open().await.unwrap();
        assert_eq!(other_node.memberships(ada, None).await.unwrap().history, history);
        histories.extend(history);
    }
    histories.dedup();
    assert!(histories.is_empty() || histories.len() == 2, "{histories:?}");
}

#[tokio::test]
async fn schemas_of_one_database_do_not_see_each_other() {
    let database = MssqlDatabase::create().await;
    let mut worlds = vec![];
    for schema in ["tea", "coffee"] {
        let store = patient(&database.url()).schema(schema).open().await.unwrap();
        worlds.push(World::new(Arc::new(store)));
    }
    for world in &worlds {
        let [ada, bob] = world.people(["ada", "bob"]).await;
        let chat = world.direct(ada, bob).await;
        world.send(chat, ada, "hello").await;
        assert_eq!(world.store.list_chats(ada, None, 10, usize::MAX).await.unwrap().len(), 1);
        assert_eq!(check_chat(&*world.store, chat, ada).await.len(), 1);
    }
    let erased = worlds[0].store.find_users("ada", None, 10).await.unwrap()[0].user.id;
    worlds[0].erase(erased).await;
    for (world, people) in worlds.iter().zip([1, 2]) {
        let names = world.store.find_users("", None, 10).await.unwrap();
        assert_eq!(names.len(), 2 * people, "each by the username and by the display name");
    }
}

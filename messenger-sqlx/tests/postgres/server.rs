//! What is particular to a database on a server: opening it, sharing it with a host and with other nodes, and a server
//! that is slow, full or away.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use crate::support::postgres::migrated;
use futures::future::join_all;
use messenger_core::{
    ChatId, Seq, UserId,
    ports::{
        Anchor, Appended, Budget, ChatStore as _, KeyId, Lease, MarkerStore as _, MessageStore as _,
        MoveMarker, PresenceStore as _, Rewrap, Store, StoreErrorKind, StoredKey, WrappedKey,
    },
    testkit::{World, cut_short, error_kind},
};
use messenger_sqlx::{
    PostgresBuilder, PostgresNodes, PostgresStore,
    postgres::{OpenError, OpenErrorKind, migrations_sql},
};
use messenger_testing::{Database, connect, execute, server_url, with_database};
use sqlx::postgres::PgPoolOptions;
use tokio::time::Instant;

async fn refused(builder: PostgresBuilder) -> (OpenError, String) {
    let began = Instant::now();
    assert!(!format!("{builder:?}").contains("secret"));
    let error = builder.open().await.unwrap_err();
    let sentence = error.to_string();
    assert!(began.elapsed() < Duration::from_secs(10), "{sentence}");
    assert!(!sentence.contains('\n') && !format!("{error:?}").contains("secret"), "{error:?}");
    (error, sentence)
}

#[tokio::test]
async fn what_can_not_be_opened_is_refused_in_one_sentence() {
    let server = server_url();
    for (url, says) in [
        ("postgres://ada:secret@127.0.0.1:1/chat", "127.0.0.1:1/chat can't be used: Connection refused"),
        ("mysql://ada:secret@h/chat", "does not begin with `postgres://`"),
        ("postgres://ada:secret@h:port/chat", "can't be used"),
        (&with_database(&server, "no_such_database"), "\"no_such_database\" does not exist"),
    ] {
        let (_, sentence) = refused(PostgresStore::builder(url)).await;
        assert!(sentence.contains(says), "{sentence}");
    }
    let (error, sentence) = refused(PostgresStore::builder(&server).schema("Chat; DROP")).await;
    assert_eq!(error.kind(), OpenErrorKind::Schema, "{sentence}");
}

#[tokio::test]
async fn a_database_that_does_not_fit_is_refused_in_one_sentence() {
    for (change, says) in [
        (
            "INSERT INTO messenger.messenger_migrations VALUES (999, 'later', '\\x00', 0)",
            "is newer than this program",
        ),
        ("UPDATE messenger.messenger_migrations SET checksum = '\\x00'", "its migration 1 is not ours"),
        ("ALTER DATABASE {name} SET synchronous_commit = off", "what is acknowledged could be lost"),
        ("ALTER DATABASE {name} SET default_transaction_read_only = on", "is read-only"),
    ] {
        let database = migrated(&server_url()).await;
        let url = database.url();
        let name = url.rsplit('/').next().unwrap().split('?').next().unwrap();
        execute(&mut connect(&url).await, change.replace("{name}", name)).await;
        let (_, sentence) = refused(PostgresStore::builder(&url)).await;
        assert!(sentence.contains(says), "{sentence}");
    }
    let empty = Database::empty(&server_url()).await;
    let (error, sentence) = refused(PostgresStore::builder(&empty.url()).migrate(false)).await;
    assert_eq!(error.kind(), OpenErrorKind::Pending { version: 1 }, "{sentence}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_nodes_may_start_at_once_on_a_new_database() {
    let database = Database::empty(&server_url()).await;
    let nodes =
        (0..10).map(|_| tokio::spawn(PostgresStore::builder(&database.url()).max_connections(2).open()));
    let stores: Vec<PostgresStore> =
        join_all(nodes).await.into_iter().map(|node| node.unwrap().unwrap()).collect();
    let mut conn = connect(&database.url()).await;
    let done = sqlx::query_as("SELECT count(*), count(DISTINCT version) FROM messenger.messenger_migrations");
    let done: (i64, i64) = done.fetch_one(&mut conn).await.unwrap();
    assert!(done.0 >= 2 && done.0 == done.1, "each step is done once: {done:?}");

    let stores: Vec<Arc<PostgresStore>> = stores.into_iter().map(Arc::new).collect();
    let world = World::new(Arc::clone(&stores[0]) as Arc<dyn Store>);
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    let sends = stores.iter().map(|store| {
        let batch = [world.text(chat, ada, "hello"), world.text(chat, bob, "hello")];
        async move { store.append_messages(&batch).await.unwrap() }
    });
    let mut seqs: Vec<u64> = join_all(sends).await.into_iter().flatten().map(seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=20).collect::<Vec<_>>());
}

fn seq(answer: messenger_core::ports::StoreResult<Appended>) -> u64 {
    match answer.unwrap() {
        Appended::New(message) => message.seq.get(),
        Appended::Existing { record: message, .. } => panic!("{message:?} was sent once"),
    }
}

#[tokio::test]
async fn a_host_can_run_the_migrations_itself_and_grant_no_more_than_is_needed() {
    let database = Database::empty(&server_url()).await;
    let mut owner = connect(&database.url()).await;
    execute(&mut owner, "CREATE TABLE public.users (id integer)").await;
    execute(&mut owner, migrations_sql("chat").unwrap()).await;
    let name = database
        .url()
        .rsplit('/')
        .next()
        .unwrap()
        .split('?')
        .next()
        .unwrap()
        .replace("messenger_test", "role");
    // As docs/storage.md has it.
    execute(
        &mut owner,
        format!(
            "CREATE ROLE {name} LOGIN PASSWORD 'secret';
             GRANT USAGE ON SCHEMA chat TO {name};
             GRANT SELECT ON chat.messenger_migrations TO {name};
             GRANT SELECT, INSERT, UPDATE ON chat.messenger_users, chat.messenger_chats, chat.messenger_members,
                 chat.messenger_messages TO {name};
             GRANT SELECT, INSERT, UPDATE, DELETE ON chat.messenger_sessions, chat.messenger_presence TO {name};
             GRANT SELECT, INSERT, UPDATE ON chat.messenger_presence_epoch TO {name};
             GRANT SELECT, INSERT, UPDATE, DELETE ON chat.messenger_jobs, chat.messenger_job_pauses,
                 chat.messenger_schedules TO {name};
             GRANT SELECT, INSERT, UPDATE ON chat.messenger_keys TO {name};
             GRANT SELECT, INSERT, DELETE ON chat.messenger_holds TO {name};
             GRANT SELECT, UPDATE ON chat.messenger_hold_lock TO {name};
             GRANT SELECT, INSERT ON chat.messenger_purges TO {name};"
        ),
    )
    .await;
    let (scheme, rest) = server_url().split_once("://").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let host = rest.split_once('@').map_or(rest.as_str(), |(_, host)| host);
    let url = with_database(
        &format!("{scheme}://{name}:secret@{host}"),
        database.url().rsplit('/').next().unwrap(),
    );
    let store = PostgresStore::builder(&url).schema("chat").open().await.unwrap();
    let world = World::new(Arc::new(store));
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let group = world.group([ada, bob]).await;
    world.add(group, ada, &[cleo]).await;
    let sent = world.send(group, cleo, "hello").await;
    world.edit(&sent, "hallo").await;
    assert_eq!(
        world
            .store
            .history(group, bob, Anchor::Newest, Budget::of_messages(10))
            .await
            .unwrap()
            .messages
            .len(),
        3
    );
    world.erase(cleo).await;
    crate::jobs::use_rights(&world).await;
    use_rights_on_keys(&world).await;
    world.store.close().await;
    execute(&mut owner, "DELETE FROM chat.messenger_presence_epoch").await;
    let presence = PostgresNodes::builder(&url).schema("chat").build().unwrap().presence();
    let lease = Lease { user: ada, connection: world.context.id() };
    let came = presence.renew(&[lease], Duration::from_secs(60)).await.unwrap();
    presence.release(&[lease]).await.unwrap();
    assert_eq!((came, presence.sweep(Duration::ZERO, 10).await.unwrap()), (vec![ada], vec![]), "it settles");
    drop(presence);
    execute(&mut owner, format!("DROP OWNED BY {name}; DROP ROLE {name}")).await;
}

async fn use_rights_on_keys(world: &World) {
    let (user, created_at) = (world.id(), world.tick());
    let id = KeyId::of_user(user);
    let (expected, wrapped) = (WrappedKey(vec![1]), WrappedKey(vec![2]));
    let key = StoredKey { id, wrapped: Some(expected.clone()), created_at, destroyed_at: None };
    assert_eq!(world.store.create_keys(std::slice::from_ref(&key)).await.unwrap(), [key]);
    assert_eq!(world.store.rewrap_keys(&[Rewrap { id, expected, wrapped }]).await.unwrap(), 1);
    world.store.destroy_keys(user, world.tick()).await.unwrap();
    assert_eq!(world.store.list_keys(None, 10).await.unwrap(), world.store.keys(&[id]).await.unwrap());
}

/// Two in a chat.
async fn talkers(store: &Arc<PostgresStore>) -> (World, ChatId, UserId) {
    let world = World::new(Arc::clone(store) as Arc<dyn Store>);
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    (world, chat, ada)
}

#[tokio::test]
async fn a_transaction_that_the_host_left_open_does_not_swallow_what_is_acknowledged() {
    let database = migrated(&server_url()).await;
    let pool = PgPoolOptions::new().max_connections(1).connect(&database.url()).await.unwrap();
    let store = Arc::new(PostgresStore::with_pool(pool.clone()).open().await.unwrap());
    let (world, chat, ada) = talkers(&store).await;
    for leftover in ["BEGIN", "BEGIN; SAVEPOINT mine; SELECT 1"] {
        execute(&mut pool.acquire().await.unwrap(), leftover).await;
        let sent = world.send(chat, ada, "hello").await;
        execute(&mut pool.acquire().await.unwrap(), "ROLLBACK").await;
        assert!(world.store.message(chat, sent.id).await.is_ok(), "after {leftover}");
    }
    // One that has failed takes nothing any more.
    let mut conn = pool.acquire().await.unwrap();
    execute(&mut conn, "BEGIN").await;
    assert!(sqlx::raw_sql("SELECT 1/0").execute(&mut *conn).await.is_err());
    drop(conn);
    let sent = world.send(chat, ada, "hello").await;
    assert!(world.store.message(chat, sent.id).await.is_ok());

    store.close().await;
    assert_eq!(error_kind(store.ping().await), StoreErrorKind::Unavailable);
    assert!(!pool.is_closed(), "the pool is the host's");
    execute(&mut pool.acquire().await.unwrap(), "SELECT 1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_who_go_away_at_any_moment_leave_no_transaction_open() {
    for shared in [false, true] {
        let database = migrated(&server_url()).await;
        let builder = if shared {
            let pool = PgPoolOptions::new().max_connections(4).connect(&database.url()).await.unwrap();
            PostgresStore::with_pool(pool)
        } else {
            PostgresStore::builder(&database.url()).max_connections(4)
        };
        let store = Arc::new(builder.open().await.unwrap());
        let world = World::new(Arc::clone(&store) as Arc<dyn Store>);
        let [ada, bob] = world.people(["ada", "bob"]).await;
        let chat = world.direct(ada, bob).await;
        let racers = (0..200).map(|number| {
            let world = world.clone();
            tokio::spawn(async move {
                let polls = number % 12;
                match number % 3 {
                    0 => {
                        drop(
                            cut_short(world.store.append_messages(&[world.text(chat, ada, "hello")]), polls)
                                .await,
                        );
                    }
                    1 => drop(cut_short(world.store.create_group(world.new_group(ada, &[bob])), polls).await),
                    _ => drop(cut_short(world.store.list_chats(ada, None, 10, usize::MAX), polls).await),
                }
            })
        });
        join_all(racers).await;
        // Waits for what went on alone.
        store.close().await;
        let mut conn = connect(&database.url()).await;
        let open = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
        let open: (i64,) = sqlx::query_as(open).fetch_one(&mut conn).await.unwrap();
        assert_eq!(open.0, 0);
    }
}

#[tokio::test]
async fn the_pool_recovers_from_connections_that_were_cut() {
    let database = migrated(&server_url()).await;
    let store = Arc::new(PostgresStore::builder(&database.url()).max_connections(8).open().await.unwrap());
    let (world, chat, ada) = talkers(&store).await;
    for round in 0..6 {
        // Opens several connections.
        join_all((0..8).map(|_| world.store.user(ada)))
            .await
            .into_iter()
            .for_each(|user| drop(user.unwrap()));
        let cut = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        execute(&mut connect(&database.url()).await, cut).await;
        // The first one to find out, with one statement or in a transaction; after that all are looked at before they
        // are used.
        let first = if round % 2 == 0 {
            store.append_messages(&[world.text(chat, ada, "hello")]).await.map(drop)
        } else {
            store.create_group(world.new_group(ada, &[])).await.map(drop)
        };
        let failed = usize::from(first.is_err());
        if let Err(error) = first {
            assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        }
        let later = join_all((0..8).map(|_| world.store.user(ada))).await;
        assert_eq!(later.iter().filter(|user| user.is_err()).count(), 0, "after {failed} failure");
        world.send(chat, ada, "hello").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_and_marks_of_one_chat_never_wait_for_each_other_in_a_circle() {
    for shared in [false, true] {
        let database = migrated(&server_url()).await;
        let builder = if shared {
            let pool = PgPoolOptions::new().max_connections(8).connect(&database.url()).await.unwrap();
            PostgresStore::with_pool(pool)
        } else {
            PostgresStore::builder(&database.url()).max_connections(8)
        };
        let store = Arc::new(builder.open().await.unwrap());
        let world = World::new(Arc::clone(&store) as Arc<dyn Store>);
        let people = world.people(["ada", "bob", "cleo", "dan", "eve", "finn", "gus", "hal"]).await;
        let chat = world.group(people).await;
        // Some plans depend on it.
        execute(&mut connect(&database.url()).await, "ANALYZE").await;
        let racers = (0..8).map(|racer| {
            let (world, store) = (world.clone(), Arc::clone(&store));
            tokio::spawn(async move {
                for round in 0..60 {
                    let mut people = people;
                    people.rotate_left((racer + round) % 8);
                    if racer % 2 == 0 {
                        let batch: Vec<_> =
                            people.iter().map(|sender| world.text(chat, *sender, "hello")).collect();
                        store.append_messages(&batch).await.unwrap();
                    } else {
                        let seq = Seq::new(round as u64 * 30);
                        let marks = people.map(|user| MoveMarker { chat, user, seq, read: true });
                        store.move_markers(&marks).await.unwrap();
                    }
                }
            })
        });
        for racer in join_all(racers).await {
            racer.unwrap();
        }
        let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        let mut monitor = connect(&database.url()).await;
        let deadlocks: (i64,) = sqlx::query_as(deadlocks).fetch_one(&mut monitor).await.unwrap();
        assert_eq!(deadlocks.0, 0);
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_node_may_start_while_others_are_busy_behind_the_same_pooler() {
    let database = migrated(&server_url()).await;
    let pooler = messenger_testing::Pooler::start(&database.url()).await;
    let builder = || PostgresStore::builder(pooler.url()).transaction_pooling(true).max_connections(8);
    let store = Arc::new(builder().open().await.unwrap());
    let (world, _, ada) = talkers(&store).await;
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let world = world.clone();
            tokio::spawn(async move {
                loop {
                    world.store.user(ada).await.unwrap();
                }
            })
        })
        .collect();
    for _ in 0..20 {
        builder().open().await.unwrap().close().await;
    }
    for reader in readers {
        assert!(!reader.is_finished());
        reader.abort();
    }
}

#[tokio::test]
async fn a_lock_that_somebody_holds_is_waited_for_only_so_long() {
    let database = migrated(&server_url()).await;
    let builder = PostgresStore::builder(&database.url()).max_connections(2);
    let builder =
        builder.statement_timeout(Duration::from_millis(300)).acquire_timeout(Duration::from_millis(600));
    let store = Arc::new(builder.open().await.unwrap());
    let (world, chat, ada) = talkers(&store).await;
    let mut other = connect(&database.url()).await;
    execute(&mut other, "BEGIN; SELECT FROM messenger.messenger_chats FOR UPDATE").await;

    let began = Instant::now();
    // More than there are connections: those who get none are refused, too.
    let texts = (0..8).map(|_| world.text(chat, ada, "hello")).collect::<Vec<_>>();
    for answer in join_all(texts.iter().map(|text| store.append_messages(std::slice::from_ref(text)))).await {
        assert_eq!(answer.unwrap_err().kind(), StoreErrorKind::Unavailable);
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    execute(&mut other, "ROLLBACK").await;
    assert_eq!(world.send(chat, ada, "hello").await.seq.get(), 1);
}

#[tokio::test]
async fn a_transaction_that_takes_too_long_is_undone_and_its_connection_not_used_again() {
    let database = migrated(&server_url()).await;
    let builder =
        PostgresStore::builder(&database.url()).max_connections(2).timeout(Duration::from_millis(500));
    let store = Arc::new(builder.open().await.unwrap());
    let world = World::new(Arc::clone(&store) as Arc<dyn Store>);
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let mut other = connect(&database.url()).await;
    // Lets a group be begun, and not be finished.
    execute(&mut other, "BEGIN; LOCK TABLE messenger.messenger_messages IN SHARE ROW EXCLUSIVE MODE").await;
    let group = world.new_group(ada, &[bob]);
    assert_eq!(error_kind(store.create_group(group.clone()).await), StoreErrorKind::Unavailable);
    execute(&mut other, "ROLLBACK").await;

    let until = Instant::now() + Duration::from_secs(20);
    let mut monitor = connect(&database.url()).await;
    loop {
        let busy = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'messenger' AND state <> 'idle'";
        let busy: (i64,) = sqlx::query_as(busy).fetch_one(&mut monitor).await.unwrap();
        if busy.0 == 0 {
            break;
        }
        assert!(Instant::now() < until, "the server ends the transaction");
    }
    for person in [ada, bob] {
        assert_eq!(store.memberships(person, None).await.unwrap().chats, [], "nothing of it is left");
    }
    assert!(store.create_group(group).await.unwrap().created);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_waited_for_only_so_long() {
    use messenger_testing::PrivateServer;

    let server = PrivateServer::start(&["fsync=off"]);
    let builder = PostgresStore::builder(server.url()).max_connections(4).timeout(Duration::from_secs(1));
    let store = Arc::new(builder.acquire_timeout(Duration::from_secs(1)).open().await.unwrap());
    let (world, chat, ada) = talkers(&store).await;
    server.freeze();
    let began = Instant::now();
    let answers = join_all((0..12).map(|_| async {
        match world.store.user(ada).await {
            Err(error) => error.kind(),
            Ok(_) => panic!("a frozen server has answered"),
        }
    }));
    assert!(answers.await.iter().all(|kind| *kind == StoreErrorKind::Unavailable));
    let sent = store.append_messages(&[world.text(chat, ada, "hello")]).await;
    assert_eq!(sent.unwrap_err().kind(), StoreErrorKind::Unavailable);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    server.thaw();
    let until = Instant::now() + Duration::from_secs(20);
    while store.ping().await.is_err() {
        assert!(Instant::now() < until, "it recovers");
    }
    world.send(chat, ada, "hello").await;
}

#[cfg(all(feature = "tls", unix))]
#[tokio::test]
async fn connections_are_encrypted_and_the_server_is_the_one_that_is_meant() {
    use messenger_testing::PrivateServer;

    let server = PrivateServer::start(&["fsync=off"]);
    let folder = tempfile::tempdir().unwrap();
    let mut authorities = vec![];
    for name in ["ours", "another"] {
        let file = folder.path().join(format!("{name}.pem"));
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&file, certified.cert.pem()).unwrap();
        authorities.push((file, certified));
    }
    let (ours, certified) = &authorities[0];
    let mut admin = connect(server.url()).await;
    // The server writes its key itself, so that it is its own and nobody else's to read.
    for (name, text) in [("cert", certified.cert.pem()), ("key", certified.signing_key.serialize_pem())] {
        let lines = format!("COPY (SELECT unnest(string_to_array('{text}', E'\\n'))) TO PROGRAM");
        execute(&mut admin, format!("{lines} 'umask 077; cat > ours.{name}'")).await;
    }
    for setting in ["ssl_cert_file = 'ours.cert'", "ssl_key_file = 'ours.key'", "ssl = on"] {
        execute(&mut admin, format!("ALTER SYSTEM SET {setting}")).await;
    }
    execute(&mut admin, "SELECT pg_reload_conf()").await;

    let named = server.url().replace("127.0.0.1", "localhost");
    let url = |mode: &str, authority: &std::path::Path| {
        format!("{named}?sslmode={mode}&sslrootcert={}", authority.display())
    };
    let until = Instant::now() + Duration::from_secs(20);
    let store = loop {
        // The new settings take a moment to reach the server.
        match PostgresStore::connect(&url("verify-full", ours)).await {
            Ok(store) => break store,
            Err(error) => assert!(Instant::now() < until, "{error:?}"),
        }
    };
    store.ping().await.unwrap();
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'messenger'";
    let encrypted: (Option<bool>,) = sqlx::query_as(encrypted).fetch_one(&mut admin).await.unwrap();
    assert_eq!(encrypted.0, Some(true));

    let (_, sentence) = refused(PostgresStore::builder(&url("verify-full", &authorities[1].0))).await;
    assert!(sentence.contains("certificate"), "{sentence}");
    let by_address = url("verify-full", ours).replace("localhost", "127.0.0.1");
    let (_, sentence) = refused(PostgresStore::builder(&by_address)).await;
    assert!(sentence.contains("certificate"), "{sentence}");
}

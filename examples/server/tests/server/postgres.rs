//! On a PostgreSQL server.

use std::{
    net::TcpListener,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use messenger_testing::{PrivateServer, connect, execute, server_url, with_database};
use serde_json::json;

use crate::{
    data::{said, say},
    stores::{TestStore, block_on, run_sql},
    support::{Server, binary, refused},
};

/// What is said where the store of this URL can't be used, whatever is to be done with it.
fn refused_at(url: &str) -> String {
    let [served, migrated] = ["serve", "migrate"].map(|task| {
        refused(
            &binary()
                .args([task, "--listen", "127.0.0.1:0", "--log", "off", "--store-url", url])
                .output()
                .unwrap(),
        )
    });
    assert_eq!(served, migrated);
    assert!(served.starts_with("messenger-server: The data can't be opened: "), "{served}");
    assert!(!served.contains("hunter2"), "{served}");
    served
}

fn says(said: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| said.contains(part)), "{parts:?} are not all in {said}");
}

#[test]
fn it_says_in_which_database_and_schema_the_data_lies() {
    let store = TestStore::postgres();
    let server = Server::start(store.command().args(["--store-schema", "tea"]));
    let line = server.says("The data lies in the PostgreSQL database ");
    let url = store.url();
    let database = url.rsplit('/').next().and_then(|rest| rest.split('?').next()).unwrap();
    assert!(line.ends_with(&format!("/{database}, schema tea")), "{line}");
    let (messages, token) = say(&server, "good morning");
    assert_eq!(said(&server, &messages, &token), ["good morning"]);
    run_sql(&store.url(), "SELECT FROM tea.messenger_messages");
}

#[test]
fn servers_that_start_at_the_same_time_on_an_empty_database_share_it() {
    let store = TestStore::postgres();
    let [first, second] = [store.command(), store.command()]
        .map(|mut command| thread::spawn(move || Server::start(&mut command)))
        .map(|started| started.join().unwrap());
    let (messages, token) = say(&first, "is anybody there?");
    assert_eq!(said(&second, &messages, &token), ["is anybody there?"]);
}

#[test]
fn a_server_that_does_not_answer_is_one_sentence() {
    let said = refused_at("postgres://ann:hunter2@127.0.0.1:1/chat");
    says(&said, &["127.0.0.1:1/chat", "refused", "check that the server runs", "--store-url"]);

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let said = refused_at(&format!("postgres://ann:hunter2@{}/chat", silent.local_addr().unwrap()));
    says(&said, &["did not answer in time", "check that the server runs", "--store-url"]);
}

#[test]
fn a_database_that_is_not_there_is_one_sentence() {
    let said = refused_at(&with_database(&server_url(), "messenger_test_nowhere"));
    says(&said, &["\"messenger_test_nowhere\" does not exist", "CREATE DATABASE", "--store-url"]);
}

#[test]
fn tables_of_others_are_left_alone() {
    let store = TestStore::postgres();
    store.start();
    let change = |sql| run_sql(&store.url(), sql);
    change("INSERT INTO messenger.messenger_migrations VALUES (999, 'later', '\\x00', 0)");
    says(&refused_at(&store.url()), &["is newer than this program", "999", "run the release that made it"]);

    change("DELETE FROM messenger.messenger_migrations WHERE version = 999");
    change("UPDATE messenger.messenger_migrations SET checksum = '\\x00'");
    says(&refused_at(&store.url()), &["made by another program", "--store-schema"]);
}

#[test]
fn whom_the_database_does_not_let_in_is_told_so() {
    let server = PrivateServer::start(&[]);
    run_sql(server.url(), "CREATE ROLE ann LOGIN PASSWORD 'p@ss/w?r#d: ÄÖ%'");
    run_sql(server.url(), "CREATE DATABASE chat");
    ask_for_passwords(server.url());
    let host = server.url().rsplit(['@', '/']).nth(1).unwrap();
    let at = |user| format!("postgres://{user}@{host}/chat");

    says(&refused_at(&at("ann:hunter2")), &["\"ann\"", "check the user and the password in --store-url"]);
    says(&refused_at(&at("ann")), &["\"ann\"", "check the user and the password in --store-url"]);
    let ann = at("ann:p%40ss%2Fw%3Fr%23d%3A%20%C3%84%C3%96%25");
    says(&refused_at(&ann), &["permission denied", "messenger-server migrate"]);
    says(&refused_at(&format!("{ann}?sslmode=require")), &["TLS", "check `sslmode`"]);

    run_sql(server.url(), "GRANT CREATE ON DATABASE chat TO ann");
    let server = Server::start(binary().args(["--store-url", &ann]));
    let line = server.says("The data lies in ");
    assert!(line.ends_with("/chat, schema messenger") && !line.contains("ann"), "{line}");
}

/// Of everybody but the superuser.
fn ask_for_passwords(url: &str) {
    block_on(async {
        let mut conn = connect(url).await;
        let file: (String,) = sqlx::query_as("SHOW hba_file").fetch_one(&mut conn).await.unwrap();
        let lines = "VALUES ('host all postgres all trust'), ('host all all all scram-sha-256')";
        execute(&mut conn, format!("COPY ({lines}) TO '{}'", file.0)).await;
        execute(&mut conn, "SELECT pg_reload_conf()").await;
    });
}

#[test]
fn no_more_connections_are_opened_and_no_statement_takes_longer_than_was_set() {
    let store = TestStore::postgres();
    let mut command = store.command_for_load();
    let server = Server::start(command.args(["--store-connections", "2", "--store-statement-timeout", "1s"]));
    let began = Instant::now();
    let most = block_on(async {
        let mut holder = connect(&store.url()).await;
        execute(&mut holder, "BEGIN; LOCK messenger.messenger_users").await;
        // A transaction would see the same ones again and again.
        let mut watcher = connect(&store.url()).await;
        let logins: Vec<_> = (0..4).map(|_| log_in(&server)).collect();
        let mut most = 0;
        while logins.iter().any(|login| !login.is_finished()) {
            let query = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'messenger'";
            let now: (i64,) = sqlx::query_as(query).fetch_one(&mut watcher).await.unwrap();
            most = most.max(now.0);
        }
        for login in logins {
            assert_eq!(login.join().unwrap(), 503);
        }
        most
    });
    assert_eq!(most, 2);
    // By default a statement has longer.
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
}

/// The status of the answer.
fn log_in(server: &Server) -> JoinHandle<u16> {
    let mut client = server.connect();
    let body = json!({"login": "ada", "password": "correct horse battery"}).to_string();
    client.send(&format!(
        "POST /api/v1/auth/login HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    thread::spawn(move || client.answer().status())
}

#[cfg(unix)]
#[test]
fn through_a_pooler_for_transactions_what_was_acknowledged_is_there_after_a_kill() {
    let store = TestStore::postgres();
    let pooler = block_on(messenger_testing::Pooler::start(&store.url()));
    let start = || {
        let flags = ["--store-url", pooler.url(), "--store-transaction-pooling", "on"];
        Server::start(binary().args(flags))
    };
    let server = start();
    let (messages, token) = say(&server, "good night");
    drop(server);
    assert_eq!(said(&start(), &messages, &token), ["good night"]);
}

#[cfg(unix)]
#[test]
fn a_signal_ends_it_while_it_waits_for_the_database() {
    use std::process::Stdio;

    use rustix::process::{Pid, Signal, kill_process};

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://{}/chat", silent.local_addr().unwrap());
    let mut command = binary();
    command
        .args(["--listen", "127.0.0.1:0", "--store-url", &url])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let _waiting = silent.accept().unwrap();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    stores::TestStore,
    support::{Server, binary, file, refused, run, sqlite_url},
};

/// Someone says something in a group of one; gives the path of the chat's messages and the token.
pub(crate) fn say(server: &Server, text: &str) -> (String, String) {
    let token = server.register("ada");
    let group = json!({ "title": "notes", "memberIds": [] });
    let chat = server.request("POST", "/api/v1/chats/group", Some(&token), Some(&group));
    assert_eq!(chat.status(), 201, "{}", chat.text());
    let messages = format!("/api/v1/chats/{}/messages", chat.json()["id"].as_str().unwrap());
    let sent = server.request("POST", &messages, Some(&token), Some(&json!({ "body": text })));
    assert_eq!(sent.status(), 201, "{}", sent.text());
    (messages, token)
}

pub(crate) fn said(server: &Server, messages: &str, token: &str) -> Vec<Value> {
    let answer = server.request("GET", messages, Some(token), None);
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let items = answer.json()["items"].as_array().unwrap().clone();
    items.into_iter().filter_map(|message| message.get("body").cloned()).collect()
}

#[cfg(unix)]
fn what_was_said_is_there_after_a_restart(store: &TestStore) {
    let server = store.start();
    let (messages, token) = say(&server, "good morning");
    server.stop();
    let server = store.start();
    assert_eq!(said(&server, &messages, &token), ["good morning"]);
    server.stop();
}

#[cfg(unix)]
#[test]
fn what_was_said_is_in_one_file_after_a_restart() {
    let store = TestStore::sqlite();
    what_was_said_is_there_after_a_restart(&store);
    let TestStore::Sqlite(folder) = &store else { panic!() };
    // A clean end leaves one file to be copied away, the key that opens it, and an empty one that was locked.
    let mut files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap()).collect();
    files.retain(|file| file.metadata().unwrap().len() > 0);
    let mut names: Vec<_> = files.into_iter().map(|file| file.file_name()).collect();
    names.sort_unstable();
    assert_eq!(names, ["chat.db", "chat.encryption-key"]);
}

#[test]
fn a_second_server_on_the_same_file_is_refused_with_what_to_do() {
    let store = TestStore::sqlite();
    let first = store.start();
    let said =
        refused(&store.command().args(["--listen", "127.0.0.1:0", "--log", "error"]).output().unwrap());
    assert!(said.contains("is in use by another server") && said.contains("--store-url"), "{said}");
    first.register("ada");
}

#[cfg(unix)]
#[test]
fn what_was_said_is_in_the_database_after_a_restart() {
    what_was_said_is_there_after_a_restart(&TestStore::postgres());
}

fn what_was_acknowledged_is_there_after_a_kill(store: &TestStore) {
    let server = store.start();
    let (messages, token) = say(&server, "good night");
    drop(server);
    assert_eq!(said(&store.start(), &messages, &token), ["good night"]);
}

#[test]
fn what_was_acknowledged_is_in_the_file_after_a_kill() {
    what_was_acknowledged_is_there_after_a_kill(&TestStore::sqlite());
}

#[test]
fn what_was_acknowledged_is_in_the_database_after_a_kill() {
    what_was_acknowledged_is_there_after_a_kill(&TestStore::postgres());
}

#[test]
fn memory_works_and_forgets() {
    let server = Server::in_memory([]);
    let (messages, token) = say(&server, "psst");
    assert_eq!(said(&server, &messages, &token), ["psst"]);
    let next = Server::in_memory([]);
    assert_eq!(next.request("GET", &messages, Some(&token), None).status(), 401);
}

#[test]
fn the_file_lies_in_the_working_directory_unless_told_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(binary().current_dir(folder.path()));
    let said = server.says("The data lies in ");
    assert!(Path::new(said.trim_start_matches("The data lies in ")).is_absolute(), "{said}");
    assert!(folder.path().join("messenger.db").is_file());
}

#[test]
fn a_file_that_cannot_be_opened_is_one_sentence() {
    let (folder, garbage) = file("garbage.db", &"this is no database ".repeat(500));
    let missing = folder.path().join("missing").join("chat.db");
    for path in [&garbage, &missing] {
        for command in ["serve", "migrate"] {
            let said = refused(&run([command, "--listen", "127.0.0.1:0", "--store-url", &sqlite_url(path)]));
            assert!(said.contains(path.to_str().unwrap()) && said.contains("--store-url"), "{said}");
        }
    }
    assert!(!missing.exists());
    let said = refused(&run(["--store-url", &sqlite_url(folder.path())]));
    assert!(said.contains("folder"), "{said}");
}

#[test]
fn migrate_makes_the_tables() {
    for (store, place) in [(TestStore::sqlite(), "chat.db"), (TestStore::postgres(), "schema messenger")] {
        for _ in 0..2 {
            let output = store.command().arg("migrate").output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let said = String::from_utf8(output.stdout).unwrap();
            assert!(said.contains("up to date") && said.contains(place), "{said}");
        }
        // Nothing is left to be made.
        say(&store.start(), "good day");
    }
}

#[test]
fn migrate_prints_the_tables_of_the_store_that_the_url_names() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody is at this address.
    let postgres = ["--store-url", "postgres://ann:hunter2@127.0.0.1:1/chat", "--store-schema", "tea"];
    let mssql = ["--store-url", "mssql://ann:hunter2@127.0.0.1:1/chat", "--store-schema", "tea"];
    for (flags, table) in [
        (&[][..], "CREATE TABLE messenger_messages"),
        (&["--store-url", "sqlite://other.db"], "CREATE TABLE messenger_messages"),
        (&postgres, "CREATE TABLE \"tea\".messenger_messages"),
        (&mssql, "CREATE TABLE [tea].messenger_messages"),
    ] {
        let output =
            binary().args(["migrate", "--print"]).args(flags).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(printed.contains(table) && !printed.contains("hunter2"), "{printed}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

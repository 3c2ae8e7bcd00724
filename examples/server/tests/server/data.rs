use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::support::{Server, file, refused, run, sqlite_url};

/// Someone says something in a group of one; gives the path of the chat's messages and the token.
fn say(server: &Server, text: &str) -> (String, String) {
    let token = server.register("ada");
    let group = json!({ "title": "notes", "memberIds": [] });
    let chat = server.request("POST", "/api/v1/chats/group", Some(&token), Some(&group));
    assert_eq!(chat.status(), 201, "{}", chat.text());
    let messages = format!("/api/v1/chats/{}/messages", chat.json()["id"].as_str().unwrap());
    let sent = server.request("POST", &messages, Some(&token), Some(&json!({ "body": text })));
    assert_eq!(sent.status(), 201, "{}", sent.text());
    (messages, token)
}

fn said(server: &Server, messages: &str, token: &str) -> Vec<Value> {
    let answer = server.request("GET", messages, Some(token), None);
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let items = answer.json()["items"].as_array().unwrap().clone();
    items.into_iter().filter_map(|message| message.get("body").cloned()).collect()
}

#[cfg(unix)]
#[test]
fn what_was_said_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let server = Server::on_file(&path);
    let (messages, token) = say(&server, "good morning");
    server.stop();
    let server = Server::on_file(&path);
    assert_eq!(said(&server, &messages, &token), ["good morning"]);
    server.stop();
    // A clean end leaves one file to be copied away.
    let files: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["chat.db"]);
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let server = Server::on_file(&path);
    let (messages, token) = say(&server, "good night");
    drop(server);
    assert_eq!(said(&Server::on_file(&path), &messages, &token), ["good night"]);
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
    let server = Server::start(crate::support::binary().current_dir(folder.path()));
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
fn migrate_makes_the_tables_and_prints_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    for _ in 0..2 {
        let output = run(["migrate", "--store-url", &sqlite_url(&path)]);
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8(output.stdout).unwrap().contains("up to date"));
    }
    assert!(path.is_file());

    let output = run(["migrate", "--print"]);
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("CREATE TABLE"));
}

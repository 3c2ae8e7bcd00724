//! Encryption at rest: which keys, where they lie, and what is refused without them.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Server, binary, refused, sqlite_url};

/// A folder with data and keys.
struct Data(TempDir);

impl Data {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn keys(&self) -> PathBuf {
        self.0.path().join("chat.encryption-key")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = binary();
        command.args(arguments);
        if !arguments.contains(&"--store-url") {
            command.args(["--store-url", &sqlite_url(&self.0.path().join("chat.db"))]);
        }
        command
    }

    fn start(&self, arguments: &[&str]) -> Server {
        Server::start(&mut self.command(arguments))
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn said(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, arguments: &[&str]) -> String {
        refused(&self.output(arguments))
    }

    /// Whether the word is in a file of the database.
    fn has(&self, word: &str) -> bool {
        let files = fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path());
        files
            .filter(|path| path.to_string_lossy().contains(".db"))
            .any(|path| fs::read(path).unwrap().windows(word.len()).any(|bytes| bytes == word.as_bytes()))
    }
}

/// Makes a group with this title, and gives its titles as they are listed.
fn with_group(server: &Server, token: &str, title: Option<&str>) -> Vec<Value> {
    if let Some(title) = title {
        let group = json!({"title": title, "memberIds": []});
        let answer = server.request("POST", "/api/v1/chats/group", Some(token), Some(&group));
        assert_eq!(answer.status(), 201, "{}", answer.text());
    }
    let list = server.request("GET", "/api/v1/chats", Some(token), None).json();
    let mut titles: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|chat| chat["title"].clone()).collect();
    titles.sort_by_key(Value::to_string);
    titles
}

#[test]
fn new_data_in_a_file_is_encrypted_and_its_key_is_for_its_owner_alone() {
    let data = Data::new();
    let server = data.start(&[]);
    let token = server.register("ada");
    assert_eq!(with_group(&server, &token, Some("Planted")), ["Planted"]);
    assert!(!data.has("Planted") && !data.has("ada@"));
    drop(server);
    assert!(!data.has("Planted") && !data.has("ada@"));
    assert_eq!(fs::metadata(data.keys()).unwrap().permissions().mode() & 0o777, 0o600);
    // And so it is the next time.
    let server = data.start(&[]);
    assert_eq!(with_group(&server, &token, None), ["Planted"]);
}

#[test]
fn keys_are_changed_while_a_server_runs() {
    let data = Data::new();
    let server = data.start(&[]);
    let token = server.register("ada");
    with_group(&server, &token, Some("Before"));
    assert!(data.said(&["keys", "status"]).contains("1             4  wraps new ones"));
    assert!(data.said(&["keys", "generate"]).contains("Version 2 is the first line"));
    assert!(data.said(&["keys", "rotate"]).contains("4 of 4 data keys were wrapped with version 2"));
    // Somebody who is not known yet needs the new key, which the server finds in the file.
    let other = server.register("bob");
    assert_eq!(with_group(&server, &other, Some("After")), ["After"]);
    assert!(data.said(&["keys", "rotate"]).contains("the other keys are needed no more"));
    drop(server);

    // Without the former key, and with it alone.
    let text = fs::read_to_string(data.keys()).unwrap();
    let line = |version: &str| text.lines().find(|line| line.starts_with(version)).unwrap().to_owned();
    fs::write(data.keys(), line("2:")).unwrap();
    let server = data.start(&[]);
    assert_eq!(with_group(&server, &token, None), ["Before"]);
    drop(server);
    fs::write(data.keys(), line("1:")).unwrap();
    let said = data.refused(&[]);
    assert!(said.contains("encrypted with version 2 of the key, which is not among the keys in"), "{said}");
    fs::write(data.keys(), line("1:").replacen('1', "2", 1)).unwrap();
    let said = data.refused(&[]);
    assert!(said.contains("encrypted with another key than the keys in"), "{said}");
    fs::remove_file(data.keys()).unwrap();
    let said = data.refused(&[]);
    assert!(said.contains("can't be used") && said.contains("encryption-key"), "{said}");
    assert!(!data.keys().exists(), "a key that opens nothing is not made");
}

#[test]
fn encryption_is_not_turned_off_by_a_slip_nor_on_for_data_of_before() {
    let data = Data::new();
    drop(data.start(&[]));
    assert!(data.refused(&["--encryption", "off"]).contains("The data is encrypted"));

    let plain = Data::new();
    let server = plain.start(&["--encryption", "off"]);
    let token = server.register("ada");
    with_group(&server, &token, Some("Before"));
    drop(server);
    let server = plain.start(&[]);
    with_group(&server, &token, Some("Between"));
    assert!(!plain.keys().exists() && plain.has("Between"));
    assert!(plain.said(&["keys", "status"]).contains("not encrypted"));
    drop(server);
    let server = plain.start(&["--encryption", "on"]);
    assert_eq!(with_group(&server, &token, Some("Later")), ["Before", "Between", "Later"]);
    assert!(!plain.has("Later"));
    drop(server);
    let server = plain.start(&["--encryption", "strict"]);
    assert_eq!(with_group(&server, &token, None), [json!("Later"), Value::Null, Value::Null]);
}

#[test]
fn what_was_stored_before_is_encrypted_while_a_server_runs() {
    let data = Data::new();
    let server = data.start(&["--encryption", "off"]);
    let token = server.register("ada");
    with_group(&server, &token, Some("Planted title"));
    let said = data.refused(&["keys", "seal-existing"]);
    assert!(said.contains("not encrypted yet; give all servers the same keys (the keys in"), "{said}");
    drop(server);

    let server = data.start(&["--encryption", "on"]);
    assert!(data.has("Planted title") && data.has("ada@"));
    let said = data.said(&["keys", "seal-existing"]);
    assert!(said.contains(" values were encrypted in "), "{said}");
    assert!(said.contains("Nothing of the former rows is left in the database."), "{said}");
    assert!(!data.has("Planted title") && !data.has("ada@"));
    assert_eq!(with_group(&server, &token, Some("Later")), ["Later", "Planted title"]);
    let said = data.said(&["keys", "seal-existing", "--no-vacuum"]);
    assert!(said.starts_with("Nothing was left to encrypt.\nThe database may still have"), "{said}");
    assert!(data.refused(&["keys", "seal-existing", "--no-vacuum", "--full"]).contains("--full"));
    drop(server);

    let server = data.start(&["--encryption", "strict"]);
    assert_eq!(with_group(&server, &token, None), ["Later", "Planted title"]);
    let log_in = json!({"login": "ada@example.org", "password": "correct horse battery"});
    let answer = server.request("POST", "/api/v1/auth/login", None, Some(&log_in));
    assert!(answer.status() < 500, "{}", answer.text());
}

#[test]
fn a_key_file_that_others_can_use_and_text_that_is_no_key_are_refused() {
    let data = Data::new();
    let file = |text: &str, mode: u32| {
        fs::write(data.keys(), text).unwrap();
        narrow(&data.keys(), mode);
    };
    let key = data.said(&["keys", "generate", "--store-url", "memory:"]);
    file(&key, 0o600);
    drop(data.start(&[]));
    for mode in [0o644, 0o620, 0o602] {
        file(&key, mode);
        assert!(data.refused(&[]).contains("chmod 600"), "{mode:o}");
    }
    file(&key, 0o640);
    drop(data.start(&[]));
    file("1:hunter2", 0o600);
    let said = data.refused(&[]);
    assert!(said.contains("line 1 is no key-encryption key") && !said.contains("hunter2"), "{said}");
    let said = data.refused(&["--encryption-keys", "1:hunter2"]);
    assert!(said.contains("no key-encryption key") && !said.contains("hunter2"), "{said}");
    let said = data.refused(&["--store-url", "memory:", "--encryption", "on"]);
    assert!(said.contains("keys generate"), "{said}");
}

fn narrow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

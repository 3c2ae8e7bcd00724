//! The key that goes into the hashes of passwords.

use serde_json::json;

use crate::{
    stores::TestStore,
    support::{Server, file, refused, run},
};

const PASSWORD: &str = "correct horse battery";

fn log_in(server: &Server) -> u16 {
    let login = json!({"login": "ada", "password": PASSWORD});
    server.request("POST", "/api/v1/auth/login", None, Some(&login)).status()
}

fn with_peppers(store: &TestStore, keys: &[&str]) -> Server {
    let lines: String = keys.iter().map(|key| format!("{}\n", key.repeat(32))).collect();
    let (_folder, path) = file("pepper", &lines);
    Server::start(store.command().args([
        "--rate-limits",
        "off",
        "--password-pepper-file",
        path.to_str().unwrap(),
    ]))
}

#[test]
fn a_pepper_may_come_late_and_be_replaced_by_another_one_without_a_password_being_set() {
    let store = TestStore::sqlite();
    let server = store.start();
    server.register("ada");
    drop(server);
    // Each time the log-in brings a hash with the first one.
    for keys in [&["a"][..], &["b", "a"], &["b"], &["c", "b"]] {
        let server = with_peppers(&store, keys);
        assert_eq!(log_in(&server), 200, "{keys:?}");
        assert_eq!(log_in(&server), 200, "{keys:?}");
    }
    for keys in [&["b"][..], &["d", "a"]] {
        assert_eq!(log_in(&with_peppers(&store, keys)), 401, "{keys:?}");
    }
    assert_eq!(log_in(&store.start()), 401);
    assert_eq!(log_in(&with_peppers(&store, &["c"])), 200);
}

#[test]
fn that_a_pepper_is_missing_is_told_once_in_the_log() {
    let store = TestStore::sqlite();
    let server = with_peppers(&store, &["a"]);
    server.register("ada");
    drop(server);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let server = Server::start_logging(&mut store.command(), &log);
    assert_eq!([log_in(&server), log_in(&server)], [401, 401]);
    let log = std::fs::read_to_string(log).unwrap();
    assert_eq!(
        log.matches("a password was hashed with a pepper that this node does not have").count(),
        1,
        "{log}"
    );
    assert!(log.contains("ERROR"), "{log}");
}

#[test]
fn a_key_that_is_none_is_refused_and_one_that_is_is_not_shown() {
    assert!(
        refused(&run(["--password-pepper", "hunter2"]))
            .contains("--password-pepper is `***`, which is no key")
    );
    let (key, (_folder, path)) = ("k".repeat(32), file("pepper", "hunter2\n"));
    let said = refused(&run(["--password-pepper-file", path.to_str().unwrap()]));
    assert!(said.contains("holds no key") && !said.contains("hunter2"), "{said}");
    let (_folder, path) = file("pepper", &key);
    let said = refused(&run(["--password-pepper-file", path.to_str().unwrap(), "--password-pepper", &key]));
    assert!(said.contains("give one of them") && !said.contains(&key), "{said}");
    let output = run(["check-config", "--password-pepper", &key]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("***") && !said.contains(&key), "{said}");
}

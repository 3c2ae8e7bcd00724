//! Who may read the files that the server makes.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use crate::{
    data::{said, say},
    support::{PATIENCE, Server, binary, refused, sqlite_url},
};

/// The binary, with a umask that takes nothing away.
fn generous(folder: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 000; exec \"$0\" \"$@\""]).arg(binary().get_program());
    command.args(["--store-url", &sqlite_url(&folder.join("chat.db")), "--log", "warn"]);
    command
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// All files and folders in it.
fn within(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(
            |path| if path.is_dir() { [vec![path.clone()], within(&path)].concat() } else { vec![path] },
        )
        .collect()
}

#[test]
fn all_are_for_its_owner_alone_whatever_the_umask() {
    let folder = tempfile::tempdir().unwrap();
    let mails = format!("folder:{}", folder.path().join("a/mails").display());
    let mut command = generous(folder.path());
    command.args(["--mail-url", &mails, "--public-url", "https://chat.example.org"]);
    let server = Server::start(command.args(["--mail-from", "Chat <chat@example.org>"]));
    say(&server, "good morning");
    let until = Instant::now() + PATIENCE;
    let is_mail = |path: &PathBuf| path.extension().is_some_and(|end| end == "eml");
    while !within(folder.path()).iter().any(is_mail) {
        assert!(Instant::now() < until, "the mail to confirm the address did not come");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let files = within(folder.path());
    for name in ["chat.db", "chat.db-wal", "chat.db-shm", "chat.db-lock", "chat.key"] {
        assert!(files.contains(&folder.path().join(name)), "{name} is not in {files:?}");
    }
    for path in files {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), expected, "{}", path.display());
    }
}

#[test]
fn a_file_of_before_is_taken_from_everybody_and_left_to_a_group() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("chat.db");
    let server = Server::start(&mut generous(folder.path()));
    let (messages, token) = say(&server, "good morning");
    server.stop();
    for (before, after) in [(0o644, 0o600), (0o640, 0o640)] {
        fs::set_permissions(&database, Permissions::from_mode(before)).unwrap();
        let server = Server::start(&mut generous(folder.path()));
        assert_eq!(said(&server, &messages, &token), ["good morning"]);
        for path in [&database, &folder.path().join("chat.db-wal"), &folder.path().join("chat.db-shm")] {
            assert_eq!(mode(path), after, "{}", path.display());
        }
        server.stop();
    }
}

#[test]
fn a_file_that_is_no_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    fs::write(&path, "a list of things to buy, which is longer than the head of a database").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let said = refused(&generous(folder.path()).args(["--listen", "127.0.0.1:0"]).output().unwrap());
    assert!(said.contains("can't be used"), "{said}");
    assert_eq!(mode(&path), 0o644);
}

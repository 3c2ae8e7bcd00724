//! Nothing that people send is in the log, at any level: all operations through all doors, done and refused, with words in every
//! text that are looked for afterwards.

mod doors;
mod kept;
mod operations;
mod refusals;
mod routes;
mod words;
mod world;

use std::{path::Path, process::Command, time::Instant};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use messenger_testing::RedisServer;

use self::{doors::Door, operations::ran, routes::Operations, words::WORD, world::World};
use crate::{
    stores::{TestStore, block_on},
    support::{PATIENCE, Server, run},
};

#[test]
fn on_sqlite_as_text() {
    hushed(&TestStore::sqlite(), "text", &[]);
}

#[test]
fn on_sqlite_as_json() {
    hushed(&TestStore::sqlite(), "json", &[]);
}

#[test]
fn on_postgres() {
    hushed(&TestStore::postgres(), "text", &[]);
}

#[test]
#[ignore = "needs an SQL Server; `scripts/test mssql` runs it"]
fn on_sql_server() {
    hushed(&TestStore::mssql(), "text", &[]);
}

#[test]
fn on_postgres_with_redis() {
    let redis = block_on(RedisServer::start());
    let listener = kept::Listener::begin(&redis.address());
    hushed(&TestStore::postgres(), "json", &["--redis-url", &redis.url()]);
    kept::tells_nothing("what Redis heard", &format!("{WORD}\n{}", listener.end()));
}

fn hushed(store: &TestStore, format: &str, more: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let [log, mails] = ["log", "mails"].map(|name| folder.path().join(name));
    let keys = folder.path().join("keys");
    let keys = keys.to_str().unwrap();
    run(["keys", "generate", "--encryption-keys-file", keys]);
    let mut command = command(store, format, &mails);
    command.args(["--encryption-keys-file", keys, "--encryption-display-names", "on"]).args(more);
    let server = Server::start_logging(&mut command, &log);
    let tokens = everything(&server);
    kept::tells_nothing("the store", &kept::stored(store));
    mailed(&mails);
    let said = server.last_words().join("\n");

    let log = String::from_utf8(std::fs::read(log).unwrap()).unwrap();
    has_its_lines(&log, format);
    kept::tells_nothing("the store after its end", &kept::stored(store));
    for (place, text) in [("the log", &log), ("standard error", &said)] {
        holds_nothing_of(place, text, WORD);
        for token in &tokens {
            assert!(!text.contains(token), "the token of a session is in {place}");
        }
    }
}

fn command(store: &TestStore, format: &str, mails: &Path) -> Command {
    let mut command = store.command();
    let mail = format!("folder:{}", mails.display());
    command.args(["--log", "trace", "--log-format", format, "--rate-limits", "off", "--operator-key"]);
    command.args(["the-key-of-the-operator", "--mail-url", &mail, "--mail-after", "1s"]);
    command.args(["--mail-from", "Chat <chat@example.org>", "--public-url", "https://chat.example.org"]);
    command
}

/// Does all that can be done, and gives the tokens of all sessions.
fn everything(server: &Server) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let operations = Operations::of(server);
        let mut world = World::new(server);
        for door in Door::ALL {
            let listener = door.listen(server, &world.bob.token).await;
            for name in door.operations(&operations) {
                ran(&mut world, &operations, door, name).await;
                refusals::of_operation(&mut world, &operations, door, name).await;
            }
            listener.abort();
        }
        refusals::of_connections(&world).await;
        world.tokens
    })
}

/// Waits until somebody was mailed what is unread, and somebody a link.
fn mailed(folder: &Path) {
    let until = Instant::now() + PATIENCE;
    loop {
        let mails: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        let texts: Vec<_> = mails.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect();
        if ["unsubscribe", "reset-password"].iter().all(|link| texts.iter().any(|text| text.contains(link))) {
            return;
        }
        assert!(Instant::now() < until, "the mails did not come: {texts:?}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// Lines of the format and nothing else, and those that are to be there.
fn has_its_lines(log: &str, format: &str) {
    for line in log.lines() {
        let is_line = match format {
            "json" => {
                serde_json::from_str::<serde_json::Value>(line).is_ok_and(|line| line["level"].is_string())
            }
            _ => {
                line.starts_with("20")
                    && [" INFO ", " WARN ", "ERROR ", "DEBUG ", "TRACE "].iter().any(|l| line.contains(l))
            }
        };
        assert!(is_line, "{line:?} is no line of the log");
    }
    for text in
        ["serving", "answered", "/chats/{chatId}/messages", "of libraries, no more than `info` is logged"]
    {
        assert!(log.contains(text), "{text} is not in the log");
    }
    let is_active =
        |sign: char| sign.is_control() && sign != '\n' || "\u{2028}\u{2029}\u{202e}".contains(sign);
    if let Some(at) = log.find(is_active) {
        panic!("{:?} is in the log", log[at..].chars().take(80).collect::<String>());
    }
}

/// Looks for the word as it is, and as the bytes that `Debug` and base64 make of it.
fn holds_nothing_of(place: &str, text: &str, word: &str) {
    let low = text.to_lowercase();
    let list = |separator: &str, form: fn(&u8) -> String| {
        word.bytes().map(|byte| form(&byte)).collect::<Vec<_>>().join(separator)
    };
    let mut forms = vec![word.to_owned(), list(", ", u8::to_string), list("", |byte| format!("{byte:02x}"))];
    // By where the word begins among three bytes; the first and the last sign depend on its neighbours.
    forms.extend((0..3).map(|before| {
        let encoded = STANDARD_NO_PAD.encode([&b"xx"[..before], word.as_bytes()].concat()).to_lowercase();
        encoded[before + usize::from(before > 0)..encoded.len() - 1].to_owned()
    }));
    for form in forms.iter().filter(|form| form.len() > 3) {
        if let Some(at) = low.find(form.as_str()) {
            let (from, to) = (
                low[..at].rfind('\n').map_or(0, |at| at + 1),
                low[at..].find('\n').map_or(low.len(), |end| at + end),
            );
            panic!("{form} is in {place}: {:?}", &low[from..to]);
        }
    }
}

#[test]
fn a_word_is_found_in_each_of_its_forms() {
    let found = |text: &str| std::panic::catch_unwind(|| holds_nothing_of("a text", text, WORD)).is_err();
    assert!(!found("nothing"));
    for before in ["", "a", "ab", "abc"] {
        let bytes = format!("{before}zqxj and more").into_bytes();
        assert!(found(&String::from_utf8_lossy(&bytes)));
        assert!(found(&format!("{bytes:?}")));
        assert!(found(&STANDARD_NO_PAD.encode(&bytes)), "{before}");
    }
    assert!(found("ZQXJ"));
    assert!(found("7a71786a"));
}

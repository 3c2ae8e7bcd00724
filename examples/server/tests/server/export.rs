//! Everything that is held about a person: the download, and `messenger-server users export`.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Cursor, Read, Seek},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    stores::TestStore,
    support::{Server, refused},
};

type Files = BTreeMap<String, String>;

fn unzipped(from: impl Read + Seek) -> Files {
    let mut archive = zip::ZipArchive::new(from).unwrap();
    let mut files = Files::new();
    for at in 0..archive.len() {
        let mut file = archive.by_index(at).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        files.insert(file.name().unwrap().into_owned(), text);
    }
    files
}

/// A server, Ada with something in every file, and Bob.
struct Town {
    store: TestStore,
    server: Server,
    folder: tempfile::TempDir,
    ada: String,
    bob: String,
    chat: String,
}

impl Town {
    fn new(store: TestStore) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mails = format!("folder:{}", folder.path().join("mails").display());
        let mut command = store.command_for_load();
        command.args(["--mail-url", &mails, "--public-url", "https://chat.example.org"]);
        let server = Server::start(&mut command);
        let (ada, bob) = (server.register("ada"), server.register("bob"));
        let mut town = Self { store, server, folder, ada, bob, chat: String::new() };
        town.plant();
        town
    }

    fn ask(&self, token: &str, method: &str, path: &str, fields: Value) -> Value {
        let fields = Some(fields).filter(|fields| !fields.is_null());
        let answer = self.server.request(method, &format!("/api/v1{path}"), Some(token), fields.as_ref());
        assert!(answer.status() < 300, "{path}: {}", answer.text());
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    fn plant(&mut self) {
        let (ada, bob) = (self.ada.clone(), self.bob.clone());
        let login = json!({"login": "ada", "password": "correct horse battery", "device": "planted-device"});
        self.ask("", "POST", "/auth/login", login);
        let profile = json!({
            "displayName": "planted-name", "language": "pt-BR", "timeZone": "Europe/Lisbon",
            "notifications": {"email": true, "quietHours": {"from": "22:00", "to": "06:00"}},
        });
        self.ask(&ada, "PATCH", "/users/me", profile);
        let id = self.ask(&ada, "GET", "/users/me", Value::Null)["id"].clone();
        let group = json!({"title": "planted-title", "memberIds": [id]});
        let group = self.ask(&bob, "POST", "/chats/group", group)["id"].as_str().unwrap().to_owned();
        let path = |rest: &str| format!("/chats/{group}{rest}");
        self.ask(&ada, "POST", &path("/messages"), json!({"body": "planted-text"}));
        self.ask(&bob, "POST", &path("/messages"), json!({"body": "secret-of-bob"}));
        self.ask(&ada, "PUT", &path("/mute"), json!({"until": "2099-01-02T03:04:05Z"}));
        self.ask(&ada, "PUT", &path("/notifications"), json!({"level": "mentions"}));
        let left = json!({"title": "secret-since-left", "memberIds": []});
        let left = self.ask(&ada, "POST", "/chats/group", left)["id"].as_str().unwrap().to_owned();
        self.ask(&ada, "POST", &format!("/chats/{left}/messages"), json!({"body": "planted-before-leaving"}));
        self.ask(&ada, "POST", &format!("/chats/{left}/leave"), Value::Null);
        self.chat = group;
    }

    fn export_command(&self, to: &Path) -> Command {
        let mut command = self.store.command();
        command.args(["users", "export", "ADA@example.org", "--to"]).arg(to);
        command
    }

    fn export(&self, to: &Path) -> Output {
        self.export_command(to).output().unwrap()
    }

    fn to(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// In which file each planted value must be.
const PLANTED: [(&str, &str); 13] = [
    ("profile.jsonl", "ada@example.org"),
    ("profile.jsonl", "planted-name"),
    ("profile.jsonl", "pt-br"),
    ("profile.jsonl", "Europe/Lisbon"),
    ("profile.jsonl", "22:00"),
    ("sessions.jsonl", "planted-device"),
    ("chats.jsonl", "planted-title"),
    ("chats.jsonl", "\"member\":false"),
    ("marks.jsonl", "2099-01-02T03:04:05.000Z"),
    ("marks.jsonl", "\"notifications\":\"mentions\""),
    ("messages.jsonl", "planted-text"),
    ("messages.jsonl", "planted-before-leaving"),
    ("mails.jsonl", "confirmAddress"),
];

#[track_caller]
fn is_whole(files: &Files) {
    for (file, planted) in PLANTED {
        assert!(files[file].contains(planted), "{planted} is not in {file}: {}", files[file]);
    }
    for (file, text) in files {
        for others in ["secret-of-bob", "bob@example.org", "argon2"] {
            assert!(!text.contains(others), "{others} is in {file}");
        }
        for line in text.lines().filter(|_| file.ends_with(".jsonl")) {
            assert!(serde_json::from_str::<Value>(line).unwrap().is_object(), "{line}");
        }
    }
}

fn everything_is_in_it(store: TestStore) {
    let town = Town::new(store);
    let answer = town.server.request("GET", "/api/v1/users/me/export", Some(&town.ada), None);
    assert_eq!(answer.status(), 200);
    let downloaded = unzipped(Cursor::new(answer.body));
    is_whole(&downloaded);

    let file = town.to("ada.zip");
    let output = town.export(&file);
    assert!(output.status.success(), "{output:?}");
    let written = unzipped(File::open(&file).unwrap());
    is_whole(&written);
    assert_eq!(written["messages.jsonl"], downloaded["messages.jsonl"]);
    assert!(!town.to("ada.zip.part").exists());
}

#[test]
fn everything_is_in_it_on_sqlite() {
    everything_is_in_it(TestStore::sqlite());
}

#[test]
fn everything_is_in_it_on_postgresql() {
    everything_is_in_it(TestStore::postgres());
}

/// Programs that others wrote, if there are any here.
#[test]
fn others_can_open_it() {
    let town = Town::new(TestStore::sqlite());
    let downloaded = town.to("downloaded.zip");
    let answer = town.server.request("GET", "/api/v1/users/me/export", Some(&town.ada), None);
    std::fs::write(&downloaded, answer.body).unwrap();
    let written = town.to("written.zip");
    assert!(town.export(&written).status.success());
    const CHECK: &str = "import sys, zipfile, json
z = zipfile.ZipFile(sys.argv[1])
assert z.testzip() is None
for name in z.namelist():
    for line in z.read(name).decode().splitlines() if name.endswith('.jsonl') else []:
        json.loads(line)
print(len(z.namelist()))";
    for file in [&downloaded, &written] {
        let mut python = Command::new("python3");
        let mut unzip = Command::new("unzip");
        for (command, said) in
            [(python.args(["-c", CHECK]).arg(file), "7"), (unzip.arg("-t").arg(file), "No errors detected")]
        {
            match command.output() {
                Ok(output) => {
                    let text = String::from_utf8_lossy(&output.stdout).into_owned();
                    assert!(output.status.success() && text.contains(said), "{command:?}: {output:?}");
                }
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
            }
        }
    }
}

#[test]
fn it_is_for_its_owner_and_takes_no_others_place() {
    let town = Town::new(TestStore::sqlite());
    let file = town.to("ada.zip");
    std::fs::write(&file, "mine").unwrap();
    let said = refused(&town.export(&file));
    assert!(said.contains("There is a file") && said.contains("ada.zip"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    let said = refused(&town.export(&town.to("missing/ada.zip")));
    assert!(said.contains("can't be written"), "{said}");

    let file = town.to("new.zip");
    let mut command = town.export_command(&file);
    let output = command.output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("5 messages"), "{output:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let mut nobody = town.store.command();
    nobody.args(["users", "export", "adda", "--to"]).arg(town.to("adda.zip"));
    assert!(refused(&nobody.output().unwrap()).contains("There is no account `adda`"));
}

#[test]
fn one_that_is_killed_goes_on() {
    let town = Town::new(TestStore::sqlite());
    for n in 0..200 {
        let text = json!({"body": format!("{n} {}", "x".repeat(7000))});
        town.ask(&town.ada, "POST", &format!("/chats/{}/messages", town.chat), text);
    }
    let file = town.to("ada.zip");
    let (mut killed, mut went_on) = (0, 0);
    // Each time it has a little longer, so that it comes to an end.
    for wait in (0..).map(|n| Duration::from_millis(100 * n)) {
        let mut command = town.export_command(&file);
        let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
        std::thread::sleep(wait);
        killed += usize::from(child.try_wait().unwrap().is_none());
        let _ = child.kill();
        let output = child.wait_with_output().unwrap();
        went_on += usize::from(String::from_utf8_lossy(&output.stderr).contains("goes on where"));
        // It may be killed when nothing is left to do.
        if output.status.success() || file.exists() {
            break;
        }
    }
    assert!(killed > 0);
    let files = unzipped(File::open(&file).unwrap());
    is_whole(&files);
    let texts = files["messages.jsonl"].matches("xxx\"").count();
    assert_eq!(texts, 200, "killed {killed} times, went on {went_on} times");
}

#[test]
fn while_somebody_is_erased_an_export_ends() {
    let town = Town::new(TestStore::sqlite());
    let (file, begun) = (town.to("ada.zip"), town.to("begun.zip"));
    // The folder of one that was begun, and could not be finished.
    std::fs::create_dir(&begun).unwrap();
    assert!(refused(&town.export(&begun)).contains("There is a file"));
    let mut erase = town.store.command();
    erase.args(["users", "erase", "ada", "--yes"]);
    let id = town.ask(&town.ada, "GET", "/users/me", Value::Null)["id"].as_str().unwrap().to_owned();
    assert!(erase.output().unwrap().status.success());
    assert!(refused(&town.export(&file)).contains("There is no account"));
    let mut by_id = town.store.command();
    by_id.args(["users", "export", &id, "--to"]).arg(&file);
    assert!(refused(&by_id.output().unwrap()).contains("is erased"));
    assert!(!file.exists() && !town.to("ada.zip.part").exists());
}

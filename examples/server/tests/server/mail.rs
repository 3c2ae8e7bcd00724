//! Mail about what stays unread, as the settings have it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    live::{Group, Socket},
    support::{Answer, PATIENCE, Server, binary, refused, run, sqlite_url},
};

/// What the README tells a new user to run.
const RECIPE: [&str; 4] = ["--mail-url", "folder:./mail", "--mail-after", "5s"];

/// Waits for something to come true.
fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < end, "{what} did not happen");
        sleep(Duration::from_millis(50));
    }
}

/// The mails in the folder about what is unread.
fn mails(folder: &Path) -> Vec<PathBuf> {
    let mails = all_mails(folder).into_iter();
    mails.filter(|path| fs::read_to_string(path).unwrap().contains("\r\nList-Id:")).collect()
}

/// All mails in the folder. One that is being written begins with a dot.
fn all_mails(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).into_iter().flatten().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "eml")).collect()
}

/// The path of the link to a page in a mail, once there is one.
fn link(folder: &Path, server: &Server, page: &str) -> String {
    let site = format!("http://{}", server.address);
    until(page, || {
        let texts = all_mails(folder).into_iter().map(|path| text(&fs::read_to_string(path).unwrap()));
        let mut found = texts.rev().filter_map(|text| {
            let link = text.split_whitespace().find(|word| word.contains(&format!("/{page}?token=")))?;
            Some(link.strip_prefix(&site)?.to_owned())
        });
        found.next()
    })
}

/// How often something was counted.
fn counted(server: &Server, metric: &str) -> Option<u32> {
    let metrics = server.get("/metrics");
    metrics.text().lines().find_map(|line| line.strip_prefix(metric)?.trim().parse().ok())
}

fn says(server: &Server, group: &Group, body: &str) {
    let path = format!("/api/v1/chats/{}/messages", group.chat);
    let answer = server.request("POST", &path, Some(&group.tokens[0]), Some(&json!({ "body": body })));
    assert_eq!(answer.status(), 201, "{}", answer.text());
}

/// A mail program that unsubscribes with one click (RFC 8058).
fn one_click(server: &Server, path: &str) -> Answer {
    let mut client = server.connect();
    let body = "List-Unsubscribe=One-Click";
    client.send(&format!(
        "POST {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nOrigin: https://mail.example.com\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    client.answer()
}

/// A header of a mail, its lines joined.
fn header<'m>(mail: &'m str, name: &str) -> Option<String> {
    let (head, _): (&'m str, _) = mail.split_once("\r\n\r\n").unwrap();
    let head = head.replace("\r\n ", " ");
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned)
}

/// The first part, without the soft breaks and the escapes of quoted-printable.
fn text(mail: &str) -> String {
    let part = mail.split("--=_").nth(1).unwrap().replace("=\r\n", "");
    let mut bytes = Vec::new();
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        let hex: Option<Vec<u8>> = (byte == b'=').then(|| rest.by_ref().take(2).collect());
        let escaped = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok());
        bytes.push(escaped.unwrap_or(byte));
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_away_gets_one_mail_and_can_end_it_as_the_readme_shows() {
    let readme = include_str!("../../../../README.md");
    assert!(readme.contains(&RECIPE.join(" ")), "the README shows another recipe");
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(binary().args(RECIPE).current_dir(folder.path()));
    server.says("Mail about what stays unread for 5s goes to folder:./mail");
    let group = Group::of(&server, &["ada", "bob", "cay"]);
    // Cay is there, and Bob is not.
    let _cay = Socket::open(server.address, &group.tokens[2]).await.unwrap();
    says(&server, &group, "Shall we have tea?");

    let mail_folder = folder.path().join("mail");
    until("a mail", || mails(&mail_folder).pop());
    until("a look at who is there", || {
        counted(&server, "messenger_unread_looks_total{outcome=\"waiting\",reason=\"online\"}")
    });
    let all = mails(&mail_folder);
    assert_eq!(all.len(), 1, "{all:?}");
    let mail = fs::read_to_string(&all[0]).unwrap();
    assert_eq!(header(&mail, "To").unwrap(), "bob <bob@example.org>");
    assert_eq!(header(&mail, "From").unwrap(), "Messenger <messenger@localhost>");
    assert!(header(&mail, "Subject").unwrap().contains("Tea"), "{mail}");
    assert_eq!(header(&mail, "Auto-Submitted").unwrap(), "auto-generated");
    let site = format!("http://{}", server.address);
    let shown = text(&mail);
    for part in ["ada", "Shall we have tea?", &format!("{site}/#/chat/{}", group.chat)] {
        assert!(shown.contains(part), "{part} is missing in {shown}");
    }

    let link = header(&mail, "List-Unsubscribe").unwrap();
    let path = link.trim_matches(['<', '>']).strip_prefix(&site).unwrap().to_owned();
    assert!(path.starts_with("/api/v1/unsubscribe?token="), "{path}");
    assert_eq!(server.get(&path).status(), 200);
    let wants_mail = || {
        let me = server.request("GET", "/api/v1/users/me", Some(&group.tokens[1]), None).json();
        me["notifications"]["email"].as_bool().unwrap()
    };
    assert!(wants_mail());
    let answer = one_click(&server, &path);
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert!(!wants_mail());

    says(&server, &group, "Are you there?");
    until("a look at who wants no mail", || {
        counted(&server, "messenger_unread_looks_total{outcome=\"nothing\",reason=\"off\"}")
    });
    assert_eq!(mails(&mail_folder), all);
    assert_eq!(
        counted(&server, "messenger_notifications_total{kind=\"unread\",outcome=\"sent\",reason=\"\"}"),
        Some(1)
    );
}

#[test]
fn mails_may_be_without_texts_and_lead_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(binary().current_dir(folder.path()).args([
        "--mail-url=folder:./mail",
        "--mail-after=1s",
        "--mail-content=off",
        "--mail-from=Tea room <tea@example.org>",
        "--public-url=https://chat.example.org/",
        "--mail-link=https://app.example.org/c/{chat}",
        "--store-url=memory:",
    ]));
    let group = Group::of(&server, &["ada", "bob"]);
    says(&server, &group, "Shall we have tea?");
    let path = until("a mail", || mails(&folder.path().join("mail")).pop());
    let mail = fs::read_to_string(path).unwrap();
    assert_eq!(header(&mail, "From").unwrap(), "\"Tea room\" <tea@example.org>");
    let link = header(&mail, "List-Unsubscribe").unwrap();
    assert!(link.starts_with("<https://chat.example.org/api/v1/unsubscribe?token="), "{link}");
    assert_eq!(header(&mail, "List-Unsubscribe-Post").unwrap(), "List-Unsubscribe=One-Click");
    let shown = text(&mail);
    assert!(shown.contains(&format!("https://app.example.org/c/{}", group.chat)), "{shown}");
    assert!(!shown.contains("Shall we have tea?"), "{shown}");
}

/// A real mail server, which is told how to fail and tells what happens.
struct SmtpServer {
    port: u64,
    said: std::io::Lines<BufReader<ChildStdout>>,
    process: Child,
}

impl SmtpServer {
    fn start(settings: &Value) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../messenger-mail/tests/mail/server.py");
        let mut process = Command::new(python())
            .args(["-W", "ignore"])
            .arg(script)
            .arg(settings.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut server = Self { port: 0, said, process };
        server.port = server.next()["port"].as_u64().unwrap();
        server
    }

    fn next(&mut self) -> Value {
        serde_json::from_str(&self.said.next().unwrap().unwrap()).unwrap()
    }

    /// The next event of this kind.
    fn event(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next();
            if event["event"] == kind {
                return event;
            }
        }
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The Python for which `scripts/test` has installed aiosmtpd.
fn python() -> PathBuf {
    if let Some(python) = std::env::var_os("MESSENGER_TEST_MAIL_PYTHON") {
        return python.into();
    }
    let test = std::env::current_exe().unwrap();
    let found =
        test.ancestors().map(|folder| folder.join("tools/mail-python/bin/python")).find(|path| path.exists());
    found.unwrap_or_else(|| {
        panic!("`scripts/test rust` installs a Python with aiosmtpd, and MESSENGER_TEST_MAIL_PYTHON names another one")
    })
}

#[test]
fn a_mail_that_a_server_puts_off_comes_once() {
    // What comes before are the mails that confirm the addresses of two people.
    let faults = json!([{ "at": "RCPT", "do": "reply", "reply": "451 4.7.1 later", "times": 1, "after": 2 }]);
    let mut smtp = SmtpServer::start(&json!({ "faults": faults }));
    let url = format!("smtp://127.0.0.1:{}?tls=none", smtp.port);
    let server = Server::in_memory(["--mail-url", &url, "--mail-after=1s"]);
    let group = Group::of(&server, &["ada", "bob"]);
    for _ in &group.tokens {
        smtp.event("mail");
    }
    says(&server, &group, "Shall we have tea?");
    let mail = smtp.event("mail");
    assert_eq!(mail["to"], json!(["bob@example.org"]), "{mail}");
    let count = |outcome: &str, reason: &str| {
        let labels = format!("kind=\"unread\",outcome=\"{outcome}\",reason=\"{reason}\"");
        counted(&server, &format!("messenger_notifications_total{{{labels}}}"))
    };
    assert_eq!(until("the record of the mail", || count("sent", "")), 1);
    assert_eq!(count("retried", "unavailable"), Some(1));
}

#[test]
fn the_page_knows_whether_there_is_mail() {
    let with = Server::in_memory(["--mail-url", "log:"]);
    let without = Server::in_memory([]);
    for (server, mails) in [(with, true), (without, false)] {
        let config = server.get("/config.json");
        assert_eq!((config.status(), config.json()), (200, json!({ "mail": mails })));
        let status = one_click(&server, "/api/v1/unsubscribe?token=x").status();
        assert_eq!(status, if mails { 400 } else { 404 });
    }
}

/// What the server logs until it has begun to serve, or until it has said this.
fn logged(arguments: &[&str], text: &str) -> (Server, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let server = Server::start_logging(binary().args(arguments), &path);
    let log = until(text, || {
        let log = fs::read_to_string(&path).unwrap();
        log.contains(text).then_some(log)
    });
    (server, log)
}

#[test]
fn a_mail_server_that_can_t_be_had_is_a_warning_and_no_end() {
    // Nobody listens at a port that was given back.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("smtp://chat:hunter2@127.0.0.1:{port}?tls=none");
    let (server, log) = logged(&["--store-url=memory:", "--mail-url", &url], "the mail server can't be had");
    let line = log.lines().find(|line| line.contains("can't be had")).unwrap();
    assert!(line.contains("WARN") && line.contains(&format!("smtp://127.0.0.1:{port}")), "{line}");
    assert!(!log.contains("hunter2"), "{log}");
    assert_eq!(server.get("/health/ready").status(), 200);
}

#[test]
fn a_key_is_made_beside_a_file_and_taken_again() {
    let folder = tempfile::tempdir().unwrap();
    let url = sqlite_url(&folder.path().join("chat.db"));
    let key = folder.path().join("chat.key");
    let arguments = ["--store-url", &url, "--mail-url", "log:"];
    let (server, log) = logged(&arguments, "serving");
    let made = log.lines().find(|line| line.contains("made the key that signs")).unwrap();
    assert!(made.contains("INFO") && made.contains("chat.key"), "{made}");
    let first = fs::read_to_string(&key).unwrap();
    assert!(!log.contains(first.trim()), "{log}");
    drop(server);
    let (server, log) = logged(&arguments, "serving");
    assert!(!log.contains("made the key"), "{log}");
    assert_eq!(fs::read_to_string(&key).unwrap(), first);
    drop(server);
    fs::write(&key, "short\n").unwrap();
    let said =
        refused(&binary().args(arguments).args(["--log=off", "--listen=127.0.0.1:0"]).output().unwrap());
    assert!(said.contains("chat.key") && said.contains("at least 32"), "{said}");
}

#[test]
fn without_a_key_for_all_servers_there_is_a_warning() {
    let (_server, log) = logged(&["--store-url=memory:", "--mail-url=log:"], "serving");
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains("--secret-file")), "{log}");
    let secret = "s".repeat(32);
    let (_server, log) = logged(&["--store-url=memory:", "--mail-url=log:", "--secret", &secret], "serving");
    assert!(!log.contains("WARN") && !log.contains(&secret), "{log}");
}

#[test]
fn a_worker_that_can_t_know_who_is_there_is_refused() {
    // Before a database is asked for.
    let work = |more: &[&str]| {
        refused(&binary().args(["work", "--log=off", "--listen=127.0.0.1:0"]).args(more).output().unwrap())
    };
    let shared = ["--store-url=postgres://nowhere.invalid/chat", "--mail-url=log:"];
    let url = "--public-url=https://chat.example.org";
    let said = work(&[&shared[..], &["--bus=memory", url]].concat());
    assert!(said.contains("who is online") && said.contains("--redis-url"), "{said}");
    let said = work(&["--store-url=mssql://ann:x@nowhere.invalid/chat", "--mail-url=log:", url]);
    assert!(said.contains("who is online"), "{said}");
    let said = work(&shared);
    assert!(said.contains("--public-url"), "{said}");
    // With a presence that is shared it gets as far as the database.
    let said = work(&[&shared[..], &[url]].concat());
    assert!(said.contains("The data can't be opened"), "{said}");
}

#[test]
fn settings_of_mail_that_make_no_sense_are_refused() {
    let on = "--mail-url=log:";
    for (arguments, expected) in [
        (
            vec!["--mail-url=mail.example.org"],
            "--mail-url is `***`, which can't be used: mail goes to smtp://HOST",
        ),
        (vec!["--mail-url=smtp://u:hunter2@h?tls=none"], "a password is sent by TLS alone"),
        (vec!["--mail-url=smtp://u:hun/ter2@h"], "--mail-url is `***`"),
        (
            vec!["--mail-url=smtps://h?ca=/does/not/exist"],
            "--mail-url is `smtps://h:465`, which can't be used",
        ),
        (vec![on, "--mail-url-file=/does/not/exist"], "--mail-url-file is `/does/not/exist`"),
        (vec![on, "--mail-from=nobody"], "--mail-from is `nobody`, which is no mail address"),
        (vec!["--mail-after=500ms"], "--mail-after is `500ms`"),
        (vec!["--mail-content=maybe"], "--mail-content is `maybe`"),
        (vec!["--public-url=chat.example.org"], "--public-url is `chat.example.org`"),
        (vec!["--mail-link=https://chat.example.org"], "--mail-link is `https://chat.example.org`"),
        (vec![on, "--mail-templates=/does/not/exist"], "--mail-templates is `/does/not/exist`"),
        (vec!["--mail-quiet-hours=22-7"], "--mail-quiet-hours is `22-7`"),
        (vec!["--mail-time-zone=Mars/Olympus"], "--mail-time-zone is `Mars/Olympus`"),
        (vec!["--secret=short"], "--secret is `***`"),
        (vec!["--secret-file=/does/not/exist"], "--secret-file is `/does/not/exist`"),
    ] {
        let said = refused(&run(["check-config"].into_iter().chain(arguments)));
        assert!(said.contains(expected), "{expected} is missing in {said}");
        assert!(!said.contains("hunter2") && !said.contains("ter2@"), "{said}");
    }
}

#[test]
fn check_config_says_what_becomes_of_mail_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let (url, secret) = (folder.path().join("url"), folder.path().join("secret"));
    fs::write(&url, "smtp://chat:hunter2@mail.example.org\n").unwrap();
    fs::write(&secret, format!("{}\n{}\n", "n".repeat(40), "o".repeat(40))).unwrap();
    let said = |arguments: &[&str]| {
        let output = binary().arg("check-config").args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let in_files = ["--mail-url-file", url.to_str().unwrap(), "--secret-file", secret.to_str().unwrap()];
    let text = said(&[&in_files[..], &["--public-url=https://chat.example.org"]].concat());
    let mail = text.lines().last().unwrap();
    for part in [
        "smtp://mail.example.org:587",
        "300s",
        "Messenger <messenger@chat.example.org>",
        "https://chat.example.org,",
        "the secret of the settings",
    ] {
        assert!(mail.contains(part), "{part} is missing in {mail}");
    }
    let text = said(&["--mail-url=smtp://chat:hunter2@mail.example.org", "--secret", &"k".repeat(32)]);
    assert!(!text.contains("hunter2") && !text.contains("kkkk"), "{text}");
    assert!(text.contains("smtp://mail.example.org:587  --mail-url"), "{text}");
    assert!(said(&["--mail-url=log:"]).contains("the key in messenger.key"));
    assert!(said(&["--mail-url=log:", "--store-url=memory:"]).contains("this process alone"));
    assert!(said(&[]).ends_with("Nobody gets mail; --mail-url says where it goes.\n"));
}

#[test]
fn an_address_is_confirmed_and_a_forgotten_password_set_by_links_in_mails() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(binary().args(["--mail-url", "folder:./mail"]).current_dir(folder.path()));
    let mail_folder = folder.path().join("mail");
    let call = |method: &str, path: &str, body: Value| {
        server.request(method, &format!("/api/v1{path}"), None, Some(&body)).status()
    };
    let account = json!({ "username": "ada", "email": "ada@example.org", "password": "correct horse" });
    assert_eq!(call("POST", "/auth/register", account), 201);
    let confirm = link(&mail_folder, &server, "confirm-email");
    assert!(confirm.starts_with("/api/v1/confirm-email?token="), "{confirm}");
    assert_eq!(server.get(&confirm).status(), 200);
    let log_in = |password: &str| {
        let login = json!({ "login": "ada", "password": password });
        server.request("POST", "/api/v1/auth/login", None, Some(&login))
    };
    // Whoever opens it confirms nothing yet.
    assert_eq!(log_in("correct horse").json()["user"]["emailConfirmed"], false);
    let token = |path: &str| path.split_once("token=").unwrap().1.to_owned();
    assert_eq!(call("POST", "/auth/email/confirm", json!({ "token": token(&confirm) })), 204);
    assert_eq!(log_in("correct horse").json()["user"]["emailConfirmed"], true);

    for email in ["nobody@example.org", "ada@example.org"] {
        assert_eq!(call("POST", "/auth/password/reset", json!({ "email": email })), 202);
    }
    let reset = link(&mail_folder, &server, "reset-password");
    assert_eq!(server.get(&reset).status(), 200);
    let new = json!({ "token": token(&reset), "new": "battery staple" });
    assert_eq!(call("PUT", "/auth/password/reset", new.clone()), 204);
    assert_eq!(call("PUT", "/auth/password/reset", new), 422);
    assert_eq!((log_in("correct horse").status(), log_in("battery staple").status()), (401, 200));
    assert_eq!(all_mails(&mail_folder).len(), 2, "nobody else is mailed");
}

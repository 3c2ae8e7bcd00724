//! Background jobs: who does them, and what `messenger-server jobs` shows and changes.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use messenger_core::{
    JobId, Timestamp,
    context::Context,
    ports::{ClaimJobs, Content, FinishedJob, JobOutcome, JobPriority, JobStore as _, NewJob, Store as _},
};
use messenger_sqlx::SqliteStore;
use serde_json::Value;

use crate::support::{PATIENCE, Server, binary, file, refused, run, sqlite_url};

/// A file of a server, and its address as a setting.
struct Data {
    _folder: tempfile::TempDir,
    path: PathBuf,
    url: String,
}

impl Data {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chat.db");
        let url = sqlite_url(&path);
        assert!(run(["migrate", "--store-url", &url]).status.success());
        Self { _folder: folder, path, url }
    }

    /// What `jobs` answers in JSON.
    fn jobs<const N: usize>(&self, arguments: [&str; N]) -> Value {
        serde_json::from_slice(&self.said(arguments, &["--json"])).unwrap()
    }

    /// What `jobs` answers to people.
    fn text<const N: usize>(&self, arguments: [&str; N]) -> String {
        String::from_utf8(self.said(arguments, &[])).unwrap()
    }

    fn said<const N: usize>(&self, arguments: [&str; N], more: &[&str]) -> Vec<u8> {
        let output = binary()
            .arg("jobs")
            .args(arguments)
            .args(more)
            .args(["--store-url", &self.url])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }

    fn refused<const N: usize>(&self, arguments: [&str; N]) -> String {
        refused(&binary().arg("jobs").args(arguments).args(["--store-url", &self.url]).output().unwrap())
    }

    fn state(&self, id: JobId) -> String {
        self.jobs(["show", &id.to_string()])["state"].as_str().unwrap().to_owned()
    }
}

/// A job of this kind that is due.
fn enqueued(path: &Path, kind: &str) -> JobId {
    on_the_store(path, async |store| {
        let context = Context::system();
        let job = new_job(&context, kind, context.now());
        store.enqueue_jobs(std::slice::from_ref(&job)).await.unwrap();
        job.id
    })
}

fn on_the_store<T>(path: &Path, work: impl AsyncFnOnce(&SqliteStore) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::builder(path).shared(true).open().await.unwrap();
        let answer = work(&store).await;
        store.close().await;
        answer
    })
}

fn new_job(context: &Context, kind: &str, run_at: Timestamp) -> NewJob {
    NewJob {
        id: context.id(),
        kind: kind.parse().unwrap(),
        payload: Content::from(r#"{"secret":"hunter2"}"#),
        priority: JobPriority::Normal,
        run_at,
        max_attempts: 3,
        unique: None,
        after: None,
        created_at: context.now(),
    }
}

/// A job that is dead for a reason, and one that waits.
fn dead_and_waiting(path: &Path) -> [JobId; 2] {
    on_the_store(path, async |store| {
        let context = Context::system();
        let (now, kind) = (context.now(), "invoices.send");
        let in_an_hour = now.after(Duration::from_secs(3600));
        let new = [new_job(&context, kind, now), new_job(&context, kind, in_an_hour)];
        store.enqueue_jobs(&new).await.unwrap();
        let kinds = vec![(kind.parse().unwrap(), 2)];
        let claimed = store.claim_jobs(&ClaimJobs { kinds, now, until: in_an_hour }).await.unwrap();
        let outcome = JobOutcome::Dead { reason: "the receiver\nis gone".to_owned() };
        let finished = [FinishedJob { claim: claimed[0].claim, outcome }];
        assert_eq!(store.finish_jobs(&finished, now).await.unwrap(), [true]);
        new.map(|job| job.id)
    })
}

#[test]
fn jobs_are_seen_without_what_they_are_about_and_changed() {
    let data = Data::new();
    let [dead, waiting] = dead_and_waiting(&data.path);
    let list = data.text(["list"]);
    let (first, second) = (list.find(&waiting.to_string()).unwrap(), list.find(&dead.to_string()).unwrap());
    assert!(first < second, "the newest first: {list}");
    assert!(list.contains("the receiver is gone") && list.contains("1 of 3"), "{list}");
    let shown = data.text(["show", &dead.to_string()]);
    assert!(shown.contains("20 bytes") && !format!("{list}{shown}").contains("hunter2"), "{shown}");

    for (arguments, expected) in [
        (vec!["list", "--state", "dead"], vec![dead]),
        (vec!["list", "--kind", "invoices.send"], vec![waiting, dead]),
        (vec!["list", "--kind", "others"], vec![]),
        (vec!["list", "--limit", "1"], vec![waiting]),
    ] {
        let output = binary()
            .arg("jobs")
            .args(&arguments)
            .args(["--json", "--store-url", &data.url])
            .output()
            .unwrap();
        let jobs: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        let ids: Vec<_> = jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids, expected.iter().map(JobId::to_string).collect::<Vec<_>>(), "{arguments:?}");
    }

    data.text(["retry", &dead.to_string()]);
    assert_eq!(data.state(dead), "waiting");
    data.text(["cancel", &waiting.to_string()]);
    assert_eq!(data.state(waiting), "cancelled");
    data.text(["drop", &waiting.to_string()]);
    assert!(data.refused(["show", &waiting.to_string()]).contains("There is no job"));

    assert!(data.text(["pause", "invoices.send"]).contains("invoices.send is paused."));
    assert_eq!(data.jobs(["counts"])[0]["paused"], true);
    assert!(data.text(["resume", "invoices.send"]).contains("invoices.send is not paused."));
    assert_eq!(data.jobs(["counts"])[0]["paused"], false);
    assert!(data.text(["resume", "invoces.send"]).contains("no jobs of it"));
}

#[test]
fn what_can_t_be_done_with_jobs_is_one_sentence() {
    let data = Data::new();
    let [dead, _] = dead_and_waiting(&data.path);
    let dead = dead.to_string();
    let unknown = "01970000-0000-7000-8000-000000000000";
    for (arguments, expected) in [
        (["cancel", dead.as_str()], "has ended"),
        (["retry", unknown], "There is no job"),
        (["drop", unknown], "There is no job"),
        (["show", "seven"], "not the id of a job"),
        (["list", "--state=gone"], "there are waiting, blocked"),
        (["list", "--limit=0"], "--limit"),
        (["pause", "Send Invoices"], "a-z"),
    ] {
        let said = data.refused(arguments);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    assert!(data.refused(["show"]).contains("`<ID>` is missing"));
    for command in ["jobs counts", "work"] {
        let said = refused(&run(command.split(' ').chain(["--store-url", "memory:"])));
        assert!(said.contains("--store-url"), "{said}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.db");
    let said = refused(&run(["jobs", "counts", "--store-url", &sqlite_url(&path)]));
    assert!(said.contains("there is no file") && !path.exists(), "{said}");
}

#[cfg(unix)]
#[test]
fn a_server_does_jobs_unless_told_otherwise_and_a_worker_does_nothing_else() {
    let data = Data::new();
    let id = enqueued(&data.path, "messenger.prune-jobs");
    let server = Server::start(binary().args(["--workers", "off", "--store-url", &data.url]));
    assert_eq!(server.get("/health/ready").status(), 200);
    server.stop();
    assert_eq!(data.state(id), "waiting");

    let worker = Server::start(binary().args(["work", "--workers", "off", "--store-url", &data.url]));
    assert_eq!(worker.get("/health/ready").status(), 200);
    assert_eq!(worker.get("/metrics").status(), 200);
    for path in ["/", "/api/v1/users/me"] {
        assert_eq!(worker.get(path).status(), 404, "{path}");
    }
    let until = Instant::now() + PATIENCE;
    while data.state(id) != "done" {
        assert!(Instant::now() < until, "nothing was done");
        std::thread::sleep(Duration::from_millis(100));
    }
    worker.stop();
}

#[test]
fn an_operator_sees_and_changes_jobs_with_the_key_alone() {
    const KEY: &str = "0123456789abcdefghij";
    let data = Data::new();
    let [dead, waiting] = dead_and_waiting(&data.path);
    let server = Server::start(binary().args(["--store-url", &data.url, "--operator-key", KEY]));
    let page = server.get("/ops");
    assert!(page.status() == 200 && page.text().contains("/assets/ops.js"), "{}", page.head);
    let ask = |method, path: &str| server.request(method, path, Some(KEY), None);
    let retry = format!("/ops/jobs/{dead}/retry");
    for token in [None, Some(""), Some("0123456789abcdefghi"), Some("0123456789abcdefghijk")] {
        assert_eq!(server.request("GET", "/ops/jobs", token, None).status(), 401, "{token:?}");
        assert_eq!(server.request("POST", &retry, token, None).status(), 401, "{token:?}");
    }
    let answer = ask("GET", "/ops/jobs?state=dead");
    assert_eq!((answer.status(), answer.header("cache-control")), (200, Some("no-store")));
    let json = answer.json();
    assert_eq!(json["jobs"][0]["reason"], "the receiver\nis gone");
    assert_eq!(json["jobs"].as_array().unwrap().len(), 1);
    assert_eq!(json["counts"][0]["dead"], 1);
    let alone = ask("GET", "/ops/jobs?state=dead&counts=false").json();
    assert_eq!((&alone["counts"], &alone["jobs"]), (&Value::Null, &json["jobs"]), "nothing is counted");
    let shown = ask("GET", &format!("/ops/jobs/{dead}"));
    assert_eq!(shown.json()["payloadBytes"], 20);
    assert!(!shown.text().contains("hunter2") && !answer.text().contains("hunter2"));
    assert_eq!(ask("GET", "/ops/jobs?state=gone").status(), 422);

    for (path, status) in [
        (format!("/ops/jobs/{dead}/cancel"), 403),
        (retry, 204),
        (format!("/ops/jobs/{waiting}/cancel"), 204),
        (format!("/ops/jobs/{waiting}/drop"), 204),
        (format!("/ops/jobs/{waiting}/drop"), 404),
        ("/ops/jobs/seven/drop".to_owned(), 404),
        (format!("/ops/jobs/{dead}/forget"), 404),
        ("/ops/kinds/invoices.send/pause".to_owned(), 200),
    ] {
        assert_eq!(ask("POST", &path).status(), status, "{path}");
    }
    assert_eq!(data.state(dead), "waiting");
    assert_eq!(data.jobs(["counts"])[0]["paused"], true);
}

#[test]
fn without_a_key_there_is_no_door_for_operators() {
    let server = Server::in_memory([]);
    for path in ["/ops", "/ops/jobs"] {
        assert_eq!(server.get(path).status(), 404, "{path}");
    }
    assert!(refused(&run(["--operator-key", "short-hunter2"])).contains("***"));
    let output = run(["check-config", "--operator-key", "0123456789abcdefghij"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("***") && !text.contains("0123456789"), "{text}");
}

#[test]
fn keys_are_not_tried_beyond_the_limit_of_log_ins() {
    let (_folder, path) = file("key", "0123456789abcdefghij\n");
    let server = Server::in_memory(["--operator-key-file", path.to_str().unwrap()]);
    let right = Some("0123456789abcdefghij");
    assert_eq!(server.request("GET", "/ops/jobs", right, None).status(), 200);
    let tried = (0..300).map(|_| server.request("GET", "/ops/jobs", Some("wrong"), None).status());
    assert!(tried.into_iter().any(|status| status == 429), "every key was tried");
    // Neither is the right one then, or it could be told from the others.
    assert!((0..300).any(|_| server.request("GET", "/ops/jobs", right, None).status() == 429));
    let (_folder, empty) = file("key", "\n");
    assert!(refused(&run(["--operator-key-file", empty.to_str().unwrap()])).contains("holds no key"));
}

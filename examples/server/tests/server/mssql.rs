//! With the URL of an SQL Server: what is said where there is none. The browser's tests use one.

use std::net::TcpListener;

use crate::support::{binary, refused};

/// What is said where the store of this URL can't be used, whatever is to be done with it.
fn refused_at(url: &str) -> String {
    let [served, migrated] = ["serve", "migrate"].map(|task| {
        let flags = [task, "--listen", "127.0.0.1:0", "--log", "trace", "--store-url", url];
        let mut output = binary().args(flags).output().unwrap();
        // A log is on standard output; there must be no secret in it either.
        let logged = String::from_utf8(std::mem::take(&mut output.stdout)).unwrap();
        assert!(!logged.contains("hunter2"), "{logged}");
        refused(&output)
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
fn a_server_that_does_not_answer_is_one_sentence() {
    for scheme in ["mssql", "sqlserver"] {
        let said = refused_at(&format!("{scheme}://ann:hunter2@127.0.0.1:1/chat"));
        says(&said, &["127.0.0.1:1/chat", "refused", "check that the server runs", "--store-url"]);
    }
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let said = refused_at(&format!("mssql://ann:hunter2@{}/chat", silent.local_addr().unwrap()));
    says(&said, &["did not answer in time", "check that the server runs", "--store-url"]);
}

#[test]
fn what_the_store_does_not_know_is_one_sentence() {
    let said = refused_at("mssql://ann:hunter2@127.0.0.1:1/chat?encrypts=true");
    says(&said, &["`encrypts` is not known", "correct --store-url"]);
    let said =
        refused_at("mssql://ann:hunter2@127.0.0.1:1/chat?trustServerCertificateCA=/does/not/exist.pem");
    says(&said, &["/does/not/exist.pem", "correct --store-url"]);
}

#[cfg(unix)]
#[test]
fn a_signal_ends_it_while_it_waits_for_the_database() {
    use std::process::Stdio;

    use rustix::process::{Pid, Signal, kill_process};

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mssql://ann:hunter2@{}/chat?connectTimeout=600", silent.local_addr().unwrap());
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

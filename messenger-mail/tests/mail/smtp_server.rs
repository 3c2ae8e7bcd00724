//! A mail server for one test, which fails as it is told: `server.py`.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

pub(crate) struct SmtpServer {
    pub(crate) port: u16,
    /// Of the authority by which the server's certificate is signed.
    pub(crate) authority: Option<String>,
    said: Lines<BufReader<ChildStdout>>,
    // Killed when it is dropped.
    _process: Child,
    _files: tempfile::TempDir,
}

impl SmtpServer {
    /// Without TLS, failing so.
    pub(crate) async fn failing(faults: Value) -> Self {
        Self::start(json!({ "faults": faults })).await
    }

    pub(crate) async fn start(mut settings: Value) -> Self {
        let files = tempfile::tempdir().unwrap();
        let authority = settings.get("tls").is_some().then(|| certificate(files.path()));
        settings["cert"] = files.path().join("cert.pem").to_str().into();
        settings["key"] = files.path().join("key.pem").to_str().into();
        let mut process = Command::new(python())
            .args(["-W", "ignore"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mail/server.py"))
            .arg(settings.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut server = Self { port: 0, authority, said, _process: process, _files: files };
        server.port = server.next().await["port"].as_u64().unwrap().try_into().unwrap();
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}?tls=none", self.port)
    }

    /// What the server tells next.
    pub(crate) async fn next(&mut self) -> Value {
        let line = self.said.next_line().await.unwrap().expect(NEEDS_AIOSMTPD);
        serde_json::from_str(&line).unwrap()
    }

    /// The next event of this kind; others are passed over.
    pub(crate) async fn event(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next().await;
            if event["event"] == kind {
                return event;
            }
        }
    }

    /// The next mail, as it came.
    pub(crate) async fn mail(&mut self) -> String {
        content(&self.event("mail").await)
    }
}

pub(crate) fn content(event: &Value) -> String {
    String::from_utf8(STANDARD.decode(event["content"].as_str().unwrap()).unwrap()).unwrap()
}

const NEEDS_AIOSMTPD: &str = "the mail server for tests needs Python with aiosmtpd: `scripts/test rust` installs it under the target \
     directory, and MESSENGER_TEST_MAIL_PYTHON says which Python has it elsewhere";

/// The Python for which `scripts/test` has installed aiosmtpd.
fn python() -> PathBuf {
    if let Some(python) = std::env::var_os("MESSENGER_TEST_MAIL_PYTHON") {
        return python.into();
    }
    // The target directory is where this test was built: in `debug/deps`, or in that of another profile.
    let test = std::env::current_exe().unwrap();
    let found =
        test.ancestors().map(|folder| folder.join("tools/mail-python/bin/python")).find(|path| path.exists());
    found.expect(NEEDS_AIOSMTPD)
}

/// Writes a certificate for `127.0.0.1` and its key, and returns that of the authority.
fn certificate(folder: &Path) -> String {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    let mut parameters = CertificateParams::new(Vec::<String>::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    std::fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    authority.pem()
}

use std::{
    hash::{BuildHasher as _, RandomState},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// Longer than anything here takes on a busy machine; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The binary, with no settings of the surroundings.
pub(crate) fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_messenger-server"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MESSENGER_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the binary to its end.
pub(crate) fn run<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Output {
    binary().args(arguments).output().unwrap()
}

/// What a run that must fail says: one line, exit code 1, nothing on standard output.
pub(crate) fn refused(output: &Output) -> String {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert_eq!(output.stdout, b"");
    for noise in ["panicked", "backtrace", "Error {", "os error 0"] {
        assert!(!said.contains(noise), "{said}");
    }
    said
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    said: Receiver<String>,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// On a free port, with the data in memory.
    pub(crate) fn in_memory<const N: usize>(arguments: [&str; N]) -> Self {
        Self::start(binary().args(["--store-url", "memory:"]).args(arguments))
    }

    /// On a free port.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::start_at(command, "127.0.0.1:0")
    }

    /// At this address.
    pub(crate) fn start_at(command: &mut Command, address: &str) -> Self {
        Self::spawn(command.stdout(Stdio::null()), address)
    }

    /// On a free port, with its log in this file.
    pub(crate) fn start_logging(command: &mut Command, log: &Path) -> Self {
        let log = std::fs::File::create(log).unwrap();
        Self::spawn(command.stdout(log), "127.0.0.1:0")
    }

    fn spawn(command: &mut Command, address: &str) -> Self {
        command.args(["--listen", address]).stdin(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let said = lines(child.stderr.take().unwrap());
        let mut server = Self { child, said, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        let line = server.says(" at http://");
        let address = line.rsplit("http://").next().unwrap();
        server.address = address.trim_end_matches('/').parse().unwrap();
        server
    }

    /// Waits for a line on standard error that contains `text`.
    pub(crate) fn says(&self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        let mut heard = Vec::new();
        loop {
            match self.said.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => heard.push(line),
                Err(error) => panic!("the server did not say {text:?} ({error}), but {heard:#?}"),
            }
        }
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until the server has ended by itself.
    pub(crate) fn ended(mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            // Standard error closes when the process ends; its lines are not of interest here.
            if self.said.recv_timeout(PATIENCE).is_err() {
                return self.child.wait().unwrap();
            }
        }
        panic!("the server did not end");
    }

    /// Asks it to end, and gives what it says on standard error until it has.
    #[cfg(unix)]
    pub(crate) fn last_words(mut self) -> Vec<String> {
        self.signal(rustix::process::Signal::TERM);
        let until = Instant::now() + PATIENCE;
        let left = || until.saturating_duration_since(Instant::now());
        let said: Vec<_> = std::iter::from_fn(|| self.said.recv_timeout(left()).ok()).collect();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{said:?}");
        said
    }

    /// Asks it to end and waits until it has, well.
    #[cfg(unix)]
    pub(crate) fn stop(self) {
        self.signal(rustix::process::Signal::TERM);
        assert_eq!(self.ended().code(), Some(0));
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request on a connection of its own.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Answer {
        let body = body.map(Value::to_string).unwrap_or_default();
        let authorization =
            token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let mut client = self.connect();
        client.send(&format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{authorization}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        client.answer()
    }

    /// Registers a person and gives the token of the session.
    pub(crate) fn register(&self, username: &str) -> String {
        let person = json!({
            "username": username,
            "email": format!("{username}@example.org"),
            "password": "correct horse battery",
        });
        let answer = self.request("POST", "/api/v1/auth/register", None, Some(&person));
        assert_eq!(answer.status(), 201, "{}", answer.text());
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    /// Bytes of memory that the process holds at the moment, without what it has of files.
    #[cfg(target_os = "linux")]
    pub(crate) fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        let kib: usize = line.trim_end_matches("kB").trim().parse().unwrap();
        kib * 1024
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request("GET", path, None, None)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that no connection is given by chance while the server is away.
pub(crate) fn free_address() -> SocketAddr {
    let random = RandomState::new();
    let ports = (0_u64..).map(|attempt| 20_000 + (random.hash_one(attempt) % 10_000) as u16);
    ports
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .find(|address| TcpListener::bind(address).is_ok())
        .unwrap()
}

pub(crate) fn sqlite_url(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}

/// A file that holds this text, in a folder that lives as long as the value.
pub(crate) fn file(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn lines(pipe: impl io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// A connection that says exactly what it is told to.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    /// One answer; the connection stays as it is.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = Answer { head: self.text_to("\r\n\r\n"), body: Vec::new() };
        if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let length = usize::from_str_radix(self.text_to("\r\n").trim(), 16).unwrap();
                let mut chunk = vec![0; length];
                self.0.read_exact(&mut chunk).unwrap();
                self.text_to("\r\n");
                if chunk.is_empty() {
                    return answer;
                }
                answer.body.extend(chunk);
            }
        }
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        answer.body.resize(length, 0);
        self.0.read_exact(&mut answer.body).unwrap();
        answer
    }

    fn text_to(&mut self, end: &str) -> String {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(end.as_bytes()) {
            self.0.read_exact(&mut byte).unwrap();
            bytes.push(byte[0]);
        }
        String::from_utf8(bytes).unwrap()
    }

    /// Waits until the server has ended the connection; panics if it sends something or does not end it.
    pub(crate) fn is_cut(&mut self) {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => assert_eq!(String::from_utf8_lossy(&rest), ""),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
    }
}

pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

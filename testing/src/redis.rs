use std::{
    env,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use crate::ServerCpu;

/// A Redis server of one's own, on a free port of the loopback device, that keeps nothing; ends with this.
#[derive(Debug)]
pub struct RedisServer {
    process: Option<Child>,
    port: u16,
    arguments: Vec<String>,
    /// Of its own, because a replica leaves a file that another server would begin with.
    folder: TempDir,
}

impl RedisServer {
    /// Longer than it takes to start on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// # Panics
    /// If there is no Redis.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With more arguments of the command line.
    ///
    /// # Panics
    /// If there is no Redis.
    pub async fn start_with(arguments: &[&str]) -> Self {
        let port = free_port();
        let number = port.to_string();
        let first = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &number];
        Self::run(port, &[&first, arguments].concat()).await
    }

    /// A Sentinel that knows the server by the name `main`, with its replicas, which must be there already, and takes a replica
    /// for the server when this does not answer for a second. `folder` is for a file of its own.
    ///
    /// # Panics
    /// If there is no Redis.
    pub async fn start_sentinel(server: &Self, folder: &Path, more: &str) -> Self {
        let (port, file) = (free_port(), folder.join("sentinel.conf"));
        let settings = format!(
            "bind 127.0.0.1\nport {port}\nsentinel monitor main 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 4000\n{more}\n",
            server.port,
        );
        std::fs::write(&file, settings).unwrap();
        Self::run(port, &[file.to_str().unwrap(), "--sentinel"]).await
    }

    async fn run(port: u16, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut server = Self { process: None, port, arguments, folder: tempfile::tempdir().unwrap() };
        server.go_on().await;
        server
    }

    /// Where it listens.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Ends it without a word, as a crash does; it forgets everything.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts it again, if it was ended, and waits until it answers.
    ///
    /// # Panics
    /// If it does not answer in time.
    pub async fn go_on(&mut self) {
        if self.process.is_none() {
            let process = Command::new(binary())
                .args(&self.arguments)
                .current_dir(self.folder.path())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn();
            self.process = Some(process.expect("Redis starts: scripts/test installs it"));
        }
        let until = Instant::now() + Self::PATIENCE;
        while self.command("PING").await.is_none() {
            assert!(Instant::now() < until, "Redis answers in time");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What it has used of the CPU so far, where the system tells.
    ///
    /// # Panics
    /// If it was ended.
    pub fn cpu(&self) -> ServerCpu {
        ServerCpu::of(self.process.as_ref().expect("it runs").id())
    }

    /// Stops it from doing anything, while its connections stay; [`thaw`](Self::thaw) lets it go on.
    #[cfg(unix)]
    pub fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// Lets it go on.
    #[cfg(unix)]
    pub fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    #[cfg(unix)]
    fn signal(&self, signal: rustix::process::Signal) {
        let process = self.process.as_ref().expect("it runs");
        let id = rustix::process::Pid::from_child(process);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Waits until a command is answered by a text for which this holds.
    ///
    /// # Panics
    /// If it does not come to that in time.
    pub async fn until(&self, command: &str, holds: impl Fn(&str) -> bool) {
        let until = Instant::now() + Self::PATIENCE;
        loop {
            let answer = self.answer(command).await;
            if answer.as_deref().is_some_and(&holds) {
                return;
            }
            assert!(Instant::now() < until, "{command} says at last: {answer:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Runs a command of words without spaces. Answers with the texts of the answer, a line each.
    pub async fn bulk(&self, command: &str) -> Option<String> {
        let answer = self.answer(command).await?;
        let texts = answer.lines().filter(|line| !line.starts_with(['$', '*']));
        Some(texts.collect::<Vec<_>>().join("\n"))
    }

    /// Runs a command of words without spaces. Answers with all of the answer; none if it is not reached.
    async fn answer(&self, command: &str) -> Option<String> {
        let mut stream = BufReader::new(TcpStream::connect(self.address()).await.ok()?);
        stream.write_all(format!("{command}\r\n").as_bytes()).await.ok()?;
        let (mut answer, mut parts) = (String::new(), 1);
        while parts > 0 {
            let start = answer.len();
            if stream.read_line(&mut answer).await.ok()? == 0 {
                return None;
            }
            parts -= 1;
            let line = answer[start..].trim_end();
            let number = || line[1..].parse().unwrap_or(0);
            match line.chars().next()? {
                '*' => parts += number(),
                '$' if line != "$-1" => {
                    let mut text = vec![0; number() + 2];
                    stream.read_exact(&mut text).await.ok()?;
                    answer.push_str(&String::from_utf8_lossy(&text));
                }
                _ => {}
            }
        }
        Some(answer)
    }

    /// Runs a command of words without spaces. Answers with the first line of the answer; none if it is not reached.
    pub async fn command(&self, command: &str) -> Option<String> {
        let mut stream = BufReader::new(TcpStream::connect(self.address()).await.ok()?);
        stream.write_all(format!("{command}\r\n").as_bytes()).await.ok()?;
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        (!line.is_empty()).then(|| line.trim_end().to_owned())
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn binary() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let files = env::split_paths(&path)
        .flat_map(|folder| ["redis-server", "valkey-server"].map(|name| folder.join(name)));
    let found = files.into_iter().find(|file| file.exists());
    found.expect("this test needs Redis: scripts/test installs it (Debian's package is redis-server)")
}

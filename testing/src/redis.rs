use std::{
    env,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

/// A Redis server of one's own, on a free port of the loopback device, that keeps nothing; ends with this.
#[derive(Debug)]
pub struct RedisServer {
    process: Option<Child>,
    port: u16,
    arguments: Vec<String>,
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
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut server = Self { process: None, port, arguments };
        server.go_on().await;
        server
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
                .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"])
                .arg(self.port.to_string())
                .args(&self.arguments)
                .current_dir(env::temp_dir())
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

fn binary() -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let files = env::split_paths(&path)
        .flat_map(|folder| ["redis-server", "valkey-server"].map(|name| folder.join(name)));
    let found = files.into_iter().find(|file| file.exists());
    found.expect("this test needs Redis: scripts/test installs it (Debian's package is redis-server)")
}

//! Servers in processes of their own, and what the system says of them.

use std::{
    collections::HashMap,
    fs,
    io::{self, BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    time::Duration,
};

use super::Result;

/// First argument of a bench that makes it the floor server.
pub const FLOOR: &str = "--be-the-floor";
/// First argument of a bench that makes it a server, which [`become_server`] does with what follows.
pub const SERVER: &str = "--be-the-server";
/// First argument of a bench that makes it the [keeper](super::keeper) of a PostgreSQL server.
pub const KEEPER: &str = "--be-the-keeper";

/// A server in a process of its own. Killed when dropped, and by the system when this process ends in another way.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Kept open: a program that can't write to its standard error fails.
    says: BufReader<ChildStderr>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Each thread, also those that have ended.
    threads: HashMap<u32, Thread>,
}

#[derive(Debug)]
struct Thread {
    of_store: bool,
    nanoseconds: u64,
}

/// CPU time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    /// Of the server's process.
    pub process: Duration,
    /// Of the store: of the threads of that process in which SQLite works, or of all processes of PostgreSQL.
    pub store: Duration,
    /// Of what nodes hear of each other over, where it is looked at.
    pub bus: Duration,
}

impl Cpu {
    /// What was used since then.
    pub fn since(self, before: Self) -> Self {
        Self {
            process: self.process.saturating_sub(before.process),
            store: self.store.saturating_sub(before.store),
            bus: self.bus.saturating_sub(before.bus),
        }
    }
}

/// What the system may give a process to keep its memory in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pages {
    /// As it comes: 2 MiB at once, where the system does that.
    Any,
    /// 4 KiB, so that a page that is there is one that is used.
    Small,
}

impl Process {
    /// The server as it ships, without limits of rates. `binary` is that of this build, or another one; `arguments` say
    /// what it works on.
    ///
    /// # Errors
    /// If it does not start.
    pub fn server(binary: &Path, arguments: &[&str], pages: Pages) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("MESSENGER_") {
                command.env_remove(name);
            }
        }
        command.env("MESSENGER_RATE_LIMITS", "off").env("MESSENGER_LISTEN", "127.0.0.1:0");
        Self::start(command.arg(SERVER).arg(binary).args(arguments), pages)
    }

    /// Another program that says where it listens, as ours does.
    ///
    /// # Errors
    /// If it does not start.
    pub fn program(program: &str, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        Self::start(command.arg(SERVER).arg(program).args(arguments), Pages::Any)
    }

    /// The least that a server can do.
    ///
    /// # Errors
    /// If it does not start.
    pub fn floor(pages: Pages) -> Result<Self> {
        Self::start(Command::new(std::env::current_exe()?).arg(FLOOR), pages)
    }

    fn start(command: &mut Command, pages: Pages) -> Result<Self> {
        if pages == Pages::Small {
            command.env("MIMALLOC_ALLOW_THP", "0");
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().ok_or("the process has no standard error")?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut process = Self { child, says: BufReader::new(stderr), address, threads: HashMap::new() };
        process.address = process.read_address()?;
        Ok(process)
    }

    fn read_address(&mut self) -> Result<SocketAddr> {
        let mut said = String::new();
        while self.says.read_line(&mut said)? > 0 {
            if let Some((_, address)) = said.trim_end().rsplit_once("http://") {
                return Ok(address.trim_end_matches('/').parse()?);
            }
        }
        Err(format!("the server ended before it served: {}", said.trim_end()).into())
    }

    /// Of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU time taken so far, to the nanosecond: that of `/proc/PID/stat` has steps of 10 ms.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn cpu(&mut self) -> Result<Cpu> {
        for task in fs::read_dir(format!("/proc/{}/task", self.id()))? {
            let task = task?;
            let Ok(id) = task.file_name().to_string_lossy().parse() else { continue };
            // A thread that has ended meanwhile.
            let Ok(stat) = fs::read_to_string(task.path().join("schedstat")) else { continue };
            let running = stat.split(' ').next().ok_or("the format of schedstat is another one")?;
            let thread = self.threads.entry(id).or_insert_with(|| {
                let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
                Thread { of_store: name.starts_with("sqlx-"), nanoseconds: 0 }
            });
            thread.nanoseconds = running.parse()?;
        }
        let sum = |threads: &mut dyn Iterator<Item = &Thread>| {
            Duration::from_nanos(threads.map(|thread| thread.nanoseconds).sum())
        };
        Ok(Cpu {
            process: sum(&mut self.threads.values()),
            store: sum(&mut self.threads.values().filter(|thread| thread.of_store)),
            bus: Duration::ZERO,
        })
    }

    /// Bytes of memory of its own: neither what it shares with its file on the disk, nor what the system keeps for
    /// its sockets.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn memory(&self) -> Result<u64> {
        let all = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.id()))?;
        let line = all.lines().find_map(|line| line.strip_prefix("Anonymous:"));
        let kib: u64 =
            line.ok_or("smaps_rollup names no anonymous memory")?.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }

    /// Bytes of memory of its own, looked up more quickly and less exactly.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn anonymous(&self) -> Result<u64> {
        self.status("RssAnon:")
    }

    /// Bytes of memory, with what it has of files.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn resident(&self) -> Result<u64> {
        self.status("VmRSS:")
    }

    /// The most that that ever was, or since it was forgotten.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn largest(&self) -> Result<u64> {
        self.status("VmHWM:")
    }

    /// Lets the largest count from here on.
    ///
    /// # Errors
    /// If the system does not let it.
    pub fn forget_largest(&self) -> Result {
        Ok(fs::write(format!("/proc/{}/clear_refs", self.id()), "5")?)
    }

    fn status(&self, name: &str) -> Result<u64> {
        let all = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let kib: u64 = all
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .ok_or("the format of status is another one")?
            .trim()
            .trim_end_matches(" kB")
            .parse()?;
        Ok(kib * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Turns this process into the server: a program and its arguments. Returns only if that fails.
#[cfg(target_os = "linux")]
pub fn become_server(command: &[String]) -> io::Error {
    use std::os::unix::process::CommandExt as _;
    let Some((program, arguments)) = command.split_first() else { return io::ErrorKind::NotFound.into() };
    match end_with_parent() {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error,
    }
}

/// The system kills this process when the one that started it ends, however that ends.
///
/// # Errors
/// If the system can't.
#[cfg(target_os = "linux")]
pub fn end_with_parent() -> io::Result<()> {
    use rustix::process::{Signal, set_parent_process_death_signal};
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Lets a Ctrl-C, which the terminal tells all processes of a bench, pass this one by.
#[cfg(target_os = "linux")]
pub fn apart_from_the_terminal(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt as _;
    command.process_group(0)
}

/// Lets this process open as many files as the system grants it. What it starts inherits that.
#[cfg(target_os = "linux")]
pub fn raise_limit_of_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Without it a larger number of connections fails, and says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::{io, process::Command};

    /// Not here.
    pub fn become_server(_: &[String]) -> io::Error {
        unsupported()
    }

    /// Not here.
    ///
    /// # Errors
    /// Always.
    pub fn end_with_parent() -> io::Result<()> {
        Err(unsupported())
    }

    /// Does nothing here.
    pub fn apart_from_the_terminal(command: &mut Command) -> &mut Command {
        command
    }

    /// Does nothing here.
    pub fn raise_limit_of_files() {}

    fn unsupported() -> io::Error {
        io::Error::new(io::ErrorKind::Unsupported, "this bench reads /proc, which only Linux has")
    }
}
#[cfg(not(target_os = "linux"))]
pub use elsewhere::{apart_from_the_terminal, become_server, end_with_parent, raise_limit_of_files};

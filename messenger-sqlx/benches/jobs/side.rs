//! The sides that are compared, each in a process of its own.

use std::{
    env, fmt,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use messenger_testing::{PrivateServer, ServerCpu, bench::Result, connect};
use sqlx::AssertSqlSafe;

use crate::ours;

/// Who does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    Apalis,
    GraphileWorker,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Ours, Self::Apalis, Self::GraphileWorker];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Apalis => "apalis",
            Self::GraphileWorker => "graphile_worker",
        }
    }

    /// Whether there is a job that has not been done.
    const fn undone(self) -> &'static str {
        match self {
            Self::Ours => {
                "SELECT EXISTS (SELECT FROM messenger.messenger_jobs WHERE state = 0 AND kind = 'work')
                    OR EXISTS (SELECT FROM messenger.messenger_jobs WHERE state = 2 AND kind = 'work')"
            }
            Self::Apalis => "SELECT EXISTS (SELECT FROM apalis.jobs WHERE done_at IS NULL)",
            Self::GraphileWorker => "SELECT EXISTS (SELECT FROM graphile_worker._private_jobs)",
        }
    }
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) what: What,
    pub(crate) count: usize,
    /// How many callers or nodes do it.
    pub(crate) width: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Each,
    Batches,
    Work,
}

impl Task {
    /// Enqueues these one by one.
    pub(crate) const fn each(count: usize, callers: usize) -> Self {
        Self { what: What::Each, count, width: callers }
    }

    /// Enqueues these in batches of 1,000.
    pub(crate) const fn batches(count: usize) -> Self {
        Self { what: What::Batches, count, width: 1 }
    }

    /// Works these off.
    pub(crate) const fn work(count: usize, nodes: usize) -> Self {
        Self { what: What::Work, count, width: nodes }
    }

    const fn word(self) -> &'static str {
        match self.what {
            What::Each => "each",
            What::Batches => "batches",
            What::Work => "work",
        }
    }

    /// Whether that is the same, of another number of jobs.
    pub(crate) fn is_as(self, other: Self) -> bool {
        (self.what, self.width) == (other.what, other.width)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, width, .. } = self;
        let plural = if *width == 1 { "" } else { "s" };
        match what {
            What::Each => write!(f, "enqueue, {width} caller{plural}"),
            What::Batches => write!(f, "enqueue, batches of 1,000"),
            What::Work => write!(f, "work off, {width} worker{plural}"),
        }
    }
}

/// How fast a task was done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Done {
    /// Jobs a second.
    pub(crate) rate: f64,
    /// Milliseconds of CPU of the process for a job.
    pub(crate) cpu: f64,
    /// The same of PostgreSQL.
    pub(crate) server: f64,
}

/// Lets a side do a task.
pub(crate) async fn measure(kind: Kind, task: Task, url: &str, server: &PrivateServer) -> Result<Done> {
    let mut program = Program::start(kind, task, url)?;
    let (mut own, mut theirs) = (ServerCpu::of(program.child.id()), server.cpu());
    program.expect("ready")?;
    let mut conn = connect(url).await;
    let (own_before, theirs_before, began) = (own.used(), theirs.used(), Instant::now());
    program.go_on()?;
    program.expect("done")?;
    while task.what == What::Work && is_any_undone(&mut conn, kind).await? {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = began.elapsed();
    let for_one = |now: Duration, before: Duration| {
        now.saturating_sub(before).as_secs_f64() * 1000.0 / task.count as f64
    };
    Ok(Done {
        rate: task.count as f64 / took.as_secs_f64(),
        cpu: for_one(own.used(), own_before),
        server: for_one(theirs.used(), theirs_before),
    })
}

async fn is_any_undone(conn: &mut sqlx::PgConnection, kind: Kind) -> Result<bool> {
    Ok(sqlx::query_scalar(AssertSqlSafe(kind.undone())).fetch_one(conn).await?)
}

struct Program {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Program {
    fn start(kind: Kind, task: Task, url: &str) -> Result<Self> {
        let program = if kind == Kind::Ours { env::current_exe()? } else { beside() };
        let mut command = Command::new(program);
        command.arg(if kind == Kind::Ours { ours::SIDE } else { kind.name() });
        let (count, width) = (task.count.to_string(), task.width.to_string());
        command.args([url, task.word(), &count, &width, ours::TEXT]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let says = child.stdout.take().ok_or("the process has no standard output")?;
        Ok(Self { child, says: BufReader::new(says) })
    }

    fn expect(&mut self, word: &str) -> Result {
        let mut said = String::new();
        self.says.read_line(&mut said)?;
        if said.trim_end() == word {
            Ok(())
        } else {
            Err(format!("it said `{said}` in place of {word}").into())
        }
    }

    fn go_on(&mut self) -> Result {
        Ok(self.child.stdin.as_mut().ok_or("the process has no standard input")?.write_all(b"\n")?)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has nothing left to do, or has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where the other sides are built: apart from this build, which they are no part of.
fn beside_target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("jobs-beside")
}

fn beside() -> PathBuf {
    beside_target().join("release/jobs-beside")
}

/// Builds the other sides.
pub(crate) fn build() -> Result {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/jobs/beside/Cargo.toml");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--locked", "--quiet", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(beside_target())
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err("the other sides could not be built; `ours` can be measured".into())
    }
}

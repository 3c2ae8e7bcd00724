//! What it takes until people on one node have what somebody on another node writes, and what happens without Redis.
//!
//! `cargo bench -p messenger-server --bench nodes -- --help`

mod bare;
mod delays;
mod fan_out;
mod flow;
mod grid;
mod outage;
mod set_up;
mod socket_io;
mod throughput;
mod world;

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use messenger_testing::sockets::{keeper, process, report::Report};
use set_up::Kind;

type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

const HELP: &str = "\
Fan-out over two nodes of messenger-server on one PostgreSQL and one Redis, all of them private and on this machine,
to 100 people, beside one node in the same run.

Usage: cargo bench -p messenger-server --bench nodes -- [OPTION]... [PART]...

  fan-out     messages at a constant rate: how long they take to 100 people on the sender's node, on the other node over
              Redis, and on the other node over PostgreSQL, and what the bus adds
  socket.io   the same over two nodes of Socket.IO with its Redis adapter, which store nothing; needs Node.js and npm,
              which installs what package-lock.json in benches/nodes/socketio names
  throughput  as many messages as go, to 100 people and between pairs: CPU of both servers, of PostgreSQL and of Redis
  bus         the bus on Redis alone, from one node to another, beside bare PUBLISH of the same bytes
  outage      Redis is killed under load and later started again: sends a second before, during and after, the delay of
              delivery over time, what is lost, and what /health/ready says

  --quick             fewer and shorter rounds, a shorter outage
  --seconds N         how long a round lasts (default 10 for fan-out and 3 for others; quick 3 and 1)
  --rounds N          how many rounds count (default 5, quick 2)
  --rate N            messages a second at the constant rate (default 100)
  --outage N          seconds without Redis (default 60, quick 20)
  --freeze            stop Redis by SIGSTOP in place of SIGKILL: its connections stay, and nothing answers
  --server PATH       another build of the server in place of this one
  --beside PATH       another build of the server, whose nodes on Redis take turns with those of this one
  --postgres-url URL  on the PostgreSQL server of this URL, which is on this machine, not in a container, and has
                      little else to do; the user may make databases. Without it scripts/postgres starts one with
                      PostgreSQL's own settings (fsync = on) in the folder TMPDIR, or else where the build is
  --help              this

Without a PART all are measured, in about 15 minutes. The clients are in this process, so that all times are by one clock.
A figure is that of the best round, which neighbours disturbed the least, and the median stands beside it; of a
difference it is the median. Compare within one run; on a busy machine repeat it.";

const PARTS: [&str; 5] = ["fan-out", "socket.io", "throughput", "bus", "outage"];

/// What was asked for.
#[derive(Debug, Clone, Default)]
struct Plan {
    parts: Vec<String>,
    quick: bool,
    seconds: Option<u64>,
    rounds: Option<usize>,
    rate: Option<u32>,
    outage: Option<u64>,
    freeze: bool,
    server: Option<PathBuf>,
    beside: Option<PathBuf>,
    postgres: Option<String>,
}

impl Plan {
    fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }

    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 2 } else { 5 })
    }

    fn length(&self, quick: u64, full: u64) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(if self.quick { quick } else { full }))
    }

    /// The build under test.
    fn binary(&self) -> &Path {
        self.server.as_deref().unwrap_or(Path::new(env!("CARGO_BIN_EXE_messenger-server")))
    }

    /// One node and two of this build, and two of another one.
    fn kinds(&self) -> Vec<Kind> {
        let beside = self.beside.as_ref().map(|_| Kind::Beside);
        [Kind::OneNode, Kind::Redis].into_iter().chain(beside).chain([Kind::Postgres]).collect()
    }
}

/// What to do instead of, or as, a bench.
enum Task {
    Nothing,
    Help,
    /// Be a program with these arguments.
    Server(Vec<String>),
    /// Keep a PostgreSQL server, where databases have names that begin like this.
    Keeper {
        prefix: String,
        url: Option<String>,
    },
    Measure(Plan),
}

fn main() -> ExitCode {
    match task().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nodes: {error}");
            ExitCode::FAILURE
        }
    }
}

fn task() -> Result<Task> {
    let mut arguments = std::env::args().skip(1).peekable();
    match arguments.peek().map(String::as_str) {
        Some(process::SERVER) => return Ok(Task::Server(arguments.skip(1).collect())),
        Some(process::KEEPER) => {
            let prefix = arguments.nth(1).ok_or("the keeper takes a prefix")?;
            return Ok(Task::Keeper { prefix, url: arguments.next() });
        }
        _ => {}
    }
    let (mut plan, mut bench, mut test) = (Plan::default(), false, false);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} wants a value; see --help"));
        match argument.as_str() {
            "--bench" => bench = true,
            "--test" => test = true,
            "--help" => return Ok(Task::Help),
            "--quick" => plan.quick = true,
            "--freeze" => plan.freeze = true,
            "--seconds" => plan.seconds = Some(value()?.parse()?),
            "--rounds" => plan.rounds = Some(value()?.parse()?),
            "--rate" => plan.rate = Some(value()?.parse()?),
            "--outage" => plan.outage = Some(value()?.parse()?),
            "--server" => plan.server = Some(value()?.into()),
            "--beside" => plan.beside = Some(value()?.into()),
            "--postgres-url" => plan.postgres = Some(value()?),
            part if PARTS.contains(&part) => plan.parts.push(argument),
            other => return Err(format!("there is no `{other}`; see --help").into()),
        }
    }
    // `cargo test --benches` starts it without `--bench`; there is nothing to test here.
    Ok(if bench && !test { Task::Measure(plan) } else { Task::Nothing })
}

fn run(task: Task) -> Result {
    match task {
        Task::Nothing => Ok(()),
        Task::Help => {
            println!("{HELP}");
            Ok(())
        }
        Task::Server(arguments) => Err(process::become_server(&arguments).into()),
        Task::Keeper { prefix, url } => {
            // Where the build is, which is on a disk; the system's folder for temporary files may be in memory.
            let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
            runtime()?.block_on(keeper::keep(&prefix, url, place))
        }
        Task::Measure(plan) => runtime()?.block_on(async {
            tokio::select! {
                done = measure(&plan) => done,
                // What was started ends with this.
                _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
            }
        }),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

async fn measure(plan: &Plan) -> Result {
    process::raise_limit_of_files();
    let mut report = Report::begin();
    let world = world::World::make(plan).await?;
    let about = world.describe().await?;
    let mut tables = Vec::new();
    if plan.wants("fan-out") || plan.wants("socket.io") {
        tables.push(fan_out::measure(plan, &world, &mut report).await?.to_string());
    }
    if plan.wants("throughput") {
        let grids = throughput::measure(plan, &world, &mut report).await?;
        tables.extend(grids.map(|grid| grid.to_string()));
    }
    if plan.wants("bus") {
        bare::measure(plan, &world, &mut report).await?;
    }
    if plan.wants("outage") {
        tables.push(outage::measure(plan, &world).await?.to_string());
    }
    report.print(&about);
    for table in tables {
        println!("\n{table}");
    }
    Ok(())
}

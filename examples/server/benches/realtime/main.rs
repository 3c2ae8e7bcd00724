//! What the server takes for each connection, message and delivery, beside the least that a server could take.
//!
//! `cargo bench -p messenger-server --bench realtime -- --help`

mod client;
mod crowd;
mod direct;
mod fan_out;
mod floor;
mod idle;
mod process;
mod report;
mod sides;
mod world;

use std::{error::Error, process::ExitCode, time::Duration};

use report::Report;
use sides::Floor;

/// As in the server, because this is the floor server too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

const HELP: &str = "\
What messenger-server takes for each connection, message and delivery, on this machine and on SQLite, beside a floor:
a bare axum server, with the same allocator and buffers, that relays frames and does nothing else.

Usage: cargo bench -p messenger-server --bench realtime -- [OPTION]... [AIM]...

  g1 g3 g4   messages between two: CPU, messages a second, latency
  g5 g6 g7   messages to a group: CPU under load, deliveries a second, one lone message to 1,000 connections
  g8 g9 g11  connections: memory, CPU to connect, CPU while idle

  --quick        fewer and shorter rounds, fewer connections
  --seconds N    how long each round under load lasts (default 2, quick 1)
  --server-only  no floor: for a profiler
  --beside PATH  another build of the server in place of the floor: to compare two
  --help         this

Without an AIM all are measured, in less than five minutes. Everything runs on this machine: the server and the floor in
processes of their own, the clients in this one. Compare within one run; on a busy machine repeat it.";

/// What was asked for.
#[derive(Debug, Clone)]
struct Plan {
    aims: Vec<String>,
    rounds: usize,
    /// Of one round under load.
    length: Duration,
    /// Idle ones.
    connections: usize,
    floor: Floor,
    quick: bool,
}

impl Plan {
    fn wants(&self, aims: &[&str]) -> bool {
        self.aims.is_empty() || aims.iter().any(|aim| self.aims.iter().any(|wanted| wanted == aim))
    }
}

/// What to do instead of, or as, a bench.
enum Task {
    Nothing,
    Help,
    /// Be the floor server.
    Floor,
    /// Be the server with these arguments.
    Server(Vec<String>),
    Measure(Plan),
}

fn main() -> ExitCode {
    match task().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("realtime: {error}");
            ExitCode::FAILURE
        }
    }
}

fn task() -> Result<Task> {
    let mut arguments = std::env::args().skip(1).peekable();
    match arguments.peek().map(String::as_str) {
        Some(process::FLOOR) => return Ok(Task::Floor),
        Some(process::SERVER) => return Ok(Task::Server(arguments.skip(1).collect())),
        _ => {}
    }
    let (mut aims, mut quick, mut floor, mut seconds) = (Vec::new(), false, Floor::Bare, None);
    let (mut bench, mut test) = (false, false);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => bench = true,
            "--test" => test = true,
            "--help" => return Ok(Task::Help),
            "--quick" => quick = true,
            "--server-only" => floor = Floor::None,
            "--beside" => floor = Floor::Other(arguments.next().ok_or("--beside takes a path")?.into()),
            "--seconds" => seconds = Some(arguments.next().ok_or("--seconds takes a number")?.parse()?),
            aim if AIMS.contains(&aim) => aims.push(argument),
            other => return Err(format!("there is no `{other}`; see --help").into()),
        }
    }
    // `cargo test --benches` starts it without `--bench`; there is nothing to test here.
    if !bench || test {
        return Ok(Task::Nothing);
    }
    let (rounds, connections, length) = if quick { (1, 500, 1) } else { (3, 2000, 2) };
    let length = Duration::from_secs(seconds.unwrap_or(length));
    Ok(Task::Measure(Plan { aims, rounds, length, connections, floor, quick }))
}

const AIMS: [&str; 9] = ["g1", "g3", "g4", "g5", "g6", "g7", "g8", "g9", "g11"];

fn run(task: Task) -> Result {
    match task {
        Task::Nothing => Ok(()),
        Task::Help => {
            println!("{HELP}");
            Ok(())
        }
        Task::Server(arguments) => Err(process::become_server(&arguments).into()),
        Task::Floor => runtime()?.block_on(floor::serve()),
        Task::Measure(plan) => runtime()?.block_on(measure(&plan)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

async fn measure(plan: &Plan) -> Result {
    process::raise_limit_of_files();
    let mut report = Report::begin();
    let world = world::World::make(plan.connections).await?;
    if plan.wants(&["g1", "g3", "g4"]) {
        direct::measure(plan, &world, &mut report).await?;
    }
    if plan.wants(&["g5", "g6"]) {
        fan_out::under_load(plan, &world, &mut report).await?;
    }
    if plan.wants(&["g7"]) {
        fan_out::one_at_a_time(plan, &world, &mut report).await?;
    }
    if plan.wants(&["g8", "g9", "g11"]) {
        idle::measure(plan, &world, &mut report).await?;
    }
    report.print();
    Ok(())
}

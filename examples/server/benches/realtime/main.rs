//! What the server takes for each connection, message and delivery, beside the least that a server could take.
//!
//! `cargo bench -p messenger-server --bench realtime -- --help`

mod bare;
mod burst;
mod direct;
mod fan_out;
mod floor;
mod idle;
mod many;
mod sides;
mod signalr;
mod slow;
mod spread;
mod stalled;
mod stock;
mod store;
mod talk;
mod unread;
mod used;
mod world;

use std::{error::Error, path::Path, process::ExitCode, time::Duration};

use messenger_testing::sockets::{client, crowd, http, keeper, people, postgres, process, report, wire};
use report::Report;
use sides::Floor;
use store::{Backend, Store};

/// As in the server, because this is the floor server too.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

const HELP: &str = "\
What messenger-server takes for each connection, message and delivery, on this machine, beside a floor: a bare axum
server, with the same allocator and buffers, that relays frames and does nothing else. The store is SQLite, or
PostgreSQL with a floor of its own: bare inserts on the same server.

Usage: cargo bench -p messenger-server --bench realtime -- [OPTION]... [AIM]...

  g1 g2 g3 g4  messages between two: CPU of the server and of the store, messages a second, latency
  g5 g6 g7     messages to a group: CPU under load, deliveries a second, one lone message to 1,000 connections
  g8 g9 g11    connections: memory, CPU to connect, CPU while idle
  g12          64 messages in flight over 1, 10, 100 and 1,000 chats: CPU of the server beside a bare echo
  signalr      the server's SignalR hub in JSON and in MessagePack, beside its WebSocket in place of the floor:
               CPU of a delivery and of a send, deliveries a second, memory

These only if they are named, one to five minutes each:

  slow         what others wait beside one client of the hub that asks for 4, or 64, streams and reads nothing, by each
               transport
  unread       what 20 people who chat wait, and the server's memory, beside 250 connections that ask for the longest
               pages and read nothing: over HTTP, the WebSocket, and the hub
  bodies       the same beside 50 posts a second whose bodies do not come
  sync         the same beside a Sync of 3,000 chats that end in a long text, eight at a time
  used         memory of a connection after connecting, after a resume of 500 chats, after the longest page, and later
  many         connecting with 10, 1,000 and 10,000 chats: time, bytes, the server's memory
  memory       the server's memory before, in and after log-ins and a burst of 50,000 messages

  --postgres          on a PostgreSQL server of its own, which scripts/postgres starts with PostgreSQL's own settings
                      (fsync = on) in the folder TMPDIR, or else where the build is: on a disk, not in memory
  --postgres-url URL  on the PostgreSQL server of this URL, which is on this machine, not in a container, and has
                      little else to do; the user may make databases
  --quick             fewer and shorter rounds, fewer connections
  --seconds N         how long each round under load lasts (default 2, quick 1)
  --server-only       no bare axum server: for a profiler
  --beside PATH       another build of the server in place of the bare one, or beside the echo: to compare two; in
                      place of this build for those that are measured only if they are named
  --help              this

Without an AIM all of the first ones are measured, in about nine minutes. Everything runs on this machine: the server, the floor and
PostgreSQL in processes of their own, the clients in this one. PostgreSQL's CPU is that of all its processes. Each
server starts on a copy of the same database, when that has been written to the disk; PostgreSQL and the databases are
removed at the end, also after a Ctrl-C. Compare within one run; on a busy machine repeat it.";

/// What was asked for.
#[derive(Debug, Clone)]
struct Plan {
    aims: Vec<String>,
    rounds: usize,
    /// Of one round under load.
    length: Duration,
    /// Idle ones.
    connections: usize,
    store: Backend,
    floor: Floor,
    quick: bool,
}

impl Plan {
    fn wants(&self, aims: &[&str]) -> bool {
        self.names(aims) || self.aims.is_empty() && aims.iter().any(|aim| !BURDENS.contains(aim))
    }

    fn names(&self, aims: &[&str]) -> bool {
        aims.iter().any(|aim| self.aims.iter().any(|wanted| wanted == aim))
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
    /// Keep a PostgreSQL server, where databases have names that begin like this, for the bench: a new one, or that of
    /// a URL.
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
        Some(process::KEEPER) => {
            let prefix = arguments.nth(1).ok_or("the keeper takes a prefix")?;
            return Ok(Task::Keeper { prefix, url: arguments.next() });
        }
        _ => {}
    }
    let (mut aims, mut quick, mut floor, mut seconds) = (Vec::new(), false, Floor::Bare, None);
    let (mut store, mut bench, mut test) = (Backend::Sqlite, false, false);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => bench = true,
            "--test" => test = true,
            "--help" => return Ok(Task::Help),
            "--postgres" => store = Backend::Postgres { url: None },
            "--postgres-url" => {
                store =
                    Backend::Postgres { url: Some(arguments.next().ok_or("--postgres-url takes a URL")?) };
            }
            "--quick" => quick = true,
            "--server-only" => floor = Floor::None,
            "--beside" => floor = Floor::Other(arguments.next().ok_or("--beside takes a path")?.into()),
            "--seconds" => seconds = Some(arguments.next().ok_or("--seconds takes a number")?.parse()?),
            aim if AIMS.contains(&aim) || BURDENS.contains(&aim) => aims.push(argument),
            other => return Err(format!("there is no `{other}`; see --help").into()),
        }
    }
    // `cargo test --benches` starts it without `--bench`; there is nothing to test here.
    if !bench || test {
        return Ok(Task::Nothing);
    }
    let (rounds, connections, length) = if quick { (1, 500, 1) } else { (3, 2000, 2) };
    let length = Duration::from_secs(seconds.unwrap_or(length));
    let mut plan = Plan { aims, rounds, length, connections, store, floor, quick };
    if !plan.wants(&["g8", "g9", "g11", "signalr"]) {
        plan.connections = 0;
    }
    Ok(Task::Measure(plan))
}

const AIMS: [&str; 12] = ["g1", "g2", "g3", "g4", "g5", "g6", "g7", "g8", "g9", "g11", "g12", "signalr"];
/// What is measured only if it is named.
const BURDENS: [&str; 7] = ["slow", "unread", "bodies", "sync", "used", "many", "memory"];

fn run(task: Task) -> Result {
    match task {
        Task::Nothing => Ok(()),
        Task::Help => {
            println!("{HELP}");
            Ok(())
        }
        Task::Server(arguments) => Err(process::become_server(&arguments).into()),
        Task::Floor => runtime()?.block_on(floor::serve()),
        Task::Keeper { prefix, url } => {
            // Where the build is, which is on a disk; the system's folder for temporary files may be in memory.
            let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
            runtime()?.block_on(keeper::keep(&prefix, url, place))
        }
        Task::Measure(plan) => runtime()?.block_on(measure(&plan)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

async fn measure(plan: &Plan) -> Result {
    process::raise_limit_of_files();
    let mut report = Report::begin();
    let store = Store::start(&plan.store).await?;
    let about = store.describe().await?;
    let world = world::World::make(store, plan).await?;
    if plan.wants(&["g1", "g2", "g3", "g4"]) {
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
    if plan.wants(&["g12"]) {
        spread::measure(plan, &world, &mut report).await?;
    }
    if plan.wants(&["signalr"]) {
        signalr::measure(plan, &world, &mut report).await?;
    }
    measure_burdens(plan, &world, &mut report).await?;
    report.print(&about);
    Ok(())
}

async fn measure_burdens(plan: &Plan, world: &world::World, report: &mut Report) -> Result {
    if plan.names(&["slow"]) {
        slow::measure(plan, world, report).await?;
    }
    if plan.names(&["unread", "bodies", "sync"]) {
        unread::measure(plan, world, report).await?;
    }
    if plan.names(&["used"]) {
        used::measure(plan, world, report).await?;
    }
    if plan.names(&["many"]) {
        many::measure(plan, world, report).await?;
    }
    if plan.names(&["memory"]) {
        burst::measure(plan, world, report).await?;
    }
    Ok(())
}

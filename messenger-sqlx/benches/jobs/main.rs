//! Background jobs a second on PostgreSQL, enqueued and worked off, beside queue crates that people use on the same server
//! in the same run.
//!
//! `cargo bench -p messenger-sqlx --features postgres --bench jobs -- --help`

mod grid;
mod ours;
mod side;

use messenger_testing::{
    Database, PrivateServer,
    bench::{Options, Result, verdict},
    connect, execute,
};

use self::{
    grid::Grid,
    side::{Kind, Task},
};

const HELP: &str = "\
Background jobs a second on PostgreSQL, enqueued and worked off, beside apalis and graphile_worker. The server is a private
one with PostgreSQL's own settings (fsync = on), in the folder for temporary files: set TMPDIR to a folder on a disk where
that is none. The two are built on the first run, in the folder of this build, with what their Cargo.lock names.

Usage: cargo bench -p messenger-sqlx --features postgres --bench jobs -- [OPTION]... [PART]...

  ours, apalis, graphile_worker   these only

  --quick      three rounds in place of five
  --jobs N     jobs that are enqueued one by one; as many are enqueued in batches, and twice as many worked off (default
               10000)
  --callers N  who enqueues one by one, each of whom waits for the answer before the next (default 64)
  --help       this

Each side is a process of its own, with 16 connections for each node, and does the same with a database of its own: jobs
whose handler does nothing, with a payload of 150 bytes. It is enqueued when the call has been answered, and worked off when
the store knows that it is done. Rounds are interleaved; each figure is the median of the rounds and the best of them.";

/// What a program that people come from does on two such cores, on PostgreSQL: Hangfire, by itself.
const HANGFIRE: [(&str, f64); 2] = [("enqueues", 590.0), ("works off", 200.0)];
/// As many times that is the aim.
const AIM: f64 = 20.0;

fn main() -> Result {
    if let Some(asked) = ours::asked() {
        return ours::run(&asked?);
    }
    let names = Kind::ALL.map(Kind::name);
    let Some(options) = Options::read(HELP, &names, &["--jobs", "--callers"])? else { return Ok(()) };
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| options.wants(kind.name())).collect();
    if kinds.iter().any(|kind| *kind != Kind::Ours) {
        side::build()?;
    }
    let server = PrivateServer::start(&["max_connections=200"]);
    tokio::runtime::Runtime::new()?.block_on(measure(&server, &options, &kinds))
}

async fn measure(server: &PrivateServer, options: &Options, kinds: &[Kind]) -> Result {
    let (jobs, callers) =
        (options.number("--jobs").unwrap_or(10_000), options.number("--callers").unwrap_or(64));
    let mut grid = Grid::new(kinds);
    for _ in 0..options.rounds() {
        for kind in kinds {
            let database = Database::empty(server.url()).await;
            let tasks = [
                Task::each(jobs / 10, 1),
                Task::each(jobs - jobs / 10, callers),
                Task::batches(jobs),
                Task::work(2 * jobs, 1),
                Task::batches(2 * jobs),
                Task::work(2 * jobs, 4),
            ];
            for task in tasks {
                tidy_up(&database.url()).await;
                grid.add(*kind, task, side::measure(*kind, task, &database.url(), server).await?);
            }
        }
    }
    grid.print();
    print_aims(&grid, callers);
    Ok(())
}

/// What the server would do some time later, and what it has to do once for each database.
async fn tidy_up(url: &str) {
    let mut conn = connect(url).await;
    for upkeep in ["VACUUM ANALYZE", "CHECKPOINT"] {
        execute(&mut conn, upkeep).await;
    }
}

fn print_aims(grid: &Grid, callers: usize) {
    println!("\nAims:");
    let lines = [Task::each(0, callers), Task::work(0, 1)];
    for ((what, hangfire), task) in HANGFIRE.into_iter().zip(lines) {
        let Some(rate) = grid.rate(Kind::Ours, task) else { continue };
        let times = rate / hangfire;
        println!(
            "  {what} {AIM} times as fast as Hangfire, which does {hangfire} a second: {times:.1}, {}",
            verdict(times >= AIM)
        );
    }
}

//! Messages of one sender, and as many of very many senders in a chat each: G12.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    Plan, Result,
    crowd::{Load, Pace, Round, Side},
    process::{Pages, Process},
    report::{Best, Report, Row, Series},
    sides::{Floor, serve},
    store::Store,
    wire::Wire,
    world::World,
};

/// Chats, and senders.
const CHATS: [usize; 4] = [1, 10, 100, 1000];
/// Of all senders together.
const IN_FLIGHT: u64 = 64;
/// What the server adds to the echo may be so many times what it adds with one sender.
const MOST_TIMES: f64 = 1.5;
/// The figures are differences, which are less certain than what they are differences of.
const ROUNDS: usize = 5;

/// The server, the echo, and another build of the server if there is one.
const SIDES: [&str; 3] = ["server", "echo", "other build"];

/// Of each side its rounds.
type Rounds = [Vec<Round>; SIDES.len()];

pub(crate) async fn measure(plan: &Plan, world: &World, report: &mut Report) -> Result {
    let mut all = Vec::new();
    for chats in CHATS {
        let (rounds, per_commit) = rounds(plan, world, chats).await?;
        report.add(
            Row::new("G12", format!("messages of one commit, {chats} chats"), "").best(Best::Highest),
            Series { measured: vec![per_commit], floor: Vec::new() },
        );
        let rate = |rounds: &[Round]| {
            rounds.iter().map(|round| round.sent as f64 / round.took.as_secs_f64()).collect::<Vec<_>>()
        };
        report.add(
            Row::new("G12", format!("messages a second, {chats} chats"), "1/s").best(Best::Highest),
            Series { measured: rate(&rounds[0]), floor: rate(&rounds[1]) },
        );
        all.push((chats, rounds));
    }
    cpu(&all, report, "server CPU", |round| round.cpu_per(round.sent));
    match world.store {
        Store::Sqlite(_) => cpu(&all, report, "server CPU without SQLite's threads", |round| {
            round.cpu_without_sqlite_per(round.sent)
        }),
        Store::Postgres(_) => store_cpu(&all, report),
    }
    Ok(())
}

/// What each side takes, and what a server adds to the echo beside what it adds with one sender.
fn cpu(all: &[(usize, Rounds)], report: &mut Report, what: &str, of: impl Fn(&Round) -> f64) {
    let series = |rounds: &[Round]| rounds.iter().map(|round| of(round) * 1e6).collect::<Vec<_>>();
    for (place, side) in SIDES.iter().enumerate().filter(|(place, _)| *place != 1) {
        let mut alone = Vec::new();
        for (chats, rounds) in all.iter().filter(|(_, rounds)| !rounds[place].is_empty()) {
            let (measured, echo) = (series(&rounds[place]), series(&rounds[1]));
            let added: Vec<_> = measured.iter().zip(&echo).map(|(of, to)| of - to).collect();
            let what = format!("{side}: {what} per message, {IN_FLIGHT} in flight over {chats} chats");
            report.add(Row::new("G12", what.clone(), "µs"), Series { measured, floor: echo });
            if added.is_empty() {
                continue;
            }
            let row = Row::new("G12", format!("{what}: added to the echo, beside one chat"), "µs");
            if alone.is_empty() {
                alone.clone_from(&added);
            }
            report.add(row.at_most_times(MOST_TIMES), Series { measured: added, floor: alone.clone() });
        }
    }
}

fn store_cpu(all: &[(usize, Rounds)], report: &mut Report) {
    for (chats, rounds) in all {
        let series =
            |rounds: &[Round]| rounds.iter().map(|round| round.store_cpu_per(round.sent) * 1e6).collect();
        let what = format!("PostgreSQL CPU per message, {IN_FLIGHT} in flight over {chats} chats");
        report.add(
            Row::new("G12", what, "µs"),
            Series { measured: series(&rounds[0]), floor: series(&rounds[2]) },
        );
    }
}

/// All sides in turn, after a round that does not count; and how many messages the server put into one commit.
async fn rounds(plan: &Plan, world: &World, chats: usize) -> Result<(Rounds, f64)> {
    let mut sides = vec![(0, serve(world, "server", Pages::Any, None, Wire::WebSocket).await?)];
    if !matches!(plan.floor, Floor::None) {
        sides.push((1, Side::bare(Process::floor(Pages::Any)?, Wire::Echo)));
    }
    if let Floor::Other(binary) = &plan.floor {
        sides.push((2, serve(world, "other", Pages::Any, Some(binary), Wire::WebSocket).await?));
    }
    for (_, side) in &mut sides {
        side.connect(world.crowd[..chats].iter().map(|person| (person, 0))).await?;
        side.resume().await?;
    }
    let load = Load::new(
        world.own[..chats].iter().copied().enumerate().collect(),
        1,
        Pace::Shared { in_flight: IN_FLIGHT, length: plan.length },
    );
    let mut done = Rounds::default();
    for number in 0..=if plan.quick { plan.rounds } else { ROUNDS } {
        for (place, side) in &mut sides {
            let round = side.round(&load).await?;
            if number > 0 {
                done[*place].push(round);
            }
        }
    }
    let per_commit = per_commit(&sides[0].1).await?;
    Ok((done, per_commit))
}

/// As the server itself counted.
async fn per_commit(side: &Side) -> Result<f64> {
    let address = side.process.address;
    let mut stream = TcpStream::connect(address).await?;
    let get = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(get.as_bytes()).await?;
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics).await?;
    let value = |name: &str| -> Result<f64> {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        Ok(line.ok_or("the server does not count the messages of a commit")?.trim().parse()?)
    };
    Ok(value("messenger_send_batch_size_sum ")? / value("messenger_send_batch_size_count ")?)
}

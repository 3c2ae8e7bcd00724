//! The SignalR hub beside the WebSocket of the same server.

use crate::{
    Plan, Result,
    crowd::{Load, Pace, Round, Side},
    idle::{self, FIRST},
    process::Pages,
    report::{Best, Report, Row, Series},
    sides::serve,
    store::Store,
    wire::Wire,
    world::{CHATS_OF_ONE, Person, World},
};

/// The most CPU that a message may take, as a multiple of what it takes over the WebSocket.
const MOST_TIMES: f64 = 1.25;
/// The other half of each pair is not connected, so that a send has one delivery: to its sender.
const SENDERS: usize = 20;
/// Members of the group, and those of them who write.
const MEMBERS: usize = 100;
const WRITERS: usize = 4;
const IN_FLIGHT: u64 = 8;
/// More than elsewhere, because the figures to compare are near each other.
const ROUNDS: usize = 7;

pub(crate) async fn measure(plan: &Plan, world: &World, report: &mut Report) -> Result {
    let plan = &Plan { rounds: if plan.quick { plan.rounds } else { ROUNDS }, ..plan.clone() };
    fan_out(plan, world, report).await?;
    sends(plan, world, report).await?;
    connections(plan, world, report).await
}

async fn fan_out(plan: &Plan, world: &World, report: &mut Report) -> Result {
    let chat = world.group(MEMBERS)?;
    let people: Vec<_> = world.crowd[..MEMBERS].iter().collect();
    let load = Load::new(
        (0..WRITERS).map(|n| (n * MEMBERS / WRITERS, chat)).collect(),
        MEMBERS as u64,
        Pace::Steady { in_flight: IN_FLIGHT, length: plan.length },
    );
    let rounds = in_turn(plan, world, &people, &load).await?;
    let what = format!("CPU per delivery, group of {MEMBERS}");
    rounds.cpu(world, report, (&what, "µs", 1e6), |round| round.delivered);
    rounds.add(
        report,
        |wire| {
            let what = format!("{}: deliveries a second, group of {MEMBERS}", wire.name());
            Row::new("SignalR", what, "1/s").best(Best::Highest)
        },
        |round| round.delivered as f64 / round.took.as_secs_f64(),
    );
    Ok(())
}

async fn sends(plan: &Plan, world: &World, report: &mut Report) -> Result {
    let pairs = &world.pairs[..SENDERS];
    let people: Vec<_> = pairs.iter().map(|(two, _)| &two[0]).collect();
    let load = Load::new(
        pairs.iter().enumerate().map(|(index, (_, chat))| (index, *chat)).collect(),
        1,
        Pace::Steady { in_flight: IN_FLIGHT, length: plan.length },
    );
    let rounds = in_turn(plan, world, &people, &load).await?;
    let what = format!("CPU per 1,000 sends, {SENDERS} senders × {IN_FLIGHT} in flight");
    rounds.cpu(world, report, (&what, "s", 1e3), |round| round.sent);
    Ok(())
}

async fn connections(plan: &Plan, world: &World, report: &mut Report) -> Result {
    let (first, people) = world.idle.split_at(FIRST);
    let (mut memory, mut connect) = (<[Vec<f64>; 3]>::default(), <[Vec<f64>; 3]>::default());
    // Memory hardly differs from one round to the next.
    for _ in 0..plan.rounds.min(3) {
        for (place, wire) in Wire::OF_SERVER.into_iter().enumerate() {
            let mut side = serve(world, "server", Pages::Small, None, wire).await?;
            let (bytes, cpu) = idle::fill(&mut side, first, people).await?;
            memory[place].push(bytes / 1024.0);
            connect[place].push(cpu * 1e3);
        }
    }
    let row = |what: &'static str, unit| {
        move |wire: Wire| {
            Row::new("SignalR", format!("{}: {what}, person in {CHATS_OF_ONE} chats", wire.name()), unit)
        }
    };
    add(report, row("memory per idle connection", "KiB"), memory);
    add(report, row("CPU to connect", "ms"), connect);
    Ok(())
}

/// The rounds of each way to speak to the server, in the order of [`Wire::OF_SERVER`].
#[derive(Default)]
struct Rounds([Vec<Round>; 3]);

/// Each way has a server of its own; they take turns, so that what disturbs disturbs all.
async fn in_turn(plan: &Plan, world: &World, people: &[&Person], load: &Load) -> Result<Rounds> {
    let mut sides = Vec::new();
    for (place, wire) in Wire::OF_SERVER.into_iter().enumerate() {
        let mut side: Side = serve(world, &format!("server{place}"), Pages::Any, None, wire).await?;
        side.connect(people.iter().map(|person| (*person, 0))).await?;
        side.resume().await?;
        sides.push(side);
    }
    let mut done = Rounds::default();
    // The first does not count.
    for number in 0..=plan.rounds {
        for (side, rounds) in sides.iter_mut().zip(&mut done.0) {
            let round = side.round(load).await?;
            if number > 0 {
                rounds.push(round);
            }
        }
    }
    Ok(done)
}

impl Rounds {
    /// CPU in all, and, where SQLite works in the server's process, without it.
    fn cpu(
        &self,
        world: &World,
        report: &mut Report,
        (what, unit, scale): (&str, &'static str, f64),
        count: impl Fn(&Round) -> u64,
    ) {
        let row = |what: String| {
            move |wire: Wire| {
                let row = Row::new("SignalR", format!("{}: {what}", wire.name()), unit);
                if wire == Wire::WebSocket { row } else { row.at_most_times(MOST_TIMES) }
            }
        };
        self.add(report, row(format!("server {what}")), |round| round.cpu_per(count(round)) * scale);
        if let Store::Sqlite(_) = world.store {
            self.add(report, row(format!("{what}, without SQLite's threads")), |round| {
                round.cpu_without_sqlite_per(count(round)) * scale
            });
        }
    }

    fn add(&self, report: &mut Report, row: impl Fn(Wire) -> Row, figure: impl Fn(&Round) -> f64) {
        add(report, row, self.0.each_ref().map(|rounds| rounds.iter().map(&figure).collect()));
    }
}

/// The WebSocket stands where other rows have the floor.
fn add(report: &mut Report, row: impl Fn(Wire) -> Row, figures: [Vec<f64>; 3]) {
    let [web_socket, ..] = figures.clone();
    for (wire, measured) in Wire::OF_SERVER.into_iter().zip(figures) {
        let floor = if wire == Wire::WebSocket { Vec::new() } else { web_socket.clone() };
        report.add(row(wire), Series { measured, floor });
    }
}

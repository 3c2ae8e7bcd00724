//! Messages at a constant rate: how long they take, and what the bus adds.

use std::time::Duration;

use messenger_testing::sockets::{
    crowd::{Load, Pace, Round, Sampled},
    report::{Best, Report, Row, Series},
};

use crate::{
    Plan, Result,
    delays::{Delays, millis},
    grid::Grid,
    set_up::{Kind, SetUp},
    socket_io,
    world::{RECEIVERS, World},
};

/// Milliseconds that the bus may add, and what would be better still.
const ADDED: [(usize, f64, f64); 2] = [(50, 0.5, 0.3), (99, 3.0, 3.0)];

/// The rounds of one set-up.
struct Rounds {
    kind: Kind,
    rounds: Vec<(Round, Delays)>,
}

pub(crate) async fn measure(plan: &Plan, world: &World, report: &mut Report) -> Result<Grid> {
    let mut set_ups = SetUp::start_all(plan, world, kinds(plan)?, (1, RECEIVERS)).await?;
    let rate = plan.rate.unwrap_or(100);
    let pace = Pace::Constant { period: Duration::from_secs(1) / rate, length: plan.length(3, 10) };
    let mut all: Vec<_> =
        set_ups.iter().map(|set_up| Rounds { kind: set_up.kind, rounds: Vec::new() }).collect();
    // The first one does not count.
    for number in 0..=plan.rounds() {
        let load =
            |set_up: &SetUp| Load { sampled: Sampled::Listeners, ..set_up.to_group(world.group, pace) };
        let done = SetUp::round_of_each(&mut set_ups, load).await?;
        for (round, rounds) in done.into_iter().zip(&mut all).filter(|_| number > 0) {
            let delays = Delays::of(&round);
            rounds.rounds.push((round, delays));
        }
    }
    add_aims(&all, rate, report);
    Ok(grid(&all, rate))
}

fn kinds(plan: &Plan) -> Result<Vec<Kind>> {
    let mut kinds = if plan.wants("fan-out") { plan.kinds() } else { vec![Kind::OneNode, Kind::Redis] };
    if plan.wants("socket.io") {
        match socket_io::missing() {
            None => kinds.extend([Kind::OneSocketIo, Kind::SocketIo]),
            Some(reason) if plan.parts.is_empty() => eprintln!("Socket.IO is left out: {reason}"),
            Some(reason) => return Err(reason.into()),
        }
    }
    Ok(kinds)
}

fn grid(all: &[Rounds], rate: u32) -> Grid {
    let title =
        format!("{rate} messages a second of one person to 100, in ms, and CPU in µs: best round (median)");
    let mut grid = Grid::new(title, all.iter().map(|rounds| rounds.kind));
    let mut figure = |what: &str, of: &dyn Fn(&(Round, Delays)) -> f64| {
        grid.add(what, Best::Lowest, all.iter().map(|rounds| rounds.rounds.iter().map(of).collect()));
    };
    for percent in [50, 99] {
        figure(&format!("send to answer p{percent}"), &|(_, delays)| millis(&delays.answers, percent));
    }
    for percent in [50, 99] {
        figure(&format!("send to delivery p{percent}"), &|(_, delays)| millis(&delays.deliveries, percent));
    }
    figure("answer to delivery p50", &|(_, delays)| median(&delays.after_answer) * 1e3);
    figure("to the first of 100 p50", &|(_, delays)| millis(&delays.first, 50));
    figure("to the last of 100 p50", &|(_, delays)| millis(&delays.last, 50));
    figure("server CPU per delivery", &|(round, _)| round.cpu_per(round.delivered) * 1e6);
    figure("PostgreSQL CPU per message", &|(round, _)| round.store_cpu_per(round.sent) * 1e6);
    figure("Redis CPU per message", &|(round, _)| round.bus_cpu_per(round.sent) * 1e6);
    for percent in [50, 99] {
        let added = all.iter().map(|rounds| added(all, rounds, percent));
        grid.add(&format!("added by the bus p{percent}"), Best::Middle, added);
    }
    grid
}

/// Milliseconds that each round takes longer than that of one node.
fn added(all: &[Rounds], rounds: &Rounds, percent: usize) -> Vec<f64> {
    let alone = all.iter().filter(|other| Some(other.kind) == rounds.kind.alone());
    let of = |rounds: &Rounds| -> Vec<f64> {
        rounds.rounds.iter().map(|(_, delays)| millis(&delays.deliveries, percent)).collect()
    };
    alone
        .flat_map(|alone| of(rounds).into_iter().zip(of(alone)))
        .map(|(with, without)| with - without)
        .collect()
}

fn add_aims(all: &[Rounds], rate: u32, report: &mut Report) {
    let ours = all.iter().filter(|rounds| matches!(rounds.kind, Kind::Redis | Kind::Beside));
    for rounds in ours {
        for (percent, goal, stretch) in ADDED {
            let what = format!("added by the bus p{percent}: {}, {rate}/s", rounds.kind.name());
            let row = Row::new("fan-out", what, "ms").aims(goal, stretch).best(Best::Middle);
            report.add(row, Series { measured: added(all, rounds, percent), floor: Vec::new() });
        }
    }
}

fn median(values: &[f64]) -> f64 {
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

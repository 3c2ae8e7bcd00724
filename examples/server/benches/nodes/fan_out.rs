//! Messages at a constant rate: how long they take, and what the bus adds.

use std::time::Duration;

use messenger_testing::sockets::{
    crowd::{Load, Pace, Round, Sampled},
    report::{Best, Report, Row, Series},
};

use crate::{
    Plan, Result,
    delays::{Delays, millis},
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

pub(crate) async fn measure(plan: &Plan, world: &World, report: &mut Report) -> Result {
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
    add_rows(&all, rate, report);
    Ok(())
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

fn add_rows(all: &[Rounds], rate: u32, report: &mut Report) {
    let mut figure =
        |what: &str, unit, of: &dyn Fn(&(Round, Delays)) -> f64, is_of: &dyn Fn(Kind) -> bool| {
            for rounds in all.iter().filter(|rounds| is_of(rounds.kind)) {
                let what = format!("{what}: {}, {rate}/s", rounds.kind.name());
                let alone = all.iter().find(|other| Some(other.kind) == rounds.kind.alone());
                let series = |rounds: &Rounds| rounds.rounds.iter().map(of).collect();
                let floor = alone.map(series).unwrap_or_default();
                report.add(Row::new("fan-out", what, unit), Series { measured: series(rounds), floor });
            }
        };
    let any = |_: Kind| true;
    for percent in [50, 99] {
        figure(
            &format!("send to answer p{percent}"),
            "ms",
            &|(_, delays)| millis(&delays.answers, percent),
            &any,
        );
        figure(
            &format!("send to delivery p{percent}"),
            "ms",
            &|(_, delays)| millis(&delays.deliveries, percent),
            &any,
        );
    }
    figure("send to the first of 100 p50", "ms", &|(_, delays)| millis(&delays.first, 50), &any);
    figure("send to the last of 100 p50", "ms", &|(_, delays)| millis(&delays.last, 50), &any);
    figure("answer to delivery p50", "ms", &|(_, delays)| median(&delays.after_answer) * 1e3, &any);
    figure("CPU of the servers per delivery", "µs", &|(round, _)| round.cpu_per(round.delivered) * 1e6, &any);
    figure("CPU of Redis per message", "µs", &|(round, _)| round.bus_cpu_per(round.sent) * 1e6, &|kind| {
        matches!(kind, Kind::Redis | Kind::Beside | Kind::SocketIo)
    });
    for rounds in all {
        let Some(alone) = all.iter().find(|other| Some(other.kind) == rounds.kind.alone()) else { continue };
        for (percent, goal, stretch) in ADDED {
            let row =
                Row::new("fan-out", format!("added p{percent}: {}, {rate}/s", rounds.kind.name()), "ms");
            let row = if rounds.kind == Kind::Redis { row.aims(goal, stretch) } else { row };
            let of = |(_, delays): &(Round, Delays)| millis(&delays.deliveries, percent);
            let pairs = rounds.rounds.iter().map(of).zip(alone.rounds.iter().map(of));
            let measured = pairs.map(|(with, without)| with - without).collect();
            report.add(row.best(Best::Middle), Series { measured, floor: Vec::new() });
        }
    }
}

fn median(values: &[f64]) -> f64 {
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

//! As many messages as go.

use messenger_testing::sockets::{
    crowd::{Load, Pace, Round},
    report::{Best, Report, Row, Series},
};

use crate::{
    Plan, Result,
    grid::Grid,
    set_up::{Kind, SetUp},
    world::{RECEIVERS, SENDERS, World},
};

/// Who writes to the group, and messages that each of them has unanswered all the time.
const WRITERS: usize = 4;
const IN_FLIGHT: u64 = 8;

pub(crate) async fn measure(plan: &Plan, world: &World, report: &mut Report) -> Result<[Grid; 2]> {
    let pace = Pace::Steady { in_flight: IN_FLIGHT, length: plan.length(1, 3) };
    let what = format!("{WRITERS} × {IN_FLIGHT} in flight to 100");
    let to_group = |set_up: &SetUp| set_up.to_group(world.group, pace);
    let group = in_turn(plan, world, (WRITERS, RECEIVERS), &to_group, report, &what).await?;
    let what = format!("{SENDERS} pairs × {IN_FLIGHT} in flight");
    let to_pairs = |_: &SetUp| Load::new(world.pairs.iter().copied().enumerate().collect(), 2, pace);
    let pairs = in_turn(plan, world, (SENDERS, SENDERS), &to_pairs, report, &what).await?;
    Ok([group, pairs])
}

async fn in_turn(
    plan: &Plan,
    world: &World,
    people: (usize, usize),
    load: &dyn Fn(&SetUp) -> Load,
    report: &mut Report,
    what: &str,
) -> Result<Grid> {
    let mut set_ups = SetUp::start_all(plan, world, plan.kinds(), people).await?;
    let mut all: Vec<_> = set_ups.iter().map(|set_up| (set_up.kind, Vec::new())).collect();
    // The first one does not count.
    for number in 0..=plan.rounds() {
        let done = SetUp::round_of_each(&mut set_ups, load).await?;
        for (round, (_, rounds)) in done.into_iter().zip(&mut all).filter(|_| number > 0) {
            rounds.push(round);
        }
    }
    add_aims(&all, report, what);
    Ok(grid(&all, what))
}

fn grid(all: &[(Kind, Vec<Round>)], load: &str) -> Grid {
    let title = format!("{load}: best round (median)");
    let mut grid = Grid::new(title, all.iter().map(|(kind, _)| *kind));
    let mut figure = |what: &str, best, of: &dyn Fn(&Round) -> f64| {
        grid.add(what, best, all.iter().map(|(_, rounds)| rounds.iter().map(of).collect()));
    };
    figure("messages/s", Best::Highest, &|round| round.sent as f64 / round.took.as_secs_f64());
    figure("deliveries/s", Best::Highest, &|round| round.delivered as f64 / round.took.as_secs_f64());
    figure("messages per core-second of the servers", Best::Highest, &|round| {
        1.0 / round.cpu_per(round.sent)
    });
    figure("server CPU per 1,000 messages, ms", Best::Lowest, &|round| round.cpu_per(round.sent) * 1e6);
    figure("per delivery, µs", Best::Lowest, &|round| round.cpu_per(round.delivered) * 1e6);
    figure("PostgreSQL CPU per 1,000, ms", Best::Lowest, &|round| round.store_cpu_per(round.sent) * 1e6);
    figure("Redis CPU per message, µs", Best::Lowest, &|round| round.bus_cpu_per(round.sent) * 1e6);
    grid
}

fn add_aims(all: &[(Kind, Vec<Round>)], report: &mut Report, load: &str) {
    for (kind, rounds) in all.iter().filter(|(kind, _)| matches!(kind, Kind::Redis | Kind::Beside)) {
        let row = Row::new("throughput", format!("Redis CPU per message: {}, {load}", kind.name()), "µs");
        let measured = rounds.iter().map(|round| round.bus_cpu_per(round.sent) * 1e6).collect();
        report.add(row.aims(2.0, 2.0), Series { measured, floor: Vec::new() });
    }
}

//! Messages to a group: G5, G6 and G7.

use std::time::Duration;

use crate::{
    Plan, Result,
    crowd::{Load, Pace},
    process::Pages,
    report::{Best, Report, Row},
    sides::Sides,
    store::Store,
    world::World,
};

/// Members who write, and messages that each of them has unanswered all the time.
const SENDERS: usize = 4;
const IN_FLIGHT: u64 = 8;

/// G5 and G6.
pub(crate) async fn under_load(plan: &Plan, world: &World, report: &mut Report) -> Result {
    for (size, goal, stretch) in [(100, 1.2, 0.8), (500, 1.5, 1.0)] {
        let load = Load::new(
            // Spread over the members.
            (0..SENDERS).map(|n| Ok((n * size / SENDERS, world.group(size)?))).collect::<Result<_>>()?,
            size as u64,
            Pace::Steady { in_flight: IN_FLIGHT, length: plan.length },
        );
        let rounds = group(plan, world, size).await?.rounds(plan.rounds, &load).await?;
        report.add(
            Row::new("G5", format!("server CPU per delivery, group of {size}"), "µs").aims(goal, stretch),
            rounds.series(|round| round.cpu_per(round.delivered) * 1e6),
        );
        let (what, figures) = match world.store {
            Store::Sqlite(_) => (
                "the same without SQLite's threads",
                rounds.series(|round| round.cpu_without_sqlite_per(round.delivered) * 1e6),
            ),
            Store::Postgres(_) => (
                "PostgreSQL CPU per delivery",
                rounds.series_of_store(|round| round.store_cpu_per(round.delivered) * 1e6),
            ),
        };
        report.add(Row::new("", format!("{what}, group of {size}"), "µs"), figures);
        let (rate, delay) = (
            Row::new("G6", format!("deliveries a second, group of {size}"), "1/s").best(Best::Highest),
            Row::new("G6", format!("send to delivery p99, group of {size}"), "ms"),
        );
        let (rate, delay) =
            if size == 100 { (rate.aims(350e3, 500e3), delay.aims(10.0, 6.0)) } else { (rate, delay) };
        report.add(rate, rounds.series(|round| round.delivered as f64 / round.took.as_secs_f64()));
        report.add(delay, rounds.series(|round| round.delay(99) * 1e3));
    }
    Ok(())
}

/// G7.
pub(crate) async fn one_at_a_time(plan: &Plan, world: &World, report: &mut Report) -> Result {
    let size = 1000;
    let times = if plan.quick { 40 } else { 60 * plan.length.as_secs() };
    let load = Load::new(
        vec![(size / 2, world.group(size)?)],
        size as u64,
        Pace::Alone { times, pause: Duration::from_millis(5) },
    );
    let rounds = group(plan, world, size).await?.rounds(plan.rounds, &load).await?;
    report.add(
        Row::new("G7", "server CPU per delivery, lone message to 1,000", "µs").aims(4.2, 3.6),
        rounds.series(|round| round.cpu_per(round.delivered) * 1e6),
    );
    report.add(
        Row::new("G7", "send to delivery p50, lone message to 1,000", "ms"),
        rounds.series(|round| round.delay(50) * 1e3),
    );
    Ok(())
}

/// The first so many of the crowd, connected.
async fn group(plan: &Plan, world: &World, size: usize) -> Result<Sides> {
    let mut sides = Sides::start(plan, world, Pages::Any).await?;
    let people: Vec<_> = world.crowd[..size].iter().map(|person| (person, 0)).collect();
    sides.connect(&people).await?;
    Ok(sides)
}

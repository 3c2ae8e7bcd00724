//! Messages between two: G1 to G4.

use crate::{
    Plan, Result, bare,
    crowd::{Load, Pace},
    process::Pages,
    report::{Best, Report, Row},
    sides::{Rounds, Sides},
    store::Store,
    world::World,
};

pub(crate) async fn measure(plan: &Plan, world: &World, report: &mut Report) -> Result {
    let bare = match &world.store {
        Store::Sqlite(_) => Vec::new(),
        Store::Postgres(server) => bare::measure(plan, server, report).await?,
    };
    if plan.wants(&["g1", "g2"]) {
        let rounds = pairs(plan, world, 20, 8).await?;
        match world.store {
            Store::Sqlite(_) => cpu_with_sqlite(&rounds, report),
            Store::Postgres(_) => cpu_beside_postgres(&rounds, bare, report),
        }
    }
    if plan.wants(&["g3"]) {
        let rounds = pairs(plan, world, 100, 8).await?;
        report.add(
            Row::new("G3", "messages a second, 100 pairs × 8 in flight", "1/s")
                .aims(40e3, 60e3)
                .best(Best::Highest),
            rounds.series(|round| round.sent as f64 / round.took.as_secs_f64()),
        );
    }
    if plan.wants(&["g4"]) {
        let rounds = pairs(plan, world, 8, 1).await?;
        for (percent, goal, stretch) in [(50, 1.2, 0.9), (99, 5.0, 2.5)] {
            report.add(
                Row::new("G4", format!("send to delivery p{percent}, 8 pairs × 1 in flight"), "ms")
                    .aims(goal, stretch),
                rounds.series(|round| round.delay(percent) * 1e3),
            );
        }
    }
    Ok(())
}

/// The aims are for a database in processes of its own; here it is a thread of the server.
fn cpu_with_sqlite(rounds: &Rounds, report: &mut Report) {
    report.add(
        Row::new("G1", "CPU per 1,000 messages without SQLite's threads, 20 pairs × 8 in flight", "s")
            .aims(0.012, 0.008),
        rounds.series(|round| round.cpu_without_sqlite_per(round.sent) * 1e3),
    );
    report.add(
        Row::new("G1 + G2", "CPU per 1,000 messages in all, 20 pairs × 8 in flight", "s").aims(0.032, 0.020),
        rounds.series(|round| round.cpu_per(round.sent) * 1e3),
    );
}

/// With what so many bare rows take as the floor of the database, unless another build is that.
fn cpu_beside_postgres(rounds: &Rounds, bare: Vec<f64>, report: &mut Report) {
    report.add(
        Row::new("G1", "server CPU per 1,000 messages, 20 pairs × 8 in flight", "s").aims(0.012, 0.008),
        rounds.series(|round| round.cpu_per(round.sent) * 1e3),
    );
    let mut store = rounds.series_of_store(|round| round.store_cpu_per(round.sent) * 1e3);
    if store.floor.is_empty() {
        store.floor = bare;
    }
    report.add(
        Row::new("G2", "PostgreSQL CPU per 1,000 messages, 20 pairs × 8 in flight", "s").aims(0.020, 0.012),
        store,
    );
}

/// One of each pair writes, and both get it.
async fn pairs(plan: &Plan, world: &World, count: usize, in_flight: u64) -> Result<Rounds> {
    let mut sides = Sides::start(plan, world, Pages::Any).await?;
    let pairs = &world.pairs[..count];
    let people: Vec<_> = pairs
        .iter()
        .enumerate()
        .flat_map(|(room, (two, _))| two.iter().map(move |person| (person, room)))
        .collect();
    sides.connect(&people).await?;
    let load = Load::new(
        pairs.iter().enumerate().map(|(room, (_, chat))| (2 * room, *chat)).collect(),
        2,
        Pace::Steady { in_flight, length: plan.length },
    );
    sides.rounds(plan.rounds, &load).await
}

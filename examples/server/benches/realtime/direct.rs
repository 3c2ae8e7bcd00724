//! Messages between two: G1, G3 and G4.

use crate::{
    Plan, Result,
    crowd::{Load, Pace},
    process::Pages,
    report::{Best, Report, Row},
    sides::Sides,
    world::World,
};

pub(crate) async fn measure(plan: &Plan, world: &World, report: &mut Report) -> Result {
    if plan.wants(&["g1"]) {
        let rounds = pairs(plan, world, 20, 8).await?;
        // The aim is for a database in a process of its own; here it is a thread of the server.
        report.add(
            Row::new("G1", "CPU per 1,000 messages without SQLite's threads, 20 pairs × 8 in flight", "s")
                .aims(0.012, 0.008),
            rounds.series(|round| round.cpu_without_store_per(round.sent) * 1e3),
        );
        report.add(
            Row::new("G1 + G2", "CPU per 1,000 messages in all, 20 pairs × 8 in flight", "s")
                .aims(0.032, 0.020),
            rounds.series(|round| round.cpu_per(round.sent) * 1e3),
        );
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

/// One of each pair writes, and both get it.
async fn pairs(plan: &Plan, world: &World, count: usize, in_flight: u64) -> Result<crate::sides::Rounds> {
    let mut sides = Sides::start(plan, world, Pages::Any)?;
    let pairs = &world.pairs[..count];
    let people: Vec<_> = pairs
        .iter()
        .enumerate()
        .flat_map(|(room, (two, _))| two.iter().map(move |person| (person, room)))
        .collect();
    sides.connect(&people).await?;
    let load = Load {
        senders: pairs.iter().enumerate().map(|(room, (_, chat))| (2 * room, *chat)).collect(),
        audience: 2,
        pace: Pace::Steady { in_flight, length: plan.length },
    };
    sides.rounds(plan.rounds, &load).await
}

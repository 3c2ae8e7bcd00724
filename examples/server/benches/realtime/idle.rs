//! Connections: G8, G9 and G11.

use std::time::Duration;

use crate::{
    Plan, Result,
    crowd::{Round, Side},
    process::Pages,
    report::{Report, Row, Series},
    sides::Sides,
    world::{CHATS_OF_ONE, Person, World},
};

/// Connections before those that count, so that what a process needs once is there. They come in two steps, because
/// the allocator gives back what starting took, 19 MiB for a password hash, only when there is something to do.
pub(crate) const FIRST: usize = 100;
/// What connecting leaves to be done later is done by then.
const SETTLE: Duration = Duration::from_millis(1500);

pub(crate) async fn measure(plan: &Plan, world: &World, report: &mut Report) -> Result {
    let (first, people) = world.idle.split_at(FIRST);
    let (mut memory, mut connect, mut idle) = (Series::default(), Series::default(), Series::default());
    for round in 1..=plan.rounds {
        // Memory that was once given out is kept, so each round has servers of its own.
        let mut sides = Sides::start(plan, world, Pages::Small).await?;
        let (bytes, cpu) = fill(&mut sides.server, first, people).await?;
        memory.measured.push(bytes / 1024.0);
        connect.measured.push(cpu * 1e3);
        if let Some(floor) = &mut sides.floor {
            let (bytes, cpu) = fill(floor, first, people).await?;
            memory.floor.push(bytes / 1024.0);
            connect.floor.push(cpu * 1e3);
        }
        if round == plan.rounds && plan.wants(&["g11"]) {
            watch(plan, &mut sides, &mut idle).await?;
        }
    }
    let of = |what: &str| format!("{what}, person in {CHATS_OF_ONE} chats");
    report.add(Row::new("G8", of("memory per idle connection"), "KiB").aims(11.0, 8.0), memory);
    report.add(Row::new("G9", of("CPU to connect"), "ms").aims(0.2, 0.1), connect);
    if !idle.measured.is_empty() {
        report.add(Row::new("G11", "CPU per idle connection and second", "µs").aims(2.0, 1.0), idle);
    }
    Ok(())
}

/// Connects them, and answers with the bytes and the seconds of CPU that one connection took.
pub(crate) async fn fill(side: &mut Side, first: &[Person], people: &[Person]) -> Result<(f64, f64)> {
    for some in first.chunks(FIRST / 2) {
        side.connect(some.iter().map(|person| (person, 0))).await?;
        side.resume().await?;
        side.idle(SETTLE).await?;
    }
    let (memory, cpu) = (side.process.memory()?, side.cpu()?);
    side.connect(people.iter().map(|person| (person, 0))).await?;
    side.idle(SETTLE).await?;
    let cpu = side.cpu()?.since(cpu).process;
    side.resume().await?;
    side.idle(SETTLE).await?;
    let memory = side.process.memory()?.saturating_sub(memory);
    Ok((memory as f64 / people.len() as f64, cpu.as_secs_f64() / people.len() as f64))
}

/// Both at once, because they do next to nothing. A window is a whole turn of the pings and three sweeps.
async fn watch(plan: &Plan, sides: &mut Sides, idle: &mut Series) -> Result {
    let (windows, length) =
        if plan.quick { (1, Duration::from_secs(10)) } else { (2, Duration::from_secs(30)) };
    for _ in 0..windows {
        let per_second = |side: &Side, round: &Round| {
            round.cpu.process.as_secs_f64() / side.crowd.len() as f64 / round.took.as_secs_f64() * 1e6
        };
        match &mut sides.floor {
            Some(floor) => {
                let (server, bare) = tokio::try_join!(sides.server.idle(length), floor.idle(length))?;
                idle.measured.push(per_second(&sides.server, &server));
                idle.floor.push(per_second(floor, &bare));
            }
            None => {
                let server = sides.server.idle(length).await?;
                idle.measured.push(per_second(&sides.server, &server));
            }
        }
    }
    Ok(())
}

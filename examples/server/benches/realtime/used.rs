//! What a connection takes after it was used: after a resume of very many chats, after a page as long as there is one.

use std::time::Duration;

use crate::{
    Plan, Result,
    crowd::Side,
    process::Pages,
    report::{Report, Row, Series},
    sides::serve,
    stock::Used,
    wire::Wire,
    world::{Person, World},
};

/// Those who come first, and do all that the others do, so that what a process needs once is there.
const FIRST: usize = 20;
/// KiB that a connection may have more after it was used.
const MORE: f64 = 2.0;

pub(crate) async fn measure(plan: &Plan, world: &World, report: &mut Report) -> Result {
    let used = world.stock.used.as_ref().ok_or("nobody is in 500 chats")?;
    // The allocator gives back what was let go of after ten seconds.
    let (settle, later) = if plan.quick { (3, 10) } else { (12, 60) };
    let (settle, later) = (Duration::from_secs(settle), Duration::from_secs(later));
    for wire in [Wire::WebSocket, Wire::SignalRJson] {
        let mut side = serve(world, "server", Pages::Small, None, wire).await?;
        let (first, people) = used.people.split_at(FIRST);
        for step in [Step::Connect, Step::Resume, Step::Page] {
            step.take(&mut side, 0, first, used).await?;
        }
        side.idle(settle).await?;
        let before = side.process.memory()?;
        let kib = |bytes: u64| (bytes as f64 - before as f64) / 1024.0 / people.len() as f64;
        let mut after_connecting = None;
        for (step, wait) in [
            (Step::Connect, settle),
            (Step::Resume, settle),
            (Step::Page, Duration::ZERO),
            (Step::Wait, settle),
            (Step::Wait, later),
        ] {
            step.take(&mut side, FIRST, people, used).await?;
            side.idle(wait).await?;
            let memory = kib(side.process.memory()?);
            let floor = *after_connecting.get_or_insert(memory);
            let what = format!(
                "{}: memory per connection, person in {} chats, {} and {} s",
                wire.name(),
                used.chats.len(),
                step.name(),
                wait.as_secs()
            );
            report.add(
                Row::new("used", what, "KiB").aims(floor + MORE, floor),
                Series { measured: vec![memory], floor: vec![floor] },
            );
        }
    }
    Ok(())
}

/// What all connections do.
#[derive(Clone, Copy)]
enum Step {
    Connect,
    Resume,
    Page,
    Wait,
}

impl Step {
    const fn name(self) -> &'static str {
        match self {
            Self::Connect => "after connecting",
            Self::Resume => "after a resume that names all",
            Self::Page => "after a page of 200 long messages",
            Self::Wait => "later",
        }
    }

    /// Of those who came after so many.
    async fn take(self, side: &mut Side, after: usize, people: &[Person], used: &Used) -> Result {
        let (wire, clients) = (side.wire, side.crowd.get_mut(after..).unwrap_or_default());
        match self {
            Self::Connect => side.connect(people.iter().map(|person| (person, 0))).await,
            Self::Resume => {
                for client in clients {
                    wire.resume_with(client, &used.chats).await?;
                }
                Ok(())
            }
            Self::Page => {
                let params = format!(r#"{{"chatId":"{}","limit":200}}"#, used.chats[0].0);
                for client in clients {
                    wire.ask(client, "GetHistory", &params).await?;
                }
                Ok(())
            }
            Self::Wait => Ok(()),
        }
    }
}

//! People beside one client that reads nothing: what they wait.

use std::time::Duration;

use crate::{
    Plan, Result,
    report::Report,
    sides::serve_alone,
    stalled::Transport,
    talk::{Talks, talk},
    world::World,
};

const STREAMS: [usize; 2] = [4, 64];
/// Two people each.
const PAIRS: usize = 4;
/// What the others wait may be so many times what they wait without that client.
const MOST_TIMES: f64 = 2.0;

pub(crate) async fn measure(plan: &Plan, world: &World, report: &mut Report) -> Result {
    let archive = world.stock.archive.as_ref().ok_or("there is no long history")?;
    let (rounds, quiet, beside) = if plan.quick { (1, 1, 3) } else { (2, 3, 6) };
    for transport in Transport::ALL {
        for streams in STREAMS {
            let side = serve_alone(plan, world).await?;
            let (address, pairs) = (side.process.address, &world.pairs[..PAIRS]);
            // What a process needs once is there.
            talk(address, pairs, Duration::from_secs(1)).await?;
            let mut talks = Talks::default();
            for _ in 0..rounds {
                talks.quiet.push(talk(address, pairs, Duration::from_secs(quiet)).await?);
                let stalling = transport.stall(address, &archive.reader.token, archive.chat, streams);
                let (stalled, talked) =
                    tokio::join!(stalling, talk(address, pairs, Duration::from_secs(beside)));
                talks.beside.push(talked?);
                drop(stalled?);
                // What it left is let go of, however it was cut.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            let what = format!("{}, {streams} streams", transport.name());
            talks.report(report, "slow", &what, Some(MOST_TIMES));
        }
    }
    Ok(())
}

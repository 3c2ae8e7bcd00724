//! An hour of people who come and go, on nodes of which some are killed, with leases that are slow or lost: nobody is told to
//! have gone who has not, and everybody who has gone is, in time.

mod leases;
mod people;
mod truth;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

use self::{people::Town, truth::Found};
use crate::rng::Rng;

/// As by default: `HubSettings::lease` and `HubSettings::offline_grace`.
const LEASE: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(5);
const HOUR: Duration = Duration::from_secs(3600);
const PEOPLE: usize = 300;
const NODES: usize = 3;

/// What happens to all.
#[derive(Debug, Clone, Copy)]
enum Blow {
    /// The last node is killed, and another process takes its place half a minute later.
    Kill,
    /// All leases are lost.
    Flush,
    /// Answers take from so many milliseconds to so many, each way, until so many seconds after the beginning.
    Slow((u64, u64), u64),
}

/// In milliseconds after the beginning. Losses come shortly before nodes compare what was told with presence. None comes within the time in which a killed node's leases end: with them it would be lost when people were last seen.
const BLOWS: [(u64, Blow); 10] = [
    (399_500, Blow::Flush),
    (903_000, Blow::Kill),
    (1_209_500, Blow::Flush),
    (1_500_000, Blow::Slow((500, 650), 1800)),
    (1_909_500, Blow::Flush),
    (2_109_500, Blow::Flush),
    (2_402_000, Blow::Kill),
    (2_619_500, Blow::Flush),
    (2_923_000, Blow::Kill),
    (3_129_500, Blow::Flush),
];

#[test]
fn in_an_hour_nobody_flaps_and_who_is_gone_is_told_of() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime needs nothing but memory");
    let found = runtime.block_on(hour(Rng::new(1)));
    eprintln!(
        "{PEOPLE} people on {NODES} nodes: {} events to two observers, {} flaps and {} findings in all; {} times gone, told after at most {:?}, \
         {} of them with their node, after at most {:?}",
        found.events,
        found.flaps,
        found.wrong.len(),
        found.absences,
        found.longest,
        found.killed,
        found.longest_killed,
    );
    let first: Vec<_> = found.wrong.iter().take(10).collect();
    assert!(found.wrong.is_empty(), "{} findings: {first:#?}", found.wrong.len());
    assert!(found.absences > 500 && found.killed > 30, "there is hardly anything to see: {found:?}");
}

async fn hour(mut rng: Rng) -> Found {
    let town = Town::new(&mut rng).await;
    let began = Instant::now();
    let people = town.live(began, &mut rng);
    for (at, blow) in BLOWS {
        sleep_until(began + Duration::from_millis(at)).await;
        match blow {
            Blow::Flush => town.flush(),
            Blow::Kill => Arc::clone(&town).kill(NODES - 1),
            Blow::Slow(millis, until) => {
                Arc::clone(&town).is_slow(millis, began + Duration::from_secs(until));
            }
        }
    }
    sleep_until(began + HOUR).await;
    drop(people);
    town.compare().await
}

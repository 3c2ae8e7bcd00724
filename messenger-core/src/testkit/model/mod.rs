//! Random histories: compares a backend's answers with those of the in-memory store, and a replica that follows the
//! changes with a fresh read.

mod play;
mod replica;
mod step;

use std::{env, future::Future};

use proptest::{
    prelude::ProptestConfig,
    test_runner::{TestCaseError, TestRunner},
};

use self::{play::Play, replica::Replica, step::Step};
use super::{FreshStore, World, fresh::reference, run};

/// The number of histories, unless `PROPTEST_CASES` sets another one.
const CASES: u32 = 64;

/// Plays random histories to the store and to [`MemoryStore`](crate::memory::MemoryStore), which must give the same answers and end in the
/// same state.
pub fn answers_are_those_of_the_memory_store<F: FreshStore, R: Future<Output = F>>(fresh: impl Fn() -> R) {
    try_histories(async |steps| {
        let fresh = fresh().await;
        let mut play = Play::new(World::new(reference(&fresh).await), Some(fresh.store()), None);
        play.all(steps).await;
        play.compare_everything().await;
    });
}

/// Plays random histories to the store, while a replica occasionally reads what has changed: at the end it must have
/// what a fresh read returns.
pub fn state_plus_changes_equals_a_fresh_read<F: FreshStore, R: Future<Output = F>>(fresh: impl Fn() -> R) {
    try_histories(async |steps| {
        let fresh = fresh().await;
        let mut play = Play::new(World::new(fresh.store()), None, Some(Replica::default()));
        play.all(steps).await;
        play.compare_replica().await;
    });
}

fn try_histories(test: impl AsyncFn(Vec<Step>)) {
    let cases = env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    let config = ProptestConfig {
        cases,
        // The shortest failing history is printed; there is no source file beside which its seed could be stored.
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    };
    let outcome = TestRunner::new(config).run(&step::histories(), |steps| {
        run(test(steps));
        Ok::<(), TestCaseError>(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

//! How long messages took.

use std::{collections::HashMap, time::Duration};

use messenger_testing::sockets::crowd::{Arrival, Round, percentile};

/// What took how long in one round, in rising order.
pub(crate) struct Delays {
    /// From sending to the answer.
    pub(crate) answers: Vec<Duration>,
    /// From sending to each delivery.
    pub(crate) deliveries: Vec<Duration>,
    /// From sending to the first delivery.
    pub(crate) first: Vec<Duration>,
    /// From sending to the last delivery.
    pub(crate) last: Vec<Duration>,
    /// Seconds from the answer to each delivery; below zero where that came first.
    pub(crate) after_answer: Vec<f64>,
}

impl Delays {
    pub(crate) fn of(round: &Round) -> Self {
        let mut by_message: HashMap<Duration, (Duration, Duration)> = HashMap::new();
        for arrival in &round.arrivals {
            let delay = arrival.delay();
            let (first, last) = by_message.entry(arrival.sent).or_insert((delay, delay));
            (*first, *last) = (delay.min(*first), delay.max(*last));
        }
        let answered: HashMap<_, _> = round.answers.iter().map(|answer| (answer.sent, answer.came)).collect();
        let after_answer = round.arrivals.iter().filter_map(|arrival| {
            let answered = answered.get(&arrival.sent)?;
            Some(arrival.came.as_secs_f64() - answered.as_secs_f64())
        });
        let mut after_answer: Vec<_> = after_answer.collect();
        after_answer.sort_unstable_by(f64::total_cmp);
        Self {
            answers: sorted(round.answers.iter().map(Arrival::delay)),
            deliveries: round.delays.clone(),
            first: sorted(by_message.values().map(|(first, _)| *first)),
            last: sorted(by_message.values().map(|(_, last)| *last)),
            after_answer,
        }
    }
}

pub(crate) fn sorted(delays: impl Iterator<Item = Duration>) -> Vec<Duration> {
    let mut delays: Vec<_> = delays.collect();
    delays.sort_unstable();
    delays
}

/// Milliseconds that so many of a hundred do not exceed.
pub(crate) fn millis(delays: &[Duration], percent: usize) -> f64 {
    percentile(delays, percent) * 1e3
}

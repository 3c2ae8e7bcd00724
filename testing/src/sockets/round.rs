//! What one round came to.

use std::time::Duration;

use super::process::Cpu;

/// What one round came to.
#[derive(Debug)]
pub struct Round {
    /// Messages.
    pub sent: u64,
    /// Messages, once for each socket that got them.
    pub delivered: u64,
    /// Messages that came twice, before their turn, or behind one that did not come.
    pub disordered: u64,
    /// The round, with the wait for what was still under way.
    pub took: Duration,
    /// From sending to delivery, in rising order.
    pub delays: Vec<Duration>,
    /// What the sampled sockets got.
    pub arrivals: Vec<Arrival>,
    /// Answers to those who sent, where they are sampled.
    pub answers: Vec<Arrival>,
    /// Answers to those who sent beside.
    pub beside: Vec<Arrival>,
    /// What was used.
    pub cpu: Cpu,
}

/// Something that came to a socket. Times are since the beginning of the round.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// Which socket.
    pub socket: usize,
    /// When the message was sent.
    pub sent: Duration,
    /// When it came.
    pub came: Duration,
}

impl Arrival {
    /// How long it took.
    pub fn delay(&self) -> Duration {
        self.came.saturating_sub(self.sent)
    }
}

impl Round {
    /// Seconds of the server's CPU for one of so many.
    pub fn cpu_per(&self, count: u64) -> f64 {
        self.cpu.process.as_secs_f64() / count as f64
    }

    /// The same without the threads in which SQLite works.
    pub fn cpu_without_sqlite_per(&self, count: u64) -> f64 {
        self.cpu.process.saturating_sub(self.cpu.store).as_secs_f64() / count as f64
    }

    /// Whether there is a store: the floor has none.
    pub fn has_store(&self) -> bool {
        !self.cpu.store.is_zero()
    }

    /// Seconds of the store's CPU for one of so many.
    pub fn store_cpu_per(&self, count: u64) -> f64 {
        self.cpu.store.as_secs_f64() / count as f64
    }

    /// Seconds of the CPU of what the nodes hear of each other over, for one of so many.
    pub fn bus_cpu_per(&self, count: u64) -> f64 {
        self.cpu.bus.as_secs_f64() / count as f64
    }

    /// Seconds that so many of a hundred deliveries do not exceed.
    pub fn delay(&self, percent: usize) -> f64 {
        percentile(&self.delays, percent)
    }
}

/// The seconds that so many of a hundred do not exceed. They are in rising order.
pub fn percentile(delays: &[Duration], percent: usize) -> f64 {
    let index = (delays.len() * percent / 100).min(delays.len().saturating_sub(1));
    delays.get(index).map_or(f64::NAN, Duration::as_secs_f64)
}

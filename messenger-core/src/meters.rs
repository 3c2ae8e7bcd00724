use std::time::Instant;

use dashmap::DashMap;

/// A histogram of durations in seconds for each operation and outcome, all under one metric name.
pub(crate) struct Meters {
    name: &'static str,
    histograms: DashMap<(&'static str, &'static str), metrics::Histogram>,
}

impl Meters {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, histograms: DashMap::new() }
    }

    /// Records the duration of the operation, which began at `begun` and has ended now.
    pub(crate) fn record(&self, operation: &'static str, outcome: &'static str, begun: Instant) {
        let seconds = begun.elapsed().as_secs_f64();
        // The histogram is looked up in the recorder only once, since that costs more than recording a value.
        if let Some(histogram) = self.histograms.get(&(operation, outcome)) {
            return histogram.record(seconds);
        }
        let histogram = metrics::histogram!(self.name, "operation" => operation, "outcome" => outcome);
        histogram.record(seconds);
        self.histograms.insert((operation, outcome), histogram);
    }
}

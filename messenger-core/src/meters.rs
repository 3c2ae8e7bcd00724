use std::time::Instant;

use dashmap::DashMap;

/// A histogram of durations in seconds for each operation and outcome, under one name of a metric.
pub(crate) struct Meters {
    name: &'static str,
    histograms: DashMap<(&'static str, &'static str), metrics::Histogram>,
}

impl Meters {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, histograms: DashMap::new() }
    }

    /// Records how long the operation took, which began at `begun` and has ended now.
    pub(crate) fn record(&self, operation: &'static str, outcome: &'static str, begun: Instant) {
        let seconds = begun.elapsed().as_secs_f64();
        // Looked up by the recorder once, since that costs more than the record.
        if let Some(histogram) = self.histograms.get(&(operation, outcome)) {
            return histogram.record(seconds);
        }
        let histogram = metrics::histogram!(self.name, "operation" => operation, "outcome" => outcome);
        histogram.record(seconds);
        self.histograms.insert((operation, outcome), histogram);
    }
}

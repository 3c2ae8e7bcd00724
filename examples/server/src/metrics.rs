//! `/metrics`: what is counted and measured, as Prometheus text.

use std::time::Duration;

use axum::{Router, response::IntoResponse, routing::get};
use http::header;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;

use crate::error::ServerError;

/// The recorder of this process, and the task that keeps its memory bounded.
pub(crate) struct Metrics {
    handle: PrometheusHandle,
    _upkeep: AbortOnDropHandle<()>,
}

impl Metrics {
    /// Starts to record. Once per process.
    pub(crate) fn install(node: Option<&str>) -> Result<Self, ServerError> {
        let builder = node
            .into_iter()
            .fold(PrometheusBuilder::new(), |builder, node| builder.add_global_label("node", node));
        let handle = builder
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
            .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), &SIZES))
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(ServerError::start)?;
        let _upkeep = AbortOnDropHandle::new(tokio::spawn(upkeep(handle.clone())));
        Ok(Self { handle, _upkeep })
    }

    /// The route.
    pub(crate) fn router(&self) -> Router {
        let handle = self.handle.clone();
        Router::new().route("/metrics", get(async move || scrape(&handle)))
    }
}

/// Bounds of the buckets for times: from a commit on a fast disk to a request that was given up.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Bounds of the buckets for what is done at once, such as messages in one commit.
const SIZES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

fn scrape(handle: &PrometheusHandle) -> impl IntoResponse + use<> {
    // The version of the text format (prometheus.io, "Exposition formats").
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], handle.render())
}

/// Samples of histograms pile up until somebody asks for them; nobody may.
async fn upkeep(handle: PrometheusHandle) {
    let mut ticks = interval(Duration::from_secs(5));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}

//! What is under way between one who publishes and one who is subscribed.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use messenger_testing::ServerCpu;
use tokio::{sync::Notify, time::timeout};

use crate::Result;

/// Messages that may be under way: fewer than a node's queue holds.
const MOST_DUE: usize = 4096;
/// What may come may take so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Counts of both.
pub(crate) struct Flow {
    began: Instant,
    length: Duration,
    sent: AtomicUsize,
    received: AtomicUsize,
    has_ended: AtomicBool,
    end: Notify,
    level: Notify,
}

/// Messages a second, and seconds of Redis's CPU for one.
pub(crate) struct Rate {
    pub(crate) a_second: f64,
    pub(crate) redis: f64,
}

impl Flow {
    pub(crate) fn new(length: Duration) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            length,
            sent: AtomicUsize::new(0),
            received: AtomicUsize::new(0),
            has_ended: AtomicBool::new(false),
            end: Notify::new(),
            level: Notify::new(),
        })
    }

    /// Whether more is to be published.
    pub(crate) fn goes_on(&self) -> bool {
        self.began.elapsed() < self.length
    }

    /// Waits while too much is under way.
    pub(crate) async fn sent(&self, count: usize) {
        self.sent.fetch_add(count, SeqCst);
        while self.due() > MOST_DUE {
            self.level.notified().await;
        }
    }

    fn due(&self) -> usize {
        self.sent.load(SeqCst).saturating_sub(self.received.load(SeqCst))
    }

    pub(crate) fn received(&self, count: usize) {
        self.received.fetch_add(count, SeqCst);
        let due = self.due();
        if due <= MOST_DUE && due + count > MOST_DUE {
            self.level.notify_one();
        }
    }

    /// No more is published.
    pub(crate) fn end(&self) {
        self.has_ended.store(true, SeqCst);
        self.end.notify_one();
    }

    pub(crate) async fn ended(&self) {
        self.end.notified().await;
    }

    pub(crate) fn expects_more(&self) -> bool {
        !self.has_ended.load(SeqCst) || self.due() > 0
    }
}

/// Lets both work, each in a task of its own.
pub(crate) async fn both<P: Send + 'static, R: Send + 'static>(
    flow: &Flow,
    mut cpu: ServerCpu,
    publish: impl Future<Output = Result<P>> + Send + 'static,
    receive: impl Future<Output = Result<R>> + Send + 'static,
) -> Result<(P, R, Rate)> {
    let before = cpu.used();
    let (publish, receive) = (tokio::spawn(publish), tokio::spawn(receive));
    let limit = flow.length + PATIENCE;
    let (published, received) = timeout(limit, async {
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((publish.await??, receive.await??))
    })
    .await
    .map_err(|_| format!("{} messages did not come", flow.due()))??;
    let (took, messages) = (flow.began.elapsed().as_secs_f64(), flow.received.load(SeqCst) as f64);
    let used = cpu.used().saturating_sub(before).as_secs_f64();
    Ok((published, received, Rate { a_second: messages / took, redis: used / messages }))
}

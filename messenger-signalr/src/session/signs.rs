//! Whether the client is alive, judged by what was received from it.

use std::time::Duration;

use tokio::time::Instant;

use crate::options::{SignalROptions, Transport};

/// The signs of life of one client. With long polling its polls count instead, and nothing here is ever due.
pub(super) struct Signs {
    /// When its last data was received.
    heard: Instant,
    /// When its last sign of life was received, even if only from its library.
    alive: Instant,
    /// When the unanswered ping of the WebSocket was sent.
    asked: Option<Instant>,
    /// Whether it must send data regularly. A client that has sent a ping will send others. With an event stream this
    /// holds from the beginning, because nothing else tells whether anybody reads it: data written to a dead connection
    /// seems to be accepted for a quarter of an hour.
    speaks: bool,
    /// How long after a sign of life it is sent a ping; `None` if the transport has no ping.
    ask_after: Option<Duration>,
    patience: Duration,
}

impl Signs {
    pub(super) fn new(options: &SignalROptions, transport: Transport) -> Self {
        let now = Instant::now();
        Self {
            heard: now,
            alive: now,
            asked: None,
            speaks: transport == Transport::ServerSentEvents,
            ask_after: (transport == Transport::WebSockets).then_some(options.web_socket_keep_alive_interval),
            patience: options.client_timeout_interval,
        }
    }

    /// Records that data was received.
    pub(super) fn heard(&mut self) {
        self.heard = Instant::now();
        self.alive();
    }

    /// Records a sign of life.
    pub(super) fn alive(&mut self) {
        self.alive = Instant::now();
        self.asked = None;
    }

    /// Records that the client sends data regularly.
    pub(super) fn speaks(&mut self) {
        self.speaks = true;
    }

    /// Records that a ping is being sent.
    pub(super) fn asked(&mut self) {
        self.asked.get_or_insert(Instant::now());
    }

    /// Whether a ping must be sent.
    pub(super) fn are_wanted(&self) -> bool {
        self.asks_at().is_some_and(|at| Instant::now() >= at)
    }

    /// Whether signs of life have been missing for too long.
    pub(super) fn are_missing(&self) -> bool {
        self.end_at().is_some_and(|at| Instant::now() >= at)
    }

    /// When the next check is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.asks_at().into_iter().chain(self.end_at()).min()
    }

    fn asks_at(&self) -> Option<Instant> {
        self.ask_after.filter(|_| self.asked.is_none()).map(|after| self.alive + after)
    }

    fn end_at(&self) -> Option<Instant> {
        let silent = self.speaks.then_some(self.heard);
        silent.into_iter().chain(self.asked).min().map(|since| since + self.patience)
    }
}

//! Whether the client is there, by what has come from it.

use std::time::Duration;

use tokio::time::Instant;

use crate::options::{SignalROptions, Transport};

/// The signs of life of one client. With long polling its polls are what counts, and nothing here is ever due.
pub(super) struct Signs {
    /// When it last said something.
    heard: Instant,
    /// When it last showed that it is there, if only by its library.
    alive: Instant,
    /// Since when it owes the answer to a ping of the WebSocket.
    asked: Option<Instant>,
    /// Whether it has to say something again and again. Who has sent a ping will send others. Behind an event stream
    /// it is so from the beginning, because nothing else tells whether anybody reads it: what is written to a way that
    /// is dead seems to be taken for a quarter of an hour.
    speaks: bool,
    /// How long after a sign it is asked for another; `None` if the transport has no question for it.
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

    /// It has said something.
    pub(super) fn heard(&mut self) {
        self.heard = Instant::now();
        self.alive();
    }

    /// It has shown that it is there.
    pub(super) fn alive(&mut self) {
        self.alive = Instant::now();
        self.asked = None;
    }

    /// It is one of those that say something again and again.
    pub(super) fn speaks(&mut self) {
        self.speaks = true;
    }

    /// It is being asked for a sign.
    pub(super) fn asked(&mut self) {
        self.asked.get_or_insert(Instant::now());
    }

    /// Whether it is to be asked for a sign.
    pub(super) fn are_wanted(&self) -> bool {
        self.asks_at().is_some_and(|at| Instant::now() >= at)
    }

    /// Whether it has given none for too long.
    pub(super) fn are_missing(&self) -> bool {
        self.end_at().is_some_and(|at| Instant::now() >= at)
    }

    /// When something of this is due next.
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

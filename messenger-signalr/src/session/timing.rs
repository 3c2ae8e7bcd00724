//! What a session does at certain times.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt as _, StreamExt as _};
use tokio::time::Instant;

use super::{End, Session, Step, clock::Clock, signs::Signs};
use crate::{
    hub::Hub,
    options::{SignalROptions, Transport},
    transports::{Line, Outgoing},
};
use messenger_socket::Writer;

/// The minimum time between two confirmations of a client's messages.
const CONFIRM_EVERY: Duration = Duration::from_secs(1);
/// A client that can resume is sent no numbered messages until it has sent something, or until this time has passed:
/// the official JavaScript client begins to count only after it has processed the handshake.
const HELD_FOR: Duration = Duration::from_secs(1);
/// The size in bytes of a WebSocket ping from a server.
const PING_FRAME: usize = 2;
/// How long a client may confirm nothing while the buffer of messages kept for it is full.
const CONFIRM_WAIT: Duration = Duration::from_secs(30);

/// The due times of one session.
pub(super) struct Times {
    clock: Clock,
    signs: Signs,
    keep_alive: Duration,
    disconnect: Duration,
    transport: Transport,
    ping_at: Instant,
    held_until: Option<Instant>,
    confirm_at: Option<Instant>,
    detached_at: Option<Instant>,
    full_since: Option<Instant>,
    idle_check: Instant,
}

impl Times {
    pub(super) fn new(options: &SignalROptions, transport: Transport, hold: bool) -> Self {
        let now = Instant::now();
        let mut times = Self {
            clock: Clock::new(now),
            signs: Signs::new(options, transport),
            keep_alive: options.keep_alive_interval,
            disconnect: options.disconnect_timeout,
            transport,
            ping_at: now + options.keep_alive_interval,
            held_until: hold.then(|| now + HELD_FOR),
            confirm_at: None,
            detached_at: None,
            full_since: None,
            idle_check: now + options.disconnect_timeout,
        };
        times.clock.set(times.next());
        times
    }

    pub(super) fn poll_due(&mut self, task: &mut Context<'_>) -> Poll<()> {
        self.clock.poll_due(task)
    }

    /// Records that data was received from the client.
    pub(super) fn heard(&mut self) {
        self.signs.heard();
    }

    /// Records a sign of life of the client.
    pub(super) fn alive(&mut self) {
        self.signs.alive();
    }

    /// Records that the client sends pings.
    pub(super) fn client_pings(&mut self) {
        if self.has_pings() {
            self.signs.speaks();
            let next = self.next();
            self.clock.no_later_than(next);
        }
    }

    pub(super) const fn is_held(&self) -> bool {
        self.held_until.is_some()
    }

    pub(super) fn let_go(&mut self) {
        self.held_until = None;
    }

    /// A confirmation must be sent to the client soon.
    pub(super) fn owes_confirmation(&mut self) {
        if self.confirm_at.is_none() {
            let at = Instant::now() + CONFIRM_EVERY;
            self.confirm_at = Some(at);
            self.clock.no_later_than(at);
        }
    }

    pub(super) fn buffer_is_full(&mut self) {
        if self.full_since.is_none() {
            let now = Instant::now();
            self.full_since = Some(now);
            self.clock.no_later_than(now + CONFIRM_WAIT);
        }
    }

    pub(super) fn buffer_has_room(&mut self) {
        self.full_since = None;
    }

    pub(super) fn detached(&mut self) {
        let now = Instant::now();
        self.detached_at = Some(now);
        self.clock.no_later_than(now + self.disconnect);
    }

    pub(super) fn attached(&mut self) {
        let now = Instant::now();
        self.detached_at = None;
        self.held_until = None;
        self.full_since = self.full_since.map(|_| now);
        self.signs.heard();
        let next = self.next();
        self.clock.no_later_than(next);
    }

    /// The next due time.
    fn next(&self) -> Instant {
        let of_client = match self.detached_at {
            Some(at) => [Some(at + self.disconnect), None],
            None => [self.signs.next(), self.full_since.map(|at| at + CONFIRM_WAIT)],
        };
        let own = if self.has_pings() { self.ping_at } else { self.idle_check };
        [self.held_until, self.confirm_at].into_iter().chain(of_client).flatten().fold(own, Instant::min)
    }

    /// With long polling, polls take the place of pings.
    fn has_pings(&self) -> bool {
        self.transport != Transport::LongPolling
    }
}

impl<H: Hub> Session<H> {
    pub(super) async fn on_time<L: Line>(&mut self, out: &mut Writer<'_, L>) -> Step {
        let now = Instant::now();
        let times = &mut self.times;
        if times.detached_at.is_some_and(|at| now >= at + times.disconnect) {
            return Err(End::Lost);
        }
        if self.attached && times.full_since.is_some_and(|at| now >= at + CONFIRM_WAIT) {
            return Err(End::Fault("The client does not confirm what it is sent.".into()));
        }
        if times.held_until.is_some_and(|at| now >= at) {
            times.let_go();
        }
        if times.has_pings() {
            if self.is_silent(out).await? {
                return self.silent(out);
            }
            self.ask_for_sign(out).await?;
            self.ping(out, now).await?;
        } else {
            self.check_polls(out, now)?;
        }
        self.confirm(out, now).await?;
        let next = self.times.next();
        self.times.clock.set(next);
        Ok(())
    }

    /// Whether the client has been silent for too long. Its data may be unread because there was no room for it, or
    /// because it has not had its turn.
    async fn is_silent<L: Line>(&mut self, out: &mut Writer<'_, L>) -> Step<bool> {
        while self.attached && self.times.signs.are_missing() {
            if !self.has_room() {
                self.times.heard();
                return Ok(false);
            }
            let Some(received) = out.sink.next().now_or_never() else { return Ok(true) };
            self.received(out, received).await?;
        }
        Ok(false)
    }

    /// Requests a sign of life, if it is due.
    async fn ask_for_sign<L: Line>(&mut self, out: &mut Writer<'_, L>) -> Step {
        if !self.attached || !self.times.signs.are_wanted() {
            return Ok(());
        }
        self.times.signs.asked();
        self.put(out, Outgoing::Ping, PING_FRAME).await
    }

    /// Handles a silent client: a stateful connection treats it as lost, and waits a while for its return.
    fn silent<L: Line>(&mut self, out: &mut Writer<'_, L>) -> Step {
        if self.reliable.is_none() {
            return Err(End::Fault("The client has said nothing for too long.".into()));
        }
        self.lost(out.sink)?;
        let next = self.times.next();
        self.times.clock.set(next);
        Ok(())
    }

    async fn ping<L: Line>(&mut self, out: &mut Writer<'_, L>, now: Instant) -> Step {
        if now < self.times.ping_at {
            return Ok(());
        }
        self.times.ping_at = now + self.times.keep_alive;
        let ping = self.protocol.ping();
        self.write(out, ping).await
    }

    fn check_polls<L: Line>(&mut self, out: &Writer<'_, L>, now: Instant) -> Step {
        if now < self.times.idle_check {
            return Ok(());
        }
        let since = out.sink.idle_since().unwrap_or(now);
        if now >= since + self.times.disconnect {
            return Err(End::Lost);
        }
        self.times.idle_check = since + self.times.disconnect;
        Ok(())
    }

    async fn confirm<L: Line>(&mut self, out: &mut Writer<'_, L>, now: Instant) -> Step {
        if self.times.confirm_at.is_none_or(|at| now < at) {
            return Ok(());
        }
        self.times.confirm_at = None;
        if !self.attached {
            return Ok(());
        }
        if self.is_congested() {
            self.times.confirm_at = Some(now + CONFIRM_EVERY);
            return Ok(());
        }
        let number = self.reliable.as_mut().and_then(|reliable| reliable.confirmation());
        match number {
            Some(number) => {
                let ack = self.protocol.ack(number);
                self.write(out, ack).await
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client that has been silent for long and is waited for must not keep the session busy.
    #[tokio::test(start_paused = true)]
    async fn what_is_over_is_not_due() {
        let options = SignalROptions::new();
        let mut times = Times::new(&options, Transport::WebSockets, false);
        times.client_pings();
        tokio::time::advance(options.client_timeout_interval + Duration::from_secs(1)).await;
        assert!(times.next() <= Instant::now(), "its silence is noticed");
        times.detached();
        times.ping_at = Instant::now() + options.keep_alive_interval;
        assert!(times.next() > Instant::now());
        times.attached();
        assert!(times.next() > Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_is_let_go_in_time() {
        let mut times = Times::new(&SignalROptions::new(), Transport::WebSockets, true);
        let began = Instant::now();
        std::future::poll_fn(|task| times.poll_due(task)).await;
        assert_eq!(began.elapsed(), HELD_FOR);
    }
}

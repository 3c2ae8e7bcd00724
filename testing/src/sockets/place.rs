//! One socket in a round.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::{
    Result,
    client::Client,
    load::{Load, Pace, Sampled},
    meter::{Heard, Meter},
    order::Order,
    round::Arrival,
    wire::{Record, Sender, Wire},
};

/// One socket in a round.
pub(super) struct Place {
    client: Client,
    index: usize,
    wire: Wire,
    meter: Arc<Meter>,
    sampled: bool,
    /// Of what all senders share, the part of this one.
    most_in_flight: u64,
    /// Of the floor nobody asks for it.
    order: Option<Order>,
    /// When each message was sent, where the answers are sampled.
    sent: Option<Vec<Duration>>,
    log: Log,
}

/// What a socket leaves behind.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) arrivals: Vec<Arrival>,
    pub(super) answers: Vec<Arrival>,
}

/// What a socket does.
pub(super) enum Role {
    Listens,
    Sends(Sender, Pace),
    /// One message after the other, for so long; it counts for nobody else.
    SendsBeside(Sender, Duration),
}

impl Place {
    pub(super) fn new(client: Client, index: usize, wire: Wire, load: &Load, meter: Arc<Meter>) -> Self {
        let sends = load.senders.iter().chain(&load.beside).any(|sender| sender.0 == index);
        let sampled = load.sampled.has(index, sends);
        Self {
            client,
            index,
            wire,
            meter,
            sampled,
            most_in_flight: match load.pace {
                Pace::Shared { in_flight, .. } => in_flight.div_ceil(load.senders.len() as u64),
                Pace::Steady { .. } | Pace::Alone { .. } | Pace::Constant { .. } => 0,
            },
            order: wire.has_order().then(|| Order::new(wire)),
            sent: (sends && load.sampled == Sampled::Listeners).then(Vec::new),
            log: Log::default(),
        }
    }

    pub(super) async fn take_part(&mut self, role: Role, stopped: impl Future<Output = ()>) -> Result {
        let work = async {
            match role {
                Role::Listens => self.listen().await,
                Role::Sends(sender, Pace::Steady { in_flight, length }) => {
                    self.send_steadily(sender, in_flight, length).await
                }
                Role::Sends(sender, Pace::Shared { length, .. }) => self.send_in_turn(sender, length).await,
                Role::Sends(sender, Pace::Alone { times, pause }) => {
                    self.send_alone(sender, times, pause).await
                }
                Role::Sends(sender, Pace::Constant { period, length }) => {
                    self.send_by_the_clock(sender, period, length).await
                }
                Role::SendsBeside(sender, length) => self.send_beside(sender, length).await,
            }
        };
        let (mut work, mut stopped) = (pin!(work), pin!(stopped));
        tokio::select! {
            failed = work.as_mut() => failed,
            () = stopped.as_mut() => Ok(()),
        }
    }

    pub(super) fn leave(self) -> (Client, Log) {
        (self.client, self.log)
    }

    async fn listen(&mut self) -> Result {
        loop {
            self.hear().await?;
        }
    }

    async fn send_steadily(&mut self, mut sender: Sender, in_flight: u64, length: Duration) -> Result {
        let meter = Arc::clone(&self.meter);
        let mut flying = 0;
        loop {
            let wants = meter.began.elapsed() < length && flying < in_flight;
            if wants && meter.is_level() {
                self.send(&mut sender, in_flight - flying).await?;
                flying = in_flight;
                continue;
            }
            tokio::select! {
                heard = self.hear() => flying = flying.saturating_sub(heard?.answers),
                () = meter.levelled(), if wants => {}
            }
        }
    }

    /// A message has its turn until it is both answered and delivered here.
    async fn send_in_turn(&mut self, mut sender: Sender, length: Duration) -> Result {
        let meter = Arc::clone(&self.meter);
        let (mut sent, mut answers, mut events) = (0, 0, 0_u64);
        loop {
            let done = answers.min(events);
            // With others about, one at a time: else who is quick would take all turns.
            let wants = meter.began.elapsed() < length && sent - done < self.most_in_flight;
            tokio::select! {
                heard = self.hear() => {
                    let heard = heard?;
                    (answers, events) = (answers + heard.answers, events + heard.events);
                    meter.turns.add_permits((answers.min(events) - done) as usize);
                }
                turn = meter.turns.acquire(), if wants => {
                    turn?.forget();
                    let mut count = 1;
                    while sent - done + count < self.most_in_flight && let Ok(turn) = meter.turns.try_acquire() {
                        turn.forget();
                        count += 1;
                    }
                    self.send(&mut sender, count).await?;
                    sent += count;
                }
            }
        }
    }

    async fn send_alone(&mut self, mut sender: Sender, times: u64, pause: Duration) -> Result {
        for _ in 0..times {
            tokio::time::sleep(pause).await;
            self.send(&mut sender, 1).await?;
            self.answered_and_told().await?;
            self.meter.levelled().await;
        }
        self.listen().await
    }

    /// Hears the answer and the event, in either order.
    async fn answered_and_told(&mut self) -> Result {
        let mut heard = 0;
        while heard < 2 {
            let Heard { answers, events, .. } = self.hear().await?;
            heard += answers + events;
        }
        Ok(())
    }

    async fn send_by_the_clock(&mut self, mut sender: Sender, period: Duration, length: Duration) -> Result {
        let mut clock = interval_at(Instant::now() + period, period);
        // A client that comes late once does not send several at once for it.
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = clock.tick(), if self.meter.began.elapsed() < length => self.send(&mut sender, 1).await?,
                heard = self.hear() => { heard?; }
            }
        }
    }

    async fn send_beside(&mut self, mut sender: Sender, length: Duration) -> Result {
        while self.meter.began.elapsed() < length {
            let record = self.record(&mut sender);
            self.wire.send(&mut self.client, &[record]).await?;
            let mut heard = 0;
            while heard < 2 {
                let Heard { answers, events, refused, .. } = self.read().await?;
                if refused {
                    return Err("a message was refused".into());
                }
                heard += answers + events;
            }
        }
        loop {
            self.read().await?;
        }
    }

    async fn send(&mut self, sender: &mut Sender, count: u64) -> Result {
        self.meter.sends(count);
        let records: Vec<Vec<u8>> = (0..count).map(|_| self.record(sender)).collect();
        self.wire.send(&mut self.client, &records).await
    }

    fn record(&mut self, sender: &mut Sender) -> Vec<u8> {
        let time = self.meter.began.elapsed();
        if let Some(sent) = &mut self.sent {
            sent.push(time);
        }
        sender.record(time)
    }

    async fn hear(&mut self) -> Result<Heard> {
        let heard = self.read().await?;
        self.meter.count(heard)?;
        Ok(heard)
    }

    async fn read(&mut self) -> Result<Heard> {
        let mut heard = Heard::default();
        let Self { client, index, wire, meter, sampled, order, sent, log, .. } = self;
        let mut take = |record: &[u8]| match wire.read(record) {
            Record::Message => {
                heard.events += 1;
                heard.disordered += u64::from(order.as_mut().is_some_and(|order| !order.follows(record)));
                if *sampled && let Some(sent) = time_in(record) {
                    log.arrivals.push(Arrival { socket: *index, sent, came: meter.began.elapsed() });
                }
            }
            Record::Answer => {
                heard.answers += 1;
                let number = sent.as_ref().and_then(|sent| Some((sent, wire.answered(record)?)));
                if let Some(&time) = number.and_then(|(sent, number)| sent.get(number.checked_sub(1)?)) {
                    log.answers.push(Arrival { socket: *index, sent: time, came: meter.began.elapsed() });
                }
            }
            Record::Refusal => heard.refused = true,
            Record::Ping => heard.pings += 1,
            Record::CaughtUp | Record::Other => {}
        };
        client.receive(|frame| wire.records(frame, &mut take)).await?;
        if heard.pings > 0 {
            wire.send(client, &[wire.pong()]).await?;
        }
        Ok(heard)
    }
}

/// When the message in this record was sent.
fn time_in(record: &[u8]) -> Option<Duration> {
    // Numbers of MessagePack may look like the mark.
    let marks = (0..record.len()).filter(|at| record[*at] == b'@');
    let mut sent = marks.filter_map(|at| {
        let digits = std::str::from_utf8(record.get(at + 1..at + 17)?).ok()?;
        u64::from_str_radix(digits, 16).ok()
    });
    Some(Duration::from_nanos(sent.next()?))
}

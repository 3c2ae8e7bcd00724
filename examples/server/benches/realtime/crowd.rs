//! Many sockets of one server, what they send, and how soon it arrives.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use messenger_core::ChatId;
use messenger_testing::ServerCpu;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    Result,
    client::Client,
    order::Order,
    process::{Cpu, Process},
    wire::{Record, Sender, Wire},
    world::Person,
};

/// Handshakes under way at once.
const AT_ONCE: usize = 16;
/// Messages that don't arrive in this time have been lost.
const PATIENCE: Duration = Duration::from_secs(20);
/// Of so many sockets one looks at the times of what it gets.
const SAMPLED: usize = 10;
/// How often one looks at the CPU of a round. Processes of PostgreSQL that end meanwhile, as those of autovacuum do,
/// count with what they had at the last look.
const LOOK: Duration = Duration::from_millis(250);

/// A server under test with its clients.
pub(crate) struct Side {
    pub(crate) process: Process,
    /// The CPU of the store's processes, where it has some.
    store: Option<ServerCpu>,
    pub(crate) wire: Wire,
    pub(crate) crowd: Vec<Client>,
}

/// What one round came to.
pub(crate) struct Round {
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    pub(crate) took: Duration,
    /// From sending to delivery, in rising order.
    pub(crate) delays: Vec<Duration>,
    pub(crate) cpu: Cpu,
}

impl Round {
    /// Seconds of the server's CPU for one of so many.
    pub(crate) fn cpu_per(&self, count: u64) -> f64 {
        self.cpu.process.as_secs_f64() / count as f64
    }

    /// The same without the threads in which SQLite works.
    pub(crate) fn cpu_without_sqlite_per(&self, count: u64) -> f64 {
        self.cpu.process.saturating_sub(self.cpu.store).as_secs_f64() / count as f64
    }

    /// The floor has none.
    pub(crate) fn has_store(&self) -> bool {
        !self.cpu.store.is_zero()
    }

    /// Seconds of the store's CPU for one of so many.
    pub(crate) fn store_cpu_per(&self, count: u64) -> f64 {
        self.cpu.store.as_secs_f64() / count as f64
    }

    /// The delay that so many of a hundred messages do not exceed.
    pub(crate) fn delay(&self, percent: usize) -> f64 {
        percentile(&self.delays, percent)
    }
}

/// The seconds that so many of a hundred do not exceed. They are in rising order.
pub(crate) fn percentile(delays: &[Duration], percent: usize) -> f64 {
    let index = (delays.len() * percent / 100).min(delays.len().saturating_sub(1));
    delays.get(index).map_or(f64::NAN, Duration::as_secs_f64)
}

/// What the clients do in a round.
#[derive(Clone)]
pub(crate) struct Load {
    /// Which sockets send, and where to.
    pub(crate) senders: Vec<(usize, ChatId)>,
    /// How many sockets get each message, the sender's own among them.
    pub(crate) audience: u64,
    pub(crate) pace: Pace,
}

#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// Each sender has so many messages in flight all the time: not answered, or not yet with everybody.
    Steady { in_flight: u64, length: Duration },
    /// All senders together have so many messages in flight. Who has waited longest sends the next one.
    Shared { in_flight: u64, length: Duration },
    /// The next message is sent some time after everybody got the one before.
    Alone { times: u64, pause: Duration },
}

impl Side {
    pub(crate) fn server(process: Process, store: Option<ServerCpu>, wire: Wire) -> Self {
        Self { process, store, wire, crowd: Vec::new() }
    }

    /// One that stores nothing.
    pub(crate) fn bare(process: Process, wire: Wire) -> Self {
        Self { process, store: None, wire, crowd: Vec::new() }
    }

    /// CPU time taken so far.
    pub(crate) fn cpu(&mut self) -> Result<Cpu> {
        let cpu = self.process.cpu()?;
        Ok(match &mut self.store {
            Some(store) => Cpu { store: store.used(), ..cpu },
            None => cpu,
        })
    }

    /// Adds sockets of these people. In the floor server, those with the same room get the same messages.
    pub(crate) async fn connect(&mut self, people: impl IntoIterator<Item = (&Person, usize)>) -> Result {
        let mut people = people.into_iter();
        loop {
            let some = people.by_ref().take(AT_ONCE).map(|(person, room)| {
                let (wire, address, token) = (self.wire, self.process.address, person.token.clone());
                tokio::spawn(async move { wire.open(address, &token, room).await })
            });
            let some: Vec<_> = some.collect();
            if some.is_empty() {
                return Ok(());
            }
            for connected in some {
                self.crowd.push(connected.await??);
            }
        }
    }

    /// Says what a client says first: what it has, which is nothing.
    pub(crate) async fn resume(&mut self) -> Result {
        for client in &mut self.crowd {
            self.wire.resume(client).await?;
        }
        Ok(())
    }

    /// Answers pings for a while and does nothing else.
    pub(crate) async fn idle(&mut self, length: Duration) -> Result<Round> {
        let pace = Pace::Steady { in_flight: 0, length };
        self.round(&Load { senders: Vec::new(), audience: 0, pace }).await
    }

    pub(crate) async fn round(&mut self, load: &Load) -> Result<Round> {
        let meter = Arc::new(Meter::new(load));
        let stop = CancellationToken::new();
        let before = self.cpu()?;
        let mut tasks = Vec::with_capacity(self.crowd.len());
        for (index, client) in self.crowd.drain(..).enumerate() {
            let mut place = Place {
                client,
                meter: Arc::clone(&meter),
                sampled: index % SAMPLED == SAMPLED - 1,
                delays: Vec::new(),
                most_in_flight: match load.pace {
                    Pace::Shared { in_flight, .. } => in_flight.div_ceil(load.senders.len() as u64),
                    Pace::Steady { .. } | Pace::Alone { .. } => 0,
                },
                wire: self.wire,
                order: (!self.wire.is_floor()).then(|| Order::new(self.wire)),
            };
            let stop = stop.clone();
            let chat = load.senders.iter().find(|sender| sender.0 == index).map(|sender| sender.1);
            let (pace, wire) = (load.pace, self.wire);
            tasks.push(tokio::spawn(async move {
                let sender = chat.map(|chat| Sender { wire, chat, index, number: 0 });
                let stopped = stop.cancelled();
                let done = place.take_part(sender, pace, stopped).await;
                done.map_err(|error| format!("socket {index} of the {wire:?}: {error}"))?;
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(place.leave())
            }));
        }
        let outcome = self.watch(pin!(meter.wait_for_end(load))).await;
        let took = meter.began.elapsed();
        let cpu = self.cpu()?.since(before);
        stop.cancel();
        for task in tasks {
            self.crowd.push(task.await??);
        }
        outcome.map_err(|error| format!("the {:?}: {error}", self.wire))?;
        let mut delays = std::mem::take(&mut *meter.delays.lock().unwrap_or_else(PoisonError::into_inner));
        delays.sort_unstable();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Ok(Round { sent: count(&meter.sent), delivered: count(&meter.delivered), took, delays, cpu })
    }

    /// Waits for the end of a round, and looks at the CPU now and then.
    async fn watch(&mut self, mut end: Pin<&mut impl Future<Output = Result>>) -> Result {
        loop {
            match tokio::time::timeout(LOOK, end.as_mut()).await {
                Ok(outcome) => return outcome,
                Err(_) => self.cpu()?,
            };
        }
    }
}

/// What all sockets count together.
struct Meter {
    began: Instant,
    audience: u64,
    /// Deliveries that may be due before a sender waits, or clients that read slowly would fall behind without end.
    most_due: u64,
    sent: AtomicU64,
    answered: AtomicU64,
    delivered: AtomicU64,
    /// No more deliveries are due than may be.
    level: Notify,
    /// What senders that share what may be in flight may still send.
    turns: Semaphore,
    delays: Mutex<Vec<Duration>>,
}

impl Meter {
    fn new(load: &Load) -> Self {
        let (most_due, turns) = match load.pace {
            Pace::Steady { in_flight, .. } => (in_flight * load.senders.len() as u64 * load.audience, 0),
            Pace::Shared { in_flight, .. } => (in_flight * load.audience, in_flight),
            Pace::Alone { .. } => (0, 0),
        };
        Self {
            began: Instant::now(),
            audience: load.audience,
            most_due,
            sent: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            level: Notify::new(),
            turns: Semaphore::new(turns as usize),
            delays: Mutex::default(),
        }
    }

    fn due(&self) -> u64 {
        (self.sent.load(Ordering::SeqCst) * self.audience)
            .saturating_sub(self.delivered.load(Ordering::SeqCst))
    }

    fn is_done(&self) -> bool {
        self.due() == 0 && self.answered.load(Ordering::SeqCst) >= self.sent.load(Ordering::SeqCst)
    }

    fn count(&self, heard: Heard) {
        self.answered.fetch_add(heard.answers, Ordering::SeqCst);
        self.delivered.fetch_add(heard.events, Ordering::SeqCst);
        let due = self.due();
        if due <= self.most_due && due + heard.events > self.most_due {
            self.level.notify_waiters();
        }
    }

    /// Waits until a sender may go on.
    async fn levelled(&self) {
        loop {
            let level = self.level.notified();
            if self.due() <= self.most_due {
                return;
            }
            level.await;
        }
    }

    async fn wait_for_end(&self, load: &Load) -> Result {
        let wanted = match load.pace {
            Pace::Steady { length, .. } | Pace::Shared { length, .. } => {
                tokio::time::sleep(length).await;
                0
            }
            Pace::Alone { times, .. } => times,
        };
        let end = Instant::now() + PATIENCE;
        while !(self.is_done() && self.sent.load(Ordering::SeqCst) >= wanted) {
            if Instant::now() > end {
                let of = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
                let (sent, answered, delivered) = (of(&self.sent), of(&self.answered), of(&self.delivered));
                let due = sent * self.audience;
                let lost =
                    format!("{sent} sent, {answered} answered, {delivered} of {due} delivered in time");
                return Err(lost.into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}

/// What came in one reading.
#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    answers: u64,
    events: u64,
    refused: bool,
    disordered: bool,
}

/// One socket in a round.
struct Place {
    client: Client,
    wire: Wire,
    meter: Arc<Meter>,
    sampled: bool,
    delays: Vec<Duration>,
    /// Of what all senders share, the part of this one.
    most_in_flight: u64,
    /// Of the floor nobody asks for it.
    order: Option<Order>,
}

impl Place {
    async fn take_part(
        &mut self,
        sender: Option<Sender>,
        pace: Pace,
        stopped: impl Future<Output = ()>,
    ) -> Result {
        let work = async {
            match (sender, pace) {
                (None, _) => self.listen().await,
                (Some(sender), Pace::Steady { in_flight, length }) => {
                    self.send_steadily(sender, in_flight, length).await
                }
                (Some(sender), Pace::Shared { length, .. }) => self.send_in_turn(sender, length).await,
                (Some(sender), Pace::Alone { times, pause }) => self.send_alone(sender, times, pause).await,
            }
        };
        let (mut work, mut stopped) = (pin!(work), pin!(stopped));
        tokio::select! {
            failed = work.as_mut() => failed,
            () = stopped.as_mut() => Ok(()),
        }
    }

    fn leave(self) -> Client {
        self.meter.delays.lock().unwrap_or_else(PoisonError::into_inner).extend(self.delays);
        self.client
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
            if wants && meter.due() <= meter.most_due {
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
            let mut heard = 0;
            // The answer and the event, in either order.
            while heard < 2 {
                let Heard { answers, events, .. } = self.hear().await?;
                heard += answers + events;
            }
            self.meter.levelled().await;
        }
        self.listen().await
    }

    async fn send(&mut self, sender: &mut Sender, count: u64) -> Result {
        self.meter.sent.fetch_add(count, Ordering::SeqCst);
        let records: Vec<Vec<u8>> = (0..count).map(|_| sender.record(self.meter.began)).collect();
        self.wire.send(&mut self.client, &records).await
    }

    async fn hear(&mut self) -> Result<Heard> {
        let mut heard = Heard::default();
        let Self { client, wire, meter, sampled, delays, order, .. } = self;
        let mut take = |record: &[u8]| match wire.read(record) {
            Record::Message => {
                heard.events += 1;
                heard.disordered |= order.as_mut().is_some_and(|order| !order.follows(record));
                if *sampled {
                    delays.extend(delay(record, meter.began));
                }
            }
            Record::Answer => heard.answers += 1,
            Record::Refusal => heard.refused = true,
            Record::CaughtUp | Record::Other => {}
        };
        client.receive(|frame| wire.records(frame, &mut take)).await?;
        if heard.refused {
            return Err("a message was refused".into());
        }
        if heard.disordered {
            return Err("a message was lost, came twice, or came before its turn".into());
        }
        meter.count(heard);
        Ok(heard)
    }
}

/// How long ago the message in this record was sent.
fn delay(record: &[u8], began: Instant) -> Option<Duration> {
    // Numbers of MessagePack may look like the mark.
    let marks = (0..record.len()).filter(|at| record[*at] == b'@');
    let mut sent = marks.filter_map(|at| {
        let digits = std::str::from_utf8(record.get(at + 1..at + 17)?).ok()?;
        u64::from_str_radix(digits, 16).ok()
    });
    Some(began.elapsed().saturating_sub(Duration::from_nanos(sent.next()?)))
}

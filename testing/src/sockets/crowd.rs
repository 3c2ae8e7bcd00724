//! Many sockets of one server, or of the nodes of one, what they send, and how soon it arrives.

use std::{
    future::Future,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{
    Result,
    client::Client,
    meter::Meter,
    people::Person,
    place::{Log, Place, Role},
    process::{Cpu, Process},
    wire::{Sender, Wire},
};
pub use super::{
    load::{Load, Pace, Sampled},
    round::{Arrival, Round, percentile},
};
use crate::ServerCpu;

/// Handshakes under way at once.
const AT_ONCE: usize = 16;
/// How often one looks at the CPU of a round. Processes of PostgreSQL that end meanwhile, as those of autovacuum do,
/// count with what they had at the last look.
const LOOK: Duration = Duration::from_millis(250);

/// A server under test with its clients.
#[derive(Debug)]
pub struct Side {
    /// The server, or the first of its nodes.
    pub process: Process,
    /// The other nodes, whose CPU counts, too.
    pub others: Vec<Process>,
    /// The CPU of the store's processes, where it has some.
    store: Option<ServerCpu>,
    /// That of what the nodes hear of each other over.
    pub bus: Option<ServerCpu>,
    /// How its sockets are spoken over.
    pub wire: Wire,
    /// Those that are open.
    pub crowd: Vec<Client>,
}

impl Side {
    /// A server with a store.
    pub fn server(process: Process, store: Option<ServerCpu>, wire: Wire) -> Self {
        Self { process, others: vec![], store, bus: None, wire, crowd: Vec::new() }
    }

    /// One that stores nothing.
    pub fn bare(process: Process, wire: Wire) -> Self {
        Self::server(process, None, wire)
    }

    /// CPU time taken so far.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn cpu(&mut self) -> Result<Cpu> {
        let mut cpu = self.process.cpu()?;
        for other in &mut self.others {
            cpu.process += other.cpu()?.process;
        }
        if let Some(store) = &mut self.store {
            cpu.store = store.used();
        }
        if let Some(bus) = &mut self.bus {
            cpu.bus = bus.used();
        }
        Ok(cpu)
    }

    /// Adds sockets of these people. In the floor server, those with the same room get the same messages.
    ///
    /// # Errors
    /// If one is refused.
    pub async fn connect(&mut self, people: impl IntoIterator<Item = (&Person, usize)>) -> Result {
        self.connect_to(self.process.address, people).await
    }

    /// The same on the node at this address.
    ///
    /// # Errors
    /// If one is refused.
    pub async fn connect_to(
        &mut self,
        address: SocketAddr,
        people: impl IntoIterator<Item = (&Person, usize)>,
    ) -> Result {
        let mut people = people.into_iter();
        loop {
            let some = people.by_ref().take(AT_ONCE).map(|(person, room)| {
                let (wire, token) = (self.wire, person.token.clone());
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
    ///
    /// # Errors
    /// If a socket has ended.
    pub async fn resume(&mut self) -> Result {
        for client in &mut self.crowd {
            self.wire.resume(client).await?;
        }
        Ok(())
    }

    /// Answers pings for a while and does nothing else.
    ///
    /// # Errors
    /// If a socket has ended.
    pub async fn idle(&mut self, length: Duration) -> Result<Round> {
        self.round(&Load::new(Vec::new(), 0, Pace::Steady { in_flight: 0, length })).await
    }

    /// Lets the clients do this, and waits until all has arrived.
    ///
    /// # Errors
    /// If a socket has ended, or something is refused, lost or disordered and that is not only to be counted.
    pub async fn round(&mut self, load: &Load) -> Result<Round> {
        let meter = Arc::new(Meter::new(load));
        let stop = CancellationToken::new();
        let before = self.cpu()?;
        let mut tasks = Vec::with_capacity(self.crowd.len());
        let wire = self.wire;
        for (index, client) in self.crowd.drain(..).enumerate() {
            let mut place = Place::new(client, index, wire, load, Arc::clone(&meter));
            let (stop, role) = (stop.clone(), role(load, index, wire));
            tasks.push(tokio::spawn(async move {
                let done = place.take_part(role, stop.cancelled()).await;
                done.map_err(|error| format!("socket {index} of the {wire:?}: {error}"))?;
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(place.leave())
            }));
        }
        let outcome = self.watch(pin!(meter.wait_for_end(load))).await;
        let took = meter.began.elapsed();
        let cpu = self.cpu()?.since(before);
        stop.cancel();
        let mut logs = Vec::with_capacity(tasks.len());
        for task in tasks {
            let (client, log) = task.await??;
            self.crowd.push(client);
            logs.push(log);
        }
        outcome.map_err(|error| format!("the {wire:?}: {error}"))?;
        let mut round = gathered(load, logs);
        (round.sent, round.delivered) = (meter.sent(), meter.delivered());
        round.disordered = meter.disordered();
        Ok(Round { took, cpu, ..round })
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

fn role(load: &Load, index: usize, wire: Wire) -> Role {
    let chat_of = |senders: &[(usize, _)]| {
        let sender = senders.iter().find(|sender| sender.0 == index)?;
        Some(Sender { wire, chat: sender.1, index, number: 0 })
    };
    if let Some(sender) = chat_of(&load.senders) {
        return Role::Sends(sender, load.pace);
    }
    chat_of(&load.beside).map_or(Role::Listens, |sender| Role::SendsBeside(sender, load.pace.length()))
}

/// What all sockets saw, in the order of time.
fn gathered(load: &Load, logs: Vec<Log>) -> Round {
    let (mut arrivals, mut answers, mut beside) = (Vec::new(), Vec::new(), Vec::new());
    for (index, log) in logs.into_iter().enumerate() {
        arrivals.extend(log.arrivals);
        let is_beside = load.beside.iter().any(|sender| sender.0 == index);
        if is_beside { &mut beside } else { &mut answers }.extend(log.answers);
    }
    let mut delays: Vec<_> = arrivals.iter().map(Arrival::delay).collect();
    delays.sort_unstable();
    let (sent, delivered, disordered) = (0, 0, 0);
    let (took, cpu) = (Duration::ZERO, Cpu::default());
    Round { sent, delivered, disordered, took, delays, arrivals, answers, beside, cpu }
}

//! What both benches of sends are made of: people who send, a clock with CPU time, and figures.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use messenger_core::{
    Actor, ChatId, Messenger, Password, PasswordCost, Settings,
    commands::{CreateGroupChat, RegisterUser, SendMessage},
    context::Context,
    ports::Store,
};

pub(crate) type Result<T = (), E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

pub(crate) const BODY: &str =
    "A message of one hundred bytes, give or take none, as people write them to each other every day ....";
const _: () = assert!(BODY.len() == 100, "the length that the other figures are for");

/// One round of one line.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    /// Messages a second.
    pub(crate) rate: f64,
    /// Seconds of this process's CPU for 1,000 messages, senders included.
    pub(crate) cpu: f64,
}

/// A clock and the CPU time of this process since a moment.
pub(crate) struct Measured {
    pub(crate) since: Instant,
    cpu: Duration,
}

impl Measured {
    pub(crate) fn begin() -> Self {
        Self { since: Instant::now(), cpu: cpu_of_this_process() }
    }

    pub(crate) fn end(&self, messages: usize) -> Sample {
        let cpu = cpu_of_this_process().saturating_sub(self.cpu);
        let messages = messages as f64;
        Sample {
            rate: messages / self.since.elapsed().as_secs_f64(),
            cpu: cpu.as_secs_f64() / messages * 1000.0,
        }
    }
}

#[cfg(unix)]
fn cpu_of_this_process() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Elsewhere it is not measured.
#[cfg(not(unix))]
fn cpu_of_this_process() -> Duration {
    Duration::ZERO
}

/// The service with people in groups.
pub(crate) struct Service {
    pub(crate) messenger: Messenger,
    pub(crate) people: Vec<Actor>,
    names: Context,
}

impl Service {
    /// With so many people.
    pub(crate) async fn open(store: Arc<dyn Store>, people: usize) -> Result<Self> {
        // Passwords are not what is measured here.
        let cost = PasswordCost { memory_kib: 8, passes: 1, ..PasswordCost::default() };
        let settings = Settings { password_cost: cost, ..Settings::default() };
        let messenger = Messenger::builder(store).settings(settings).build()?;
        let mut service = Self { messenger, people: vec![], names: Context::system() };
        for number in 0..people {
            let actor = service.register(number).await?;
            service.people.push(actor);
        }
        Ok(service)
    }

    async fn register(&self, number: usize) -> Result<Actor> {
        let register = RegisterUser {
            username: format!("person{number}"),
            email: format!("person{number}@example.org"),
            password: Password::new("correct horse battery"),
            display_name: None,
            device: None,
        };
        let registered = self.messenger.execute(&Actor::anonymous(), register).await?;
        Ok(self.messenger.authenticate(registered.token.expose()).await?)
    }

    /// A group of these people, the first of whom makes it.
    pub(crate) async fn make_group(&self, members: &[usize]) -> Result<ChatId> {
        let member_ids =
            members.iter().map(|member| self.people[*member].user()).collect::<Result<_, _>>()?;
        let create = CreateGroupChat { title: "Tea".into(), member_ids, client_id: None };
        Ok(self.messenger.execute(&self.people[members[0]], create).await?.value.id)
    }

    /// Each sender, with their chats, waits for the commit of a message before they send the next one. Gives how many
    /// were sent.
    pub(crate) async fn send_until(
        &self,
        until: Instant,
        senders: Vec<(usize, Vec<ChatId>)>,
    ) -> Result<usize> {
        let tasks: Vec<_> = senders
            .into_iter()
            .map(|(number, chats)| {
                let (messenger, actor) = (self.messenger.clone(), self.people[number]);
                tokio::spawn(send_until(until, messenger, actor, chats, number, self.names.clone()))
            })
            .collect();
        let mut sent = 0;
        for task in tasks {
            sent += task.await??;
        }
        Ok(sent)
    }
}

async fn send_until(
    until: Instant,
    messenger: Messenger,
    actor: Actor,
    chats: Vec<ChatId>,
    number: usize,
    names: Context,
) -> Result<usize> {
    let mut sent = 0;
    while Instant::now() < until {
        let send = SendMessage {
            chat_id: chats[(number + sent) % chats.len()],
            body: BODY.to_owned(),
            client_id: Some(names.id::<()>().to_string()),
            reply_to: None,
        };
        messenger.execute(&actor, send).await?;
        sent += 1;
    }
    Ok(sent)
}

pub(crate) fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

pub(crate) struct Figures {
    pub(crate) lowest: f64,
    pub(crate) median: f64,
    pub(crate) highest: f64,
}

impl Figures {
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Self { lowest: at(0), median: at(values.len() / 2), highest: at(values.len().saturating_sub(1)) }
    }
}

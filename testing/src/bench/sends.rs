use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use messenger_core::{ChatId, ports::Store};

use super::{Bare, Inserter, Options, Result, Service, Table};
use crate::ServerCpu;

/// People there are, and clients that insert at the most.
pub const PEOPLE: usize = 256;
/// How many chats they write to.
pub const CHATS: [usize; 3] = [1, 64, 1000];

const SENDERS: [usize; 4] = [1, 8, 64, 256];

/// The name of the line in which so many clients insert rows.
pub fn plain(clients: usize) -> String {
    format!("plain INSERT, {clients} clients")
}

/// The name of the line in which so many senders write to so many chats.
pub fn line(senders: usize, chats: usize) -> String {
    format!("{senders} senders, {chats} chats")
}

/// Sends on a server, beside bare inserts on the same.
#[derive(Debug)]
pub struct Sends<C> {
    service: Service,
    places: Vec<Place>,
    bare: Bare<C>,
    rounds: usize,
    length: Duration,
    /// So many senders only.
    only: Option<usize>,
}

impl<C: Inserter> Sends<C> {
    /// Makes people and chats in this store. `--senders` may ask for one line only.
    pub async fn prepare(store: Arc<dyn Store>, bare: Bare<C>, options: &Options) -> Result<Self> {
        let service = Service::open(store, PEOPLE).await?;
        let mut places = Vec::new();
        for count in CHATS {
            eprintln!("making {count} chats");
            places.push(Place::make(&service, count).await?);
        }
        let length = options.length(Duration::from_millis(500), Duration::from_millis(1500));
        Ok(Self {
            service,
            places,
            bare,
            rounds: options.rounds(),
            length,
            only: options.number("--senders"),
        })
    }

    /// Measures all lines and prints them. `batches` is the name of the bare batches.
    pub async fn measure(mut self, batches: &'static str, cpu: Option<ServerCpu>) -> Result<Table> {
        eprintln!("warming up");
        // What a connection does for the first time costs more.
        self.round(&mut Table::new(batches, None)).await?;
        let mut table = Table::new(batches, cpu);
        for round in 1..=self.rounds {
            eprintln!("round {round} of {}", self.rounds);
            self.round(&mut table).await?;
        }
        self.service.close().await;
        table.print();
        Ok(table)
    }

    async fn round(&mut self, table: &mut Table) -> Result {
        let batches = table.batches();
        table.measure(batches, &plain(self.only.unwrap_or(1)), self.bare.batches_for(self.length)).await?;
        for senders in SENDERS.into_iter().filter(|senders| self.only.is_none_or(|only| *senders == only)) {
            let plain = plain(senders);
            table.measure(&plain, &plain, self.bare.insert_for(self.length, senders)).await?;
            for place in &self.places {
                let sent = place.send_for(&self.service, self.length, senders);
                table.measure(&line(senders, place.chats.len()), &plain, sent).await?;
            }
        }
        Ok(())
    }
}

/// Chats, and who writes to which.
#[derive(Debug)]
struct Place {
    chats: Vec<ChatId>,
    /// By person.
    of: Vec<Vec<ChatId>>,
}

impl Place {
    /// One chat has everybody in it, many have 16 people each, and the first person is in all.
    async fn make(service: &Service, count: usize) -> Result<Self> {
        let mut place = Self { chats: vec![], of: vec![vec![]; PEOPLE] };
        for number in 0..count {
            let members: Vec<usize> = if count == 1 {
                (0..PEOPLE).collect()
            } else {
                let window =
                    (0..16).map(|member| (number * 4 + member) % PEOPLE).filter(|person| *person != 0);
                std::iter::once(0).chain(window).collect()
            };
            let chat = service.make_group(&members).await?;
            members.iter().for_each(|person| place.of[*person].push(chat));
            place.chats.push(chat);
        }
        Ok(place)
    }

    async fn send_for(&self, service: &Service, length: Duration, senders: usize) -> Result<usize> {
        let people = (0..senders).map(|sender| sender * PEOPLE / senders);
        let senders = people.map(|person| (person, self.of[person].clone())).collect();
        service.send_until(Instant::now() + length, senders).await
    }
}

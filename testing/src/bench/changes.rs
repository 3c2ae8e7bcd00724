use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use messenger_core::{
    ChatId, Timestamp, UserId,
    ports::{Appended, MessageRecord, Store},
    testkit::World,
};

use super::{BODY, Figures, Options, Result, verdict};
use crate::{ServerCpu, cpu::cpu_of_this_process};

/// How many idle chats there are in the stores that are compared, beside those that are active.
pub const IDLE: [usize; 2] = [0, 99_000];
/// Messages of each idle chat, written in 2025. In a tenth of the chats the second was edited, and the third deleted.
pub const MESSAGES_OF_IDLE: usize = 3;
/// Chats that are not idle.
const ACTIVE: usize = 1_000;
/// In how many of them something has changed since the time that is asked for.
const CHANGED: [usize; 3] = [ACTIVE, 10, 0];
/// As many as a node asks for.
const LIMIT: usize = 10_000;
/// How many times as long it may take, and as much CPU, beside the most chats as beside the fewest.
const AIM: f64 = 1.5;
const PEOPLE: usize = 32;
/// Changes under way at the same time while a store is filled.
const AT_ONCE: usize = 32;
/// Chats that get their messages in the same batch.
const TOGETHER: usize = 64;

/// A store with many chats, which is asked what has changed.
#[derive(Debug)]
pub struct Changes {
    world: World,
    chats: usize,
    /// Times, and how many chats have changed since then.
    since: Vec<(usize, Timestamp)>,
}

/// A chat with a system message and two texts.
struct Place {
    chat: ChatId,
    texts: [MessageRecord; 2],
}

impl Changes {
    /// Adds chats to a store that has so many idle ones and nobody else's. Of those that have changed lately a tenth have an
    /// edited text, a tenth a deleted one, and the others a new one.
    pub async fn beside(idle: usize, store: Arc<dyn Store>) -> Self {
        let world = World::new(store);
        let places = make_chats(&world).await;
        let mut since = vec![];
        for (index, changed) in CHANGED.into_iter().enumerate() {
            since.push((changed, world.tick()));
            let fewer = CHANGED.get(index + 1).copied().unwrap_or(0);
            let lately = (fewer..changed).zip(&places[fewer..changed]);
            let work = async |(number, place)| change(&world, number, place).await;
            stream::iter(lately).for_each_concurrent(AT_ONCE, work).await;
        }
        Self { world, chats: idle + ACTIVE, since }
    }

    /// Asks each of the stores in turns, and prints what a call takes; with the CPU time of this server if it is given.
    pub async fn compare(stores: &[Self], mut cpu: Option<ServerCpu>, options: &Options) -> Result {
        let length = options.length(Duration::from_millis(200), Duration::from_millis(500));
        let mut lines: Vec<Line<'_>> = stores.iter().flat_map(Self::lines).collect();
        // The first round warms up.
        for round in 0..=options.rounds() {
            for line in &mut lines {
                let cost = line.ask_for(length, cpu.as_mut()).await?;
                if round > 0 {
                    line.rounds.push(cost);
                }
            }
        }
        print(&lines, cpu.is_some());
        Ok(())
    }

    /// Those with the fewest changes first.
    fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let line = |&(changed, since)| Line { of: self, changed, since, rounds: vec![] };
        self.since.iter().rev().map(line)
    }
}

async fn make_chats(world: &World) -> Vec<Place> {
    let mut people = vec![];
    for number in 0..PEOPLE {
        people.push(world.user(&format!("person{number}")).await);
    }
    let groups = stream::iter(0..ACTIVE).map(async |number| {
        let [owner, other] = [number, number + 1].map(|number| people[number % PEOPLE]);
        (world.group([owner, other]).await, owner)
    });
    let groups: Vec<_> = groups.buffered(AT_ONCE).collect().await;
    let mut places = vec![];
    for groups in groups.chunks(TOGETHER) {
        places.extend(send_two(world, groups).await);
    }
    places
}

/// Sends two texts to each of these chats, all in one batch.
async fn send_two(world: &World, groups: &[(ChatId, UserId)]) -> Vec<Place> {
    let texts = groups.iter().flat_map(|(chat, owner)| [(); 2].map(|()| world.text(*chat, *owner, BODY)));
    let texts: Vec<_> = texts.collect();
    let appended = world.store.append_messages(&texts).await.unwrap();
    let mut records = appended.into_iter().map(|appended| appended.unwrap()).map(Appended::into_record);
    let mut place = |(chat, _): &(ChatId, UserId)| {
        let texts = [records.next().unwrap(), records.next().unwrap()];
        Place { chat: *chat, texts }
    };
    groups.iter().map(&mut place).collect()
}

async fn change(world: &World, number: usize, place: &Place) {
    match number % 10 {
        0 => drop(world.edit(&place.texts[0], BODY).await),
        1 => drop(world.delete(&place.texts[1]).await),
        _ => drop(world.send(place.chat, place.texts[0].sender, BODY).await),
    }
}

/// The same question to the same store.
struct Line<'a> {
    of: &'a Changes,
    changed: usize,
    since: Timestamp,
    rounds: Vec<Cost>,
}

/// What a call takes, in microseconds.
#[derive(Clone, Copy)]
struct Cost {
    time: f64,
    /// CPU of the server.
    server: f64,
    /// CPU of this process.
    own: f64,
}

impl Line<'_> {
    async fn ask_for(&self, length: Duration, mut cpu: Option<&mut ServerCpu>) -> Result<Cost> {
        let mut used = || cpu.as_mut().map(|cpu| cpu.used()).unwrap_or_default();
        let (server, own, began) = (used(), cpu_of_this_process(), Instant::now());
        let mut calls = 0.0;
        while began.elapsed() < length {
            let listed = self.of.world.store.changed_since(self.since, LIMIT).await?;
            assert_eq!(listed.len(), self.changed);
            calls += 1.0;
        }
        let of_a_call = |time: Duration| time.as_secs_f64() * 1e6 / calls;
        let (time, own) = (began.elapsed(), cpu_of_this_process().saturating_sub(own));
        let server = used().saturating_sub(server);
        Ok(Cost { time: of_a_call(time), server: of_a_call(server), own: of_a_call(own) })
    }

    fn figures(&self, figure: impl Fn(&Cost) -> f64) -> Figures {
        Figures::of(self.rounds.iter().map(figure))
    }

    /// The median of the ratios of each round.
    fn ratio(&self, to: &Self, figure: impl Fn(&Cost) -> f64) -> f64 {
        let rounds = self.rounds.iter().zip(&to.rounds);
        Figures::of(rounds.map(|(ours, theirs)| figure(ours) / figure(theirs))).median
    }
}

fn print(lines: &[Line<'_>], server: bool) {
    println!(
        "\n| chats | changed | time of a call | (lowest) | CPU of the server | (lowest) | own CPU | (lowest) |"
    );
    println!("|--:|--:|--:|--:|--:|--:|--:|--:|");
    for line in lines {
        print!("| {:>7} | {:>5} |", line.of.chats, line.changed);
        for (figure, known) in columns(server) {
            let figures = line.figures(figure);
            if known {
                print!(" {:>8.0} | {:>8.0} |", figures.median, figures.lowest);
            } else {
                print!(" {:>8} | {:>8} |", "", "");
            }
        }
        println!();
    }
    println!("\nIn microseconds. Aims:");
    let (few, many) = lines.split_at(CHANGED.len());
    for (few, many) in few.iter().zip(many) {
        let ratios = columns(server).into_iter().filter(|(_, known)| *known);
        let ratios: Vec<f64> = ratios.map(|(figure, _)| many.ratio(few, figure)).collect();
        let shown: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
        println!(
            "  {} changed: at most {AIM} times as much beside {} chats as beside {}: {}, {}",
            few.changed,
            many.of.chats,
            few.of.chats,
            shown.join(", "),
            verdict(ratios.iter().all(|ratio| *ratio <= AIM))
        );
    }
}

type Figure = fn(&Cost) -> f64;

/// Figures, and whether each is known.
fn columns(server: bool) -> [(Figure, bool); 3] {
    [(|cost| cost.time, true), (|cost| cost.server, server), (|cost| cost.own, true)]
}

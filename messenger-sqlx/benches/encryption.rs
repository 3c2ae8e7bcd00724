//! What encryption at rest costs: sends, pages of history and connecting, over the same store with and without it.
//!
//! `cargo bench -p messenger-sqlx --all-features --bench encryption -- --help`

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use messenger_core::{
    ChatId,
    encryption::{KeyRing, SealSettings, SealedStore},
    ports::Store,
};
use messenger_sqlx::{PostgresStore, SqliteStore};
use messenger_testing::{
    Database, PrivateServer, ServerCpu,
    bench::{Options, Pairs, Result, Service},
};
use tempfile::TempDir;

const HELP: &str = "\
What encryption at rest costs, over two stores of the same kind, one of which is sealed, in turns: sends of 100 bytes by 64
people and by one, pages of 50 messages by one author and by 50, and what a client gets that connects and has 100 chats. Keys
are in memory, as they are on a server that has run for a while.

Usage: cargo bench -p messenger-sqlx --all-features --bench encryption -- [OPTION]... [PART]...

  sqlite            files in the target directory
  postgres          a private server with PostgreSQL's own settings (fsync = on), in the folder for temporary files: set
                    TMPDIR to a folder on a disk where that is none

  --quick           fewer and shorter rounds
  --help            this";

const SIDES: [&str; 2] = ["plain", "encrypted"];
const PEOPLE: usize = 64;
const CHATS: usize = 100;
const PAGE: usize = 50;

fn main() -> Result {
    let Some(options) = Options::read(HELP, &["sqlite", "postgres"], &[])? else { return Ok(()) };
    tokio::runtime::Runtime::new()?.block_on(async {
        if options.wants("sqlite") {
            sqlite(&options).await?;
        }
        if options.wants("postgres") {
            postgres(&options).await?;
        }
        Ok(())
    })
}

async fn sqlite(options: &Options) -> Result {
    // Where the build is, which is on a disk; the system's folder for temporary files may be in memory.
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    let [plain, sealed] = SIDES.map(|side| SqliteStore::open(folder.path().join(format!("{side}.db"))));
    let (plain, sealed): (Arc<dyn Store>, Arc<dyn Store>) = (Arc::new(plain.await?), Arc::new(sealed.await?));
    println!("\nSQLite");
    measure([plain, sealed], None, options).await
}

async fn postgres(options: &Options) -> Result {
    let server = PrivateServer::start(&[]);
    let [plain, sealed] = [Database::empty(server.url()).await, Database::empty(server.url()).await];
    let stores: [Arc<dyn Store>; 2] = [
        Arc::new(PostgresStore::connect(&plain.url()).await?),
        Arc::new(PostgresStore::connect(&sealed.url()).await?),
    ];
    println!("\nPostgreSQL");
    measure(stores, Some(server.cpu()), options).await
}

async fn measure(stores: [Arc<dyn Store>; 2], cpu: Option<ServerCpu>, options: &Options) -> Result {
    let [plain, sealed] = stores;
    let keys = Arc::new(KeyRing::new(&[7; 32]));
    let sealed = Arc::new(SealedStore::open(sealed, keys, SealSettings::default()).await?);
    let sides = [Side::fill(plain).await?, Side::fill(sealed).await?];
    let length = options.length(Duration::from_millis(200), Duration::from_millis(1000));
    // What is done for the first time costs more.
    round(&mut Pairs::new(SIDES, None), &sides, length).await?;
    let mut pairs = Pairs::new(SIDES, cpu);
    for _ in 0..2 * options.rounds() {
        round(&mut pairs, &sides, length).await?;
    }
    pairs.print();
    for side in sides {
        side.service.close().await;
    }
    Ok(())
}

async fn round(pairs: &mut Pairs, sides: &[Side; 2], length: Duration) -> Result {
    pairs.measure("send, 64 people", |side| sides[side].send(length, PEOPLE)).await?;
    pairs.measure("send, 1 person", |side| sides[side].send(length, 1)).await?;
    pairs.measure("page of 50 by one author", |side| sides[side].page(length, sides[side].of_one)).await?;
    pairs.measure("page of 50 by 50 authors", |side| sides[side].page(length, sides[side].of_fifty)).await?;
    pairs.measure("connect with 100 chats", |side| sides[side].connect(length)).await
}

/// The service over a store, with people who have written to each other.
struct Side {
    service: Service,
    /// For sends, by person.
    own: Vec<ChatId>,
    of_one: ChatId,
    of_fifty: ChatId,
}

impl Side {
    /// The first person is in a hundred chats, whose first messages are their own, and in no other.
    async fn fill(store: Arc<dyn Store>) -> Result<Self> {
        let service = Service::open(store, 1 + PEOPLE).await?;
        let everybody: Vec<usize> = (0..=PEOPLE).collect();
        let [of_one, of_fifty] =
            [service.make_group(&everybody).await?, service.make_group(&everybody).await?];
        for number in 0..PAGE {
            service.send(1, of_one).await?;
            service.send(1 + number, of_fifty).await?;
        }
        for number in 2..CHATS {
            let chat = service.make_group(&[0, 1 + number % PEOPLE]).await?;
            service.send(1 + number % PEOPLE, chat).await?;
        }
        let mut own = vec![];
        for person in 1..=PEOPLE {
            own.push(service.make_group(&[person]).await?);
        }
        Ok(Self { service, own, of_one, of_fifty })
    }

    async fn send(&self, length: Duration, people: usize) -> Result<usize> {
        let senders = (0..people).map(|number| (1 + number, vec![self.own[number]])).collect();
        self.service.send_until(Instant::now() + length, senders).await
    }

    async fn page(&self, length: Duration, chat: ChatId) -> Result<usize> {
        let (until, mut pages) = (Instant::now() + length, 0);
        while Instant::now() < until {
            assert_eq!(self.service.page(0, chat, PAGE as u32).await?, PAGE);
            pages += 1;
        }
        Ok(pages)
    }

    async fn connect(&self, length: Duration) -> Result<usize> {
        let (until, mut connected) = (Instant::now() + length, 0);
        while Instant::now() < until {
            assert_eq!(self.service.connect(0).await?, CHATS);
            connected += 1;
        }
        Ok(connected)
    }
}

//! Durable sends a second on PostgreSQL through the whole service, and pages of a long history, beside bare SQL on the
//! same server in the same run.
//!
//! `cargo bench -p messenger-sqlx --features postgres --bench postgres -- --help`

mod support;

use std::{hint::black_box, sync::Arc, time::Duration};

use futures::future::try_join_all;
use messenger_core::{
    ChatId, Seq, UserId,
    context::Context,
    ports::{Anchor, MessageStore as _},
};
use messenger_sqlx::PostgresStore;
use messenger_testing::{PrivateServer, ServerCpu, connect, execute};
use sqlx::{Decode, PgConnection, Postgres, Row as _, Type, postgres::PgRow, types::Uuid};
use support::{BODY, Figures, Measured, Result, Sample, Service, verdict};
use tokio::time::Instant;

const HELP: &str = "\
Durable sends a second on PostgreSQL, through Messenger::execute, and pages of a history of 1,000,000 messages, beside
bare SQL on the same server in the same run. The server is a private one with PostgreSQL's own settings (fsync = on),
in the folder for temporary files: set TMPDIR to a folder on a disk where that is none.

Usage: cargo bench -p messenger-sqlx --features postgres --bench postgres -- [OPTION]... [PART]...

  sends        1, 8, 64 and 256 senders over 1, 64 and 1,000 chats
  history      a page of 50 from the middle

  --quick      three rounds of 0.5 s each instead of five of 1.5 s
  --lanes N    batches under way at the same time (default: that of the store)
  --senders N  so many senders only: for a profiler
  --help       this

Rounds are interleaved. Each figure is the median of the rounds and the best of them; a ratio is the median of the
ratios of each round, because what is measured next to each other has had the same disk and the same neighbours.";

fn main() -> Result {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if has("--help") {
        println!("{HELP}");
        return Ok(());
    }
    // `cargo test --benches` starts it without; there is nothing to test here.
    if !has("--bench") || has("--test") {
        return Ok(());
    }
    let (rounds, length) =
        if has("--quick") { (3, Duration::from_millis(500)) } else { (5, Duration::from_millis(1500)) };
    let number = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1);
    let lanes = number("--lanes").map(|lanes| lanes.parse()).transpose()?;
    let only = number("--senders").map(|senders| senders.parse()).transpose()?;
    let all = !has("sends") && !has("history");
    // Each part has a server of its own, so that none is slowed by what another has left to be cleaned up.
    let server = || PrivateServer::start(&["max_connections=400"]);
    tokio::runtime::Runtime::new()?.block_on(async {
        if all || has("history") {
            history(&server(), rounds).await?;
        }
        if all || has("sends") {
            sends(&server(), rounds, length, (lanes, only)).await?;
        }
        Ok(())
    })
}

const PEOPLE: usize = 256;
const SENDERS: [usize; 4] = [1, 8, 64, 256];
const CHATS: [usize; 3] = [1, 64, 1000];
/// Rows of a bare batch, and connections that write such batches: as many as the store has lanes.
const BATCH: usize = 128;
const WRITERS: usize = 2;

async fn sends(
    server: &PrivateServer,
    rounds: usize,
    length: Duration,
    (lanes, only): (Option<usize>, Option<usize>),
) -> Result {
    let mut bare = Bare::open(server).await?;
    let mut store = PostgresStore::builder(server.url());
    if let Some(lanes) = lanes {
        store = store.lanes(lanes);
    }
    let service = Service::open(Arc::new(store.open().await?), PEOPLE).await?;
    let mut places = Vec::new();
    for count in CHATS {
        eprintln!("making {count} chats");
        places.push(Place::make(&service, count).await?);
    }
    let mut conn = connect(server.url()).await;
    for upkeep in ["VACUUM ANALYZE", "CHECKPOINT"] {
        execute(&mut conn, upkeep).await;
    }

    let (mut table, mut cpu) = (Table::default(), server.cpu());
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        table.measure(BATCHES.to_owned(), &mut cpu, bare.batches_for(length)).await?;
        for senders in SENDERS.into_iter().filter(|senders| only.is_none_or(|only| *senders == only)) {
            table.measure(plain(senders), &mut cpu, bare.insert_for(length, senders)).await?;
            for place in &places {
                table
                    .measure(
                        name(senders, place.chats.len()),
                        &mut cpu,
                        place.send_for(&service, length, senders),
                    )
                    .await?;
            }
        }
    }
    table.print();
    service.messenger.close().await;
    Ok(())
}

const BATCHES: &str = "bare UNNEST, 128 rows, 2 writers";

fn plain(clients: usize) -> String {
    format!("plain INSERT, {clients} clients")
}

fn name(senders: usize, chats: usize) -> String {
    format!("{senders} senders, {chats} chats")
}

/// Chats, and who writes to which.
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
        service.send_until((Instant::now() + length).into(), senders).await
    }
}

/// Connections that insert rows of a message's columns into a table without an index but its key: what the server can
/// do when nothing is looked at.
struct Bare {
    connections: Vec<PgConnection>,
    context: Context,
}

const TABLE: &str = "CREATE TABLE bare (
    id uuid NOT NULL PRIMARY KEY, chat_id uuid NOT NULL, sender_id uuid NOT NULL, seq bigint NOT NULL,
    created_revision bigint NOT NULL, revision bigint NOT NULL, texts bigint NOT NULL, created_at bigint NOT NULL,
    kind smallint NOT NULL, edited_at bigint, deleted_at bigint, reply_to uuid, client_id text, fingerprint bytea, body bytea
)";

const INSERT: &str =
    "INSERT INTO bare (id, chat_id, sender_id, seq, created_revision, revision, texts, created_at, kind,
        client_id, fingerprint, body)
    VALUES ($1, $2, $3, $4, $4, $4, $4, $5, 0, $6, $7, $8)";

const INSERT_BATCH: &str = "INSERT INTO bare (id, chat_id, sender_id, seq, created_revision, revision, texts, created_at,
        kind, client_id, fingerprint, body)
    SELECT id, chat, sender, seq, seq, seq, seq, at, 0, name, mark, body
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[], $6::text[], $7::bytea[], $8::bytea[])
        AS a (id, chat, sender, seq, at, name, mark, body)";

impl Bare {
    async fn open(server: &PrivateServer) -> Result<Self> {
        execute(&mut connect(server.url()).await, TABLE).await;
        let mut connections = Vec::new();
        for _ in 0..PEOPLE {
            connections.push(connect(server.url()).await);
        }
        Ok(Self { connections, context: Context::system() })
    }

    /// Each client waits for the commit of a row before it inserts the next one.
    async fn insert_for(&mut self, length: Duration, clients: usize) -> Result<usize> {
        let until = Instant::now() + length;
        let inserted = spread(&mut self.connections, clients, async |mut conn| {
            let mut inserted = 0;
            while Instant::now() < until {
                insert(&mut conn, &self.context).await?;
                inserted += 1;
            }
            Ok((conn, inserted))
        });
        inserted.await
    }

    async fn batches_for(&mut self, length: Duration) -> Result<usize> {
        let until = Instant::now() + length;
        let inserted = spread(&mut self.connections, WRITERS, async |mut conn| {
            let mut inserted = 0;
            while Instant::now() < until {
                insert_batch(&mut conn, &self.context).await?;
                inserted += BATCH;
            }
            Ok((conn, inserted))
        });
        inserted.await
    }
}

/// Lets so many connections work at the same time, and adds up what they have done.
async fn spread<F>(
    connections: &mut Vec<PgConnection>,
    count: usize,
    work: impl Fn(PgConnection) -> F,
) -> Result<usize>
where
    F: Future<Output = Result<(PgConnection, usize)>>,
{
    let workers = connections.drain(..count).map(work).collect::<Vec<_>>();
    let mut sum = 0;
    for (conn, done) in try_join_all(workers).await? {
        connections.push(conn);
        sum += done;
    }
    Ok(sum)
}

async fn insert(conn: &mut PgConnection, context: &Context) -> Result {
    let id = context.id::<()>().as_uuid();
    sqlx::query(INSERT)
        .bind(id)
        .bind(id)
        .bind(id)
        .bind(1_i64)
        .bind(context.now().as_micros())
        .bind(id.to_string())
        .bind(&id.as_bytes()[..])
        .bind(BODY.as_bytes())
        .execute(conn)
        .await?;
    Ok(())
}

async fn insert_batch(conn: &mut PgConnection, context: &Context) -> Result {
    let ids: Vec<Uuid> = (0..BATCH).map(|_| context.id::<()>().as_uuid()).collect();
    sqlx::query(INSERT_BATCH)
        .bind(&ids)
        .bind(&ids)
        .bind(&ids)
        .bind(vec![1_i64; BATCH])
        .bind(vec![context.now().as_micros(); BATCH])
        .bind(ids.iter().map(ToString::to_string).collect::<Vec<_>>())
        .bind(ids.iter().map(|id| &id.as_bytes()[..]).collect::<Vec<_>>())
        .bind(vec![BODY.as_bytes(); BATCH])
        .execute(conn)
        .await?;
    Ok(())
}

/// One round of one line.
#[derive(Clone, Copy)]
struct Line {
    client: Sample,
    /// Seconds of PostgreSQL's CPU for 1,000 messages.
    server: f64,
}

#[derive(Default)]
struct Table(Vec<(String, Vec<Line>)>);

impl Table {
    async fn measure(
        &mut self,
        name: String,
        cpu: &mut ServerCpu,
        work: impl Future<Output = Result<usize>>,
    ) -> Result {
        let (before, measured) = (cpu.used(), Measured::begin());
        let done = work.await?;
        let client = measured.end(done);
        let server = cpu.used().saturating_sub(before).as_secs_f64() / done as f64 * 1000.0;
        let line = Line { client, server };
        match self.0.iter_mut().find(|line| line.0 == name) {
            Some((_, lines)) => lines.push(line),
            None => self.0.push((name, vec![line])),
        }
        Ok(())
    }

    fn print(&self) {
        println!(
            "\n| {:<34} | {:>9} | {:>9} | {:>11} | {:>11} | {:>7} | {:>11} |",
            "", "sends/s", "(best)", "server CPU", "client CPU", "x plain", "CPU x batch"
        );
        println!("|---|--:|--:|--:|--:|--:|--:|");
        for (name, lines) in &self.0 {
            let rates = Figures::of(lines.iter().map(|line| line.client.rate));
            let server = Figures::of(lines.iter().map(|line| line.server));
            let client = Figures::of(lines.iter().map(|line| line.client.cpu));
            let clients = name.split(' ').find_map(|word| word.parse().ok()).unwrap_or(1);
            println!(
                "| {name:<34} | {:>9.0} | {:>9.0} | {:>11.4} | {:>11.4} | {:>7.2} | {:>11.2} |",
                rates.median,
                rates.highest,
                server.lowest,
                client.lowest,
                self.ratio(name, &plain(clients), |line| line.client.rate),
                self.ratio(name, BATCHES, |line| line.server + line.client.cpu),
            );
        }
        println!("\nCPU: seconds for 1,000 messages, the lowest of the rounds. Aims:");
        let measured = |senders: &usize| self.0.iter().any(|line| line.0 == plain(*senders));
        for senders in [64, 256].into_iter().filter(measured) {
            for chats in CHATS {
                let name = name(senders, chats);
                let rate = self.ratio(&name, &plain(senders), |line| line.client.rate);
                let cpu = self.ratio(&name, BATCHES, |line| line.server + line.client.cpu);
                println!("  {name}: 5 times the plain inserts: {rate:.1}, {}", verdict(rate >= 5.0));
                println!(
                    "  {name}: within 3 times the CPU of bare batches: {cpu:.1}, {}",
                    verdict(cpu <= 3.0)
                );
            }
            let hot = self.ratio(&name(senders, 1), &name(senders, 1000), |line| line.client.rate);
            println!(
                "  {senders} senders: one chat at 0.5 of 1,000 chats: {hot:.2}, {}",
                verdict(hot >= 0.5)
            );
        }
        for chats in CHATS.into_iter().filter(|_| measured(&1)) {
            let one = self.ratio(&name(1, chats), &plain(1), |line| line.client.rate);
            println!("  1 sender, {chats} chats: 0.9 of the plain insert: {one:.2}, {}", verdict(one >= 0.9));
        }
    }

    fn ratio(&self, name: &str, to: &str, figure: impl Fn(&Line) -> f64) -> f64 {
        let of = |name: &str| self.0.iter().find(|line| line.0 == name).map_or(&[][..], |line| &line.1);
        Figures::of(of(name).iter().zip(of(to)).map(|(a, b)| figure(a) / figure(b))).median
    }
}

const MESSAGES: i64 = 1_000_000;
const PAGE: usize = 50;
const PAGES: usize = 400;

/// As a host would write it that knows the place and asks nothing else.
const BARE_PAGE: &str =
    "SELECT id, chat_id, seq, created_revision, revision, kind, sender_id, body, client_id, fingerprint,
        reply_to, created_at, edited_at, deleted_at
    FROM messenger.messenger_messages WHERE chat_id = $1 AND seq >= $2 AND seq < $2 + 50 ORDER BY seq";

async fn history(server: &PrivateServer, rounds: usize) -> Result {
    let store = PostgresStore::connect(server.url()).await?;
    let (chat, user) = fill(server).await?;
    let mut bare = connect(server.url()).await;
    let mut ratios = Vec::new();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let places =
            (0..PAGES).map(|page| MESSAGES / 4 + (page as i64 * 7919 + round as i64 * 31) % (MESSAGES / 2));
        let places: Vec<i64> = places.collect();
        let began = Instant::now();
        for place in &places {
            let rows = sqlx::query(BARE_PAGE).bind(chat.as_uuid()).bind(place).fetch_all(&mut bare).await?;
            assert_eq!(rows.len(), PAGE);
            rows.iter().try_for_each(decode)?;
        }
        let plain = began.elapsed();
        let began = Instant::now();
        for place in &places {
            let before = Seq::new(place.unsigned_abs() + PAGE as u64);
            let page = store.history(chat, user, Anchor::Before(before), PAGE).await?;
            assert_eq!(page.messages.len(), PAGE);
        }
        let page = began.elapsed();
        // The first round warms up.
        if round > 0 {
            ratios.push(page.as_secs_f64() / plain.as_secs_f64());
            theirs.push(plain.as_secs_f64() / PAGES as f64 * 1e6);
            ours.push(page.as_secs_f64() / PAGES as f64 * 1e6);
        }
    }
    let (ratio, ours, theirs) =
        (Figures::of(ratios.into_iter()), Figures::of(ours.into_iter()), Figures::of(theirs.into_iter()));
    println!(
        "\nA page of {PAGE} from the middle of {MESSAGES} messages: {:.0} us (lowest {:.0}), the bare query {:.0} us \
         (lowest {:.0}): {:.2} times; aim 1.3: {}",
        ours.median,
        ours.lowest,
        theirs.median,
        theirs.lowest,
        ratio.median,
        verdict(ratio.median <= 1.3)
    );
    Ok(())
}

fn decode(row: &PgRow) -> Result {
    fn read<'r, T: Decode<'r, Postgres> + Type<Postgres>>(row: &'r PgRow, column: usize) -> Result {
        black_box(row.try_get::<T, _>(column)?);
        Ok(())
    }
    for column in [0, 1, 6] {
        read::<Uuid>(row, column)?;
    }
    for column in [2, 3, 4, 11] {
        read::<i64>(row, column)?;
    }
    for column in [12, 13] {
        read::<Option<i64>>(row, column)?;
    }
    for column in [7, 9] {
        read::<Option<Vec<u8>>>(row, column)?;
    }
    read::<i16>(row, 5)?;
    read::<Option<String>>(row, 8)?;
    read::<Option<Uuid>>(row, 10)
}

/// A chat of two with a million messages.
async fn fill(server: &PrivateServer) -> Result<(ChatId, UserId)> {
    eprintln!("writing {MESSAGES} messages");
    let context = Context::system();
    let (chat, user) = (context.id::<messenger_core::Chat>(), context.id());
    let mut conn = connect(server.url()).await;
    let rows = format!(
        "INSERT INTO messenger.messenger_chats (id, kind, created_at, activity_at, revision, last_seq, texts,
            member_count, roster_version)
        VALUES ('{chat}', 1, 1, 1, {MESSAGES}, {MESSAGES}, {MESSAGES}, 1, 1);
        INSERT INTO messenger.messenger_members (chat_id, user_id, role, joined_at, join_order, read_seq, read_texts,
            delivered_seq)
        VALUES ('{chat}', '{user}', 0, 1, 1, 0, 0, 0);
        INSERT INTO messenger.messenger_messages (id, chat_id, seq, sender_id, kind, created_revision, revision, texts,
            created_at, client_id, fingerprint, body)
        SELECT gen_random_uuid(), '{chat}', n, '{user}', 0, n, n, n, n, gen_random_uuid()::text,
            '\\x00112233445566778899aabbccddeeff', '{BODY}'
        FROM generate_series(1, {MESSAGES}) AS n"
    );
    execute(&mut conn, rows).await;
    for upkeep in ["VACUUM ANALYZE", "CHECKPOINT"] {
        execute(&mut conn, upkeep).await;
    }
    Ok((chat, user))
}

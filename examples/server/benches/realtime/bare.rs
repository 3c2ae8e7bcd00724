//! The floor of PostgreSQL: rows of a message's columns, inserted by nobody who looks at anything, into a table without
//! an index but its key.

use std::time::{Duration, Instant};

use messenger_core::context::Context;
use sqlx::{PgConnection, types::Uuid};
use tokio::task::JoinSet;

use crate::{
    Plan, Result,
    crowd::percentile,
    postgres::{Server, connect, execute},
    report::{Best, Report, Row, Series},
    store::WORLD,
};

/// Rows of a batch, and connections that write such batches.
const BATCH: usize = 128;
const WRITERS: usize = 2;

/// Reports what it measures, and answers with the seconds of PostgreSQL's CPU that 1,000 rows took in each round.
pub(crate) async fn measure(plan: &Plan, server: &Server, report: &mut Report) -> Result<Vec<f64>> {
    let mut writers = Writers::open(server).await?;
    let (mut rates, mut cpus) = (Vec::new(), Vec::new());
    let mut delays = [(50, Vec::new()), (99, Vec::new())];
    // The first round warms up.
    for round in 0..=plan.rounds {
        let batches = writers.insert_for(plan.length, WRITERS, BATCH).await?;
        let alone = writers.insert_for(plan.length, 1, 1).await?;
        if round > 0 {
            rates.push(batches.rows as f64 / batches.took.as_secs_f64());
            cpus.push(batches.cpu.as_secs_f64() / batches.rows as f64 * 1e3);
            for (percent, delays) in &mut delays {
                delays.push(percentile(&alone.delays, *percent) * 1e3);
            }
        }
    }
    drop(writers);
    server.drop(DATABASE).await?;

    let series = |measured: Vec<f64>| Series { measured, floor: Vec::new() };
    let batches = |what: &str| format!("{what}, bare UNNEST of {BATCH} rows, {WRITERS} writers");
    report.add(Row::new("", batches("rows a second"), "1/s").best(Best::Highest), series(rates));
    report.add(Row::new("", batches("PostgreSQL CPU per 1,000 rows"), "s"), series(cpus.clone()));
    for (percent, delays) in delays {
        report.add(
            Row::new("", format!("bare commit of one row p{percent}, one writer"), "ms"),
            series(delays),
        );
    }
    Ok(cpus)
}

const DATABASE: &str = "bare";

/// Without constraints: they are for what the store promises.
const TABLE: &str =
    "CREATE TABLE bare (LIKE messenger.messenger_messages); ALTER TABLE bare ADD PRIMARY KEY (id)";

const INSERT: &str = "INSERT INTO bare (id, chat_id, sender_id, seq, created_revision, revision, texts, created_at,
        kind, client_id, fingerprint, body)
    SELECT id, chat, sender, seq, seq, seq, seq, at, 0, name, mark, body
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[], $6::text[], $7::bytea[], $8::bytea[])
        AS a (id, chat, sender, seq, at, name, mark, body)";

/// Those who insert into a copy of the world.
struct Writers<'s> {
    server: &'s Server,
    connections: Vec<PgConnection>,
    context: Context,
}

/// What one round came to.
struct Inserted {
    rows: usize,
    took: Duration,
    /// Of each commit, in rising order.
    delays: Vec<Duration>,
    /// PostgreSQL's.
    cpu: Duration,
}

impl<'s> Writers<'s> {
    async fn open(server: &'s Server) -> Result<Self> {
        server.copy(WORLD, DATABASE).await?;
        let mut connections = Vec::new();
        for _ in 0..WRITERS {
            connections.push(connect(&server.url(DATABASE)).await?);
        }
        execute(&mut connections[0], TABLE.to_owned()).await?;
        Ok(Self { server, connections, context: Context::system() })
    }

    /// Each writer waits for the commit of a batch before it writes the next one.
    async fn insert_for(&mut self, length: Duration, writers: usize, batch: usize) -> Result<Inserted> {
        let mut cpu = self.server.cpu();
        let (before, began) = (cpu.used(), Instant::now());
        let mut tasks = JoinSet::new();
        for conn in self.connections.drain(..writers) {
            tasks.spawn(insert_until(began + length, conn, self.context.clone(), batch));
        }
        let mut delays = Vec::new();
        while let Some(done) = tasks.join_next().await {
            let (conn, of_writer) = done??;
            self.connections.push(conn);
            delays.extend(of_writer);
        }
        let (took, cpu) = (began.elapsed(), cpu.used().saturating_sub(before));
        delays.sort_unstable();
        Ok(Inserted { rows: delays.len() * batch, took, delays, cpu })
    }
}

async fn insert_until(
    end: Instant,
    mut conn: PgConnection,
    context: Context,
    batch: usize,
) -> Result<(PgConnection, Vec<Duration>)> {
    let mut delays = Vec::new();
    while Instant::now() < end {
        let began = Instant::now();
        insert(&mut conn, &context, batch).await?;
        delays.push(began.elapsed());
    }
    Ok((conn, delays))
}

async fn insert(conn: &mut PgConnection, context: &Context, batch: usize) -> Result {
    const BODY: [u8; 100] = [b'.'; 100];
    let ids: Vec<Uuid> = (0..batch).map(|_| context.id::<()>().as_uuid()).collect();
    sqlx::query(INSERT)
        .bind(&ids)
        .bind(&ids)
        .bind(&ids)
        .bind(vec![1_i64; batch])
        .bind(vec![context.now().as_micros(); batch])
        .bind(ids.iter().map(ToString::to_string).collect::<Vec<_>>())
        .bind(ids.iter().map(|id| &id.as_bytes()[..]).collect::<Vec<_>>())
        .bind(vec![&BODY[..]; batch])
        .execute(conn)
        .await?;
    Ok(())
}

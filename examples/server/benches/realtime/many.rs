//! Connecting of somebody who is in very many chats.

use std::time::{Duration, Instant};

use messenger_core::ChatId;

use crate::{
    Plan, Result,
    report::{Report, Row, Series},
    sides::serve_alone,
    store::Store,
    wire::Wire,
    world::{Person, World},
};

/// What is counted only now and then has been counted by then.
const SETTLE: Duration = Duration::from_millis(1500);

/// What one connection cost.
struct Connected {
    took: Duration,
    /// KiB.
    read: f64,
    written: f64,
    /// MiB that the server had more at the worst moment.
    memory: f64,
    /// Rows and entries of indexes that PostgreSQL read.
    rows: Option<f64>,
}

pub(crate) async fn measure(plan: &Plan, world: &World, report: &mut Report) -> Result {
    for (person, chats) in &world.stock.many {
        for (what, known) in [("a client that names nothing", &[][..]), ("a client that names all", chats)] {
            let mut times = [Vec::new(), Vec::new()];
            for _ in 0..plan.rounds {
                let mut side = serve_alone(plan, world).await?;
                // What a process needs once is there.
                side.connect([(&world.pairs[0].0[0], 0)]).await?;
                side.resume().await?;
                for time in &mut times {
                    let address = side.process.address;
                    let rows = rows(world).await?;
                    side.process.forget_largest()?;
                    let before = side.process.resident()?;
                    let mut connected = connect(address, person, known).await?;
                    tokio::time::sleep(SETTLE).await;
                    connected.memory =
                        side.process.largest()?.saturating_sub(before) as f64 / 1024.0 / 1024.0;
                    connected.rows = self::rows(world).await?.zip(rows).map(|(after, before)| after - before);
                    time.push(connected);
                }
            }
            for (time, connected) in ["first", "second"].iter().zip(&times) {
                add(report, &format!("{} chats, {what}, {time} time", chats.len()), connected);
            }
        }
    }
    Ok(())
}

async fn connect(
    address: std::net::SocketAddr,
    person: &Person,
    known: &[(ChatId, u64)],
) -> Result<Connected> {
    let began = Instant::now();
    let mut client = Wire::WebSocket.open(address, &person.token, 0).await?;
    Wire::WebSocket.resume_with(&mut client, known).await?;
    let (read, written) = client.traffic();
    let kib = |bytes: u64| bytes as f64 / 1024.0;
    Ok(Connected { took: began.elapsed(), read: kib(read), written: kib(written), memory: 0.0, rows: None })
}

fn add(report: &mut Report, what: &str, connected: &[Connected]) {
    let mut add = |figure: &str, unit, of: &dyn Fn(&Connected) -> f64| {
        let measured = connected.iter().map(of).collect();
        report
            .add(Row::new("many", format!("{what}: {figure}"), unit), Series { measured, floor: Vec::new() });
    };
    add("until caught up", "ms", &|connected| connected.took.as_secs_f64() * 1e3);
    add("to the client", "KiB", &|connected| connected.read);
    add("from the client", "KiB", &|connected| connected.written);
    add("more memory of the server, at most", "MiB", &|connected| connected.memory);
    if connected.iter().all(|connected| connected.rows.is_some()) {
        add("rows and index entries read", "", &|connected| connected.rows.unwrap_or_default());
    }
}

/// Read so far, where the store counts that.
async fn rows(world: &World) -> Result<Option<f64>> {
    match &world.store {
        Store::Sqlite(_) => Ok(None),
        Store::Postgres(server) => {
            tokio::time::sleep(SETTLE).await;
            Ok(Some(server.rows_read("server").await?))
        }
    }
}

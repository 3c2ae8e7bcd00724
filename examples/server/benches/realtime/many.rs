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

/// What connecting leaves to be done later is done by then.
const SETTLE: Duration = Duration::from_millis(1500);
/// A connection of PostgreSQL that does nothing has said by then what it read.
const COUNTED: Duration = Duration::from_secs(11);

/// What one connection cost.
struct Connected {
    took: Duration,
    /// KiB.
    read: f64,
    written: f64,
    /// MiB that the server had more at the worst moment.
    memory: f64,
}

/// What a client says that it has.
enum Has<'h> {
    Chats(&'h [(ChatId, u64)]),
    Position(&'h str),
}

pub(crate) async fn measure(plan: &Plan, world: &World, report: &mut Report) -> Result {
    for (person, chats) in &world.stock.many {
        let at = position(plan, world, person).await?;
        for (what, has) in [
            ("a client that names nothing", Has::Chats(&[])),
            ("a client that names all", Has::Chats(chats)),
            ("a client at a position", Has::Position(&at)),
        ] {
            let mut times = [Vec::new(), Vec::new()];
            let mut rows = Vec::new();
            for round in 1..=plan.rounds {
                let mut side = serve_alone(plan, world).await?;
                // What a process needs once is there.
                side.connect([(&world.pairs[0].0[0], 0)]).await?;
                side.resume().await?;
                for time in &mut times {
                    let address = side.process.address;
                    side.process.forget_largest()?;
                    let before = side.process.resident()?;
                    let mut connected = connect(address, person, &has).await?;
                    tokio::time::sleep(SETTLE).await;
                    connected.memory =
                        side.process.largest()?.saturating_sub(before) as f64 / 1024.0 / 1024.0;
                    time.push(connected);
                }
                if let Store::Postgres(server) = &world.store
                    && round == plan.rounds
                {
                    tokio::time::sleep(COUNTED).await;
                    rows.push(server.rows_read("server").await?);
                }
            }
            for (time, connected) in ["first", "second"].iter().zip(&times) {
                add(report, &format!("{} chats, {what}, {time} time", chats.len()), connected);
            }
            if !rows.is_empty() {
                let what = format!("{} chats, {what}: rows and index entries read, both times", chats.len());
                report.add(Row::new("many", what, ""), Series { measured: rows, floor: Vec::new() });
            }
        }
    }
    Ok(())
}

/// The position of one who has everything.
async fn position(plan: &Plan, world: &World, person: &Person) -> Result<String> {
    let side = serve_alone(plan, world).await?;
    let mut client = Wire::WebSocket.open(side.process.address, &person.token, 0).await?;
    Wire::WebSocket.resume_by(&mut client, None).await
}

async fn connect(address: std::net::SocketAddr, person: &Person, has: &Has<'_>) -> Result<Connected> {
    let began = Instant::now();
    let mut client = Wire::WebSocket.open(address, &person.token, 0).await?;
    match has {
        Has::Chats(known) => Wire::WebSocket.resume_with(&mut client, known).await?,
        Has::Position(position) => drop(Wire::WebSocket.resume_by(&mut client, Some(position)).await?),
    }
    let (read, written) = client.traffic();
    let kib = |bytes: u64| bytes as f64 / 1024.0;
    Ok(Connected { took: began.elapsed(), read: kib(read), written: kib(written), memory: 0.0 })
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
}

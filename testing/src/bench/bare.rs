use std::{
    future::Future,
    time::{Duration, Instant},
};

use super::{BATCH, Result};

/// A connection that inserts rows of a message's columns into a table without an index but its key: what the server can
/// do when nothing is looked at.
pub trait Inserter: Send + 'static {
    /// Inserts so many rows, 1 or [`BATCH`], by one statement that is a transaction of its own, and waits until it is
    /// committed.
    fn insert(&mut self, rows: usize) -> impl Future<Output = Result> + Send;
}

/// Connections that insert.
#[derive(Debug)]
pub struct Bare<C>(Vec<C>);

impl<C: Inserter> Bare<C> {
    /// Connections that write batches at the same time: enough that the server has the next one while it commits one.
    pub const WRITERS: usize = 2;

    /// These connections, one for each client.
    pub fn new(connections: Vec<C>) -> Self {
        Self(connections)
    }

    /// So many clients insert row by row, and each waits for one before the next. Gives how many rows there are then.
    pub(super) async fn insert_for(&mut self, length: Duration, clients: usize) -> Result<usize> {
        self.run(length, clients, 1).await
    }

    pub(super) async fn batches_for(&mut self, length: Duration) -> Result<usize> {
        self.run(length, Self::WRITERS, BATCH).await
    }

    async fn run(&mut self, length: Duration, clients: usize, rows: usize) -> Result<usize> {
        let until = Instant::now() + length;
        // A task each, as those who send through the service are, so that both have all cores.
        let clients: Vec<_> =
            self.0.drain(..clients).map(|client| tokio::spawn(insert_until(until, client, rows))).collect();
        let (mut back, mut sum) = (Vec::new(), 0);
        for client in clients {
            let (client, inserted) = client.await??;
            back.push(client);
            sum += inserted;
        }
        // To where they were, so that few clients are always the same, who have run the statement before.
        self.0.splice(..0, back);
        Ok(sum)
    }
}

async fn insert_until<C: Inserter>(until: Instant, mut client: C, rows: usize) -> Result<(C, usize)> {
    let mut inserted = 0;
    while Instant::now() < until {
        client.insert(rows).await?;
        inserted += rows;
    }
    Ok((client, inserted))
}

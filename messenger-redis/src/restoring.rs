use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use messenger_core::{ConnectionId, UserId};
use redis::{Cmd, FromRedisValue, Pipeline};
use tokio::time::Instant;

use crate::{
    code::Code,
    connections::Connections,
    leases::{Home, Leases, Loss, PARTITIONS, Partition, partition},
    requests::{Open, Requests, is_forbidden, is_unknown_script},
    server::ServerError,
    topology::Topology,
};

/// Leases, or people, in one call of a script; Redis does nothing else meanwhile.
pub(crate) const AT_ONCE: usize = 500;
/// Within this time all nodes have restored what the server lost: each of them calls it every second.
const SETTLING: Duration = Duration::from_millis(2500);
/// After a server did not answer for this long, leases may have ended only because nobody could renew them.
const AWAY: Duration = Duration::from_secs(2);

pub(crate) static RENEW: Code = Code::new(include_str!("scripts/renew.lua"));

pub(crate) struct Keys {
    pub(crate) due: String,
    pub(crate) leases: String,
    pub(crate) claimed: String,
    pub(crate) epoch: String,
    pub(crate) settling: String,
}

impl Keys {
    fn new(prefix: &str, partition: usize) -> Self {
        let key = |name: &str| format!("{prefix}:{{{prefix}:presence:{partition}}}:{name}");
        Self {
            due: key("due"),
            leases: key("leases"),
            claimed: key("claimed"),
            epoch: key("epoch"),
            settling: key("settling"),
        }
    }

    pub(crate) fn all(&self) -> [&str; 5] {
        [&self.due, &self.leases, &self.claimed, &self.epoch, &self.settling]
    }
}

/// The partitions on their servers, each of which is given the leases that it may have lost before it is used.
pub(crate) struct Partitions {
    connections: Connections,
    pub(crate) keys: [Keys; PARTITIONS],
    leases: Mutex<Leases>,
    /// For each server that has been used.
    restoring: Mutex<HashMap<Arc<str>, Arc<tokio::sync::Mutex<()>>>>,
}

/// A connection over which a server has been given the leases of these partitions.
pub(crate) struct Ready {
    requests: Arc<Requests>,
    open: Open,
    partitions: [bool; PARTITIONS],
}

impl Ready {
    pub(crate) const fn has(&self, partition: usize) -> bool {
        self.partitions[partition]
    }
}

impl Partitions {
    pub(crate) fn new(topology: Arc<Topology>) -> Self {
        let keys = std::array::from_fn(|partition| Keys::new(&topology.server.prefix, partition));
        let connections = Connections::new(topology);
        Self { connections, keys, leases: Mutex::default(), restoring: Mutex::default() }
    }

    pub(crate) fn topology(&self) -> &Arc<Topology> {
        &self.connections.topology
    }

    pub(crate) fn leases(&self) -> MutexGuard<'_, Leases> {
        // No holder leaves it half changed.
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something on each server of these partitions; what it came to on each. One that can't be reached does not hold up
    /// what is done on the others.
    pub(crate) async fn on_each<T, W>(
        &self,
        partitions: impl IntoIterator<Item = usize>,
        work: impl Fn(Ready) -> W,
    ) -> Result<Vec<Result<T, ServerError>>, ServerError>
    where
        W: Future<Output = Result<T, ServerError>>,
    {
        let asked: Vec<usize> = partitions.into_iter().collect();
        let done = self.done_on_each(&asked, work).await;
        let is_done = |partition: usize| done.iter().flatten().flatten().any(|(had, _)| had[partition]);
        self.leases().note_unreached(asked.into_iter().filter(|partition| !is_done(*partition)));
        Ok(done?.into_iter().map(|done| done.map(|(_, done)| done)).collect())
    }

    /// The same, with the partitions of each server.
    async fn done_on_each<T, W>(
        &self,
        partitions: &[usize],
        work: impl Fn(Ready) -> W,
    ) -> Result<Vec<Result<([bool; PARTITIONS], T), ServerError>>, ServerError>
    where
        W: Future<Output = Result<T, ServerError>>,
    {
        let servers = self.servers(partitions).await?;
        let work = &work;
        let done = servers.into_iter().map(|server| async move {
            let (requests, partitions) = server?;
            let ready = self.settle(requests, partitions).await;
            Ok((partitions, work(self.note(ready)?).await?))
        });
        Ok(join_all(done).await)
    }

    /// The servers of these partitions, each with all that it has.
    async fn servers(
        &self,
        partitions: &[usize],
    ) -> Result<Vec<Result<(Arc<Requests>, [bool; PARTITIONS]), ServerError>>, ServerError> {
        let layout = self.topology().layout().await?;
        let place = |partition: usize| layout.of(&self.keys[partition].due);
        let address = |partition: usize| place(partition).map(|member| &member.address);
        let mut places: Vec<usize> = vec![];
        for partition in partitions {
            if !places.iter().any(|known| address(*known) == address(*partition)) {
                places.push(*partition);
            }
        }
        let servers = places.into_iter().map(|place_of| {
            let member = place(place_of).ok_or(ServerError::Slot)?;
            let has = std::array::from_fn(|partition| address(partition) == Some(&member.address));
            Ok((self.connections.to(member, &layout), has))
        });
        Ok(servers.collect())
    }

    /// Opens a connection, and gives the server what it may have lost.
    async fn settle(
        &self,
        requests: Arc<Requests>,
        partitions: [bool; PARTITIONS],
    ) -> Result<Ready, ServerError> {
        let open = requests.open().await?;
        let ready = Ready { requests, open, partitions };
        if self.strange(&ready).is_empty() {
            return Ok(ready);
        }
        let one_at_a_time = {
            let mut restoring = self.restoring.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(restoring.entry(Arc::clone(ready.requests.address())).or_default())
        };
        let _one_at_a_time = one_at_a_time.lock().await;
        let strange = self.strange(&ready);
        if !strange.is_empty() {
            self.begin(&ready, &strange).await?;
        }
        Ok(ready)
    }

    /// The partitions that were last used over another connection, or were not reached: leases may have ended that nobody could
    /// renew, and nobody of them is found to have gone before all are.
    fn strange(&self, ready: &Ready) -> Vec<usize> {
        let leases = self.leases();
        let is_strange = |partition: &usize| {
            let part = &leases.partitions[*partition];
            let is_here = part.home.as_ref().is_some_and(|home| home.number == ready.open.number);
            ready.has(*partition) && (!is_here || part.unreached_since.is_some())
        };
        (0..PARTITIONS).filter(is_strange).collect()
    }

    /// Begins to use partitions over a connection. A restarted server has no data or old data, a former replica may have old data,
    /// and on a server that was away for long leases have ended that nobody could renew.
    async fn begin(&self, ready: &Ready, strange: &[usize]) -> Result<(), ServerError> {
        let run = self.run_id(ready).await?;
        let home = Home { address: Arc::clone(ready.requests.address()), run, number: ready.open.number };
        let losses: Vec<(usize, Loss)> = {
            let mut leases = self.leases();
            let known = strange.iter().filter_map(|&partition| {
                let part = &mut leases.partitions[partition];
                if part.home.is_none() {
                    // Nothing of it is known yet.
                    (part.home, part.unreached_since) = (Some(home.clone()), None);
                    return None;
                }
                // Kept until it is made good: an attempt that fails half-way has answers of its own.
                part.loss = part.loss.max(loss_of(part, &home));
                Some((partition, part.loss))
            });
            known.collect()
        };
        self.restore(ready, &losses).await?;
        let mut leases = self.leases();
        for (partition, _) in losses {
            let part = &mut leases.partitions[partition];
            (part.loss, part.home, part.unreached_since) = (Loss::Nothing, Some(home.clone()), None);
        }
        Ok(())
    }

    /// The `run_id` of the server; `None` if this user may not ask for it.
    async fn run_id(&self, ready: &Ready) -> Result<Option<String>, ServerError> {
        let mut commands = Pipeline::new();
        commands.cmd("INFO").arg("server");
        match ready.requests.run::<Vec<String>>(&ready.open, &commands).await {
            Ok(answer) => {
                let lines = answer.iter().flat_map(|text| text.lines());
                Ok(lines.filter_map(|line| line.strip_prefix("run_id:")).map(str::to_owned).next())
            }
            Err(error) if is_forbidden(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives the server this node's leases of these partitions. After a loss nobody goes offline until the other nodes have had
    /// time to do the same.
    async fn restore(&self, ready: &Ready, losses: &[(usize, Loss)]) -> Result<(), ServerError> {
        let unnoticed = self.restore_once(ready, losses).await?;
        self.restore_once(ready, &unnoticed).await?;
        Ok(())
    }

    /// The same; returns the losses that were found to be worse.
    async fn restore_once(
        &self,
        ready: &Ready,
        losses: &[(usize, Loss)],
    ) -> Result<Vec<(usize, Loss)>, ServerError> {
        let own = self.own(losses);
        let (epoch, mut worse) = (new_epoch(), vec![]);
        for ((partition, loss), leases) in losses.iter().zip(own) {
            let settling = if *loss == Loss::Nothing { Duration::ZERO } else { SETTLING };
            // Of a server that has its data, who is not online there has been reported as gone, and comes with the next renewal.
            let may_come = matches!(loss, Loss::OfData { .. });
            // Also without leases: the other nodes need the time to restore theirs.
            for some in chunks_or_one(&leases) {
                let mut call = RENEW.call(&self.keys[*partition].all());
                call.arg(0).arg(&epoch).arg(settling.as_millis() as u64).arg(u8::from(may_come));
                for (user, connection, left) in some {
                    call.arg(user.as_bytes()).arg(connection.as_bytes()).arg(*left);
                }
                let answer: Vec<Vec<Vec<u8>>> = self.call(ready, &RENEW, [call]).await?;
                let epoch = answer.into_iter().flatten().next();
                let known = std::mem::replace(&mut self.leases().partitions[*partition].epoch, epoch.clone());
                if !may_come && known.is_some() && known != epoch {
                    worse.push((*partition, Loss::OfData { intact_at: Some(Instant::now()) }));
                }
            }
        }
        Ok(worse)
    }

    /// This node's leases of each of these partitions, and the microseconds that are left of them.
    fn own(&self, losses: &[(usize, Loss)]) -> Vec<Vec<(UserId, ConnectionId, i64)>> {
        let now = Instant::now();
        let mut leases = self.leases();
        if losses.iter().any(|(_, loss)| *loss != Loss::Nothing) {
            leases.settles_at = Some(now + SETTLING);
        }
        let mut own = vec![vec![]; losses.len()];
        let mut places = [None; PARTITIONS];
        for (place, (partition, loss)) in losses.iter().enumerate() {
            places[*partition] = Some((place, leases.restored_since(*loss, now)));
        }
        for ((user, connection), end) in &leases.all {
            if let Some((place, since)) = places[partition(*user)]
                && *end > since
            {
                own[place].push((*user, *connection, micros_until(now, *end)));
            }
        }
        own
    }

    /// Compares the epochs of answers with those seen before, and restores what was lost. Returns whether anything was.
    pub(crate) async fn compare_epochs(
        &self,
        ready: &Ready,
        seen: impl IntoIterator<Item = (usize, Vec<u8>)>,
    ) -> Result<bool, ServerError> {
        let mut lost = vec![];
        {
            let mut leases = self.leases();
            let intact_at = Some(Instant::now());
            for (partition, epoch) in seen {
                match &mut leases.partitions[partition].epoch {
                    Some(known) if *known != epoch => lost.push((partition, Loss::OfData { intact_at })),
                    unknown @ None if !epoch.is_empty() => *unknown = Some(epoch),
                    _ => {}
                }
            }
        }
        lost.dedup_by_key(|(partition, _)| *partition);
        if lost.is_empty() {
            return Ok(false);
        }
        tracing::warn!(address = &**ready.requests.address(), "Redis has lost data: presence is restored");
        self.restore(ready, &lost).await?;
        Ok(true)
    }

    /// Runs calls of a script in one exchange.
    pub(crate) async fn call<T: FromRedisValue>(
        &self,
        ready: &Ready,
        script: &Code,
        calls: impl IntoIterator<Item = Cmd>,
    ) -> Result<Vec<T>, ServerError> {
        let mut commands = Pipeline::new();
        calls.into_iter().for_each(|call| {
            commands.add_command(call);
        });
        if commands.is_empty() {
            return Ok(vec![]);
        }
        let answer = self.run(ready, &commands).await;
        if answer.as_ref().is_err_and(is_unknown_script) {
            let _hash: Vec<String> = self.run(ready, &script.load()).await?;
            self.run(ready, &commands).await
        } else {
            answer
        }
    }

    /// Runs commands, and notes when the server last answered.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        ready: &Ready,
        commands: &Pipeline,
    ) -> Result<T, ServerError> {
        let answer = self.note(ready.requests.run(&ready.open, commands).await);
        let mut leases = self.leases();
        if answer.as_ref().is_err_and(is_full) {
            // Nobody can renew leases meanwhile.
            let partitions = leases.partitions.iter_mut().enumerate();
            let here = partitions.filter(|(partition, _)| ready.has(*partition));
            here.for_each(|(_, part)| part.loss = part.loss.max(Loss::OfTime));
        }
        if answer.is_ok() {
            let (now, address) = (Instant::now(), ready.requests.address());
            let is_here = |partition: &&mut Partition| {
                partition.home.as_ref().is_some_and(|home| home.address == *address)
            };
            leases.partitions.iter_mut().filter(is_here).for_each(|here| here.answered_at = Some(now));
        }
        answer
    }

    /// After an error another server may have what was asked for.
    fn note<T>(&self, answer: Result<T, ServerError>) -> Result<T, ServerError> {
        if answer.as_ref().is_err_and(|error| !is_unknown_script(error) && !is_forbidden(error)) {
            self.topology().doubt();
        }
        answer
    }
}

fn loss_of(partition: &Partition, home: &Home) -> Loss {
    let is_same = partition.home.as_ref().is_some_and(|at| at.address == home.address && at.run == home.run);
    if !is_same {
        return Loss::OfData { intact_at: partition.answered_at };
    }
    let is_long = |at: Instant| at.elapsed() > AWAY;
    let was_away =
        partition.answered_at.is_none_or(is_long) || partition.unreached_since.is_some_and(is_long);
    match was_away {
        false => Loss::Nothing,
        // Without a `run_id` it may have been restarted meanwhile.
        true if home.run.is_none() => Loss::OfData { intact_at: partition.answered_at },
        true => Loss::OfTime,
    }
}

/// Whether the server has no memory for what was to be written.
fn is_full(error: &ServerError) -> bool {
    // Before Redis 7 the code is that of a script's error.
    matches!(error, ServerError::Redis(error) if error.to_string().contains("OOM"))
}

fn chunks_or_one<T>(items: &[T]) -> impl Iterator<Item = &[T]> {
    let empty = items.is_empty().then_some(items);
    empty.into_iter().chain(items.chunks(AT_ONCE))
}

fn micros_until(now: Instant, end: Instant) -> i64 {
    let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    match end.checked_duration_since(now) {
        Some(left) => micros(left),
        None => -micros(now.duration_since(end)),
    }
}

/// A random value that no other state of a server has.
pub(crate) fn new_epoch() -> String {
    format!("{:016x}", RandomState::new().hash_one(()))
}

//! Redis goes away under load, and comes back.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use messenger_testing::{
    RedisServer,
    sockets::{
        crowd::{Arrival, Pace, Round, Sampled},
        http::Http,
    },
};
use tokio::time::sleep;

use crate::{
    Plan, Result,
    delays::{millis, sorted},
    set_up::{Kind, SetUp},
    world::{RECEIVERS, World},
};

/// Who write one message after the other to chats of their own, on the first node.
const BESIDE: usize = 8;
/// Messages a second to the group.
const RATE: u32 = 50;
/// Of the table.
const BUCKET: u64 = 5;
/// Of the sends a second before, that is what an outage may leave.
const LEFT: f64 = 0.9;
/// The beginning does not count: what is done for the first time takes longer.
const WARM_UP: Duration = Duration::from_secs(5);

/// What came of it.
pub(crate) struct Outage {
    is_frozen: bool,
    round: Round,
    /// When Redis was gone, and when it was there again.
    gone: Duration,
    back: Duration,
    end: Duration,
    said: Vec<Said>,
}

/// What a node said of itself.
struct Said {
    at: Duration,
    node: usize,
    text: String,
}

pub(crate) async fn measure(plan: &Plan, world: &World) -> Result<Outage> {
    let length = Duration::from_secs(plan.outage.unwrap_or(if plan.quick { 20 } else { 60 }));
    let around = Duration::from_secs(if plan.quick { 15 } else { 30 });
    let mut set_up = SetUp::start(plan, world, Kind::Redis).await?;
    set_up.connect(world, 1 + BESIDE, RECEIVERS).await?;
    let mut redis = set_up.redis.take().ok_or("there is no Redis")?;
    let nodes: Vec<_> =
        [&set_up.side.process].into_iter().chain(&set_up.side.others).map(|node| node.address).collect();
    let whole = around + length + around;
    let pace = Pace::Constant { period: Duration::from_secs(1) / RATE, length: whole };
    set_up.senders = 1;
    let mut load = set_up.to_group(world.group, pace);
    // Those who write beside are not in the way of the group.
    load.audience = 1 + BESIDE as u64 + RECEIVERS as u64;
    load.beside = (1..=BESIDE).map(|sender| (sender, world.own[sender])).collect();
    load.sampled = Sampled::Listeners;
    load.counts_faults = true;
    let (gone, back) = (around, around + length);
    let script = script(&mut redis, plan.freeze, (gone, back, whole), &nodes);
    let (round, said) = tokio::join!(set_up.side.round(&load), script);
    Ok(Outage { is_frozen: plan.freeze, round: round?, gone, back, end: whole, said: said? })
}

/// Takes Redis away and gives it back, and asks the nodes how they are.
async fn script(
    redis: &mut RedisServer,
    freeze: bool,
    (gone, back, end): (Duration, Duration, Duration),
    nodes: &[SocketAddr],
) -> Result<Vec<Said>> {
    let began = Instant::now();
    let until = |time: Duration| sleep(time.saturating_sub(began.elapsed()));
    let mut said = Vec::new();
    until(gone - Duration::from_secs(2)).await;
    ask(nodes, began, &mut said).await?;
    until(gone).await;
    if freeze {
        redis.freeze();
    } else {
        redis.kill();
    }
    for after in [Duration::from_secs(3), (back - gone) / 2] {
        until(gone + after).await;
        ask(nodes, began, &mut said).await?;
    }
    until(back).await;
    if freeze {
        redis.thaw();
    } else {
        redis.go_on().await;
    }
    for after in [Duration::from_secs(3), end.saturating_sub(back).saturating_sub(Duration::from_secs(2))] {
        until(back + after).await;
        ask(nodes, began, &mut said).await?;
    }
    Ok(said)
}

async fn ask(nodes: &[SocketAddr], began: Instant, said: &mut Vec<Said>) -> Result {
    for (node, address) in nodes.iter().enumerate() {
        let (status, body) = Http::new(*address, "").ask("GET", "/health/ready", "").await?;
        let text = format!("{status} {}", String::from_utf8_lossy(&body).trim_end().replace('\n', "; "));
        said.push(Said { at: began.elapsed(), node, text });
    }
    Ok(())
}

impl Outage {
    /// Answered sends a second of those who write beside, and of the group.
    fn rates(&self, from: Duration, until: Duration) -> [f64; 2] {
        [&self.round.beside, &self.round.answers].map(|answers: &Vec<Arrival>| {
            let count = answers.iter().filter(|answer| (from..until).contains(&answer.came)).count();
            count as f64 / (until - from).as_secs_f64()
        })
    }

    /// Deliveries that are missing, and that came again, by message and socket.
    fn faults(&self) -> (usize, usize) {
        let messages: HashSet<_> = self.round.answers.iter().map(|answer| answer.sent).collect();
        let mut came: HashMap<(usize, Duration), usize> = HashMap::new();
        for arrival in &self.round.arrivals {
            *came.entry((arrival.socket, arrival.sent)).or_default() += 1;
        }
        let lost = messages.len() * RECEIVERS;
        let lost = lost.saturating_sub(came.keys().filter(|(_, sent)| messages.contains(sent)).count());
        (lost, self.round.arrivals.len() - came.len())
    }

    fn phase(&self, time: Duration) -> &'static str {
        if time < self.gone {
            "before"
        } else if time < self.back {
            "without Redis"
        } else {
            "after"
        }
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.is_frozen { "stood still" } else { "was killed" };
        let (gone, length) = (self.gone.as_secs(), (self.back - self.gone).as_secs());
        writeln!(f, "Redis {how} at {gone} s, for {length} s.\n")?;
        self.write_rates(f)?;
        self.write_delays(f)?;
        let (lost, doubled) = self.faults();
        let verdict = if lost + doubled == 0 && self.round.disordered == 0 { "met" } else { "MISSED" };
        let sent = self.round.answers.len();
        writeln!(
            f,
            "\n{sent} messages acknowledged, {} deliveries to {RECEIVERS} sockets on the other node: {lost} lost, {doubled} \
             doubled, {} out of order on any socket: {verdict}",
            self.round.arrivals.len(),
            self.round.disordered,
        )?;
        writeln!(f, "\n| s | node | /health/ready |\n|--:|--:|---|")?;
        for Said { at, node, text } in &self.said {
            writeln!(f, "| {:.0} | {} | {text} |", at.as_secs_f64(), node + 1)?;
        }
        Ok(())
    }
}

impl Outage {
    fn write_rates(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phases = [(WARM_UP, self.gone), (self.gone, self.back), (self.back, self.end)];
        let rates = phases.map(|(from, until)| self.rates(from, until));
        writeln!(f, "| sends a second | before | during | after | during ÷ before | aim | |")?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|---|")?;
        let names = [format!("{BESIDE} people, one after the other"), format!("one person, {RATE} a second")];
        for (which, name) in names.iter().enumerate() {
            let [before, during, after] = rates.map(|rates| rates[which]);
            let ratio = during / before;
            let verdict = if ratio >= LEFT { "met" } else { "MISSED" };
            writeln!(
                f,
                "| {name} | {before:.1} | {during:.1} | {after:.1} | {ratio:.2} | {LEFT} | {verdict} |"
            )?;
        }
        Ok(())
    }

    fn write_delays(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buckets: BTreeMap<u64, [Vec<Duration>; 2]> = BTreeMap::new();
        let deliveries = self.round.arrivals.iter().map(|arrival| (0, arrival));
        let answers = self.round.answers.iter().chain(&self.round.beside).map(|arrival| (1, arrival));
        for (which, arrival) in deliveries.chain(answers) {
            let bucket = arrival.sent.as_secs() / BUCKET;
            buckets.entry(bucket).or_default()[which].push(arrival.delay());
        }
        writeln!(
            f,
            "\n| sent at, s | | deliveries | p50, ms | longest, ms | answers p50, ms | p99, ms | longest, ms |"
        )?;
        writeln!(f, "|---|---|--:|--:|--:|--:|--:|--:|")?;
        for (bucket, [deliveries, answers]) in buckets {
            let from = bucket * BUCKET;
            let phase = self.phase(Duration::from_secs(from));
            let (deliveries, answers) = (sorted(deliveries.into_iter()), sorted(answers.into_iter()));
            writeln!(
                f,
                "| {from}–{} | {phase} | {} | {:.2} | {:.1} | {:.2} | {:.1} | {:.1} |",
                from + BUCKET,
                deliveries.len(),
                millis(&deliveries, 50),
                millis(&deliveries, 100),
                millis(&answers, 50),
                millis(&answers, 99),
                millis(&answers, 100),
            )?;
        }
        Ok(())
    }
}

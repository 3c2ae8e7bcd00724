//! One run, from the first process to the verdict.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use super::{
    checker::check,
    client::{Client, Memoir, Phase, SharedView},
    cluster::Cluster,
    delays::Delays,
    place::Place,
    plan::{Cast, Deeds, Device},
    record::{Diary, Entry, Evidence, Id, Stored, Told},
    report::Outcome,
    rng::Rng,
    script::{BusKind, Step, script},
    truth::Truth,
    world::World,
};
use crate::Database;

/// Until everybody has everything after the last fault. Longer than a sweep, and than a catch-up on a busy machine.
const SETTLE: Duration = Duration::from_secs(60);
/// Until everybody is shown as they are: lease and grace, and a sweep for what was not told.
const PRESENCE: Duration = Duration::from_secs(60 + 5 + 15);
const POLL: Duration = Duration::from_millis(20);

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// The binary `messenger-server`.
    pub server: PathBuf,
    /// The URL of a PostgreSQL server, of a user that may make databases.
    pub database_server: String,
    /// For how long things go wrong.
    pub length: Duration,
    /// How the nodes hear of each other.
    pub bus: BusKind,
    /// How many nodes there are.
    pub nodes: usize,
}

/// Runs a seed. It takes `length` and up to three minutes more.
///
/// # Panics
/// If the servers do not start, or something is answered that never should be.
pub async fn run(seed: u64, options: &Options) -> Outcome {
    let database = Database::empty(&options.database_server).await;
    let cast = Cast::of(seed);
    let mut rng = Rng::of(seed, 2);
    let Options { server, length, bus, nodes, .. } = options;
    let mut cluster = Cluster::start(server, &database.url(), *bus, *nodes, &mut rng).await;
    let world = World::make(&cast, cluster.addresses()[0]).await;
    let script = script(seed, *length, *nodes, *bus);

    let crowd = Crowd::start(seed, &cast, &world, &cluster, *length);
    crowd.has_come().await;
    play(&script, &mut cluster, crowd.began).await;
    sleep_until(crowd.began + *length).await;
    cluster.is_up().await;

    let healed = Instant::now();
    crowd.finishes().await;
    let stored = world.stored(cluster.addresses()[0]).await;
    crowd.has(&stored).await;
    let settled = healed.elapsed();
    let online = cast.online(&world);
    let waited = Instant::now();
    crowd.knows(&online).await;
    let presence = waited.elapsed();
    let (evidence, hung) = crowd.end(stored, online).await;

    let delays = Delays::of(&evidence);
    let findings = check(&evidence);
    let longest = delays.where_longest(&script);
    keep_what_shows_it(seed, &evidence, &script, cluster, !findings.is_empty());
    Outcome {
        seed,
        bus: *bus,
        acknowledged: evidence.acknowledged.len(),
        told: evidence.diaries.iter().map(changes).sum(),
        faults: Outcome::count(&script),
        delays: Outcome::delays(&delays),
        longest,
        hung,
        settled,
        presence,
        findings,
    }
}

fn changes(diary: &Diary) -> usize {
    let told = diary.entries.iter().filter(|noted| matches!(noted.entry, Entry::Told(Told::Changed { .. })));
    told.count()
}

impl Cast {
    /// Who is online in the end.
    fn online(&self, world: &World) -> BTreeMap<Id, bool> {
        let here: BTreeSet<usize> =
            self.clients.iter().filter(|device| !device.leaves).map(|device| device.person).collect();
        let people = world.people.iter().enumerate();
        people.map(|(person, id)| (Id::clone(id), here.contains(&person))).collect()
    }
}

async fn play(script: &[Step], cluster: &mut Cluster, began: Instant) {
    let mut moments: Vec<(Duration, bool, &Step)> =
        script.iter().flat_map(|step| [(step.from, true, step), (step.until, false, step)]).collect();
    moments.sort_by_key(|(at, ..)| *at);
    for (at, begins, step) in moments {
        sleep_until(began + at).await;
        if begins {
            cluster.begin(step.fault).await;
        } else {
            cluster.end(step.fault).await;
        }
    }
}

/// The clients of a run.
struct Crowd {
    began: Instant,
    phase: watch::Sender<Phase>,
    clients: Vec<Member>,
}

struct Member {
    user: Id,
    leaves: bool,
    view: SharedView,
    life: JoinHandle<Memoir>,
}

impl Crowd {
    fn start(seed: u64, cast: &Cast, world: &World, cluster: &Cluster, length: Duration) -> Self {
        let began = Instant::now();
        let (phase, _) = watch::channel(Phase::Act);
        let mut clients = Vec::new();
        for (number, device) in cast.clients.iter().enumerate() {
            let view = SharedView::default();
            let Device { person, wire, leaves, .. } = *device;
            let chat = |number: usize| Id::clone(&world.chats[number]);
            let client = Client {
                name: format!("p{person}-{number}"),
                user: Id::clone(&world.people[person]),
                token: world.tokens[person].clone(),
                wire,
                nodes: cluster.addresses(),
                chats: cast.chats_of(person).into_iter().map(chat).collect(),
                owned: cast.owned_by(person).into_iter().map(chat).collect(),
                people: world.people.clone(),
                deeds: Deeds::of(seed, cast, number),
                rng: Rng::of(seed, 200 + number as u64),
                began,
                // Every third one.
                place: Place::new(number % 3 == 2),
                leaves_at: leaves.then(|| began + length / 2),
                view: view.clone(),
            };
            let life = tokio::spawn(client.run(phase.subscribe()));
            clients.push(Member { user: Id::clone(&world.people[person]), leaves, view, life });
        }
        Self { began, phase, clients }
    }

    /// Those that stay.
    fn stay(&self) -> impl Iterator<Item = &Member> {
        self.clients.iter().filter(|member| !member.leaves)
    }

    async fn has_come(&self) {
        self.wait(SETTLE, |member| member.view.lock().is_live).await;
    }

    /// Whether something is so of all of those who stay, before the time is over.
    async fn wait(&self, limit: Duration, is_so: impl Fn(&Member) -> bool) -> bool {
        let until = Instant::now() + limit;
        while !self.stay().all(&is_so) {
            if Instant::now() > until {
                return false;
            }
            sleep(POLL).await;
        }
        true
    }

    /// Everything that was begun is answered for good.
    async fn finishes(&self) {
        self.phase.send_replace(Phase::Finish);
        // What was wished for in this moment is in the outbox by then.
        sleep(POLL * 10).await;
        self.wait(SETTLE, |member| member.view.lock().unanswered == 0).await;
        sleep(POLL * 10).await;
        self.wait(SETTLE, |member| member.view.lock().unanswered == 0).await;
    }

    /// Everybody has what there is. If not, the checker says what is missing.
    async fn has(&self, stored: &BTreeMap<Id, Stored>) {
        let truths: Vec<_> = stored.iter().map(|(chat, stored)| (chat, Truth::of(stored))).collect();
        let heads = |user: &Id| {
            let own = truths.iter().filter(|(_, truth)| truth.is_member(user));
            own.map(|(chat, truth)| (Id::clone(chat), truth.head())).collect::<BTreeMap<_, _>>()
        };
        let heads: BTreeMap<Id, _> =
            self.clients.iter().map(|member| (Id::clone(&member.user), heads(&member.user))).collect();
        self.wait(SETTLE, |member| member.view.lock().is_at(&heads[&member.user])).await;
    }

    async fn knows(&self, online: &BTreeMap<Id, bool>) {
        self.wait(PRESENCE, |member| member.view.lock().online == *online).await;
    }

    async fn end(self, stored: BTreeMap<Id, Stored>, online: BTreeMap<Id, bool>) -> (Evidence, usize) {
        self.phase.send_replace(Phase::End);
        let mut evidence = Evidence { stored, online, ..Evidence::default() };
        let mut hung = 0;
        for member in self.clients {
            let memoir = member.life.await.expect("a client does not panic");
            evidence.diaries.push(memoir.diary);
            evidence.acknowledged.extend(memoir.acknowledged);
            evidence.moved.extend(memoir.moved);
            evidence.tried.extend(memoir.tried);
            hung += memoir.hung;
        }
        (evidence, hung)
    }
}

/// Of a run in which something was wrong: the logs of the nodes, and what every client was told.
fn keep_what_shows_it(seed: u64, evidence: &Evidence, script: &[Step], cluster: Cluster, wrong: bool) {
    if !wrong {
        return;
    }
    let folder = cluster.keep_logs();
    let written = write(&folder, evidence, script);
    eprintln!("seed {seed}: what happened is in {} ({written:?})", folder.display());
}

fn write(folder: &Path, evidence: &Evidence, script: &[Step]) -> std::io::Result<()> {
    use std::fmt::Write as _;
    let mut text = String::new();
    for step in script {
        let _ = writeln!(
            text,
            "{:>8.3} to {:.3} {}",
            step.from.as_secs_f64(),
            step.until.as_secs_f64(),
            step.fault
        );
    }
    std::fs::write(folder.join("script"), text)?;
    for diary in &evidence.diaries {
        let mut text = format!("{} is {}\n", diary.client, diary.user);
        for noted in &diary.entries {
            let _ = writeln!(text, "{:>8.3} {:?}", noted.at.as_secs_f64(), noted.entry);
        }
        std::fs::write(folder.join(&diary.client), text)?;
    }
    Ok(())
}

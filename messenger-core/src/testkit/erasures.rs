//! Races of whole services with the erasure of an account.

use std::{future::Future, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, sleep},
};

use super::run;
use crate::{
    Actor, ChatId, Error, Messenger, Password, PasswordCost, Settings, UserId,
    commands::{
        AddMembers, CreateGroupChat, EditMessage, EraseMe, LogIn, OpenDirectChat, RegisterUser, SendMessage,
    },
    context::{Context, CountingRandom, ManualClock},
    domain::{ChatKind, Revision},
    ports::{Budget, Store},
};

/// Opens the store once more, as another process does.
type Reopen = Arc<dyn Fn() -> BoxFuture<'static, Arc<dyn Store>> + Send + Sync>;

/// How many messages each session of the person sends at most in a race.
const SENDS: usize = 60;
/// How many texts there are before, in each of two chats, so that erasing them takes several steps.
const BEFORE: usize = 450;
/// After this time a job of an erasure is due, or has been left behind by a node that is gone.
const LATER: Duration = Duration::from_secs(120);
const PATIENCE: Duration = Duration::from_secs(60);

/// Races erasures of people with their own sessions, which go on writing, and with others, who go on adding them and
/// writing to them, on two nodes on the same store. In the last `killed` of `races` the node that erases is killed
/// half-way, and another one finishes. Whatever the order: nothing of the person is left.
///
/// `reopen` opens the store, once for each node, as a process of its own does.
///
/// # Panics
/// If something is left.
pub fn erasures_leave_nothing<S, F>(
    reopen: impl Fn() -> F + Send + Sync + 'static,
    races: usize,
    killed: usize,
) where
    S: Store,
    F: Future<Output = Arc<S>> + Send + 'static,
{
    let reopen: Reopen = Arc::new(move || {
        let opened = reopen();
        Box::pin(async move { opened.await as Arc<dyn Store> })
    });
    run(async {
        let town = Town::new(reopen).await;
        for race in 0..races - killed {
            town.race(race).await;
        }
        let mut half_way = 0;
        for race in races - killed..races {
            half_way += usize::from(town.kill(race).await);
        }
        assert!(2 * half_way >= killed, "only {half_way} of {killed} erasures were killed half-way");
        town.end();
    });
}

/// A service in a runtime of its own, which can be killed.
struct Node {
    runtime: Runtime,
    messenger: Messenger,
    store: Arc<dyn Store>,
}

impl Node {
    async fn start(reopen: &Reopen, context: &Context) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (reopen, context) = (Arc::clone(reopen), context.clone());
        let begun = runtime.spawn(async move {
            let store = reopen().await;
            let password_cost = PasswordCost { memory_kib: 64, passes: 1, ..PasswordCost::default() };
            let settings = Settings { password_cost, ..Settings::default() };
            let builder = Messenger::builder(Arc::clone(&store)).settings(settings).context(context);
            (builder.build().unwrap(), store)
        });
        let (messenger, store) = begun.await.unwrap();
        Self { runtime, messenger, store }
    }

    /// Does something where the node lives.
    async fn on<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        work: impl FnOnce(Messenger, Arc<dyn Store>) -> F,
    ) -> T {
        self.begin(work).await.expect("the node lives")
    }

    fn begin<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        work: impl FnOnce(Messenger, Arc<dyn Store>) -> F,
    ) -> tokio::task::JoinHandle<T> {
        self.runtime.spawn(work(self.messenger.clone(), Arc::clone(&self.store)))
    }

    fn kill(self) {
        self.runtime.shutdown_background();
    }
}

/// The nodes, and who lives there.
struct Town {
    reopen: Reopen,
    clock: Arc<ManualClock>,
    context: Context,
    one: Node,
    other: Node,
    neighbour: Actor,
}

/// The person who is erased.
#[derive(Clone)]
struct Victim {
    name: String,
    actor: Actor,
    user: UserId,
    chats: [ChatId; 2],
}

fn password() -> Password {
    Password::new("correct horse")
}

/// What the services may refuse in a race.
fn tolerate<T>(answer: Result<T, Error>) -> Option<T> {
    match answer {
        Ok(value) => Some(value),
        Err(
            Error::NotFound(_)
            | Error::Invalid(_)
            | Error::Conflict
            | Error::InvalidCredentials
            | Error::Unauthenticated,
        ) => None,
        Err(error) => panic!("{error:?}"),
    }
}

async fn register(messenger: Messenger, name: String) -> Actor {
    let command = RegisterUser {
        email: format!("{name}@example.org"),
        username: name,
        password: password(),
        display_name: None,
        device: None,
    };
    let registered = messenger.execute(&Actor::anonymous(), command).await.unwrap();
    messenger.authenticate(registered.token.expose()).await.unwrap()
}

/// One of the person's sessions: it sends and changes what it sent until it is refused.
async fn write_on(messenger: Messenger, victim: Victim, chat_id: ChatId) {
    for _ in 0..SENDS {
        let send = SendMessage { chat_id, body: "secret".into(), client_id: None, reply_to: None };
        let Some(sent) = tolerate(messenger.execute(&victim.actor, send).await) else { return };
        let edit = EditMessage { chat_id, message_id: sent.value.id, body: "secret, too".into() };
        let edited = messenger.execute(&victim.actor, edit).await;
        // What was erased in between can't be changed.
        if !matches!(edited, Err(Error::Forbidden(_))) {
            tolerate(edited);
        }
    }
}

/// Somebody else adds the person wherever they can, and writes to them.
async fn press(messenger: Messenger, neighbour: Actor, victim: Victim) {
    for _ in 0..12 {
        let group = CreateGroupChat { title: "Tea".into(), member_ids: vec![], client_id: None };
        let chat_id = messenger.execute(&neighbour, group).await.unwrap().value.id;
        let add = AddMembers { chat_id, user_ids: vec![victim.user] };
        tolerate(messenger.execute(&neighbour, add).await);
        let with = CreateGroupChat { title: "Tea".into(), member_ids: vec![victim.user], client_id: None };
        tolerate(messenger.execute(&neighbour, with).await);
        tolerate(messenger.execute(&neighbour, OpenDirectChat { user_id: victim.user }).await);
        let [direct, _] = victim.chats;
        let send = SendMessage { chat_id: direct, body: "hello".into(), client_id: None, reply_to: None };
        tolerate(messenger.execute(&neighbour, send).await);
    }
}

/// The person logs in again and again, and makes groups.
async fn come_back(messenger: Messenger, victim: Victim, neighbour: UserId) {
    for _ in 0..12 {
        let log_in = LogIn { login: victim.name.clone(), password: password(), device: None };
        tolerate(messenger.execute(&Actor::anonymous(), log_in).await);
        let with = CreateGroupChat { title: "Mine".into(), member_ids: vec![neighbour], client_id: None };
        tolerate(messenger.execute(&victim.actor, with).await);
    }
}

impl Town {
    async fn new(reopen: Reopen) -> Self {
        let clock = Arc::new(ManualClock::default());
        let context = Context::new(Arc::clone(&clock) as _, Arc::new(CountingRandom::default()));
        let (one, other) = (Node::start(&reopen, &context).await, Node::start(&reopen, &context).await);
        let neighbour = one.on(|messenger, _| register(messenger, "neighbour".into())).await;
        Self { reopen, clock, context, one, other, neighbour }
    }

    fn end(self) {
        self.one.kill();
        self.other.kill();
    }

    async fn victim(&self, race: usize) -> Victim {
        let neighbour = self.neighbour;
        self.one
            .on(move |messenger, _| async move {
                let name = format!("victim{race}");
                let actor = register(messenger.clone(), name.clone()).await;
                let user = actor.user().unwrap();
                let open = OpenDirectChat { user_id: user };
                let direct = messenger.execute(&neighbour, open).await.unwrap().value.id;
                let group = CreateGroupChat { title: "All".into(), member_ids: vec![user], client_id: None };
                let group = messenger.execute(&neighbour, group).await.unwrap().value.id;
                Victim { name, actor, user, chats: [direct, group] }
            })
            .await
    }

    /// Everybody at once; the clock of every other race says that the job is due, so that it works beside the command.
    async fn race(&self, race: usize) {
        let victim = self.victim(race).await;
        let (neighbour, [direct, group]) = (self.neighbour, victim.chats);
        let mut racers = Vec::new();
        for (node, chat) in [(&self.one, direct), (&self.other, group), (&self.other, direct)] {
            let victim = victim.clone();
            racers.push(node.begin(move |messenger, _| write_on(messenger, victim, chat)));
        }
        let pressed = victim.clone();
        racers.push(self.other.begin(move |messenger, _| press(messenger, neighbour, pressed)));
        let (back, friend) = (victim.clone(), neighbour.user().unwrap());
        racers.push(self.one.begin(move |messenger, _| come_back(messenger, back, friend)));
        // Each race has the erasure at another moment.
        sleep(Duration::from_micros(700) * u32::try_from(race).unwrap()).await;
        let actor = victim.actor;
        let erased = self.one.begin(move |messenger, _| async move {
            messenger.execute(&actor, EraseMe { password: password() }).await.unwrap();
        });
        if race % 2 == 1 {
            self.clock.advance(LATER);
        }
        erased.await.unwrap();
        for racer in racers {
            racer.await.unwrap();
        }
        self.nothing_is_left(&victim, race).await;
    }

    /// Kills the node that erases once the mark is there, and lets another one finish. Tells whether something was left
    /// when it was killed.
    async fn kill(&self, race: usize) -> bool {
        let victim = self.victim(race).await;
        for chat_id in victim.chats {
            let actor = victim.actor;
            self.one.on(move |messenger, _| fill(messenger, actor, chat_id)).await;
        }
        let node = Node::start(&self.reopen, &self.context).await;
        let (actor, other) = (victim.actor, victim.clone());
        let erasing = node.begin(move |messenger, _| async move {
            messenger.execute(&actor, EraseMe { password: password() }).await
        });
        let [direct, _] = victim.chats;
        let writing = self.other.begin(move |messenger, _| write_on(messenger, other, direct));
        while self.other.on(is_live(victim.user)).await {
            tokio::task::yield_now().await;
        }
        node.kill();
        drop(erasing);
        writing.await.unwrap();
        let left = self.texts_of(&victim).await > 0;
        self.finished(race).await;
        self.nothing_is_left(&victim, race).await;
        left
    }

    /// Waits for the jobs that finish erasures.
    async fn finished(&self, race: usize) {
        self.clock.advance(LATER);
        let begun = Instant::now();
        loop {
            let counts = self.one.on(|messenger, _| async move { messenger.jobs().counts().await }).await;
            let of_erasing =
                counts.unwrap().into_iter().find(|of| of.kind.as_str() == "messenger.erase-user");
            let Some(left) = of_erasing else { return };
            assert_eq!(left.dead, 0, "race {race}");
            if left.due + left.scheduled + left.running == 0 {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "race {race}: {left:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn texts_of(&self, victim: &Victim) -> usize {
        let user = victim.user;
        self.one.on(move |_, store| async move { texts_of(&*store, user).await }).await
    }

    async fn nothing_is_left(&self, victim: &Victim, race: usize) {
        let user = victim.user;
        self.other
            .on(move |_, store| async move {
                let record = store.user(user).await.unwrap();
                assert!(record.erased_at.is_some(), "race {race}: the account is erased");
                assert_eq!((record.email, record.password_hash), (None, None), "race {race}");
                assert_eq!(store.sessions(user).await.unwrap(), [], "race {race}");
                assert_eq!(texts_of(&*store, user).await, 0, "race {race}: texts are left");
                for chat in store.chats_ever_joined(user).await.unwrap() {
                    if let Ok(found) = store.membership(chat, user).await {
                        assert_eq!(found.chat.kind, ChatKind::Direct, "race {race}: a group is not left");
                    }
                }
            })
            .await;
    }
}

/// Sends many messages at once.
async fn fill(messenger: Messenger, actor: Actor, chat_id: ChatId) {
    let sends = (0..BEFORE).map(|_| {
        let send = SendMessage { chat_id, body: "secret".into(), client_id: None, reply_to: None };
        messenger.execute(&actor, send)
    });
    for sent in futures::future::join_all(sends).await {
        sent.unwrap();
    }
}

fn is_live(user: UserId) -> impl FnOnce(Messenger, Arc<dyn Store>) -> BoxFuture<'static, bool> {
    move |_, store| Box::pin(async move { store.user(user).await.unwrap().erased_at.is_none() })
}

/// How many texts of this person there are, in all chats that they ever were in.
async fn texts_of(store: &dyn Store, user: UserId) -> usize {
    let mut texts = 0;
    for chat in store.chats_ever_joined(user).await.unwrap() {
        let all = Budget::of_messages(10_000);
        let changes = store.changes(&[(chat, Revision::ZERO)], all).await.unwrap().remove(0);
        assert!(!changes.truncated);
        let live = changes.messages.iter().filter(|text| {
            text.sender == user && text.body.is_some() && text.kind == crate::domain::MessageKind::Text
        });
        texts += live.count();
    }
    texts
}

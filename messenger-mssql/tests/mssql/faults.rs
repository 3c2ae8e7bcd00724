//! A network that fails, and callers who go away.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use messenger_core::{
    ChatId, Seq, UserId,
    ports::{
        Anchor, Appended, Budget, MessageRecord, MessageStore as _, MoveMarker, NewMessage, Store,
        StoreErrorKind, UserStore as _,
    },
    testkit::{World, check_chat, cut_short},
};
use messenger_mssql::MssqlStore;
use messenger_testing::{Direction, MssqlDatabase, Relay};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::support::{Dice, PATIENCE, patient};

const CONNECTIONS: u32 = 6;
const SENDERS: usize = 6;
const CUTS: usize = 300;

/// A store on the other side of a relay, in a database with nothing in it.
async fn relayed() -> (Relay, MssqlDatabase) {
    let database = MssqlDatabase::create().await;
    // Not by way of the relay: opening is not what is cut.
    patient(&database.url()).open().await.unwrap().close().await;
    (Relay::to(&database.address()).await, database)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_acknowledged_is_there_once_and_in_order_though_connections_are_cut() {
    let mut dice = Dice::cast();
    let (relay, database) = relayed().await;
    let builder = patient(&database.url_by_way_of(relay.address())).max_connections(CONNECTIONS);
    let store = Arc::new(builder.open().await.unwrap());
    let scene = Arc::new(Scene::make(World::new(Arc::clone(&store) as Arc<dyn Store>)).await);
    let senders: Vec<_> =
        (0..SENDERS).map(|number| tokio::spawn(Arc::clone(&scene).send(number, dice.split()))).collect();
    let reader = tokio::spawn(Arc::clone(&scene).read_and_mark(dice.split()));

    for _ in 0..CUTS {
        let direction = if dice.below(2) == 0 { Direction::Up } else { Direction::Down };
        // From within the first packet of a login to some calls later.
        let cut = relay.cut_after(direction, 1 + dice.below(4000));
        timeout(PATIENCE, cut).await.expect("the way to the server is used");
        if dice.below(20) == 0 {
            relay.cut();
        }
    }
    relay.leave_alone();
    // All goes on by itself.
    let so_far = *scene.acknowledged.borrow();
    scene.wait_for(so_far + 20 * SENDERS).await;
    scene.stop.store(true, Ordering::Relaxed);
    let mut sent = vec![];
    for sender in senders {
        sent.extend(sender.await.unwrap());
    }
    reader.await.unwrap();

    every_connection_works(&store, &scene).await;
    nothing_is_left_open(&database).await;
    store.close().await;
    scene.check(&patient(&database.url()).open().await.unwrap(), &sent).await;
}

struct Scene {
    world: World,
    people: [UserId; SENDERS],
    chats: Vec<ChatId>,
    acknowledged: watch::Sender<usize>,
    stop: AtomicBool,
}

impl Scene {
    async fn make(world: World) -> Self {
        let people = world.people(["ada", "bob", "cleo", "dan", "eve", "finn"]).await;
        let mut chats = vec![];
        for _ in 0..3 {
            chats.push(world.group(people).await);
        }
        let acknowledged = watch::Sender::new(0);
        Self { world, people, chats, acknowledged, stop: AtomicBool::new(false) }
    }

    /// Sends one batch after the other, each again and again until it is acknowledged. Answers with what was asked and
    /// what was acknowledged.
    async fn send(self: Arc<Self>, sender: usize, mut dice: Dice) -> Vec<(NewMessage, MessageRecord)> {
        let mut sent = vec![];
        while !self.stop.load(Ordering::Relaxed) {
            let batch: Vec<_> = (0..[1, 1, 2, 5][dice.below(4)])
                .map(|place| {
                    let name = format!("{sender}-{}-{place}", sent.len());
                    let chat = self.chats[dice.below(self.chats.len())];
                    self.world.named(chat, self.people[sender], &format!("{name} says so"), &name)
                })
                .collect();
            let answers = loop {
                match self.world.store.append_messages(&batch).await {
                    Ok(answers) => break answers,
                    Err(error) => {
                        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
                        tokio::task::yield_now().await;
                    }
                }
            };
            assert_eq!(answers.len(), batch.len());
            for (new, answer) in batch.into_iter().zip(answers) {
                let message = answer.unwrap().into_record();
                assert_eq!(message.id, new.id, "of the try that was not answered, or of this one");
                sent.push((new, message));
            }
            self.acknowledged.send_modify(|count| *count += 1);
        }
        sent
    }

    /// Reads, and moves marks, whichever may fail only as what can't be reached.
    async fn read_and_mark(self: Arc<Self>, mut dice: Dice) {
        while !self.stop.load(Ordering::Relaxed) {
            let (chat, user) = (self.chats[dice.below(self.chats.len())], self.people[dice.below(SENDERS)]);
            let kind = match dice.below(3) {
                0 => {
                    match self.world.store.history(chat, user, Anchor::Newest, Budget::of_messages(50)).await
                    {
                        Ok(page) => {
                            assert_eq!(
                                page.messages.last().map_or(Seq::ZERO, |last| last.seq),
                                page.last_seq
                            );
                            None
                        }
                        Err(error) => Some(error),
                    }
                }
                1 => match self.world.store.list_chats(user, None, 10, usize::MAX).await {
                    Ok(views) => {
                        assert_eq!(views.len(), self.chats.len());
                        None
                    }
                    Err(error) => Some(error),
                },
                _ => {
                    let seq = Seq::new(dice.below(1000) as u64);
                    let step = MoveMarker { chat, user, seq, read: dice.below(2) == 0 };
                    self.world.store.move_markers(&[step]).await.err()
                }
            };
            if let Some(error) = kind {
                assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
                tokio::task::yield_now().await;
            }
        }
    }

    /// Waits until so many batches are acknowledged.
    async fn wait_for(&self, count: usize) {
        let mut acknowledged = self.acknowledged.subscribe();
        let reached = acknowledged.wait_for(|reached| *reached >= count);
        timeout(PATIENCE, reached).await.expect("batches are acknowledged again").unwrap();
    }

    /// Compares what was acknowledged with what is stored.
    async fn check(&self, store: &MssqlStore, sent: &[(NewMessage, MessageRecord)]) {
        let mut stored = BTreeMap::new();
        for chat in &self.chats {
            for message in check_chat(store, *chat, self.people[0]).await {
                if let Some(name) = &message.client_id {
                    let name = name.as_str().to_owned();
                    let twice = stored.insert(name, message);
                    assert!(twice.is_none(), "{twice:?} is there twice");
                }
            }
        }
        assert_eq!(stored.len(), sent.len(), "nothing but what was sent");
        let mut last = BTreeMap::new();
        for (new, answered) in sent {
            let (name, _) = new.client_id.as_ref().unwrap();
            let there = stored.get(name.as_str()).unwrap_or_else(|| panic!("{name:?} is lost"));
            assert_eq!(there, answered, "the numbers in the answer are those that are stored");
            assert_eq!((there.body.as_ref(), there.sender), (Some(&new.body), new.sender));
            let last = last.insert((new.sender, new.chat), there.seq).unwrap_or(Seq::ZERO);
            assert!(last < there.seq, "{name:?} is in its place");
        }
    }
}

/// All of them at the same time, as often as it takes for each to have been used.
async fn every_connection_works(store: &MssqlStore, scene: &Scene) {
    for _ in 0..5 {
        let answers = join_all((0..CONNECTIONS).map(|_| store.user(scene.people[0]))).await;
        for answer in answers {
            assert_eq!(answer.unwrap().id, scene.people[0]);
        }
        let chat = scene.chats[0];
        let batches: Vec<_> =
            scene.people.iter().map(|user| [scene.world.text(chat, *user, "hello")]).collect();
        let answers = join_all(batches.iter().map(|batch| store.append_messages(batch))).await;
        for answer in answers {
            assert!(matches!(answer.unwrap()[..], [Ok(Appended::New(_))]));
        }
    }
}

/// The server may take a moment to notice that a connection was cut.
async fn nothing_is_left_open(database: &MssqlDatabase) {
    let open = "IF COL_LENGTH('sys.dm_exec_sessions', 'open_transaction_count') IS NULL
    SELECT CAST(0 AS bigint)
ELSE
    SELECT COUNT_BIG(*) FROM sys.dm_exec_sessions
    WHERE database_id = DB_ID() AND open_transaction_count > 0 AND session_id <> @@SPID";
    let until = Instant::now() + PATIENCE;
    while database.number(open).await > 0 {
        assert!(Instant::now() < until, "a transaction is left open");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_who_go_away_at_any_moment_leave_nothing_half_done() {
    let mut dice = Dice::cast();
    let (relay, database) = relayed().await;
    let builder = patient(&database.url_by_way_of(relay.address())).max_connections(CONNECTIONS);
    let store = Arc::new(builder.open().await.unwrap());
    let scene = Arc::new(Scene::make(World::new(Arc::clone(&store) as Arc<dyn Store>)).await);
    let callers = (0..200).map(|number| {
        let (scene, mut dice) = (Arc::clone(&scene), dice.split());
        tokio::spawn(async move {
            let Scene { world, people, chats, .. } = &*scene;
            let (chat, user, polls) = (chats[dice.below(3)], people[dice.below(SENDERS)], dice.below(12));
            match number % 4 {
                0 => drop(
                    cut_short(world.store.append_messages(&[world.text(chat, user, "hello")]), polls).await,
                ),
                1 => {
                    let batch = [world.text(chat, user, "hello"), world.text(chats[0], people[1], "hello")];
                    drop(cut_short(world.store.append_messages(&batch), polls).await);
                }
                2 => drop(cut_short(world.store.create_group(world.new_group(user, &[])), polls).await),
                _ => drop(cut_short(world.store.list_chats(user, None, 10, usize::MAX), polls).await),
            }
        })
    });
    join_all(callers).await.into_iter().for_each(|caller| caller.unwrap());
    every_connection_works(&store, &scene).await;
    // Waits for what went on alone.
    timeout(PATIENCE, store.close()).await.expect("all comes to an end");
    nothing_is_left_open(&database).await;
    let store = patient(&database.url()).open().await.unwrap();
    for chat in &scene.chats {
        check_chat(&store, *chat, scene.people[0]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_is_waited_for_only_so_long() {
    let (relay, database) = relayed().await;
    // Enough to open the store on a busy machine.
    let short = Duration::from_secs(3);
    let builder = patient(&database.url_by_way_of(relay.address())).max_connections(4);
    let store = Arc::new(builder.timeout(short).acquire_timeout(short).open().await.unwrap());
    let patient_store = Arc::new(patient(&database.url()).open().await.unwrap());
    let scene = Scene::make(World::new(Arc::clone(&patient_store) as Arc<dyn Store>)).await;
    let (chat, ada) = (scene.chats[0], scene.people[0]);
    let mut ways = 0;
    for fail in [Relay::stall, |relay: &Relay| {
        relay.refuse(true);
        relay.cut();
    }] {
        heals(&store).await;
        fail(&relay);
        let began = Instant::now();
        for answer in join_all((0..12).map(|_| store.user(ada))).await {
            assert_eq!(answer.unwrap_err().kind(), StoreErrorKind::Unavailable);
        }
        let sent = store.append_messages(&[scene.world.text(chat, ada, "hello")]).await;
        assert_eq!(sent.unwrap_err().kind(), StoreErrorKind::Unavailable);
        assert!(began.elapsed() < 5 * short, "{:?}", began.elapsed());
        relay.resume();
        relay.refuse(false);
        heals(&store).await;
        ways += 1;
        scene.world.send(chat, ada, "hello").await;
    }
    assert_eq!(ways, 2);
    let messages = check_chat(&*patient_store, chat, ada).await;
    // Those that nobody was told of may be there, but no others.
    let texts = messages.iter().filter(|message| message.kind == messenger_core::MessageKind::Text).count();
    assert!((2..=4).contains(&texts), "{texts}");
    store.close().await;
    nothing_is_left_open(&database).await;
}

async fn heals(store: &MssqlStore) {
    let until = Instant::now() + PATIENCE;
    while store.ping().await.is_err() {
        assert!(Instant::now() < until, "it recovers");
    }
}

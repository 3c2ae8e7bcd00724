//! People who write without a pause, while something is done to what they write to.

use std::{sync::Arc, time::Duration};

use messenger_core::{
    ChatId, UserId,
    ports::{Appended, MessageRecord, MoveMarker},
    testkit::World,
};
use tokio::{sync::watch, task::JoinSet, time::timeout};

/// Tasks that send, edit and read until they are told to end. One whose store fails panics, and so does whoever waits
/// for it.
#[derive(Debug)]
pub struct Load {
    rounds: Arc<watch::Sender<u64>>,
    is_over: watch::Sender<bool>,
    tasks: JoinSet<Vec<MessageRecord>>,
}

impl Load {
    /// So many rounds of all tasks are a while.
    const WHILE: u64 = 40;
    /// So long they have for it.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Begins a task for each of `people`, who are in `chat`.
    pub fn begin(world: &World, chat: ChatId, people: &[UserId]) -> Self {
        let rounds = Arc::new(watch::Sender::new(0));
        let is_over = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        for person in people.iter().copied() {
            let (world, rounds, end) = (world.clone(), Arc::clone(&rounds), is_over.subscribe());
            tasks.spawn(async move {
                let mut sent = vec![];
                while !*end.borrow() {
                    sent.extend(round(&world, chat, person).await);
                    rounds.send_modify(|rounds| *rounds += 1);
                }
                sent
            });
        }
        Self { rounds, is_over, tasks }
    }

    /// Waits until they have done some more.
    pub async fn goes_on(&self) {
        let mut rounds = self.rounds.subscribe();
        let wanted = *rounds.borrow() + Self::WHILE;
        let done = timeout(Self::PATIENCE, rounds.wait_for(|rounds| *rounds >= wanted)).await;
        done.expect("what is under way goes on").unwrap();
    }

    /// Ends them, and answers with all that they have sent.
    pub async fn end(self) -> Vec<MessageRecord> {
        self.is_over.send_replace(true);
        self.tasks.join_all().await.into_iter().flatten().collect()
    }
}

/// One message alone, a batch of two, a change of one of them, and marks.
async fn round(world: &World, chat: ChatId, person: UserId) -> Vec<MessageRecord> {
    let mut sent = vec![world.send(chat, person, "alone").await];
    let batch = [world.text(chat, person, "first of two"), world.text(chat, person, "second of two")];
    for answer in world.store.append_messages(&batch).await.unwrap() {
        match answer.unwrap() {
            Appended::New(message) => sent.push(message),
            Appended::Existing { record: message, .. } => panic!("{message:?} was sent once"),
        }
    }
    let seq = sent[2].seq;
    let step = MoveMarker { chat, user: person, seq, read: true };
    world.store.move_markers(&[step]).await.unwrap()[0].as_ref().unwrap();
    world.edit(&sent[0], "alone, edited").await;
    sent
}

//! Several nodes that write to the same chats, each in an order of its own.

use std::{collections::BTreeMap, fmt, sync::Arc};

use messenger_core::{
    ChatId, MessageId, Revision, Seq, UserId,
    ports::{
        Anchor, Appended, Budget, Content, EditMessage, MessageRecord, MoveMarker, RosterChange, Store,
        StoreErrorKind, StoreResult,
    },
    testkit::{World, check_chat, race},
};

use crate::support::{Dice, fresh, patient};

const NODES: usize = 4;
const CHATS: usize = 20;
const ROUNDS: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_write_to_the_same_chats_are_all_answered() {
    let mut dice = Dice::cast();
    let (first, database) = fresh().await;
    let world = World::new(Arc::clone(&first) as Arc<dyn Store>);
    let people = world.people(["ada", "bob", "cleo", "dan", "eve"]).await;
    let mut chats = vec![];
    for _ in 0..CHATS {
        chats.push(world.group(people).await);
    }
    let mut writers = vec![];
    for node in 0..NODES {
        let mut world = world.clone();
        if node > 0 {
            world.store = Arc::new(patient(&database.url()).open().await.unwrap());
        }
        for errand in [Errand::Send, Errand::Mark, Errand::Edit, Errand::Join, Errand::Read] {
            let node = Node { world: world.clone(), people, chats: chats.clone(), dice: dice.split() };
            writers.push(node.work(errand));
        }
    }
    let answered: Vec<MessageRecord> = race(writers).await.into_iter().flatten().collect();

    let mut stored = BTreeMap::new();
    for chat in chats {
        for message in check_chat(&*first, chat, people[0]).await {
            stored.insert(message.id, message);
        }
    }
    assert_eq!(answered.len(), NODES * ROUNDS * CHATS * 2);
    let ids: BTreeMap<MessageId, &MessageRecord> =
        answered.iter().map(|message| (message.id, message)).collect();
    assert_eq!(ids.len(), answered.len(), "each is answered once");
    for message in &answered {
        let there = stored.get(&message.id).unwrap_or_else(|| panic!("{message:?} is lost"));
        assert_eq!(
            (there.seq, there.created_revision, there.sender, there.created_at),
            (message.seq, message.created_revision, message.sender, message.created_at)
        );
    }
    let texts = stored.values().filter(|message| message.kind == messenger_core::MessageKind::Text).count();
    assert_eq!(texts, answered.len(), "nothing but what was sent");
}

#[derive(Debug, Clone, Copy)]
enum Errand {
    Send,
    Mark,
    Edit,
    Join,
    Read,
}

struct Node {
    world: World,
    /// The last one comes and goes.
    people: [UserId; 5],
    chats: Vec<ChatId>,
    dice: Dice,
}

impl Node {
    /// Answers with the messages that were sent.
    async fn work(mut self, errand: Errand) -> Vec<MessageRecord> {
        let mut sent = vec![];
        for round in 0..ROUNDS {
            self.shuffle();
            match errand {
                Errand::Send => sent.extend(self.send().await),
                Errand::Mark => self.mark(round).await,
                Errand::Edit => self.edit().await,
                Errand::Join => self.join(round).await,
                Errand::Read => self.read().await,
            }
        }
        sent
    }

    fn shuffle(&mut self) {
        for last in (1..self.chats.len()).rev() {
            let other = self.dice.below(last + 1);
            self.chats.swap(last, other);
        }
    }

    async fn send(&mut self) -> Vec<MessageRecord> {
        let batch: Vec<_> = self
            .chats
            .iter()
            .flat_map(|chat| [0, 1].map(|_| (*chat, self.people[self.dice.below(4)])))
            .map(|(chat, sender)| self.world.text(chat, sender, "hello"))
            .collect();
        let answers = self.world.store.append_messages(&batch).await.unwrap();
        answers
            .into_iter()
            .map(|answer| match answer.unwrap() {
                Appended::New(message) => message,
                Appended::Existing { record: message, .. } => panic!("{message:?} was sent once"),
            })
            .collect()
    }

    async fn mark(&self, round: usize) {
        let seq = Seq::new(round as u64 * 4);
        let steps: Vec<_> = self
            .chats
            .iter()
            .flat_map(|chat| self.people.map(|user| MoveMarker { chat: *chat, user, seq, read: true }))
            .collect();
        for answer in self.world.store.move_markers(&steps).await.unwrap() {
            tolerate(answer, StoreErrorKind::NotMember);
        }
    }

    async fn edit(&self) {
        for chat in &self.chats[..4] {
            let page = self
                .world
                .store
                .history(*chat, self.people[0], Anchor::Newest, Budget::of_messages(5))
                .await
                .unwrap();
            for message in page.messages.iter().filter(|message| message.client_id.is_none()) {
                let edit = EditMessage {
                    chat: *chat,
                    message: message.id,
                    sender: message.sender,
                    expected: message.revision,
                    body: Content::from("edited"),
                    edited_at: self.world.tick(),
                };
                tolerate(self.world.store.edit_message(edit).await, StoreErrorKind::Conflict);
            }
        }
    }

    async fn join(&self, round: usize) {
        let passer_by = self.people[4];
        for chat in &self.chats[..4] {
            let roster = self.world.store.roster(*chat).await.unwrap();
            let mut change = RosterChange {
                expected: roster.chat.roster_version,
                title: Some(Content::from(format!("title {round}"))),
                ..self.world.change_by(*chat, self.people[0]).await
            };
            if roster.members.iter().any(|member| member.user_id == passer_by) {
                change.remove.push(passer_by);
            } else {
                change.add.push(passer_by);
            }
            tolerate(self.world.store.change_roster(change).await, StoreErrorKind::Conflict);
        }
    }

    async fn read(&self) {
        let views = self.world.store.list_chats(self.people[1], None, CHATS, usize::MAX).await.unwrap();
        assert_eq!(views.len(), CHATS);
        let since: Vec<_> = self.chats.iter().map(|chat| (*chat, Revision::ZERO)).collect();
        for changes in self.world.store.changes(&since, Budget::of_messages(1000)).await.unwrap() {
            let newest = changes.messages.last().map_or(Revision::ZERO, |message| message.revision);
            assert!(
                changes.truncated || newest == changes.chat.revision,
                "head and messages are of one moment"
            );
        }
    }
}

/// It is carried out, or another one was first.
fn tolerate<T: fmt::Debug>(answer: StoreResult<T>, kind: StoreErrorKind) {
    if let Err(error) = answer {
        assert_eq!(error.kind(), kind, "{error:?}");
    }
}

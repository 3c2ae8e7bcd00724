//! What is purged, when, and who is told of it.

use std::{sync::Arc, time::Duration};

use crate::{
    Messenger, PasswordCost, Settings,
    commands::*,
    context::{Context, CountingRandom},
    doc,
    domain::{Event, Message, Password, RetentionPeriod, Revision, SystemEvent},
    memory::MemoryStore,
    ports::{ChatStore as _, HoldSubject, MessageStore as _, RetentionStore as _, StoreErrorKind},
    queries::{GetHistory, SyncChats},
    testing::{
        RuntimeClock, Scene, Setup, TestStore,
        Who::{self, *},
        code,
    },
};

const HOUR: Duration = Duration::from_secs(3600);

fn hour() -> RetentionPeriod {
    RetentionPeriod::from_secs(3600).unwrap()
}

/// A service that keeps messages for an hour.
async fn scene() -> Scene {
    let settings = Settings { retention: Some(hour()), ..Settings::default() };
    Scene::with(Setup { settings, ..Setup::default() }).await
}

impl Scene {
    async fn history(&self, who: Who) -> Vec<Message> {
        let history =
            GetHistory { chat_id: self.group, before: None, after: None, around: None, limit: Some(200) };
        self.ask(who, history).await.items
    }

    async fn head(&self) -> Revision {
        self.store.roster(self.group).await.unwrap().chat.revision
    }

    async fn recorded(&self) -> u64 {
        let records = self.messenger.retention().purges(None, 10_000).await.unwrap();
        records.iter().map(|record| record.messages).sum()
    }
}

#[tokio::test]
async fn what_is_older_is_purged_and_everybody_is_told_as_of_a_deletion() {
    let scene = scene().await;
    for n in 0..450 {
        scene.says(Member, &format!("old {n}")).await;
    }
    scene.clock.advance(2 * HOUR);
    let new = scene.says(Member, "new").await;
    let known = scene.head().await;
    scene.told().await;
    let report = scene.messenger.retention().purge().await.unwrap();
    assert_eq!(scene.recorded().await, report.messages);
    let messages = new.seq.get() - 1;
    assert_eq!(report.messages, messages, "all of the group, and the direct chat is empty");

    let mut revision = known;
    let told = scene.told().await;
    for told in &told {
        revision = revision.next();
        let (chat, of) = told.event().unwrap().change().unwrap();
        assert_eq!((chat, of), (scene.group, revision), "one revision for each, without a gap");
        match told.event().unwrap() {
            Event::MessageDeleted(change) => assert!(change.message.body.is_none()),
            Event::ChatUpdated(update) => {
                let message = &update.message;
                assert!(message.system.is_none() && message.deleted_at.is_some() && !message.corrupt);
                assert_eq!(update.title.as_ref().unwrap().as_str(), "Tea", "the title of now");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((told.len() as u64, scene.head().await), (messages, revision));
    let history = scene.history(Owner).await;
    assert!(history[..history.len() - 1].iter().all(|message| message.deleted_at.is_some()));
    assert_eq!(history.last().unwrap().body.as_ref().unwrap().as_str(), "new");
    assert_eq!(scene.chat(Member, scene.group).await.last_message.unwrap().id, new.id);
    assert_eq!(scene.messenger.retention().purge().await.unwrap().messages, 0, "there is no more");
}

#[tokio::test]
async fn who_was_away_finds_tombstones() {
    let scene = scene().await;
    scene.says(Owner, "one").await;
    let known = scene.head().await;
    let two = scene.says(Owner, "two").await;
    scene.clock.advance(2 * HOUR);
    scene.messenger.retention().purge().await.unwrap();
    let sync = serde_json::json!({"chats": {scene.group.to_string(): known}, "limit": 100});
    let sync: SyncChats = serde_json::from_value(sync).unwrap();
    let synced = scene.ask(Member, sync).await;
    let chat = synced.chats.iter().find(|synced| synced.chat.id == scene.group).unwrap();
    assert_eq!(chat.chat.revision, scene.head().await);
    let mut revisions: Vec<_> = chat.messages.iter().map(|message| message.revision.get()).collect();
    revisions.sort_unstable();
    // The revision at which `two` was sent is merged into its latest state.
    let expected: Vec<_> = (known.get() + 2..=chat.chat.revision.get()).collect();
    assert_eq!(revisions, expected);
    assert!(chat.messages.iter().all(|message| message.deleted_at.is_some()));
    assert!(chat.messages.iter().any(|message| message.id == two.id));
}

#[tokio::test]
async fn what_was_broken_off_goes_on() {
    let scene = scene().await;
    for _ in 0..900 {
        scene.says(Member, "old").await;
    }
    scene.clock.advance(2 * HOUR);
    scene.told().await;
    let total = scene.chat(Owner, scene.group).await.last_seq.get();
    scene.store.fail_after("purge", 2, StoreErrorKind::Unavailable);
    assert_eq!(code(&scene.messenger.retention().purge().await), "unavailable");
    let done = scene.recorded().await;
    assert!(done > 0 && done < total, "{done} of {total}");
    let told = scene.told().await.len() as u64;
    assert_eq!(told, done, "what was done is told");
    assert_eq!(scene.messenger.retention().purge().await.unwrap().messages, total - done);
    assert_eq!(scene.recorded().await, total);
    assert!(scene.history(Owner).await.iter().all(|message| message.deleted_at.is_some()));
}

#[tokio::test]
async fn a_purge_whose_answer_was_lost_is_looked_up_by_all() {
    let scene = scene().await;
    scene.says(Member, "old").await;
    scene.clock.advance(2 * HOUR);
    scene.told().await;
    // The roster is read after the purge was stored.
    scene.store.fail("roster", StoreErrorKind::Unavailable, 1);
    assert_eq!(code(&scene.messenger.retention().purge().await), "unavailable");
    assert_eq!(scene.in_doubt().await, [vec![crate::ports::Topic::Chat(scene.group)]]);
}

#[tokio::test]
async fn a_group_keeps_what_its_owner_wants_and_no_longer_than_the_service() {
    let scene = scene().await;
    let group = scene.group;
    let keep = |seconds| SetRetention { chat_id: group, seconds };
    let refused = scene.execute(Owner, keep(Some(3601))).await.unwrap_err();
    assert!(refused.to_string().contains("at most 3600"), "{refused}");
    scene.must(Owner, keep(Some(60))).await;
    let said = scene.says(Member, "old").await;
    let other = scene.says_in(scene.direct, Member, "old").await;
    scene.clock.advance(Duration::from_secs(61));
    scene.messenger.retention().purge().await.unwrap();
    assert!(scene.message(Owner, &said).await.deleted_at.is_some());
    assert!(scene.message(Owner, &other).await.deleted_at.is_none());
    scene.must(Owner, keep(None)).await;
    let said = scene.says(Member, "kept").await;
    scene.clock.advance(Duration::from_secs(61));
    scene.messenger.retention().purge().await.unwrap();
    assert!(scene.message(Owner, &said).await.deleted_at.is_none());
    scene.clock.advance(HOUR);
    scene.messenger.retention().purge().await.unwrap();
    assert!(scene.message(Owner, &said).await.deleted_at.is_some());
    assert!(scene.message(Owner, &other).await.deleted_at.is_some());
}

#[tokio::test]
async fn what_is_held_stays_and_its_author_is_not_erased() {
    let scene = scene().await;
    let retention = scene.messenger.retention();
    let (held, other) = (scene.says(Member, "held").await, scene.says(Owner, "old").await);
    let direct = scene.says_in(scene.direct, Owner, "of a chat").await;
    assert!(retention.hold(HoldSubject::User(scene.id(Member)), "case 7").await.unwrap());
    assert!(!retention.hold(HoldSubject::User(scene.id(Member)), "case 8").await.unwrap());
    assert!(retention.hold(HoldSubject::Chat(scene.direct), "").await.unwrap());
    scene.clock.advance(2 * HOUR);
    retention.purge().await.unwrap();
    for (message, is_purged) in [(&held, false), (&other, true), (&direct, false)] {
        assert_eq!(scene.message(Owner, message).await.deleted_at.is_some(), is_purged, "{message:?}");
    }
    let erase = || EraseMe { password: Password::new("correct horse") };
    let refused = scene.execute(Member, erase()).await.unwrap_err();
    assert_eq!(refused.code(), "forbidden");
    assert!(refused.to_string().contains("legal hold"), "{refused}");
    let by_operator = scene.messenger.accounts().erase(scene.id(Member), |_| ()).await;
    assert_eq!(code(&by_operator), "forbidden");
    // What people delete themselves is theirs.
    let (chat_id, message_id) = (direct.chat_id, direct.id);
    scene.must(Owner, DeleteMessage { chat_id, message_id }).await;

    assert!(retention.release(HoldSubject::User(scene.id(Member))).await.unwrap());
    retention.purge().await.unwrap();
    assert!(scene.message(Owner, &held).await.deleted_at.is_some());
    scene.must(Member, erase()).await;
    let gone = retention.hold(HoldSubject::User(scene.id(Member)), "").await;
    assert_eq!(code(&gone), "notFound");
    let line = retention.hold(HoldSubject::Chat(scene.group), "two\nlines").await;
    assert_eq!(code(&line), "invalid");
}

#[tokio::test(start_paused = true)]
async fn nodes_purge_by_themselves_each_message_once() {
    let began = tokio::time::Instant::now();
    let context = Context::new(Arc::new(RuntimeClock(began)), Arc::new(CountingRandom::default()));
    let memory = Arc::new(MemoryStore::new());
    let node = || {
        let password_cost = PasswordCost { memory_kib: 8, passes: 1, ..PasswordCost::default() };
        let settings = Settings { password_cost, ..Settings::default() };
        let store = TestStore::on(&memory);
        let builder = Messenger::builder(Arc::clone(&store) as _).context(context.clone());
        builder.settings(settings).retention(hour()).build().unwrap()
    };
    let nodes = [node(), node()];
    let ada = doc::register(&nodes[0], "ada").await;
    let bob = doc::register(&nodes[0], "bob").await;
    let chat = doc::direct(&nodes[0], &ada, &bob).await;
    for _ in 0..500 {
        doc::say(&nodes[0], &ada, chat, "old").await;
    }
    let live = async || {
        let since = [(chat, Revision::ZERO)];
        let changes = memory.changes(&since, crate::ports::Budget::of_messages(9999)).await.unwrap();
        changes[0].messages.iter().filter(|message| message.deleted_at.is_none()).count()
    };
    tokio::time::sleep(HOUR - Duration::from_secs(300)).await;
    assert_eq!(live().await, 500);
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert_eq!(live().await, 0);
    let records = memory.purges(None, 10_000).await.unwrap();
    assert_eq!(records.iter().map(|record| record.messages).sum::<u64>(), 500);
    let head = memory.roster(chat).await.unwrap().chat;
    assert_eq!(head.revision.get(), 1000, "sent and purged, each once");
    for node in nodes {
        node.close().await;
    }
}

#[tokio::test]
async fn a_note_that_was_purged_is_a_tombstone_without_a_note() {
    let scene = scene().await;
    let note = scene.system_message().await;
    assert_eq!(note.system.as_ref().unwrap().event, SystemEvent::TitleChanged);
    scene.clock.advance(2 * HOUR);
    scene.messenger.retention().purge().await.unwrap();
    let purged = scene.message(Owner, &note).await;
    assert_eq!((purged.system, purged.corrupt, purged.kind), (None, false, note.kind));
    assert!(purged.deleted_at.is_some());
    assert!(
        scene.chat(Owner, scene.group).await.title.unwrap().as_str().starts_with("Tea at"),
        "the title stays"
    );
}

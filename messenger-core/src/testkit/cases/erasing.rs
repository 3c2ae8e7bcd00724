use std::{collections::BTreeSet, sync::Arc};

use futures::future::BoxFuture;

use super::telling::job;
use crate::{
    domain::ChatId,
    ports::{
        Appended, EditMessage, EraseUser, MessageRecord, NewMessage, RosterChange, Store, StoreErrorKind,
        StoreResult, UpdateUser,
    },
    testkit::{World, check_chat, error_kind, race},
};

/// How often a race is run: each of them has another order.
const RACES: usize = 12;

pub async fn create_session_conflicts_with_an_older_version(world: &World) {
    let ada = world.user("ada").await;
    let before = world.record(ada).await;
    let first = world.store.sessions(ada).await.unwrap();
    world.store.update_user(UpdateUser::of(ada, before.version)).await.unwrap();
    let session = world.session(ada);
    for expected in [before.version, before.version + 2] {
        let answer = world.store.create_session(session.clone(), expected, 1).await;
        assert_eq!(error_kind(answer), StoreErrorKind::Conflict);
    }
    assert_eq!(world.store.sessions(ada).await.unwrap(), first);
    let ended = world.store.create_session(session, before.version + 1, 1).await.unwrap();
    assert_eq!(ended, [first[0].id]);
}

pub async fn create_session_with_a_former_password_leaves_none(world: &World) {
    for n in 0..RACES {
        let ada = world.user(&format!("ada{n}")).await;
        let version = world.record(ada).await.version;
        let log_ins: Vec<_> = (0..4).map(|_| world.session(ada)).collect();
        let mut racers: Vec<BoxFuture<'static, bool>> = log_ins
            .into_iter()
            .map(|session| {
                let store = Arc::clone(&world.store);
                let log_in = async move { store.create_session(session, version, 100).await.is_ok() };
                Box::pin(log_in) as _
            })
            .collect();
        let store = Arc::clone(&world.store);
        let change = async move { store.change_password(ada, version, "$new", None).await.is_ok() };
        racers.insert(n % 5, Box::pin(change));
        let answers = race(racers).await;
        assert!(answers[n % 5], "logging in is no change of the account");
        assert_eq!(world.store.sessions(ada).await.unwrap(), [], "a session of the former password is left");
    }
}

pub async fn erase_user_enqueues_its_jobs(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (known, fresh, never) = (job(world), job(world), job(world));
    world.store.enqueue_jobs(std::slice::from_ref(&known)).await.unwrap();
    let version = world.record(ada).await.version;
    let jobs = vec![known, fresh.clone()];
    let erasure = EraseUser { jobs, ..world.erasure(ada, version, world.tick()) };
    world.store.erase_user(&erasure).await.unwrap();
    let stored = world.store.job(fresh.id).await.unwrap();
    assert_eq!((stored.kind, stored.payload, stored.run_at), (fresh.kind, fresh.payload, fresh.run_at));

    let version = world.record(bob).await.version;
    for (user, expected) in [(ada, version + 1), (bob, version + 1), (world.id(), 1)] {
        let erasure = EraseUser { jobs: vec![never.clone()], ..world.erasure(user, expected, world.tick()) };
        world.store.erase_user(&erasure).await.unwrap_err();
        assert_eq!(error_kind(world.store.job(never.id).await), StoreErrorKind::NotFound);
    }
}

pub async fn erase_user_lets_nobody_in_who_came_before_it(world: &World) {
    let [cleo, dan] = world.people(["cleo", "dan"]).await;
    for n in 0..RACES {
        let ada = world.user(&format!("ada{n}")).await;
        let version = world.record(ada).await.version;
        let group = world.group([cleo, dan]).await;
        let add = RosterChange { add: vec![ada], ..world.change_by(group, cleo).await };
        let (session, direct) = (world.session(ada), world.new_direct(cleo, ada));
        let (new, own) = (world.new_group(dan, &[ada]), world.new_group(ada, &[cleo]));
        let erasure = world.erasure(ada, version, world.tick());
        let store = || Arc::clone(&world.store);
        let stores = [store(), store(), store(), store(), store(), store()];
        let [adds, logs_in, opens, makes, makes_own, erases] = stores;
        let racers: [BoxFuture<'static, StoreResult<Option<ChatId>>>; 6] = [
            Box::pin(async move { adds.change_roster(add).await.map(|changed| Some(changed.chat.id)) }),
            Box::pin(async move { logs_in.create_session(session, version, 9).await.map(|_| None) }),
            Box::pin(async move { opens.open_direct(direct).await.map(|opened| Some(opened.chat)) }),
            Box::pin(async move { makes.create_group(new).await.map(|opened| Some(opened.chat)) }),
            Box::pin(async move { makes_own.create_group(own).await.map(|opened| Some(opened.chat)) }),
            Box::pin(async move { erases.erase_user(&erasure).await.map(|_| None) }),
        ];
        let mut joined = BTreeSet::new();
        for (place, answer) in race(racers).await.into_iter().enumerate() {
            match answer {
                Ok(chat) => joined.extend(chat),
                Err(error) => {
                    assert_eq!(error.kind(), StoreErrorKind::NotFound, "{place}");
                    assert_ne!(place, 5, "the account is erased");
                }
            }
        }
        assert_eq!(world.store.sessions(ada).await.unwrap(), [], "{n}");
        let ever: BTreeSet<_> = world.store.chats_ever_joined(ada).await.unwrap().into_iter().collect();
        assert_eq!(ever, joined, "{n}");
    }
}

/// The answer for each of the messages.
async fn append(world: &World, batch: &[NewMessage]) -> Vec<StoreResult<Appended>> {
    world.store.append_messages(batch).await.unwrap()
}

fn outcome(answer: &StoreResult<Appended>) -> &'static str {
    match answer {
        Ok(Appended::New(_)) => "new",
        Ok(Appended::Existing { .. }) => "existing",
        Err(error) => error.kind().code(),
    }
}

pub async fn append_by_the_erased_is_not_member(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let (direct, group) = (world.direct(ada, bob).await, world.group([bob, ada, cleo]).await);
    for (chat, name) in [(direct, "d1"), (group, "g1")] {
        world.append(&world.named(chat, ada, "before", name)).await.unwrap();
    }
    world.erase(ada).await;
    for (chat, name) in [(direct, "d1"), (group, "g1")] {
        let before = check_chat(&*world.store, chat, bob).await;
        // Alone, and again.
        for message in [world.text(chat, ada, "after"), world.named(chat, ada, "before", name)] {
            assert_eq!(error_kind(world.append(&message).await), StoreErrorKind::NotMember);
        }
        let batch = [world.text(chat, ada, "after"), world.named(chat, ada, "before", name)];
        for answer in append(world, &batch).await {
            assert_eq!(error_kind(answer), StoreErrorKind::NotMember);
        }
        assert_eq!(check_chat(&*world.store, chat, bob).await, before);
    }
    // The others of a batch are not kept from it.
    let batch =
        [world.text(group, bob, "one"), world.text(group, ada, "two"), world.text(group, cleo, "three")];
    let answers = append(world, &batch).await;
    assert_eq!(answers.iter().map(outcome).collect::<Vec<_>>(), ["new", "notMember", "new"]);
    check_chat(&*world.store, group, bob).await;
}

pub async fn append_to_the_erased_is_not_member(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    // The erased person comes first in one pair of ids, and last in the other.
    let [low, high] = [world.direct(ada, bob).await, world.direct(bob, cleo).await];
    let (alive, group) = (world.direct(ada, cleo).await, world.group([ada, bob, cleo]).await);
    for (chat, sender, name) in [(low, ada, "a1"), (high, cleo, "c1")] {
        world.append(&world.named(chat, sender, "before", name)).await.unwrap();
    }
    world.erase(bob).await;
    for (chat, sender, name) in [(low, ada, "a1"), (high, cleo, "c1")] {
        let before = check_chat(&*world.store, chat, sender).await;
        let refused = world.append(&world.named(chat, sender, "after", "new")).await;
        assert_eq!(error_kind(refused), StoreErrorKind::NotMember);
        let again = world.append(&world.named(chat, sender, "before", name)).await;
        assert_eq!(outcome(&again), "existing");
        // A refused message does not claim its client id.
        let batch = [
            world.named(chat, sender, "after", "new"),
            world.named(chat, sender, "before", name),
            world.text(alive, sender, "hello"),
            world.named(group, sender, "after", "new"),
        ];
        let answers = append(world, &batch).await;
        assert_eq!(answers.iter().map(outcome).collect::<Vec<_>>(), ["notMember", "existing", "new", "new"]);
        assert_eq!(check_chat(&*world.store, chat, sender).await, before);
    }
    // In a batch in which nothing else is refused, too.
    let answers = append(world, &[world.text(alive, ada, "hello"), world.text(low, ada, "after")]).await;
    assert_eq!(answers.iter().map(outcome).collect::<Vec<_>>(), ["new", "notMember"]);
    for chat in [alive, group] {
        check_chat(&*world.store, chat, ada).await;
    }
}

fn edited(world: &World, message: &MessageRecord) -> EditMessage {
    EditMessage {
        chat: message.chat,
        message: message.id,
        sender: message.sender,
        expected: message.revision,
        body: "changed".into(),
        edited_at: world.tick(),
    }
}

pub async fn edit_message_by_the_erased_is_not_member(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chats = [world.direct(ada, bob).await, world.group([bob, ada]).await];
    let mut sent = vec![];
    for chat in chats {
        sent.push((world.send(chat, ada, "hers").await, world.send(chat, bob, "his").await));
    }
    world.erase(ada).await;
    for (hers, his) in sent {
        let edit = edited(world, &hers);
        // Also where it is of another revision, which would be for another attempt.
        let stale = EditMessage { expected: his.revision, ..edit.clone() };
        for edit in [edit, stale] {
            assert_eq!(error_kind(world.store.edit_message(edit).await), StoreErrorKind::NotMember);
        }
        assert_eq!(world.store.message(hers.chat, hers.id).await.unwrap(), hers);
        // The other side's texts stay theirs.
        world.store.edit_message(edited(world, &his)).await.unwrap();
        check_chat(&*world.store, hers.chat, bob).await;
    }
}

/// Sends and changes messages as one of the person's sessions does that does not know of the erasure.
async fn write_on(store: Arc<dyn Store>, messages: Vec<NewMessage>, world: World) {
    for message in messages {
        let mut answers = store.append_messages(std::slice::from_ref(&message)).await.unwrap();
        match answers.remove(0) {
            Ok(appended) => {
                let edit = edited(&world, &appended.into_record());
                if let Err(error) = store.edit_message(edit).await {
                    let refused = [StoreErrorKind::NotMember, StoreErrorKind::Conflict];
                    assert!(refused.contains(&error.kind()), "{error:?}");
                }
            }
            Err(error) => assert_eq!(error.kind(), StoreErrorKind::NotMember),
        }
    }
}

/// As the service erases an account: first the mark, then everything in each chat, until none is left.
async fn erase_all(store: Arc<dyn Store>, erasure: EraseUser, chats: [ChatId; 2]) {
    store.erase_user(&erasure).await.unwrap();
    for chat in chats {
        while !store.erase_messages(chat, erasure.id, erasure.at, 3).await.unwrap().is_empty() {}
    }
}

pub async fn erase_messages_of_the_erased_leaves_none_behind(world: &World) {
    let bob = world.user("bob").await;
    for n in 0..RACES {
        let ada = world.user(&format!("ada{n}")).await;
        let chats = [world.direct(ada, bob).await, world.group([bob, ada]).await];
        let mut racers: Vec<BoxFuture<'static, ()>> = Vec::new();
        for session in 0..4 {
            let text =
                |k: usize| world.named(chats[(session + k) % 2], ada, "secret", &format!("{session}-{k}"));
            let messages = (0..10).map(text).collect();
            racers.push(Box::pin(write_on(Arc::clone(&world.store), messages, world.clone())));
        }
        let erasure = world.erasure(ada, world.record(ada).await.version, world.tick());
        racers.push(Box::pin(erase_all(Arc::clone(&world.store), erasure, chats)));
        race(racers).await;
        for chat in chats {
            let texts = check_chat(&*world.store, chat, bob).await;
            let left = texts.iter().filter(|message| message.sender == ada && message.body.is_some());
            assert_eq!(left.count(), 0, "race {n}: texts are left");
        }
    }
}

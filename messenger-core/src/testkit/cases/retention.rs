use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::future::BoxFuture;

use crate::{
    domain::{ChatId, MessageId, RetentionPeriod, Revision, Seq, SystemEvent, UserId},
    ports::{
        AskOverdue, Budget, DeleteMessage, EditMessage, Hold, HoldReason, HoldSubject, MessageRecord, Purge,
        PurgeRecord, Purged, RetentionChange, Store, StoreErrorKind,
    },
    testkit::{World, check_chat, error_kind, race},
};

/// How often a race is run: each of them has another order.
const RACES: usize = 12;
const MINUTE: RetentionPeriod = RetentionPeriod::SHORTEST;
/// So that nothing becomes overdue in a race.
const TEN_MINUTES: RetentionPeriod = match RetentionPeriod::from_secs(600) {
    Ok(period) => period,
    Err(_) => MINUTE,
};
/// Longer than a minute, also by the clocks of several nodes.
const TWO_MINUTES: Duration = Duration::from_secs(120);

fn period(seconds: u64) -> Option<RetentionPeriod> {
    RetentionPeriod::from_secs(seconds).ok()
}

async fn overdue(world: &World, retention: Option<RetentionPeriod>) -> Vec<ChatId> {
    let asked = AskOverdue { now: world.context.now(), retention };
    let overdue = world.store.overdue_chats(&asked, 100).await.unwrap();
    overdue.into_iter().map(|overdue| overdue.chat).collect()
}

fn step(world: &World, chat: ChatId, retention: Option<RetentionPeriod>, limit: usize) -> Purge {
    Purge { id: world.id(), chat, now: world.context.now(), retention, limit }
}

async fn purge_some(world: &World, chat: ChatId, retention: RetentionPeriod, limit: usize) -> Purged {
    world.store.purge(&step(world, chat, Some(retention), limit)).await.unwrap()
}

/// Purges until there is no more, and returns the seqs of what was purged.
async fn purge(world: &World, chat: ChatId, retention: Option<RetentionPeriod>) -> Vec<u64> {
    let mut seqs = vec![];
    loop {
        let purged = world.store.purge(&step(world, chat, retention, 3)).await.unwrap();
        seqs.extend(purged.messages.iter().map(|message| message.seq.get()));
        if !purged.more {
            return seqs;
        }
    }
}

async fn set_retention(world: &World, chat: ChatId, by: UserId, retention: Option<RetentionPeriod>) {
    let expected = world.store.roster(chat).await.unwrap().chat.roster_version;
    let message = world.system(by, SystemEvent::RetentionChanged);
    let change = RetentionChange { chat, expected, retention, message };
    world.store.set_retention(change).await.unwrap();
}

fn hold(world: &World, subject: HoldSubject) -> Hold {
    Hold { subject, reason: "case 7/2026".parse().unwrap(), at: world.tick() }
}

async fn held(world: &World, subject: HoldSubject) -> bool {
    world.store.hold(&hold(world, subject)).await.unwrap()
}

async fn all_purges(world: &World) -> Vec<PurgeRecord> {
    world.store.purges(None, 10_000).await.unwrap()
}

fn live(messages: &[MessageRecord]) -> BTreeSet<MessageId> {
    messages.iter().filter(|message| message.deleted_at.is_none()).map(|message| message.id).collect()
}

pub async fn set_retention_is_told_and_seen(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.group([ada, bob]).await;
    world.send(chat, ada, "hello").await;
    assert_eq!(world.view(chat, bob).await.retention, None);
    let before = world.store.roster(chat).await.unwrap().chat;
    for retention in [period(86_400), period(60), None] {
        let now = world.store.roster(chat).await.unwrap().chat;
        let message = world.system(ada, SystemEvent::RetentionChanged);
        let change =
            RetentionChange { chat, expected: now.roster_version, retention, message: message.clone() };
        let changed = world.store.set_retention(change).await.unwrap();
        assert_eq!(changed.chat.roster_version, now.roster_version + 1);
        assert_eq!(changed.chat, world.store.roster(chat).await.unwrap().chat);
        let (seq, revision) = (now.last_seq.next(), now.revision.next());
        let expected = crate::testkit::expected_system(chat, &message, seq.get(), revision.get());
        assert_eq!(changed.messages, [expected]);
        assert_eq!(world.view(chat, bob).await.retention, retention);
        let listed = world.store.list_chats(bob, None, 10, 100).await.unwrap();
        assert_eq!(listed[0].retention, retention);
        assert_eq!(world.unread(chat, bob).await, 1, "nothing of it is unread");
        let memberships = world.store.memberships(bob, None).await.unwrap();
        assert_eq!(memberships.chats[0].head.revision, revision);
    }
    let after = world.store.roster(chat).await.unwrap().chat;
    assert_eq!((after.title, after.member_count), (before.title, before.member_count));
    check_chat(&*world.store, chat, bob).await;
}

pub async fn set_retention_conflicts_with_an_older_version(world: &World) {
    let ada = world.user("ada").await;
    let chat = world.group([ada]).await;
    let before = world.store.roster(chat).await.unwrap();
    for expected in [0, 2] {
        let message = world.system(ada, SystemEvent::RetentionChanged);
        let change = RetentionChange { chat, expected, retention: Some(MINUTE), message };
        assert_eq!(error_kind(world.store.set_retention(change).await), StoreErrorKind::Conflict);
    }
    assert_eq!(world.store.roster(chat).await.unwrap(), before);
    assert_eq!(world.view(chat, ada).await.retention, None);
}

pub async fn set_retention_of_unknown_chat_is_not_found(world: &World) {
    let ada = world.user("ada").await;
    let message = world.system(ada, SystemEvent::RetentionChanged);
    let change = RetentionChange { chat: world.id(), expected: 1, retention: Some(MINUTE), message };
    assert_eq!(error_kind(world.store.set_retention(change).await), StoreErrorKind::NotFound);
}

pub async fn overdue_chats_are_those_with_old_messages(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (first, second) = (world.group([ada, bob]).await, world.direct(ada, bob).await);
    let empty = world.direct(ada, world.user("cleo").await).await;
    world.send(second, ada, "old").await;
    for chat in overdue(world, Some(MINUTE)).await {
        assert_eq!(purge(world, chat, Some(MINUTE)).await, [0; 0], "looked at for the first time");
    }
    assert_eq!(overdue(world, Some(MINUTE)).await, []);
    world.advance(TWO_MINUTES);
    assert_eq!(overdue(world, None).await, [], "all is kept for good");
    assert_eq!(overdue(world, period(3600)).await, []);
    assert_eq!(overdue(world, Some(MINUTE)).await[..2], [first, second], "the longest first");
    let limited = AskOverdue { now: world.context.now(), retention: Some(MINUTE) };
    assert_eq!(world.store.overdue_chats(&limited, 1).await.unwrap()[0].chat, first);
    world.send(second, bob, "new").await;
    for chat in [first, second, empty] {
        purge(world, chat, Some(MINUTE)).await;
    }
    assert_eq!(overdue(world, Some(MINUTE)).await, []);
    world.advance(TWO_MINUTES);
    assert!(overdue(world, Some(MINUTE)).await.contains(&second), "it has become old");
}

pub async fn overdue_chats_go_by_their_own_time(world: &World) {
    let ada = world.user("ada").await;
    let (own, other) = (world.group([ada]).await, world.group([ada]).await);
    set_retention(world, own, ada, Some(MINUTE)).await;
    assert_eq!(overdue(world, None).await, [], "nothing in it is old");
    world.advance(TWO_MINUTES);
    assert_eq!(overdue(world, None).await, [own]);
    assert_eq!(purge(world, other, period(3600)).await, [0; 0]);
    assert_eq!(overdue(world, period(3600)).await, [own]);
    assert_eq!(purge(world, own, period(3600)).await, [1, 2]);
    assert_eq!(overdue(world, None).await, []);
    world.send(own, ada, "new").await;
    world.advance(TWO_MINUTES);
    assert_eq!(overdue(world, None).await, [own]);
    set_retention(world, own, ada, None).await;
    assert_eq!(overdue(world, None).await, []);
    set_retention(world, own, ada, Some(MINUTE)).await;
    assert_eq!(overdue(world, None).await, [own]);
}

pub async fn purge_turns_what_is_overdue_into_tombstones(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.group([ada, bob]).await;
    let mut sent = vec![];
    for body in ["one", "two", "three"] {
        sent.push(world.send(chat, ada, body).await);
    }
    let edited = world.edit(&sent[1], "zwei").await;
    let deleted = world.delete(&sent[2]).await;
    world.advance(TWO_MINUTES);
    let new = world.send(chat, bob, "new").await;
    let before = check_chat(&*world.store, chat, bob).await;
    let head = world.store.roster(chat).await.unwrap().chat;

    let purge = step(world, chat, Some(MINUTE), 100);
    let purged = world.store.purge(&purge).await.unwrap();
    assert!(!purged.more);
    let after = check_chat(&*world.store, chat, bob).await;
    let mut revision = head.revision;
    let tombstone = |message: &MessageRecord, revision: Revision| MessageRecord {
        revision,
        body: None,
        fingerprint: None,
        deleted_at: Some(purge.now),
        ..message.clone()
    };
    let mut expected = vec![];
    for message in [&before[0], &before[1], &edited] {
        revision = revision.next();
        expected.push(tombstone(message, revision));
    }
    assert_eq!(purged.messages, expected, "the note of the group and two texts");
    assert_eq!(after, [&expected[..], &[deleted, new]].concat());
    let now = world.store.roster(chat).await.unwrap().chat;
    assert_eq!((now.revision, now.last_seq, now.texts), (revision, head.last_seq, head.texts));
    let changes = world.store.changes(&[(chat, head.revision)], Budget::of_messages(100)).await.unwrap();
    assert_eq!(changes[0].messages, expected, "as who was away is told");
    let changed = world.store.changed_since(purge.now, 10).await.unwrap();
    assert!(changed.iter().any(|changed| changed.chat == chat));
}

pub async fn purge_goes_on_where_it_was(world: &World) {
    let ada = world.user("ada").await;
    let chat = world.group([ada]).await;
    for n in 0..6 {
        world.send(chat, ada, &n.to_string()).await;
    }
    world.advance(TWO_MINUTES);
    let seqs = |purged: &Purged| purged.messages.iter().map(|m| m.seq.get()).collect::<Vec<_>>();
    for (wanted, more) in [(vec![1, 2, 3], true), (vec![4, 5, 6], true), (vec![7], false), (vec![], false)] {
        let purged = purge_some(world, chat, MINUTE, 3).await;
        assert_eq!((seqs(&purged), purged.more), (wanted, more));
    }
    world.send(chat, ada, "new").await;
    assert_eq!(purge(world, chat, Some(MINUTE)).await, [0; 0]);
    world.advance(TWO_MINUTES);
    assert_eq!(purge(world, chat, Some(MINUTE)).await, [8]);
    check_chat(&*world.store, chat, ada).await;
}

pub async fn purge_goes_by_the_shorter_time(world: &World) {
    let ada = world.user("ada").await;
    let chat = world.group([ada]).await;
    let hour = period(3600);
    set_retention(world, chat, ada, Some(MINUTE)).await;
    world.advance(TWO_MINUTES);
    let overdue_since = overdue(world, hour).await;
    assert_eq!(overdue_since, [chat]);
    set_retention(world, chat, ada, period(7200)).await;
    assert_eq!(purge(world, chat, hour).await, [0; 0], "the owner has changed it meanwhile");
    assert_eq!(purge(world, chat, Some(MINUTE)).await, [1, 2], "the time of the deployment is shorter");
    set_retention(world, chat, ada, Some(MINUTE)).await;
    world.advance(TWO_MINUTES);
    assert_eq!(purge(world, chat, None).await, [3, 4]);
}

pub async fn purge_records_what_it_has_done(world: &World) {
    let ada = world.user("ada").await;
    let chat = world.group([ada]).await;
    for n in 0..3 {
        world.send(chat, ada, &n.to_string()).await;
    }
    world.advance(TWO_MINUTES);
    assert!(purge_some(world, chat, RetentionPeriod::LONGEST, 10).await.messages.is_empty());
    assert_eq!(all_purges(world).await, [], "nothing was done");
    let first = step(world, chat, Some(MINUTE), 3);
    world.store.purge(&first).await.unwrap();
    set_retention(world, chat, ada, Some(MINUTE)).await;
    world.advance(TWO_MINUTES);
    let second = step(world, chat, period(3600), 10);
    world.store.purge(&second).await.unwrap();
    let record = |purge: Purge, is_own, (first, last): (u64, u64)| PurgeRecord {
        id: purge.id,
        chat,
        at: purge.now,
        before: purge.now.before(MINUTE.as_duration()),
        retention: MINUTE,
        is_own,
        first: Seq::new(first),
        last: Seq::new(last),
        messages: last + 1 - first,
    };
    assert_eq!(all_purges(world).await, [record(first, false, (1, 3)), record(second, true, (4, 5))]);
}

pub async fn purge_of_a_chat_that_keeps_all_is_nothing(world: &World) {
    let ada = world.user("ada").await;
    let chat = world.group([ada]).await;
    world.advance(TWO_MINUTES);
    let before = world.store.roster(chat).await.unwrap();
    for (chat, retention) in [(chat, None), (world.id(), Some(MINUTE))] {
        let purged = world.store.purge(&step(world, chat, retention, 10)).await.unwrap();
        assert_eq!(purged, Purged::default());
    }
    assert_eq!(world.store.roster(chat).await.unwrap(), before);
    assert_eq!(all_purges(world).await, []);
}

pub async fn purge_passes_over_what_is_held(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (held_chat, chat) = (world.group([ada, bob]).await, world.group([ada, bob]).await);
    for chat in [held_chat, chat] {
        for sender in [ada, bob, ada, bob] {
            world.send(chat, sender, "hello").await;
        }
    }
    assert!(held(world, HoldSubject::Chat(held_chat)).await);
    assert!(held(world, HoldSubject::User(bob)).await);
    world.advance(TWO_MINUTES);
    assert_eq!(purge(world, held_chat, Some(MINUTE)).await, [0; 0]);
    assert_eq!(purge(world, chat, Some(MINUTE)).await, [1, 2, 4]);
    assert_eq!(overdue(world, Some(MINUTE)).await, [], "what is held waits for nobody");
    let recorded = all_purges(world).await.iter().map(|record| record.messages).sum::<u64>();
    assert_eq!(recorded, 3);
    check_chat(&*world.store, chat, bob).await;
}

pub async fn purge_comes_back_to_what_was_released(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (first, second) = (world.group([ada, bob]).await, world.group([ada, bob]).await);
    for chat in [first, second] {
        world.send(chat, bob, "hello").await;
        set_retention(world, chat, ada, Some(MINUTE)).await;
    }
    for subject in [HoldSubject::Chat(first), HoldSubject::User(bob)] {
        assert!(held(world, subject).await);
    }
    world.advance(TWO_MINUTES);
    assert_eq!(purge(world, first, None).await, [0; 0]);
    assert_eq!(purge(world, second, None).await, [1, 3]);
    assert_eq!(overdue(world, None).await, []);
    assert!(world.store.release(HoldSubject::Chat(first)).await.unwrap());
    assert_eq!(overdue(world, None).await, [first]);
    assert_eq!(purge(world, first, None).await, [1, 3]);
    assert!(world.store.release(HoldSubject::User(bob)).await.unwrap());
    assert_eq!(BTreeSet::from_iter(overdue(world, None).await), BTreeSet::from([first, second]));
    assert_eq!(BTreeSet::from_iter(overdue(world, period(3600)).await), BTreeSet::from([first, second]));
    for chat in [first, second] {
        assert_eq!(purge(world, chat, None).await, [2]);
    }
    assert_eq!(overdue(world, None).await, []);
}

/// Purges in small steps until there is no more.
async fn purge_all(world: World, chat: ChatId) -> Vec<MessageId> {
    let mut purged = vec![];
    loop {
        let step = purge_some(&world, chat, TEN_MINUTES, 2).await;
        purged.extend(step.messages.iter().map(|message| message.id));
        if !step.more {
            return purged;
        }
    }
}

pub async fn purge_of_racers_does_each_message_once(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.group([ada, bob]).await;
    let mut old = vec![];
    for n in 0..30 {
        old.push(world.send(chat, ada, &n.to_string()).await);
    }
    world.advance(10 * TWO_MINUTES);
    let mut racers: Vec<BoxFuture<'static, Vec<MessageId>>> = vec![];
    for _ in 0..4 {
        racers.push(Box::pin(purge_all(world.clone(), chat)));
    }
    let sender = world.clone();
    racers.push(Box::pin(async move {
        for n in 0..20 {
            sender.send(chat, bob, &n.to_string()).await;
        }
        vec![]
    }));
    let (writer, known) = (world.clone(), old.clone());
    racers.push(Box::pin(async move {
        let mut deleted = vec![];
        for (n, message) in known.iter().rev().enumerate() {
            let (message, expected) = (message.id, message.revision);
            let answer = if n % 2 == 0 {
                let deletion = DeleteMessage { chat, message, expected, deleted_at: writer.tick() };
                let answer = writer.store.delete_message(deletion).await;
                deleted.extend(answer.is_ok().then_some(message));
                answer
            } else {
                let (body, edited_at) = (crate::ports::Content::from("other"), writer.tick());
                writer
                    .store
                    .edit_message(EditMessage { chat, message, sender: ada, expected, body, edited_at })
                    .await
            };
            assert!(answer.is_ok() || answer.unwrap_err().kind() == StoreErrorKind::Conflict);
        }
        deleted
    }));
    let answers = race(racers).await;
    let purged = answers[..4].iter().map(Vec::len).sum::<usize>() as u64;
    let done: Vec<_> = answers.into_iter().flatten().collect();
    let distinct: BTreeSet<_> = done.iter().copied().collect();
    assert_eq!(done.len(), distinct.len(), "each message was purged or deleted once");
    let messages = check_chat(&*world.store, chat, bob).await;
    assert_eq!(live(&messages).len(), 20, "what was sent meanwhile is there, and nothing else");
    assert!(messages[31..].iter().all(|message| message.deleted_at.is_none()));
    let recorded: u64 = all_purges(world).await.iter().map(|record| record.messages).sum();
    assert_eq!(recorded, purged, "the records name what was purged");
}

pub async fn hold_is_listed_until_it_is_released(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.group([ada, bob]).await;
    let first = Hold { reason: HoldReason::default(), ..hold(world, HoldSubject::User(ada)) };
    assert!(world.store.hold(&first).await.unwrap());
    assert!(!held(world, HoldSubject::User(ada)).await, "the first one stays");
    let second = hold(world, HoldSubject::Chat(chat));
    assert!(world.store.hold(&second).await.unwrap());
    assert_eq!(world.store.holds(None, 10).await.unwrap(), [second, first.clone()]);
    assert!(world.store.release(HoldSubject::Chat(chat)).await.unwrap());
    for subject in [HoldSubject::Chat(chat), HoldSubject::User(bob), HoldSubject::Chat(world.id())] {
        assert!(!world.store.release(subject).await.unwrap());
    }
    assert_eq!(world.store.holds(None, 10).await.unwrap(), [first]);
}

pub async fn hold_of_the_unknown_and_the_erased_is_not_found(world: &World) {
    let ada = world.user("ada").await;
    world.erase(ada).await;
    for subject in [HoldSubject::User(ada), HoldSubject::User(world.id()), HoldSubject::Chat(world.id())] {
        let answer = world.store.hold(&hold(world, subject)).await;
        assert_eq!(error_kind(answer), StoreErrorKind::NotFound, "{subject:?}");
    }
    assert_eq!(world.store.holds(None, 10).await.unwrap(), []);
}

pub async fn hold_ends_the_purges_that_are_under_way(world: &World) {
    for n in 0..RACES {
        let ada = world.user(&format!("ada{n}")).await;
        let chat = world.group([ada]).await;
        let mut batch = vec![];
        for _ in 0..40 {
            batch.push(world.text(chat, ada, "hello"));
        }
        world.store.append_messages(&batch).await.unwrap();
        world.advance(10 * TWO_MINUTES);
        let subject = if n % 2 == 0 { HoldSubject::Chat(chat) } else { HoldSubject::User(ada) };
        let mut racers: Vec<BoxFuture<'static, BTreeSet<MessageId>>> = vec![];
        for _ in 0..3 {
            let purging = world.clone();
            racers.push(Box::pin(async move {
                purge_all(purging, chat).await;
                BTreeSet::new()
            }));
        }
        let (store, set) = (Arc::clone(&world.store), hold(world, subject));
        racers.insert(
            n % 4,
            Box::pin(async move {
                store.hold(&set).await.unwrap();
                live(&messages_of(&*store, chat).await)
            }),
        );
        let left: BTreeSet<_> = race(racers).await.into_iter().flatten().collect();
        let now = live(&messages_of(&*world.store, chat).await);
        assert_eq!(now, left, "{n}: nothing is purged after the answer");
        assert!(world.store.release(subject).await.unwrap());
    }
}

async fn messages_of(store: &dyn Store, chat: ChatId) -> Vec<MessageRecord> {
    let changes = store.changes(&[(chat, Revision::ZERO)], Budget::of_messages(1000)).await.unwrap();
    changes.into_iter().flat_map(|changes| changes.messages).collect()
}

pub async fn hold_keeps_an_account_from_being_erased(world: &World) {
    for n in 0..RACES {
        let ada = world.user(&format!("ada{n}")).await;
        let before = world.record(ada).await;
        let erasure = world.erasure(ada, before.version, world.tick());
        let (holding, erasing) = (Arc::clone(&world.store), Arc::clone(&world.store));
        let set = hold(world, HoldSubject::User(ada));
        let racers: [BoxFuture<'static, Result<(), StoreErrorKind>>; 2] = [
            Box::pin(async move { holding.hold(&set).await.map(|_| ()).map_err(|error| error.kind()) }),
            Box::pin(
                async move { erasing.erase_user(&erasure).await.map(|_| ()).map_err(|error| error.kind()) },
            ),
        ];
        let answers = race(racers).await;
        let is_held = !world.store.holds(None, 100).await.unwrap().is_empty();
        if is_held {
            assert_eq!(answers, [Ok(()), Err(StoreErrorKind::Held)]);
            assert_eq!(world.record(ada).await, before);
            assert_eq!(world.store.sessions(ada).await.unwrap().len(), 1);
            let again = world.store.erase_user(&world.erasure(ada, before.version, world.tick())).await;
            assert_eq!(error_kind(again), StoreErrorKind::Held);
            assert!(world.store.release(HoldSubject::User(ada)).await.unwrap());
            world.erase(ada).await;
        } else {
            assert_eq!(answers, [Err(StoreErrorKind::NotFound), Ok(())]);
        }
    }
}

pub async fn holds_page_by_subject(world: &World) {
    let mut subjects = vec![];
    for n in 0..3 {
        let user = world.user(&format!("ada{n}")).await;
        subjects.extend([HoldSubject::User(user), HoldSubject::Chat(world.group([user]).await)]);
    }
    for subject in &subjects {
        assert!(held(world, *subject).await);
    }
    subjects.sort_unstable();
    for limit in 1..=7 {
        let (mut found, mut after) = (vec![], None);
        loop {
            let page = world.store.holds(after, limit).await.unwrap();
            assert!(page.len() <= limit);
            found.extend(page.iter().map(|hold| hold.subject));
            after = page.last().map(|hold| hold.subject);
            if page.len() < limit {
                break;
            }
        }
        assert_eq!(found, subjects, "{limit}");
    }
}

pub async fn purges_page_by_id(world: &World) {
    let ada = world.user("ada").await;
    let chat = world.group([ada]).await;
    for n in 0..4 {
        world.send(chat, ada, &n.to_string()).await;
    }
    world.advance(TWO_MINUTES);
    let mut ids = vec![];
    for _ in 0..5 {
        let step = step(world, chat, Some(MINUTE), 1);
        world.store.purge(&step).await.unwrap();
        ids.push(step.id);
    }
    ids.sort_unstable();
    for limit in 1..=6 {
        let (mut found, mut after) = (vec![], None);
        loop {
            let page = world.store.purges(after, limit).await.unwrap();
            assert!(page.len() <= limit);
            found.extend(page.iter().map(|record| record.id));
            after = page.last().map(|record| record.id);
            if page.len() < limit {
                break;
            }
        }
        assert_eq!(found, ids, "{limit}");
    }
}

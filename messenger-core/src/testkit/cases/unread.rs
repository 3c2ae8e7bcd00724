use std::{sync::Arc, time::Duration};

use crate::{
    domain::{Seq, Timestamp},
    ports::{ClaimUnread, ClaimedChat},
    testkit::{World, race},
};

const LEASE: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

fn asks(now: Timestamp, due: Timestamp) -> ClaimUnread {
    ClaimUnread { due, now, until: now.after(LEASE) }
}

/// Claims all that is due now.
async fn claim(world: &World) -> Vec<ClaimedChat> {
    let now = world.tick();
    world.store.claim_unread_chats(&asks(now, now), 100).await.unwrap()
}

async fn claim_one(world: &World) -> ClaimedChat {
    let claimed = claim(world).await;
    assert_eq!(claimed.len(), 1, "one chat is due");
    claimed[0]
}

async fn finish(world: &World, claimed: &ClaimedChat, due: Timestamp) -> bool {
    world.store.finish_unread_chat(claimed, due).await.unwrap()
}

pub async fn claim_unread_chats_finds_chats_with_texts_that_are_old_enough(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let (chat, later) = (world.direct(ada, bob).await, world.direct(ada, cleo).await);
    world.direct(bob, cleo).await;
    let text = world.send(chat, ada, "hello").await;
    world.send(later, ada, "hello").await;
    let now = world.tick();
    let early = asks(now, text.created_at.before(Duration::from_micros(1)));
    assert_eq!(world.store.claim_unread_chats(&early, 10).await.unwrap(), []);
    let claimed = world.store.claim_unread_chats(&asks(now, text.created_at), 10).await.unwrap();
    let [one] = claimed[..] else { panic!("one chat is old enough: {claimed:?}") };
    assert_eq!((one.chat, one.since, one.last_seq), (chat, text.created_at, text.seq));
}

pub async fn claim_unread_chats_has_the_longest_waiting_first(world: &World) {
    let [ada, bob, cleo, dan] = world.people(["ada", "bob", "cleo", "dan"]).await;
    let mut waiting = vec![];
    for other in [cleo, bob, dan] {
        waiting.push(world.direct(ada, other).await);
    }
    // Not in the order in which they were made.
    waiting.reverse();
    for chat in &waiting {
        world.send(*chat, ada, "hello").await;
    }
    let now = world.tick();
    let first = world.store.claim_unread_chats(&asks(now, now), 2).await.unwrap();
    assert_eq!(first.iter().map(|claimed| claimed.chat).collect::<Vec<_>>(), waiting[..2]);
    assert_eq!(claim_one(world).await.chat, waiting[2]);
}

pub async fn claim_unread_chats_finds_none_for_system_messages(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let group = world.group([ada]).await;
    world.add(group, ada, &[bob]).await;
    assert_eq!(claim(world).await, []);
}

pub async fn claim_unread_chats_keeps_the_time_of_the_first_text(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    let first = world.send(chat, ada, "first").await;
    world.send(chat, bob, "second").await;
    let batch = [world.text(chat, ada, "third"), world.text(chat, bob, "fourth")];
    world.store.append_messages(&batch).await.unwrap();
    let named = world.named(chat, ada, "fifth", "c1");
    world.append(&named).await.unwrap();
    world.append(&named).await.unwrap();
    let claimed = claim_one(world).await;
    assert_eq!((claimed.since, claimed.last_seq), (first.created_at, Seq::new(5)));
}

pub async fn claim_unread_chats_leaves_what_others_hold(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    world.send(chat, ada, "hello").await;
    let claimed = claim_one(world).await;
    world.send(chat, ada, "again").await;
    assert_eq!(claim(world).await, []);
    assert!(finish(world, &claimed, claimed.since).await);
    assert_eq!(claim_one(world).await.chat, chat, "it is free again");
}

pub async fn claim_unread_chats_takes_over_what_a_dead_worker_had(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    world.send(chat, ada, "hello").await;
    let dead = claim_one(world).await;
    world.advance(LEASE);
    let next = claim_one(world).await;
    assert_eq!(ClaimedChat { number: dead.number, ..next }, dead);
    assert!(next.number > dead.number, "it is another claim");
}

pub async fn claim_unread_chats_of_racing_workers_takes_each_once(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    for _ in 0..30 {
        let group = world.group([ada, bob]).await;
        world.send(group, ada, "hello").await;
    }
    let now = world.tick();
    let claimed = race((0..6).map(|_| {
        let store = Arc::clone(&world.store);
        async move { store.claim_unread_chats(&asks(now, now), 10).await.unwrap() }
    }))
    .await;
    let mut claimed: Vec<_> = claimed.into_iter().flatten().map(|claimed| claimed.chat).collect();
    // What the racers have left to each other.
    claimed.extend(claim(world).await.into_iter().map(|claimed| claimed.chat));
    claimed.sort_unstable();
    assert_eq!(claimed.len(), 30);
    claimed.dedup();
    assert_eq!(claimed.len(), 30, "no chat is claimed twice");
}

pub async fn claim_unread_chats_of_a_message_that_was_refused_is_nothing(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let chat = world.direct(ada, bob).await;
    world.append(&world.text(chat, cleo, "let me in")).await.unwrap_err();
    assert_eq!(claim(world).await, []);
    let first = world.send(chat, ada, "hello").await;
    world.append(&world.text(chat, cleo, "let me in")).await.unwrap_err();
    assert_eq!(claim_one(world).await.since, first.created_at);
}

pub async fn claim_unread_chats_finds_what_a_batch_stores_beside_what_it_refuses(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let chat = world.direct(ada, bob).await;
    let mut since = vec![];
    for sender in [ada, bob] {
        let batch = [world.text(chat, cleo, "let me in"), world.text(chat, sender, "hello")];
        let answers = world.store.append_messages(&batch).await.unwrap();
        assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true]);
        since.push(batch[1].created_at);
    }
    let claimed = claim_one(world).await;
    assert_eq!((claimed.since, claimed.last_seq), (since[0], Seq::new(2)));
    assert!(finish(world, &claimed, since[0]).await);
    assert_eq!(claim_one(world).await.since, since[1]);
}

pub async fn finish_unread_chat_waits_for_the_next_text(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let group = world.group([ada, bob]).await;
    let first = world.send(group, ada, "first").await;
    world.send(group, ada, "second").await;
    world.add(group, ada, &[world.user("cleo").await]).await;
    let third = world.send(group, bob, "third").await;
    let claimed = claim_one(world).await;
    assert!(finish(world, &claimed, third.created_at.before(SECOND)).await);

    let now = world.tick();
    let early = asks(now, third.created_at.before(Duration::from_micros(1)));
    assert_eq!(world.store.claim_unread_chats(&early, 10).await.unwrap(), []);
    let next = claim_one(world).await;
    assert_eq!(next.since, third.created_at);
    assert!(first.created_at < next.since && next.number > claimed.number);
    assert!(finish(world, &next, third.created_at).await);
    assert_eq!(claim(world).await, [], "nothing is left");
    let fourth = world.send(group, ada, "fourth").await;
    let last = claim_one(world).await;
    assert_eq!(last.since, fourth.created_at);
    world.add(group, ada, &[world.user("dan").await]).await;
    assert!(finish(world, &last, fourth.created_at).await);
    assert_eq!(claim(world).await, [], "a system message is none");
}

pub async fn finish_unread_chat_leaves_what_was_too_new(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    let first = world.send(chat, ada, "first").await;
    let second = world.send(chat, ada, "second").await;
    for (due, since) in [
        (first.created_at.before(SECOND), first.created_at),
        (first.created_at, second.created_at),
        (first.created_at, second.created_at),
    ] {
        assert!(finish(world, &claim_one(world).await, due).await);
        let next = claim_one(world).await;
        assert_eq!(next.since, since, "up to {due:?}");
        assert!(finish(world, &next, since.before(SECOND)).await);
        assert!(!finish(world, &next, since).await, "it has ended, though the chat is still due");
    }
}

pub async fn finish_unread_chat_forgets_no_message_that_came_meanwhile(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    let first = world.send(chat, ada, "first").await;
    let late = world.text(chat, ada, "sent before, stored later");
    let due = world.tick();
    let claimed = claim_one(world).await;
    world.append(&late).await.unwrap();
    assert!(late.created_at < due && first.created_at < late.created_at);
    assert!(finish(world, &claimed, due).await);
    let again = claim_one(world).await;
    assert_eq!(again.since, late.created_at);
    assert!(finish(world, &again, due).await);
    assert_eq!(claim(world).await, []);
}

pub async fn finish_unread_chat_passes_over_what_was_deleted(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    let first = world.send(chat, ada, "first").await;
    let second = world.send(chat, ada, "second").await;
    world.delete(&second).await;
    let claimed = claim_one(world).await;
    assert!(finish(world, &claimed, first.created_at).await);
    assert_eq!(claim(world).await, []);
}

pub async fn finish_unread_chat_of_a_lost_claim_is_nothing(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    world.send(chat, ada, "hello").await;
    let dead = claim_one(world).await;
    world.advance(LEASE);
    let held = claim_one(world).await;
    let now = world.tick();
    assert!(!finish(world, &dead, now).await);
    assert!(!finish(world, &ClaimedChat { chat: world.id(), ..held }, now).await);
    assert!(finish(world, &held, now).await);
    assert!(!finish(world, &held, now).await, "it has ended");
    assert_eq!(claim(world).await, []);
}

pub async fn finish_unread_chat_forgets_nothing_while_others_send(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    for round in 0..20 {
        world.send(chat, ada, "first").await;
        let (claimed, due) = (claim_one(world).await, world.tick());
        let texts = [world.text(chat, ada, "a"), world.text(chat, bob, "b")];
        let store = Arc::clone(&world.store);
        let finishing = async move {
            store.finish_unread_chat(&claimed, due).await.unwrap();
        };
        let store = Arc::clone(&world.store);
        let sending = async move { drop(store.append_messages(&texts).await.unwrap()) };
        race::<(), futures::future::BoxFuture<'static, ()>>([
            Box::pin(finishing) as _,
            Box::pin(sending) as _,
        ])
        .await;
        let again = claim_one(world).await;
        assert!(again.since > claimed.since, "round {round}");
        assert!(finish(world, &again, world.tick()).await);
        assert_eq!(claim(world).await, [], "round {round}");
    }
}

use std::{sync::Arc, time::Duration};

use super::pending::{chats, read};
use crate::{
    domain::{ChatId, Seq, Timestamp, UserId},
    ports::{
        AskUnread, Content, JobPriority, JobState, MailState, NewJob, Notified, PendingChat, StoreErrorKind,
        Told, UnreadRange, UpdateUser,
    },
    testkit::{World, error_kind, race},
};

pub(in crate::testkit) fn job(world: &World) -> NewJob {
    let created_at = world.tick();
    NewJob {
        id: world.id(),
        kind: "mail".parse().unwrap(),
        payload: Content::from("{}"),
        priority: JobPriority::Normal,
        run_at: created_at,
        max_attempts: 3,
        unique: None,
        after: None,
        created_at,
    }
}

fn told(at: Timestamp, times: u32) -> Told {
    Told { at, since: at.before(Duration::from_secs(3600)), times }
}

/// Tells a person of these ranges for the first time.
fn first(world: &World, user: UserId, ranges: Vec<UnreadRange>) -> Notified {
    let job = job(world);
    Notified { user, expected: None, told: told(world.tick(), 1), ranges, jobs: vec![job] }
}

async fn pending(world: &World, user: UserId) -> PendingChat {
    let chats = chats(world, user).await;
    assert_eq!(chats.len(), 1, "one chat is pending");
    chats[0]
}

async fn record(world: &World, notified: &Notified) -> bool {
    world.store.record_notified(notified).await.unwrap()
}

async fn refused(world: &World, notified: &Notified) {
    assert!(!record(world, notified).await);
    for job in &notified.jobs {
        assert_eq!(error_kind(world.store.job(job.id).await), StoreErrorKind::NotFound);
    }
}

async fn direct_with_a_text(world: &World) -> (ChatId, UserId, UserId) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    world.send(chat, ada, "hello").await;
    (chat, ada, bob)
}

pub async fn record_notified_moves_marks_and_enqueues_its_jobs(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (chat, other) = (world.direct(ada, bob).await, world.group([ada, bob]).await);
    world.send(chat, ada, "hello").await;
    world.send(other, ada, "hello").await;
    let before = world.record(bob).await;
    let ranges: Vec<_> = chats(world, bob).await.iter().map(PendingChat::range).collect();
    assert_eq!(ranges.len(), 2);
    let (view, mut first) = (world.view(chat, bob).await, first(world, bob, ranges));
    first.jobs.push(job(world));
    assert!(record(world, &first).await);
    for job in &first.jobs {
        assert_eq!(world.store.job(job.id).await.unwrap().state, JobState::Waiting);
    }
    let mut after = before.clone();
    after.mail.told = Some(first.told);
    assert_eq!(world.record(bob).await, after);
    assert_eq!(world.view(chat, bob).await, view, "the read mark stays");
    assert_eq!(chats(world, bob).await, [], "the person was told of all");
    assert_eq!(world.unread(chat, bob).await, 1);

    let next = world.send(chat, ada, "once more").await;
    let pending = pending(world, bob).await;
    assert_eq!((pending.since, pending.unread, pending.up_to), (next.created_at, 1, next.seq));
    let again = Notified { expected: Some(first.told.at), told: told(world.tick(), 2), ..first };
    refused(world, &Notified { jobs: vec![job(world)], ..again.clone() }).await;
    let again = Notified { ranges: vec![pending.range()], jobs: vec![], ..again };
    assert!(record(world, &again).await);
    assert_eq!(world.record(bob).await.mail, MailState { told: Some(again.told), ..MailState::default() });
}

pub async fn record_notified_of_what_was_read_meanwhile_is_nothing(world: &World) {
    let (chat, ada, bob) = direct_with_a_text(world).await;
    let other = world.group([ada, bob]).await;
    let last = world.send(other, ada, "hello").await;
    let ranges: Vec<_> = chats(world, bob).await.iter().map(PendingChat::range).collect();
    let before = world.record(bob).await;
    read(world, other, bob, last.seq).await;
    refused(world, &first(world, bob, ranges)).await;
    assert_eq!(world.record(bob).await, before);
    let left = pending(world, bob).await;
    assert_eq!((left.chat, left.told_times), (chat, 0), "of neither chat");
    // Nor by somebody who takes for read what is not.
    let beyond = UnreadRange { after: left.after.next(), ..left.range() };
    refused(world, &first(world, bob, vec![beyond])).await;
}

pub async fn record_notified_of_somebody_who_was_told_of_another_chat_is_nothing(world: &World) {
    let (chat, ada, bob) = direct_with_a_text(world).await;
    let other = world.group([ada, bob]).await;
    world.send(other, ada, "hello").await;
    let [newer, older] = chats(world, bob).await[..] else { panic!("two chats are pending") };
    assert_eq!((newer.chat, older.chat), (other, chat));
    let first_told = first(world, bob, vec![newer.range()]);
    assert!(record(world, &first_told).await);
    let late = first(world, bob, vec![older.range()]);
    refused(world, &late).await;
    let expected = Some(first_told.told.at);
    refused(world, &Notified { expected: Some(world.tick()), ..late.clone() }).await;
    assert_eq!(pending(world, bob).await.chat, chat);
    assert!(record(world, &Notified { expected, ..late }).await);
}

pub async fn record_notified_of_many_racers_is_done_by_one(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let mut chats = vec![];
    for _ in 0..6 {
        let group = world.group([ada, bob]).await;
        world.send(group, ada, "hello").await;
        chats.push(group);
    }
    let ranges: Vec<_> = self::chats(world, bob).await.iter().map(PendingChat::range).collect();
    let of_one = ranges.iter().map(|range| first(world, bob, vec![*range]));
    let of_all = (0..3).map(|_| first(world, bob, ranges.clone()));
    let racers: Vec<_> = of_one.chain(of_all).collect();
    let jobs: Vec<_> = racers.iter().map(|racer| racer.jobs[0].id).collect();
    let answers = race(racers.into_iter().map(|notified| {
        let store = Arc::clone(&world.store);
        async move { store.record_notified(&notified).await.unwrap() }
    }))
    .await;
    assert_eq!(answers.iter().filter(|done| **done).count(), 1);
    for (job, done) in jobs.into_iter().zip(answers) {
        assert_eq!(world.store.job(job).await.is_ok(), done);
    }
}

pub async fn record_notified_of_somebody_who_left_or_was_erased_is_nothing(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let group = world.group([ada, bob, cleo]).await;
    world.send(group, ada, "hello").await;
    let [of_bob, of_cleo] = [pending(world, bob).await.range(), pending(world, cleo).await.range()];
    world.remove(group, ada, &[bob]).await;
    world.erase(cleo).await;
    let stranger = UnreadRange { chat: world.id(), ..of_bob };
    for (user, range) in [(bob, of_bob), (cleo, of_cleo), (ada, stranger), (world.id(), of_bob)] {
        refused(world, &first(world, user, vec![range])).await;
    }
    assert_eq!(world.record(ada).await.mail, MailState::default());
}

pub async fn unread_members_tell_what_they_were_told(world: &World) {
    let (chat, ada, bob) = direct_with_a_text(world).await;
    let member = async || {
        let now = world.tick();
        let asked = AskUnread { chat, due: now, now };
        let members = world.store.unread_members(&asked, None, 10).await.unwrap();
        members.into_iter().find(|member| member.user == bob)
    };
    let before = member().await.unwrap();
    assert_eq!((before.told_at, before.told_times, before.mail), (None, 0, MailState::default()));
    let first = first(world, bob, vec![pending(world, bob).await.range()]);
    assert!(record(world, &first).await);
    assert_eq!(member().await, None, "there is nothing new");
    let text = world.send(chat, ada, "more").await;
    let quiet = UpdateUser::of(bob, world.record(bob).await.version);
    world.store.update_user(UpdateUser { notify_email: Some(false), ..quiet }).await.unwrap();
    let after = member().await.unwrap();
    assert_eq!((after.since, after.notify_email), (text.created_at, false));
    assert_eq!((after.told_at, after.told_times), (Some(first.told.at), 1));
    assert_eq!(after.mail, world.record(bob).await.mail);
    assert_eq!(after.mail.told, Some(first.told));
    read(world, chat, bob, Seq::new(1)).await;
    let after = member().await.unwrap();
    assert_eq!((after.told_at, after.told_times, after.mail.told), (None, 0, Some(first.told)));
}

pub async fn unread_chats_tell_how_often_one_was_told(world: &World) {
    let (chat, ada, bob) = direct_with_a_text(world).await;
    let (mut last, mut texts) = (None, vec![]);
    for times in 1..=3 {
        let before = pending(world, bob).await;
        assert_eq!((before.told_at, before.told_times), (last, times - 1));
        let told = told(world.tick(), times);
        let notified =
            Notified { expected: last, told, jobs: vec![], ..first(world, bob, vec![before.range()]) };
        assert!(record(world, &notified).await);
        last = Some(told.at);
        texts.push(world.send(chat, ada, "more").await);
    }
    assert_eq!(pending(world, bob).await.told_times, 3);
    read(world, chat, bob, texts[0].seq).await;
    let after = pending(world, bob).await;
    assert_eq!((after.told_at, after.told_times), (None, 0), "reading anything begins anew");
    assert_eq!(after.after, texts[1].seq, "and what one was told of is not told again");
    let at = world.tick();
    let notified = Notified {
        expected: last,
        told: told(at, 1),
        jobs: vec![],
        ..first(world, bob, vec![after.range()])
    };
    assert!(record(world, &notified).await);
    let more = world.send(chat, ada, "still more").await;
    let again = pending(world, bob).await;
    assert_eq!((again.told_at, again.told_times), (Some(at), 1));
    read(world, chat, bob, more.seq).await;
    assert_eq!(chats(world, bob).await, [], "what was read is not told");
    world.send(chat, ada, "the last").await;
    let last = pending(world, bob).await;
    assert_eq!((last.after, last.unread), (more.seq, 1));
    let expected = Some(at);
    let notified =
        Notified { expected, told: told(world.tick(), 1), ..first(world, bob, vec![last.range()]) };
    assert!(record(world, &notified).await);
}

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::counts;
use crate::{
    domain::{ChatId, NotifyLevel, Revision, Role, Seq, Timestamp, UserId},
    ports::{ChatHead, Content, MemberChat, MoveMarker, RosterChange, StoreErrorKind},
    testkit::{Pace, World, error_kind, while_racing},
};

pub async fn set_mute_is_ones_own(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (muted, other) = (world.direct(ada, bob).await, world.group([ada, bob]).await);
    let (before, until) = (world.view(muted, ada).await, world.tick());
    world.store.set_mute(muted, ada, Some(until)).await.unwrap();
    let mut after = before.clone();
    after.me.muted_until = Some(until);
    assert_eq!(world.view(muted, ada).await, after);
    assert_eq!(world.view(muted, bob).await.me.muted_until, None);
    assert_eq!(world.view(other, ada).await.me.muted_until, None);
    let earlier = until.before(Duration::from_secs(1));
    world.store.set_mute(muted, ada, Some(earlier)).await.unwrap();
    assert_eq!(world.view(muted, ada).await.me.muted_until, Some(earlier), "it may become shorter");
    world.store.set_mute(muted, ada, None).await.unwrap();
    assert_eq!(world.view(muted, ada).await, before);
}

pub async fn set_notify_level_is_ones_own(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (chat, other) = (world.direct(ada, bob).await, world.group([ada, bob]).await);
    let before = world.view(chat, ada).await;
    assert_eq!(before.me.notify_level, NotifyLevel::All);
    for level in [NotifyLevel::None, NotifyLevel::Mentions, NotifyLevel::All] {
        world.store.set_notify_level(chat, ada, level).await.unwrap();
        let mut after = before.clone();
        after.me.notify_level = level;
        assert_eq!(world.view(chat, ada).await, after);
        assert_eq!(world.store.membership(chat, ada).await.unwrap().member, after.me);
        assert_eq!(world.view(chat, bob).await.me.notify_level, NotifyLevel::All);
        assert_eq!(world.view(other, ada).await.me.notify_level, NotifyLevel::All);
    }
}

pub async fn set_notify_level_of_a_stranger_is_not_member(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let group = world.group([ada, bob]).await;
    world.remove(group, ada, &[bob]).await;
    for (chat, user) in [(group, cleo), (group, bob), (world.id(), ada)] {
        let answer = world.store.set_notify_level(chat, user, NotifyLevel::None).await;
        assert_eq!(error_kind(answer), StoreErrorKind::NotMember);
    }
}

pub async fn set_notify_level_ends_with_the_membership(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let group = world.group([ada, bob]).await;
    world.store.set_notify_level(group, bob, NotifyLevel::None).await.unwrap();
    world.remove(group, ada, &[bob]).await;
    world.add(group, ada, &[bob]).await;
    assert_eq!(world.view(group, bob).await.me.notify_level, NotifyLevel::All);
}

pub async fn set_mute_of_a_stranger_is_not_member(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let group = world.group([ada, bob]).await;
    world.remove(group, ada, &[bob]).await;
    for (chat, user) in [(group, cleo), (group, bob), (world.id(), ada)] {
        let answer = world.store.set_mute(chat, user, Some(world.tick())).await;
        assert_eq!(error_kind(answer), StoreErrorKind::NotMember);
    }
}

pub async fn memberships_lists_every_chat_with_its_revision(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (direct, group, left) =
        (world.direct(bob, ada).await, world.group([ada, bob]).await, world.group([bob, ada]).await);
    world.remove(left, bob, &[ada]).await;
    let message = world.send(group, bob, "hello").await;
    world.edit(&message, "changed").await;
    let memberships = world.store.memberships(ada, None).await.unwrap();
    let mut listed: Vec<_> = memberships.chats.into_iter().map(|chat| chat.head).collect();
    listed.sort_by_key(|head| head.chat);
    let heads = [
        ChatHead { chat: direct, revision: Revision::ZERO, peer: Some(bob) },
        ChatHead { chat: group, revision: Revision::new(3), peer: None },
    ];
    assert_eq!(listed, heads);
    assert_eq!(memberships.count, 3, "one more than the list, as it never falls");
    let nobody = world.store.memberships(world.user("cleo").await, None).await.unwrap();
    assert_eq!((nobody.count, nobody.chats.len()), (0, 0));
}

pub async fn memberships_count_is_no_later_than_the_list(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let groups: Vec<_> = (0..40).map(|_| world.new_group(bob, &[ada])).collect();
    let (store, pace) = (Arc::clone(&world.store), Pace::default());
    let paced = pace.clone();
    let writer = async move {
        for group in groups {
            paced.step().await;
            store.create_group(group).await.unwrap();
        }
    };
    // Otherwise, comparing the counts later would not reveal that a chat is missing here.
    while_racing(pace, [writer], async || {
        let memberships = world.store.memberships(ada, None).await.unwrap();
        assert!(memberships.count <= memberships.chats.len() as u64);
    })
    .await;
    assert_eq!(counts(world, [ada, bob]).await, [40, 40]);
}

pub async fn memberships_number_commits_or_tell_nothing_of_them(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (group, left) = (world.group([ada, bob]).await, world.group([ada, bob]).await);
    world.remove(left, ada, &[bob]).await;
    world.send(group, ada, "hello").await;
    let list = world.store.memberships(bob, Some(0)).await.unwrap();
    let numbered = list.chats.iter().filter(|chat| chat.commit > 0).count();
    let expected = if list.history.is_some() { (1, vec![left]) } else { (0, vec![]) };
    assert_eq!((numbered, list.left), expected);
    assert_eq!(world.store.memberships(ada, None).await.unwrap().history, list.history);
}

/// Whether the store numbers its commits. For one that does not, `memberships_number_commits_or_tell_nothing_of_them`
/// covers everything.
async fn numbers_commits(world: &World) -> bool {
    let user = world.user("nobody").await;
    world.store.memberships(user, None).await.unwrap().history.is_some()
}

pub async fn memberships_have_a_later_commit_after_every_change(world: &World) {
    if !numbers_commits(world).await {
        return;
    }
    let [ada, bob, cleo, dan] = world.people(["ada", "bob", "cleo", "dan"]).await;
    let (direct, group) = (world.direct(ada, bob).await, world.group([ada, bob, dan]).await);
    let opened = commits(world, ada).await;
    assert!(opened[&direct] < opened[&group], "{opened:?}");
    let mut last = opened[&group];
    let mut rises = async |what: &'static str| {
        let now = commits(world, ada).await;
        assert!(now[&group] > last, "{what}: {} after {last}", now[&group]);
        assert_eq!(now[&direct], opened[&direct], "{what}");
        last = now[&group];
    };
    let message = world.send(group, bob, "hello").await;
    rises("a message").await;
    let batch: Vec<_> = (0..3).map(|_| world.text(group, ada, "more")).collect();
    world.store.append_messages(&batch).await.unwrap();
    rises("several messages at once").await;
    let batch = [world.text(group, ada, "more"), world.text(group, cleo, "of a stranger")];
    world.store.append_messages(&batch).await.unwrap();
    rises("a message beside one that is refused").await;
    let edited = world.edit(&message, "changed").await;
    rises("an edit").await;
    world.delete(&edited).await;
    rises("a deletion").await;
    world.add(group, ada, &[cleo]).await;
    rises("one who is added").await;
    world.remove(group, ada, &[cleo]).await;
    rises("one who is removed").await;
    let change = world.change_by(group, ada).await;
    let change = RosterChange { roles: vec![(bob, Role::Admin)], ..change };
    world.store.change_roster(change).await.unwrap();
    rises("a role").await;
    let change = world.change_by(group, ada).await;
    let change = RosterChange { title: Some(Content::from("Other")), ..change };
    world.store.change_roster(change).await.unwrap();
    rises("a title").await;
    world.send(group, dan, "to be erased").await;
    rises("a message of another one").await;
    world.store.erase_messages(group, dan, world.tick(), 100).await.unwrap();
    rises("an erasure").await;
    let [all, none] = [world.store.memberships(ada, None), world.store.memberships(cleo, None)];
    let (all, none) = (all.await.unwrap(), none.await.unwrap());
    assert_eq!(all.history, none.history, "it is of the store, and not of a person");
}

pub async fn memberships_tell_of_chats_that_were_left(world: &World) {
    if !numbers_commits(world).await {
        return;
    }
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (left, back) = (world.group([bob, ada]).await, world.group([bob, ada]).await);
    let other = world.group([bob, ada]).await;
    let before = commits(world, ada).await[&other];
    let left_after = async |commit: u64| {
        let mut left = world.store.memberships(ada, Some(commit)).await.unwrap().left;
        left.sort_unstable();
        left
    };
    assert_eq!(left_after(before).await, []);
    for chat in [left, back] {
        world.remove(chat, bob, &[ada]).await;
    }
    assert_eq!(left_after(before).await, [left, back]);
    assert_eq!(world.store.memberships(ada, None).await.unwrap().left, [], "only if that is asked");
    world.add(back, bob, &[ada]).await;
    assert_eq!(left_after(before).await, [left]);
    // A later change of the chat does not concern former members, and the position of a client that knows of the
    // leaving is later, too.
    let known = commits(world, ada).await[&back];
    world.send(left, bob, "without her").await;
    assert_eq!(left_after(known).await, []);
    world.remove(back, bob, &[ada]).await;
    assert_eq!(left_after(known).await, [back]);
}

pub async fn memberships_commits_miss_nothing_while_others_write(world: &World) {
    const WRITERS: usize = 8;
    if !numbers_commits(world).await {
        return;
    }
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let mut chats = Vec::new();
    for _ in 0..WRITERS {
        chats.push(world.group([bob, ada]).await);
    }
    let pace = Pace::default();
    let writers = chats.iter().map(|chat| {
        let (world, chat, pace) = (world.clone(), *chat, pace.clone());
        async move {
            for n in 0..12 {
                pace.step().await;
                world.send(chat, bob, "hello").await;
                match n % 4 {
                    0 => drop(world.add(chat, bob, &[cleo]).await),
                    1 => drop(world.remove(chat, bob, &[ada, cleo]).await),
                    2 => drop(world.add(chat, bob, &[ada]).await),
                    _ => {}
                }
            }
        }
    });
    let writers: Vec<_> = writers.collect();
    let (mut before, mut settled, mut changes) = (HashMap::new(), None, 0);
    while_racing(pace, writers, async || {
        let list = world.store.memberships(ada, settled).await.unwrap();
        let heads: HashMap<_, _> =
            list.chats.iter().map(|chat| (chat.head.chat, chat.head.revision)).collect();
        if let Some(settled) = settled {
            for MemberChat { head, commit } in &list.chats {
                if before.get(&head.chat) != Some(&head.revision) {
                    assert!(
                        *commit > settled,
                        "revision {} is of {commit}, {settled} was settled",
                        head.revision
                    );
                    changes += 1;
                }
            }
            for chat in before.keys() {
                assert!(heads.contains_key(chat) || list.left.contains(chat), "nobody says that it was left");
            }
        }
        (before, settled) = (heads, Some(list.settled));
    })
    .await;
    assert!(changes > 0, "nothing has changed between two lists");
}

async fn commits(world: &World, user: UserId) -> HashMap<ChatId, u64> {
    let chats = world.store.memberships(user, None).await.unwrap().chats;
    chats.into_iter().map(|chat| (chat.head.chat, chat.commit)).collect()
}

pub async fn membership_counts_rise_when_one_is_added(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    assert_eq!(counts(world, [ada, bob, cleo]).await, [0, 0, 0]);
    let group = world.group([ada, bob]).await;
    world.direct(ada, cleo).await;
    world.add(group, ada, &[cleo]).await;
    let mut asked: Vec<UserId> = (0..3000).map(|_| world.id()).collect();
    asked.extend([ada, bob, cleo]);
    let mut counted = world.store.membership_counts(&asked).await.unwrap();
    counted.sort_unstable();
    assert_eq!(counted, [(ada, 2), (bob, 1), (cleo, 2)]);
    assert_eq!(world.record(cleo).await.memberships, 2);
    assert_eq!(world.store.membership_counts(&[]).await.unwrap(), []);
}

pub async fn revisions_skips_unknown_chats(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (direct, group) = (world.direct(ada, bob).await, world.group([ada, bob]).await);
    world.send(group, ada, "hello").await;
    let mut asked: Vec<ChatId> = (0..3000).map(|_| world.id()).collect();
    asked.extend([group, direct]);
    let mut revisions = world.store.revisions(&asked).await.unwrap();
    revisions.sort_unstable();
    assert_eq!(revisions, [(direct, Revision::ZERO), (group, Revision::new(2))]);
    assert_eq!(world.store.revisions(&[]).await.unwrap(), []);
}

pub async fn chats_ever_joined_includes_those_left(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (direct, left) = (world.direct(ada, bob).await, world.group([bob, ada]).await);
    world.group([bob]).await;
    world.remove(left, bob, &[ada]).await;
    let mut joined = world.store.chats_ever_joined(ada).await.unwrap();
    joined.sort_unstable();
    assert_eq!(joined, [direct, left]);
    world.erase(ada).await;
    assert_eq!(world.store.chats_ever_joined(ada).await.unwrap().len(), 2, "also of an erased person");
    assert_eq!(world.store.chats_ever_joined(world.id()).await.unwrap(), []);
}

/// What is listed since then, by chat.
async fn changed_since(world: &World, since: Timestamp) -> HashMap<ChatId, (Revision, bool)> {
    let listed = world.store.changed_since(since, 100).await.unwrap();
    let by_chat: HashMap<_, _> = listed
        .iter()
        .map(|changed| (changed.chat, (changed.revision, changed.may_have_new_members)))
        .collect();
    assert_eq!(by_chat.len(), listed.len(), "each chat once: {listed:?}");
    by_chat
}

pub async fn changed_since_lists_chats_with_new_edited_and_deleted_messages(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let mut chats = vec![];
    for _ in 0..5 {
        let chat = world.group([ada, bob]).await;
        let messages = [world.send(chat, ada, "one").await, world.send(chat, ada, "two").await];
        chats.push((chat, messages));
    }
    let idle = world.group([ada, bob]).await;
    let since = world.tick();
    assert_eq!(changed_since(world, since).await, HashMap::new());

    let [(sent, _), (edited, [old, _]), (deleted, [_, gone]), (erased, _), (read, _)] = &chats[..] else {
        unreachable!("there are five")
    };
    world.send(*sent, ada, "three").await;
    world.edit(old, "changed").await;
    world.delete(gone).await;
    world.store.erase_messages(*erased, ada, world.tick(), 10).await.unwrap();
    let mark = MoveMarker { chat: *read, user: bob, seq: Seq::new(2), read: true };
    assert!(world.store.move_markers(&[mark]).await.unwrap()[0].is_ok());
    let changed = changed_since(world, since).await;
    let expected = [(*sent, 4), (*edited, 4), (*deleted, 4), (*erased, 5)];
    let expected = expected.map(|(chat, revision)| (chat, (Revision::new(revision), false)));
    assert_eq!(changed, HashMap::from(expected));
    assert!(!changed.contains_key(&idle));

    let later = world.tick();
    world.edit(&world.send(*sent, ada, "four").await, "five").await;
    assert_eq!(changed_since(world, later).await, HashMap::from([(*sent, (Revision::new(6), false))]));
    assert_eq!(changed_since(world, since).await.len(), 4, "what was told before is told again");
}

pub async fn changed_since_begins_with_that_time(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.group([ada, bob]).await;
    let sent = world.send(chat, ada, "one").await;
    only_since(world, sent.created_at, (chat, sent.revision)).await;
    let edited = world.edit(&sent, "changed").await;
    only_since(world, edited.edited_at.unwrap(), (chat, edited.revision)).await;
    let deleted = world.delete(&edited).await;
    only_since(world, deleted.deleted_at.unwrap(), (chat, deleted.revision)).await;
}

/// The last change, at this time, is listed, and nothing is from the next millisecond on.
async fn only_since(world: &World, at: Timestamp, (chat, revision): (ChatId, Revision)) {
    assert_eq!(changed_since(world, at).await, HashMap::from([(chat, (revision, false))]));
    assert_eq!(changed_since(world, at.after(Duration::from_millis(1))).await, HashMap::new());
}

pub async fn changed_since_says_where_somebody_may_have_joined(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let (grown, direct) = (world.group([ada, bob]).await, world.direct(ada, bob).await);
    let since = world.tick();
    world.send(grown, ada, "nobody joins by this").await;
    assert_eq!(changed_since(world, since).await, HashMap::from([(grown, (Revision::new(2), false))]));

    world.add(grown, ada, &[cleo]).await;
    let made = world.group([bob, cleo]).await;
    let first = world.send(direct, bob, "the first").await;
    let expected = [(grown, 3), (made, 1), (direct, 1)];
    let expected = expected.map(|(chat, revision)| (chat, (Revision::new(revision), true)));
    assert_eq!(changed_since(world, since).await, HashMap::from(expected));

    let later = world.tick();
    let edited = world.edit(&first, "nobody joins by this").await;
    assert_eq!(changed_since(world, later).await, HashMap::from([(direct, (Revision::new(2), false))]));
    world.delete(&edited).await;
    assert_eq!(changed_since(world, later).await, HashMap::from([(direct, (Revision::new(3), false))]));
}

pub async fn changed_since_lists_no_more_than_the_limit(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let since = world.tick();
    for _ in 0..4 {
        world.group([ada, bob]).await;
    }
    for (limit, listed) in [(0, 0), (3, 3), (4, 4), (5, 4)] {
        assert_eq!(world.store.changed_since(since, limit).await.unwrap().len(), listed, "{limit}");
    }
}

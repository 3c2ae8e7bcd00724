use std::{sync::Arc, time::Duration};

use super::counts;
use crate::{
    domain::{ChatId, Revision, UserId},
    ports::{ChatHead, StoreErrorKind},
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
    let mut memberships = world.store.memberships(ada).await.unwrap();
    memberships.chats.sort_by_key(|head| head.chat);
    let heads = [
        ChatHead { chat: direct, revision: Revision::ZERO, peer: Some(bob) },
        ChatHead { chat: group, revision: Revision::new(3), peer: None },
    ];
    assert_eq!(memberships.chats, heads);
    assert_eq!(memberships.count, 3, "one more than the list, as it never falls");
    let nobody = world.store.memberships(world.user("cleo").await).await.unwrap();
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
    // Who compares the counts later must not think that a chat missing here was there.
    while_racing(pace, [writer], async || {
        let memberships = world.store.memberships(ada).await.unwrap();
        assert!(memberships.count <= memberships.chats.len() as u64);
    })
    .await;
    assert_eq!(counts(world, [ada, bob]).await, [40, 40]);
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

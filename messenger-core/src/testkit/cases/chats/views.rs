use std::{collections::BTreeSet, sync::Arc};

use super::list;
use crate::{
    domain::{ChatId, Seq, Timestamp},
    ports::{Activity, ChatView, Content, DirectChat, MessageRecord, StoreErrorKind},
    testkit::{Pace, World, error_kind, while_racing},
};

pub async fn chat_views_skip_chats_of_others(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let (theirs, left, mine) =
        (world.direct(bob, cleo).await, world.group([bob, ada]).await, world.group([ada, bob]).await);
    world.remove(left, bob, &[ada]).await;
    let mut asked: Vec<ChatId> = (0..3000).map(|_| world.id()).collect();
    asked.extend([theirs, left, mine]);
    let views = world.store.chat_views(ada, &asked, usize::MAX).await.unwrap();
    assert_eq!(views.iter().map(|view| view.chat.id).collect::<Vec<_>>(), [mine]);
    assert_eq!(world.store.chat_views(ada, &[], usize::MAX).await.unwrap(), []);
    assert_eq!(world.store.chat_views(world.id(), &[mine], usize::MAX).await.unwrap(), []);
}

pub async fn chat_views_show_peer_last_message_and_unread(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let (direct, group) = (world.direct(ada, bob).await, world.group([ada, bob, cleo]).await);
    let empty = world.view(direct, ada).await;
    assert_eq!((empty.last_message, empty.peer), (None, Some(world.record(bob).await)));

    world.send(direct, bob, "one").await;
    let last = world.send(direct, bob, "two").await;
    let last = world.edit(&last, "zwei").await;
    let roster = world.store.roster(direct).await.unwrap();
    let view = ChatView {
        chat: roster.chat.clone(),
        me: roster.members[0].clone(),
        peer: Some(world.record(bob).await),
        last_message: Some(last.clone()),
        is_cut: false,
        retention: None,
    };
    assert_eq!(world.view(direct, ada).await, view);
    assert_eq!((view.chat.texts, view.me.read_texts), (2, 0));
    let theirs = world.view(direct, bob).await;
    assert_eq!((theirs.peer, theirs.me.read_texts), (Some(world.record(ada).await), 2));

    let system = world.view(group, bob).await;
    assert_eq!(system.peer, None, "a group has no peer, not even one of two");
    assert_eq!(system.last_message.map(|message| message.seq), Some(Seq::new(1)));
    assert_eq!(world.unread(group, bob).await, 0);
    let deleted = world.delete(&last).await;
    assert_eq!(world.view(direct, ada).await.last_message, Some(deleted));
    assert_eq!(world.unread(direct, ada).await, 2, "a tombstone is still counted");
    world.erase(bob).await;
    assert_eq!(world.view(direct, ada).await.peer, Some(world.record(bob).await), "also when erased");
}

pub async fn chat_views_cut_the_last_message(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let (direct, group) = (world.direct(ada, bob).await, world.group([ada, bob]).await);
    let mut text = world.text(direct, bob, "");
    // Long, and not valid UTF-8.
    text.body = Content((0..40_000).map(|n| (n % 256) as u8).collect());
    world.append(&text).await.unwrap();
    for preview in [0, 1, 1000, 39_999, 40_000, usize::MAX] {
        let mut views = world.store.chat_views(ada, &[direct, group], preview).await.unwrap();
        let mut page = world.store.list_chats(ada, None, 10, preview).await.unwrap();
        views.sort_by_key(|view| view.chat.id);
        page.sort_by_key(|view| view.chat.id);
        assert_eq!(views, page);
        for view in views {
            let whole = world.view(view.chat.id, ada).await;
            let Content(body) = whole.last_message.as_ref().and_then(|last| last.body.clone()).unwrap();
            let is_cut = body.len() > preview;
            let cut = Some(Content(body.into_iter().take(preview).collect()));
            let last_message = whole.last_message.map(|last| MessageRecord { body: cut, ..last });
            assert_eq!(view, ChatView { last_message, is_cut, ..view.clone() }, "{preview}");
        }
    }
    let deleted = world.view(direct, ada).await.last_message.unwrap();
    let deleted = world.delete(&deleted).await;
    let empty = world.direct(ada, world.user("cleo").await).await;
    for (chat, last_message) in [(direct, Some(deleted)), (empty, None)] {
        let view = world.store.chat_views(ada, &[chat], 10).await.unwrap().remove(0);
        assert_eq!((view.last_message, view.is_cut), (last_message, false));
    }
}

pub async fn list_chats_has_the_newest_activity_first(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let first = world.direct(ada, bob).await;
    let second = world.group([ada, bob, cleo]).await;
    let third = world.direct(ada, cleo).await;
    let others = world.direct(bob, cleo).await;
    assert_eq!(list(world, ada, None, 10).await, [third, second, first]);
    let message = world.send(first, bob, "hello").await;
    assert_eq!(list(world, ada, None, 10).await, [first, third, second]);
    world.add(second, ada, &[world.user("dan").await]).await;
    assert_eq!(list(world, ada, None, 10).await, [second, first, third], "a system message is activity");
    world.edit(&message, "changed").await;
    assert_eq!(list(world, ada, None, 10).await, [second, first, third], "a change of a message is none");
    assert_eq!(list(world, bob, None, 10).await, [second, first, others]);

    let views = world.store.list_chats(ada, None, 10, usize::MAX).await.unwrap();
    for view in views {
        assert_eq!(view, world.view(view.chat.id, ada).await);
    }
    world.remove(second, ada, &[cleo]).await;
    assert_eq!(list(world, cleo, None, 10).await, [others, third], "chats that one left are not listed");

    // By the time of the last message, not the latest time of any message.
    let mut early = world.text(first, ada, "from a clock that is late");
    early.created_at = Timestamp::from_micros(1);
    world.append(&early).await.unwrap();
    assert_eq!(list(world, ada, None, 10).await, [second, third, first]);
}

pub async fn list_chats_pages_without_gap_or_repetition(world: &World) {
    let ada = world.user("ada").await;
    let at = world.tick();
    let mut chats = vec![];
    for n in 0..11 {
        let other = world.user(&format!("user{n}")).await;
        let chat = DirectChat { created_at: at, ..world.new_direct(ada, other) };
        chats.push(world.store.open_direct(chat).await.unwrap().chat);
        if n % 3 == 0 {
            world.send(chats[n], other, "hello").await;
        }
    }
    let all = list(world, ada, None, 100).await;
    assert_eq!(all.iter().collect::<BTreeSet<_>>(), chats.iter().collect());
    // Seven chats have the same time, so pages end between such chats.
    for limit in 1..=4 {
        let (mut found, mut after) = (vec![], None);
        // One more page than there are full ones; it may be empty.
        for _ in 0..=chats.len() / limit {
            let page = world.store.list_chats(ada, after, limit, usize::MAX).await.unwrap();
            assert!(page.len() <= limit && page.is_sorted_by(|a, b| a.activity() > b.activity()));
            after = page.last().map(|last| last.activity()).or(after);
            found.extend(page.iter().map(|view| view.chat.id));
        }
        assert_eq!(found, all, "in pages of {limit}");
    }
    assert_eq!(list(world, ada, None, 0).await, []);
    let before_all = Activity { at: 0, chat: chats[0] };
    assert_eq!(list(world, ada, Some(before_all), 10).await, []);
}

pub async fn membership_of_a_stranger_is_not_member(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let group = world.group([ada, bob]).await;
    let roster = world.store.roster(group).await.unwrap();
    let membership = world.store.membership(group, bob).await.unwrap();
    assert_eq!((membership.chat, membership.member), (roster.chat, roster.members[1].clone()));

    for (chat, user) in [(group, cleo), (group, world.id()), (world.id(), ada)] {
        let answer = world.store.membership(chat, user).await;
        assert_eq!(error_kind(answer), StoreErrorKind::NotMember);
    }
    world.remove(group, ada, &[bob]).await;
    assert_eq!(error_kind(world.store.membership(group, bob).await), StoreErrorKind::NotMember);
}

pub async fn chat_views_are_of_one_moment(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    let pace = Pace::default();
    let writers = [ada, bob].map(|sender| {
        let texts: Vec<_> = (0..60).map(|_| world.text(chat, sender, "x")).collect();
        let (store, pace) = (Arc::clone(&world.store), pace.clone());
        async move {
            for text in texts {
                pace.step().await;
                store.append_messages(&[text]).await.unwrap();
            }
        }
    });
    while_racing(pace, writers, async || {
        let (view, membership) =
            (world.view(chat, ada).await, world.store.membership(chat, ada).await.unwrap());
        for (chat, me) in [(&view.chat, &view.me), (&membership.chat, &membership.member)] {
            assert!(me.read_texts <= chat.texts && me.delivered_seq <= chat.last_seq, "{chat:?} {me:?}");
            assert_eq!((chat.texts, chat.revision.get()), (chat.last_seq.get(), chat.last_seq.get()));
        }
        let last = view.last_message.map_or(Seq::ZERO, |message| message.seq);
        assert_eq!(last, view.chat.last_seq, "the last message is of the same moment");
    })
    .await;
    assert_eq!(world.view(chat, ada).await.chat.texts, 120);
}

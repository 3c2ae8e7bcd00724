use crate::{
    domain::{ChatId, Seq, UserId},
    ports::{MarkerMoved, MoveMarker, StoreErrorKind},
    testkit::{World, check_chat, error_kind},
};

pub async fn move_markers_only_moves_forward(world: &World) {
    let (chat, [_, bob]) = direct_of_four(world).await;
    assert_eq!(one(world, read(chat, bob, 3)).await, moved(3, 3, 1, true));
    assert_eq!(one(world, read(chat, bob, 3)).await, moved(3, 3, 1, false));
    assert_eq!(one(world, read(chat, bob, 2)).await, moved(3, 3, 1, false));
    assert_eq!(one(world, read(chat, bob, 0)).await, moved(3, 3, 1, false));
    assert_eq!(one(world, delivered(chat, bob, 2)).await, moved(3, 3, 1, false));
    assert_eq!(one(world, delivered(chat, bob, 4)).await, moved(3, 4, 1, true));
    assert_eq!(one(world, delivered(chat, bob, 4)).await, moved(3, 4, 1, false));
    assert_eq!(one(world, read(chat, bob, 4)).await, moved(4, 4, 0, true));
    let me = world.view(chat, bob).await.me;
    assert_eq!((me.read_seq, me.read_texts, me.delivered_seq), (Seq::new(4), 4, Seq::new(4)));

    let batch = [read(chat, bob, 1), read(chat, bob, 4), delivered(chat, bob, 3)];
    let answers = world.store.move_markers(&batch).await.unwrap();
    assert!(answers.into_iter().all(|answer| answer.unwrap() == moved(4, 4, 0, false)));
    assert_eq!(world.store.move_markers(&[]).await.unwrap().len(), 0);
}

pub async fn move_markers_stops_at_the_last_message(world: &World) {
    let (chat, [ada, bob]) = direct_of_four(world).await;
    let far = MoveMarker { seq: Seq::MAX, ..delivered(chat, bob, 0) };
    assert_eq!(one(world, far).await, moved(0, 4, 4, true));
    assert_eq!(one(world, read(chat, bob, 5)).await, moved(4, 4, 0, true));
    assert_eq!(one(world, far).await, moved(4, 4, 0, false));
    world.send(chat, ada, "later").await;
    assert_eq!(world.unread(chat, bob).await, 1, "what comes later is not read already");
    assert_eq!(one(world, far).await, moved(4, 5, 1, true));

    let cleo = world.user("cleo").await;
    let empty = world.direct(ada, cleo).await;
    assert_eq!(one(world, read(empty, cleo, 9)).await, moved(0, 0, 0, false));
}

pub async fn move_markers_read_implies_delivered(world: &World) {
    let (chat, [ada, bob]) = direct_of_four(world).await;
    assert_eq!(one(world, read(chat, bob, 2)).await, moved(2, 2, 2, true));
    assert_eq!(one(world, delivered(chat, bob, 4)).await, moved(2, 4, 2, true));
    assert_eq!(one(world, read(chat, bob, 3)).await, moved(3, 4, 1, true), "and moves delivery never back");
    let before = world.view(chat, ada).await.me;
    assert_eq!(before.read_seq, Seq::new(4), "marks of others stay");

    // Several moves of one person in a batch are applied in order.
    let cleo = world.user("cleo").await;
    let group = world.group([ada, cleo]).await;
    for _ in 0..3 {
        world.send(group, ada, "x").await;
    }
    let batch = [delivered(group, cleo, 3), read(group, cleo, 2), read(group, cleo, 4), read(group, cleo, 3)];
    let answers = world.store.move_markers(&batch).await.unwrap();
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let expected = [moved(0, 3, 3, true), moved(2, 3, 2, true), moved(4, 4, 0, true), moved(4, 4, 0, false)];
    assert_eq!(answers, expected);
    check_chat(&*world.store, group, cleo).await;
}

pub async fn move_markers_counts_only_texts_as_unread(world: &World) {
    let [ada, bob, cleo] = world.people(["ada", "bob", "cleo"]).await;
    let group = world.group([ada, bob]).await;
    world.send(group, ada, "text 2").await;
    world.store.change_roster(world.change_by(group, ada).await).await.unwrap();
    let gone = world.send(group, ada, "text 4").await;
    world.delete(&gone).await;
    world.add(group, ada, &[cleo]).await;
    world.send(group, ada, "text 6").await;
    world.store.change_roster(world.change_by(group, ada).await).await.unwrap();
    let mut unread = vec![];
    for seq in 1..=7 {
        let answer = one(world, read(group, bob, seq)).await;
        assert_eq!((answer.read_seq, answer.moved, answer.member_count), (Seq::new(seq), true, 3));
        unread.push(answer.unread);
        assert_eq!(world.unread(group, bob).await, answer.unread);
        check_chat(&*world.store, group, bob).await;
    }
    assert_eq!(unread, [3, 2, 2, 1, 1, 0, 0], "tombstones count, system messages don't");
}

pub async fn move_markers_by_a_stranger_is_not_member(world: &World) {
    let (chat, [ada, bob]) = direct_of_four(world).await;
    let cleo = world.user("cleo").await;
    let group = world.group([ada, cleo]).await;
    world.remove(group, ada, &[cleo]).await;
    let mut batch =
        vec![read(chat, cleo, 4), read(chat, bob, 2), read(group, cleo, 1), read(world.id(), ada, 1)];
    batch.extend((0..1500).map(|_| read(world.id(), bob, 1)));
    batch.push(read(group, ada, 2));
    let mut answers = world.store.move_markers(&batch).await.unwrap();
    assert_eq!(answers.len(), batch.len());
    assert_eq!(answers.swap_remove(1).unwrap(), moved(2, 2, 2, true));
    let last = MarkerMoved { member_count: 1, ..moved(2, 2, 0, true) };
    assert_eq!(answers.remove(1).unwrap(), last, "the last one took the place of the other");
    assert!(answers.into_iter().all(|answer| error_kind(answer) == StoreErrorKind::NotMember));
}

/// A direct chat with four texts of the first person.
async fn direct_of_four(world: &World) -> (ChatId, [UserId; 2]) {
    let people = world.people(["ada", "bob"]).await;
    let chat = world.direct(people[0], people[1]).await;
    for text in ["one", "two", "three", "four"] {
        world.send(chat, people[0], text).await;
    }
    (chat, people)
}

fn read(chat: ChatId, user: UserId, seq: u64) -> MoveMarker {
    MoveMarker { chat, user, seq: Seq::new(seq), read: true }
}

fn delivered(chat: ChatId, user: UserId, seq: u64) -> MoveMarker {
    MoveMarker { read: false, ..read(chat, user, seq) }
}

fn moved(read: u64, delivered: u64, unread: u64, moved: bool) -> MarkerMoved {
    MarkerMoved {
        read_seq: Seq::new(read),
        delivered_seq: Seq::new(delivered),
        unread,
        moved,
        member_count: 2,
    }
}

async fn one(world: &World, step: MoveMarker) -> MarkerMoved {
    let mut answers = world.store.move_markers(&[step]).await.unwrap();
    assert_eq!(answers.len(), 1);
    answers.remove(0).unwrap()
}

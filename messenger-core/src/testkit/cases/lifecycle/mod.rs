mod dropped;
mod left_alone;
mod racing;

use crate::{
    domain::Seq,
    ports::{Anchor, Budget, MoveMarker, StoreErrorKind},
    testkit::{World, error_kind},
};

pub use self::{
    dropped::dropped_future_leaves_nothing_half_done,
    left_alone::{
        intents_dropped_half_way_keep_nobody_waiting, intents_left_alone_keep_nobody_waiting,
        intents_of_all_kinds_left_alone_keep_nobody_waiting,
    },
    racing::racing_writers_of_all_kinds_get_along,
};

pub async fn open_store_answers_a_ping(world: &World) {
    world.store.ping().await.unwrap();
    assert!(world.store.capabilities().append_lanes >= 1);
}

pub async fn closed_store_is_unavailable(world: &World) {
    let [ada, bob] = world.people(["ada", "bob"]).await;
    let chat = world.direct(ada, bob).await;
    let message = world.text(chat, ada, "late");
    world.store.close().await;
    let step = MoveMarker { chat, user: bob, seq: Seq::new(1), read: true };
    let (user, session) = world.account("cleo");
    for kind in [
        error_kind(world.store.ping().await),
        error_kind(world.store.user(ada).await),
        error_kind(world.store.create_user(user, session).await),
        error_kind(world.store.sessions(ada).await),
        error_kind(world.store.list_chats(ada, None, 10, usize::MAX).await),
        error_kind(world.store.open_direct(world.new_direct(ada, bob)).await),
        error_kind(world.store.append_messages(&[message]).await),
        error_kind(world.store.history(chat, ada, Anchor::Newest, Budget::of_messages(10)).await),
        error_kind(world.store.move_markers(&[step]).await),
    ] {
        assert_eq!(kind, StoreErrorKind::Unavailable);
    }
}

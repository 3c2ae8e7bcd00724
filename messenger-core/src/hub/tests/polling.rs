//! What this node was not told of, and finds by asking which chats have changed.

use tokio::time::Instant;

use super::*;
use crate::context::Clock as _;

/// The time within which what is lost arrives, with room for a few reads.
const BOUND: Duration = Duration::from_secs(5);

/// A scene with polls, and without sweeps, whose bus tells nothing of what is done elsewhere.
async fn polling() -> Scene {
    let hub = HubSettings { sweep_interval: Duration::from_secs(1_000_000), ..HubSettings::default() };
    Scene::with(Setup { settings: Settings { hub, ..Settings::default() }, ..Setup::default() }).await
}

#[tokio::test(start_paused = true)]
async fn what_another_node_stores_is_told_within_five_seconds_and_no_idle_chat_is_asked_for() {
    let scene = polling().await;
    let mut member = scene.caught_up(Who::Member).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let before = scene.store.calls("revisions");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(scene.store.calls("revisions"), before, "nothing has changed");

    for _ in 0..3 {
        scene.says_elsewhere(scene.group).await;
        let begun = Instant::now();
        assert!(matches!(event(&mut member).await, Event::MessageCreated(_)));
        assert!(begun.elapsed() <= BOUND, "{:?}", begun.elapsed());
    }
    tokio::time::sleep(BOUND).await;
    let asked = scene.store.calls("revisions");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(scene.store.calls("revisions"), asked, "what was told is not read again");
}

#[tokio::test(start_paused = true)]
async fn a_store_to_which_nobody_else_writes_is_not_asked_and_everything_is_compared_after_a_loss() {
    for is_alone in [true, false] {
        let hub = HubSettings { sweep_interval: Duration::from_secs(1_000_000), ..HubSettings::default() };
        let settings = Settings { hub, ..Settings::default() };
        let scene = Scene::with(Setup { settings, is_alone, ..Setup::default() }).await;
        let _member = scene.caught_up(Who::Member).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(scene.store.calls("changed_since") == 0, is_alone);
        let before = scene.store.calls("revisions");
        scene.messenger.service().hub.compare_all();
        tokio::time::sleep(BOUND).await;
        assert_eq!(
            scene.store.calls("revisions") > before,
            is_alone,
            "a shared one is asked what has changed"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_added_to_a_chat_that_nobody_here_was_in_is_told_within_five_seconds() {
    let scene = polling().await;
    let mut stranger = scene.caught_up(Who::Stranger).await;
    scene.elsewhere(&[Who::Stranger], &[]).await;
    let begun = Instant::now();
    assert!(matches!(event(&mut stranger).await, Event::ChatAdded { .. }));
    assert!(begun.elapsed() <= BOUND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_members_of_a_chat_without_connections_are_read_once_for_each_change() {
    let scene = polling().await;
    let _stranger = scene.caught_up(Who::Stranger).await;
    tokio::time::sleep(BOUND).await;
    let before = scene.store.calls("roster");
    scene.elsewhere(&[], &[Who::OtherMember]).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(scene.store.calls("roster") - before, 2, "the scene itself has read it once");
    scene.clock.advance(Duration::from_secs(60));
    tokio::time::sleep(BOUND).await;
    scene.says_elsewhere(scene.group).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(scene.store.calls("roster") - before, 2, "nobody joins by a message");
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_followed_by_a_poll_at_once_and_many_by_a_few() {
    let scene = polling().await;
    let mut member = scene.caught_up(Who::Member).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    scene.says_elsewhere(scene.group).await;
    let (begun, before) = (Instant::now(), scene.store.calls("changed_since"));
    scene.messenger.service().hub.compare_all();
    event(&mut member).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    for _ in 0..100 {
        scene.messenger.service().hub.compare_all();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let polls = scene.store.calls("changed_since") - before;
    assert!((3..=6).contains(&polls), "{polls} polls in a second");
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_failed_is_made_up_for_by_the_next() {
    let scene = polling().await;
    let mut member = scene.caught_up(Who::Member).await;
    scene.store.fail("changed_since", StoreErrorKind::Unavailable, 8);
    scene.says_elsewhere(scene.group).await;
    // Longer than two polls overlap.
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        scene.clock.advance(Duration::from_secs(1));
    }
    assert!(scene.store.calls("changed_since") >= 6);
    assert!(matches!(event(&mut member).await, Event::MessageCreated(_)));
}

#[tokio::test(start_paused = true)]
async fn a_poll_overlaps_the_one_before_and_asks_for_nothing_older() {
    let scene = polling().await;
    let mut member = scene.caught_up(Who::Member).await;
    scene.clock.advance(Duration::from_secs(3600));
    tokio::time::sleep(BOUND).await;
    // Stored by a node whose clock is behind: found if by no more than the overlap.
    for (behind, found) in [(9, true), (12, false)] {
        scene.clock.advance(Duration::from_secs(60));
        tokio::time::sleep(BOUND).await;
        scene.says_at_elsewhere(scene.group, scene.clock.now().before(Duration::from_secs(behind))).await;
        let told = timeout(BOUND, event(&mut member)).await.is_ok();
        assert_eq!(told, found, "{behind} s behind");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_poll_does_not_find_is_found_by_the_third_sweep() {
    let scene = Scene::new().await;
    let mut member = scene.caught_up(Who::Member).await;
    scene.clock.advance(Duration::from_secs(3600));
    tokio::time::sleep(BOUND).await;
    scene.says_at_elsewhere(scene.group, scene.clock.now().before(Duration::from_secs(60))).await;
    let begun = Instant::now();
    while !matches!(event(&mut member).await, Event::MessageCreated(_)) {}
    let sweep = HubSettings::default().sweep_interval;
    assert!((sweep..=sweep * 3 + BOUND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn where_more_has_changed_than_an_answer_holds_everything_is_compared() {
    let scene = polling().await;
    let mut member = scene.caught_up(Who::Member).await;
    let [owner, other] = [Who::Owner, Who::Admin].map(|who| scene.id(who));
    tokio::time::sleep(BOUND).await;
    let before = scene.store.calls("revisions");
    for _ in 0..10_000 {
        scene.is_made_elsewhere(owner, other).await;
    }
    scene.says_elsewhere(scene.group).await;
    let begun = Instant::now();
    assert!(matches!(event(&mut member).await, Event::MessageCreated(_)));
    assert!(begun.elapsed() <= BOUND, "{:?}", begun.elapsed());
    tokio::time::sleep(BOUND).await;
    assert!(scene.store.calls("revisions") > before + 1, "asked for rooms that have not changed");
}

#[tokio::test(start_paused = true)]
async fn where_many_chats_are_new_people_are_compared_and_not_each_chat_read() {
    let scene = polling().await;
    let mut stranger = scene.caught_up(Who::Stranger).await;
    tokio::time::sleep(BOUND).await;
    let before = scene.store.calls("roster");
    let [owner, other] = [Who::Owner, Who::Admin].map(|who| scene.id(who));
    for _ in 0..100 {
        scene.is_made_elsewhere(owner, other).await;
    }
    scene.is_made_elsewhere(owner, scene.id(Who::Stranger)).await;
    let begun = Instant::now();
    assert!(matches!(event(&mut stranger).await, Event::ChatAdded { .. }));
    assert!(begun.elapsed() <= BOUND, "{:?}", begun.elapsed());
    assert_eq!(scene.store.calls("roster"), before);
}

#[tokio::test(start_paused = true)]
async fn who_is_added_is_told_within_five_seconds_though_another_member_connects_first() {
    let scene = polling().await;
    let mut stranger = scene.caught_up(Who::Stranger).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    scene.clock.advance(Duration::from_secs(30));
    scene.elsewhere(&[Who::Stranger], &[]).await;
    let begun = Instant::now();
    // The room is made with that change given out.
    let mut member = scene.caught_up(Who::Member).await;
    assert!(matches!(event(&mut stranger).await, Event::ChatAdded { .. }));
    assert!(begun.elapsed() <= BOUND, "{:?}", begun.elapsed());
    // From now on the room lets in whom a change adds, and its members are not read any more.
    scene.clock.advance(Duration::from_secs(60));
    tokio::time::sleep(BOUND).await;
    let before = scene.store.calls("roster");
    let added = scene.elsewhere(&[Who::Left], &[]).await;
    while event(&mut member).await.change().is_none_or(|(_, revision)| revision != added) {}
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(scene.store.calls("roster") - before, 1, "the scene itself has read it once");
}

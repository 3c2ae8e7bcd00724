//! How often people are told.

use std::time::Duration;

use super::scene::{DAY, DELAY, MINUTE, Scene, settings};
use crate::{
    commands::*,
    doc::{direct, register},
    domain::{ChangeNotifications, DisplayName, QuietHours, TokenHash, UserId, Username},
    notify::NotifySettings,
    ports::{
        ChatName, Content, NewSession, NewUser, PresenceStore as _, StoredAddress, StoredName, UserStore as _,
    },
};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_message_is_told_once_it_is_old_enough_and_once() {
    let scene = Scene::new().await;
    scene.message("hello").await;
    scene.clock.advance(DELAY - Duration::from_micros(1));
    scene.settles().await;
    assert_eq!(scene.texts(), [[""; 0]; 0]);
    scene.clock.advance(Duration::from_micros(1));
    scene.settles().await;
    assert_eq!(scene.texts(), [["hello"]]);
    scene.passes(3 * DAY).await;
    assert_eq!(scene.texts(), [[""; 0]; 0]);
}

#[tokio::test]
async fn one_notification_has_all_chats_and_what_is_newer_too() {
    let scene = Scene::new().await;
    let carl = register(&scene.messenger, "carl").await;
    let with_carl = direct(&scene.messenger, &carl, &scene.ada).await;
    scene.message("first").await;
    scene.clock.advance(MINUTE);
    scene.message("second").await;
    scene.clock.advance(MINUTE);
    scene.says(&carl, with_carl, "psst").await;
    scene.clock.advance(3 * MINUTE);
    scene.settles().await;
    let [digest] = &scene.digests()[..] else { panic!("one") };
    let names: Vec<&ChatName> = digest.chats.iter().map(|chat| &chat.name).collect();
    assert!(matches!(names[..], [ChatName::Direct(_), ChatName::Group(_)]), "{names:?}");
    assert_eq!((digest.unread, digest.further_chats), (3, 0));
    scene.passes(DAY).await;
    assert_eq!(scene.digests(), []);
}

#[tokio::test]
async fn a_chat_that_goes_on_unread_is_told_of_after_longer_and_longer_pauses() {
    let scene = Scene::new().await;
    let (mut minutes, begin) = (Vec::new(), scene.now());
    while scene.now().since(begin) < 5 * DAY {
        scene.message("still there?").await;
        scene.passes(MINUTE).await;
        if !scene.told().is_empty() {
            minutes.push(scene.now().since(begin).as_secs() / 60);
        }
    }
    let pauses: Vec<u64> = minutes.windows(2).map(|two| two[1] - two[0]).collect();
    assert_eq!((minutes[0], &pauses[..]), (5, &[15, 45, 135, 405, 1215, 1440, 1440, 1440][..]));
}

#[tokio::test]
async fn what_nobody_was_told_of_for_a_week_is_told_with_what_is_newer_alone() {
    let scene = Scene::new().await;
    scene.message("old").await;
    scene.clock.advance(7 * DAY);
    scene.settles().await;
    assert_eq!(scene.told().len(), 0);
    scene.message("new").await;
    scene.passes(DELAY).await;
    assert_eq!(scene.texts(), [["old", "new"]]);

    let scene = Scene::new().await;
    scene.message("not so old").await;
    scene.clock.advance(7 * DAY - MINUTE);
    scene.settles().await;
    assert_eq!(scene.texts(), [["not so old"]]);
}

#[tokio::test]
async fn reading_ends_the_pauses() {
    let scene = Scene::new().await;
    for _ in 0..3 {
        scene.message("hello").await;
        scene.passes(HOUR).await;
    }
    assert_eq!(scene.told().len(), 3);
    let last = scene.message("hello").await;
    scene.passes(HOUR).await;
    assert_eq!(scene.told().len(), 0, "a pause of 135 minutes");
    scene.reads(&last).await;
    scene.message("hello again").await;
    scene.passes(6 * MINUTE).await;
    assert_eq!(scene.texts(), [["hello again"]]);
}

#[tokio::test]
async fn a_person_is_told_at_most_once_in_the_delay_whatever_the_chat() {
    let scene = Scene::new().await;
    let carl = register(&scene.messenger, "carl").await;
    let with_carl = direct(&scene.messenger, &carl, &scene.ada).await;
    scene.message("one").await;
    scene.clock.advance(MINUTE);
    scene.passes(4 * MINUTE).await;
    assert_eq!(scene.texts(), [["one"]]);
    scene.says(&carl, with_carl, "two").await;
    scene.passes(4 * MINUTE).await;
    scene.message("three").await;
    scene.passes(MINUTE).await;
    // Carl's chat is due; what is newer in the other comes along.
    assert_eq!(scene.texts(), [["three", "two"]]);
}

#[tokio::test]
async fn a_day_has_a_limit_and_what_it_held_back_comes_the_day_after() {
    let scene = Scene::with(NotifySettings { per_day: 2, ..settings() }).await;
    let mut chats = Vec::new();
    for name in ["carl", "dora", "emil"] {
        let other = register(&scene.messenger, name).await;
        chats.push((direct(&scene.messenger, &other, &scene.ada).await, other));
    }
    for (chat, other) in &chats {
        scene.says(other, *chat, "hello").await;
        scene.passes(10 * MINUTE).await;
    }
    assert_eq!(scene.told().len(), 2);
    scene.passes(DAY - 26 * MINUTE).await;
    assert_eq!(scene.told().len(), 0);
    scene.passes(2 * MINUTE).await;
    assert_eq!(scene.told().len(), 1, "24 hours after the first");
    scene.passes(DAY).await;
    assert_eq!(scene.told().len(), 0);
}

#[tokio::test]
async fn what_comes_at_night_is_told_in_the_morning() {
    let quiet_hours = Some(QuietHours::new(23 * 60, 6 * 60).unwrap());
    let scene = Scene::with(NotifySettings { quiet_hours, ..settings() }).await;
    scene.message("are you awake?").await;
    scene.passes(6 * HOUR - MINUTE).await;
    assert_eq!(scene.told().len(), 0);
    scene.message("good morning").await;
    scene.passes(MINUTE).await;
    assert_eq!(scene.texts(), [["are you awake?", "good morning"]]);
}

#[tokio::test]
async fn what_was_decided_before_the_night_is_told_in_the_morning_too() {
    let quiet_hours = Some(QuietHours::new(60, 6 * 60).unwrap());
    let scene = Scene::with(NotifySettings { quiet_hours, ..settings() }).await;
    scene.clock.advance(54 * MINUTE);
    scene.message("good night").await;
    scene.clock.advance(5 * MINUTE);
    scene.look().await;
    scene.clock.advance(2 * MINUTE);
    scene.passes(5 * HOUR - 2 * MINUTE).await;
    assert_eq!(scene.told().len(), 0);
    scene.passes(MINUTE).await;
    assert_eq!(scene.texts(), [["good night"]]);
}

#[tokio::test]
async fn a_look_at_people_who_are_not_told_reads_no_more_than_their_memberships() {
    let scene = Scene::new().await;
    let device = scene.connects().await;
    scene.message("hello").await;
    scene.clock.advance(DELAY);
    let read = |scene: &Scene| (scene.store.calls("user"), scene.store.calls("unread_chats"));
    let before = read(&scene);
    scene.look().await;
    assert_eq!(read(&scene), before, "online");
    scene.goes(device).await;
    scene.passes(10 * MINUTE).await;
    assert_eq!(scene.told().len(), 1);
    scene.message("hello again").await;
    scene.clock.advance(6 * MINUTE);
    // Those who have gone lately are looked at otherwise.
    let before = read(&scene);
    let members = scene.desk.look_at_chats().await;
    assert!(members.is_ok());
    assert_eq!(read(&scene), before, "told before, and has not read");
}

#[tokio::test]
async fn somebody_who_is_online_for_long_is_looked_at_less_and_less_often() {
    let scene = Scene::new().await;
    for (waited, pause) in [(0, 5), (5, 5), (12, 12), (30, 30), (600, 30)] {
        assert_eq!(scene.desk.patience(waited * MINUTE), pause * MINUTE, "{waited} minutes");
    }
}

#[tokio::test]
async fn who_goes_without_reading_is_told_the_delay_after() {
    let scene = Scene::new().await;
    let device = scene.connects().await;
    scene.message("hello").await;
    scene.passes(3 * HOUR).await;
    assert_eq!(scene.told().len(), 0);
    scene.goes(device).await;
    scene.passes(DELAY - MINUTE).await;
    assert_eq!(scene.told().len(), 0);
    scene.passes(2 * MINUTE).await;
    assert_eq!(scene.texts(), [["hello"]]);
}

#[tokio::test]
async fn who_goes_is_told_also_where_nobody_saw_them_go() {
    let scene = Scene::new().await;
    let device = scene.connects().await;
    scene.message("hello").await;
    scene.passes(3 * HOUR).await;
    // Its lease ends, and the node that would have announced it is dead.
    scene.presence.release(&[device]).await.unwrap();
    scene.presence.sweep(Duration::ZERO, 10).await.unwrap();
    scene.passes(31 * MINUTE).await;
    assert_eq!(scene.texts(), [["hello"]]);
}

#[tokio::test]
async fn a_node_that_has_just_begun_takes_nobody_for_away() {
    let scene = Scene::new().await;
    scene.message("hello").await;
    scene.clock.advance(DAY);
    let desk = scene.another_node();
    scene.try_look(&desk).await.unwrap();
    scene.work_of(&desk).await;
    assert_eq!(scene.told().len(), 0);
    scene.clock.advance(DELAY);
    scene.try_look(&desk).await.unwrap();
    scene.work_of(&desk).await;
    assert_eq!(scene.told().len(), 1);
}

#[tokio::test]
async fn who_wants_no_mail_is_not_told_even_if_it_was_decided() {
    let scene = Scene::new().await;
    scene.message("hello").await;
    scene.clock.advance(DELAY);
    scene.look().await;
    let off = ChangeNotifications { email: Some(false), quiet_hours: None };
    let off = UpdateProfile { notifications: Some(off), ..UpdateProfile::default() };
    scene.must(&scene.ada, off).await;
    assert_eq!(scene.work().await, ["done"]);
    assert_eq!(scene.told().len(), 0);
}

#[tokio::test]
async fn who_has_come_back_is_told_only_once_they_have_gone_again() {
    let scene = Scene::new().await;
    scene.message("hello").await;
    scene.clock.advance(DELAY);
    scene.look().await;
    let device = scene.connects().await;
    scene.passes(HOUR).await;
    assert_eq!(scene.told().len(), 0);
    scene.goes(device).await;
    scene.passes(HOUR + DELAY).await;
    assert_eq!(scene.texts(), [["hello"]]);
}

#[tokio::test]
async fn ten_thousand_people_in_groups_of_a_thousand_are_told_once_each() {
    let scene = Scene::new().await;
    for group in 0..10 {
        let mut member_ids = Vec::new();
        for n in 0..999 {
            member_ids.push(account(&scene, &format!("p{group}.{n}")).await);
        }
        let create = CreateGroupChat { title: "Many".into(), member_ids, client_id: None };
        let chat = scene.must(&scene.bob, create).await.value.id;
        scene.says(&scene.bob, chat, "hello").await;
    }
    scene.passes(10 * MINUTE).await;
    let mut told: Vec<_> = scene.told().into_iter().map(|told| told.to.user).collect();
    let notifications = told.len();
    told.sort_unstable();
    told.dedup();
    assert_eq!((notifications, told.len()), (9990, 9990));
}

/// An account that nobody logs in to: hashing ten thousand passwords takes half a minute.
async fn account(scene: &Scene, name: &str) -> UserId {
    let context = &scene.desk.context;
    let (id, created_at) = (context.id(), context.now());
    let email = format!("{name}@example.org");
    let user = NewUser {
        id,
        username: Username::trusted(name),
        display_name: StoredName::from(&DisplayName::trusted(name)),
        email: StoredAddress { content: Content::from(email.as_str()), key: email.clone().into_bytes() },
        password_hash: String::new(),
        created_at,
    };
    let token_hash = TokenHash::of(name);
    let session = NewSession {
        id: context.id(),
        user_id: id,
        token_hash,
        device: None,
        created_at,
        expires_at: created_at,
    };
    scene.store.create_user(user, session).await.unwrap();
    id
}

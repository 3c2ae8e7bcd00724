//! What people are told.

use super::scene::{DELAY, MINUTE, Scene, settings};
use crate::{
    commands::*,
    domain::{ChatLink, Language, Unsubscribe, UnsubscribeScope},
    notify::NotifySettings,
    ports::{ChatName, UpdateUser, UserStore as _},
};

#[tokio::test]
async fn a_chat_is_told_of_by_its_name_with_the_newest_lines_and_all_that_is_unread() {
    let chat_link = Some(ChatLink::parse("https://chat.example.org/#/chats/{chat}").unwrap());
    let scene = Scene::with(NotifySettings { lines: 2, chat_link, ..settings() }).await;
    for n in 1..=4 {
        scene.message(&format!("number {n}")).await;
    }
    scene.clock.advance(DELAY);
    scene.settles().await;
    let [told] = &scene.told()[..] else { panic!("one") };
    assert_eq!(told.to.user, scene.reader());
    assert_eq!((told.to.email.as_str(), told.to.display_name.as_str()), ("ada@example.org", "ada"));
    assert_eq!(told.to.language.as_str(), "en");
    let crate::ports::Notice::Unread(digest) = &told.notice else { panic!("{told:?}") };
    let [chat] = &digest.chats[..] else { panic!("one") };
    assert!(matches!(&chat.name, ChatName::Group(_)));
    assert_eq!((digest.unread, chat.unread, chat.chat), (4, 4, scene.tea));
    let lines: Vec<_> =
        chat.lines.iter().map(|l| (l.author_name.as_str(), l.body.as_ref().unwrap().as_str())).collect();
    assert_eq!(lines, [("bob", "number 3"), ("bob", "number 4")]);
    assert_eq!(
        chat.link.as_ref().unwrap().as_str(),
        format!("https://chat.example.org/#/chats/{}", scene.tea)
    );
    let token = |link: &crate::domain::Link| link.as_str().split_once("?token=").unwrap().1.to_owned();
    let keys = &scene.desk.notifications.settings.keys;
    let everything = Unsubscribe::verify(&token(digest.unsubscribe.as_ref().unwrap()), keys).unwrap();
    assert_eq!(everything, Unsubscribe { user: scene.reader(), scope: UnsubscribeScope::Everything });
    let of_chat = Unsubscribe::verify(&token(chat.unsubscribe.as_ref().unwrap()), keys).unwrap();
    assert_eq!(of_chat, Unsubscribe { user: scene.reader(), scope: UnsubscribeScope::Chat(scene.tea) });
}

#[tokio::test]
async fn without_texts_it_is_told_who_wrote_and_not_what() {
    let scene = Scene::with(NotifySettings { texts: false, ..settings() }).await;
    scene.message("a secret").await;
    scene.clock.advance(DELAY);
    scene.settles().await;
    let [digest] = &scene.digests()[..] else { panic!("one") };
    assert_eq!(digest.chats[0].lines[0].author_name.as_str(), "bob");
    assert_eq!(digest.chats[0].lines[0].body, None);
}

#[tokio::test]
async fn it_is_told_what_is_still_unread_and_still_there_when_it_is_told() {
    let scene = Scene::new().await;
    let read = scene.message("read").await;
    let deleted = scene.message("deleted").await;
    let edited = scene.message("a typo").await;
    scene.message("fine").await;
    scene.clock.advance(DELAY);
    scene.look().await;
    scene.reads(&read).await;
    let chat_id = scene.tea;
    scene.must(&scene.bob, DeleteMessage { chat_id, message_id: deleted.id }).await;
    scene.must(&scene.bob, EditMessage { chat_id, message_id: edited.id, body: "no typo".into() }).await;
    scene.work().await;
    let [digest] = &scene.digests()[..] else { panic!("one") };
    let lines = digest.chats[0].lines.iter().map(|line| line.body.as_ref().unwrap().as_str());
    assert_eq!(lines.collect::<Vec<_>>(), ["no typo", "fine"]);
    // One of the four has been read.
    assert_eq!((digest.unread, digest.chats[0].unread), (3, 3));
}

#[tokio::test]
async fn if_nothing_is_left_when_it_is_told_nobody_is_told() {
    for what in ["read", "deleted", "left", "muted", "not wanted", "erased"] {
        let scene = Scene::new().await;
        let message = scene.message("hello").await;
        scene.clock.advance(DELAY);
        scene.look().await;
        let chat_id = scene.tea;
        match what {
            "read" => scene.reads(&message).await,
            "deleted" => {
                scene.must(&scene.bob, DeleteMessage { chat_id, message_id: message.id }).await;
            }
            "left" => {
                scene.must(&scene.ada, LeaveChat { chat_id }).await;
            }
            "muted" => {
                let until = Some(scene.now().after(MINUTE));
                crate::ports::ChatStore::set_mute(&*scene.store, chat_id, scene.reader(), until)
                    .await
                    .unwrap();
            }
            "not wanted" => {
                let none = crate::domain::NotifyLevel::None;
                crate::ports::ChatStore::set_notify_level(&*scene.store, chat_id, scene.reader(), none)
                    .await
                    .unwrap();
            }
            _ => scene.erases_account().await,
        }
        assert_eq!(scene.work().await, ["done"], "{what}");
        assert_eq!(scene.told().len(), 0, "{what}");
    }
}

#[tokio::test]
async fn a_person_is_told_in_their_language() {
    let scene = Scene::new().await;
    let account = scene.store.user(scene.reader()).await.unwrap();
    let preferences =
        crate::ports::Preferences { language: Some(Language::trusted("ru")), ..account.preferences };
    let update = UpdateUser { preferences: Some(preferences), ..UpdateUser::of(account.id, account.version) };
    scene.store.update_user(update).await.unwrap();
    scene.message("hello").await;
    scene.clock.advance(DELAY);
    scene.settles().await;
    assert_eq!(scene.told()[0].to.language.as_str(), "ru");
}

#[tokio::test]
async fn what_waits_among_the_jobs_holds_no_text_and_no_secret() {
    let scene = Scene::new().await;
    scene.message("a secret").await;
    scene.clock.advance(DELAY);
    scene.look().await;
    // Those about accounts have addresses in them, and a test of their own.
    let kind = Some(crate::notify::outbox::UNREAD.parse().unwrap());
    let filter = crate::ports::JobFilter { kind, ..Default::default() };
    let jobs = scene.messenger.jobs().list(&filter, None, 10).await.unwrap();
    assert_eq!(jobs.len(), 1);
    for job in jobs {
        let payload = String::from_utf8(job.payload.0).unwrap();
        for hidden in ["secret", "token", "example.org", "ada", "bob"] {
            assert!(!payload.contains(hidden), "{hidden} in {payload}");
        }
    }
}

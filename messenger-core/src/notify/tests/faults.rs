//! Nodes that die at each step, answers that are lost, and mail servers that are away.

use std::{sync::Arc, time::Duration};

use super::scene::{DAY, DELAY, MINUTE, Scene, settings};
use crate::{
    domain::{Timestamp, UserId},
    notify::{
        Desk, NotifySettings,
        deciding::{self, Reason, Verdict},
    },
    ports::{
        Lease, NotifyError, PresenceError, PresenceState, PresenceStore, Refusal, Refused, StoreErrorKind,
        UserStore as _, WentOffline,
    },
};

async fn due() -> Scene {
    let scene = Scene::new().await;
    scene.message("hello").await;
    scene.clock.advance(DELAY);
    scene
}

/// Whatever happened, in the end Ada was told once; by how many deliveries with one claim.
async fn is_told_in_the_end(scene: &Scene) -> usize {
    scene.passes(3 * DAY).await;
    let told = scene.told();
    let mut claims: Vec<_> = told.iter().map(|told| told.claim).collect();
    claims.dedup();
    assert_eq!(claims.len(), 1, "{told:?}");
    assert!(told.windows(2).all(|two| two[0] == two[1]), "the same each time: {told:?}");
    told.len()
}

fn away() -> NotifyError {
    NotifyError::Unavailable("the network is down".into())
}

fn refused(what: Refused) -> NotifyError {
    Refusal { what, code: Some(550), text: "no".to_owned() }.into()
}

#[tokio::test]
async fn a_node_that_dies_at_any_call_of_the_store_while_it_looks_forgets_and_doubles_nothing() {
    for method in [
        "claim_unread_chats",
        "unread_members",
        "unread_chats",
        "user",
        "record_notified",
        "finish_unread_chat",
    ] {
        for is_carried_out in [false, true] {
            let scene = due().await;
            if is_carried_out {
                scene.store.lose(method, 1);
            } else {
                scene.store.fail(method, StoreErrorKind::Unavailable, 1);
            }
            let looked = scene.try_look(&scene.desk).await;
            // Those calls whose answers this store does not lose are carried out.
            assert!(looked.is_err() || is_carried_out, "{method}");
            assert_eq!(is_told_in_the_end(&scene).await, 1, "{method}, {is_carried_out}");
        }
    }
}

#[tokio::test]
async fn a_node_that_dies_after_the_claim_of_a_job_is_followed_by_another() {
    let scene = due().await;
    scene.look().await;
    assert_eq!(scene.claim(&scene.desk).await.len(), 1);
    assert_eq!(is_told_in_the_end(&scene).await, 1);
}

#[tokio::test]
async fn a_node_that_dies_between_mail_and_record_sends_the_same_mail_again() {
    let scene = due().await;
    scene.look().await;
    let [job] = &scene.claim(&scene.desk).await[..] else { panic!("one") };
    let (answer, _) = scene.done(&scene.desk, job.clone()).await;
    assert_eq!(answer, "done");
    assert_eq!(is_told_in_the_end(&scene).await, 2);
}

#[tokio::test]
async fn nodes_that_look_at_the_same_time_tell_once() {
    let scene = due().await;
    let desks = [scene.desk.clone(), scene.desk.clone(), scene.desk.clone()];
    // Also where each decides on the person by itself.
    let decided =
        futures::future::join_all(desks.iter().map(|desk| desk.decide(scene.reader(), Some(false)))).await;
    assert_eq!(
        decided.iter().filter(|verdict| format!("{verdict:?}").contains("Tell")).count(),
        1,
        "{decided:?}"
    );
    assert_eq!(is_told_in_the_end(&scene).await, 1);
}

#[tokio::test]
async fn what_is_read_while_it_is_decided_is_not_told() {
    let scene = Scene::new().await;
    let message = scene.message("hello").await;
    scene.clock.advance(DELAY);
    let (messenger, ada) = (scene.messenger.clone(), scene.ada);
    scene.store.meanwhile("record_notified", async move {
        let read = crate::commands::MarkRead { chat_id: message.chat_id, seq: message.seq };
        messenger.execute(&ada, read).await.unwrap();
    });
    assert_eq!(scene.decide().await, Verdict::Nothing(Reason::Read), "it is decided anew");
    scene.passes(DAY).await;
    assert_eq!(scene.told().len(), 0);
}

#[tokio::test]
async fn a_mail_server_that_is_away_for_half_a_day_gets_the_same_mail_when_it_is_back() {
    let scene = due().await;
    for _ in 0..18 {
        scene.notifier.fail_next(away());
    }
    assert_eq!(is_told_in_the_end(&scene).await, 1);
}

#[tokio::test]
async fn an_address_that_refuses_mail_three_times_in_a_row_gets_no_more() {
    for accepted in [None, Some(2)] {
        let scene = Scene::new().await;
        for n in 1..=3 {
            if accepted != Some(n) {
                scene.notifier.fail_next(refused(Refused::Address));
            }
            scene.message("hello").await;
            scene.passes(2 * DAY).await;
        }
        let account = scene.store.user(scene.reader()).await.unwrap();
        assert_eq!(account.mail.refusals, if accepted.is_some() { 1 } else { 3 });
        scene.notifier.take();
        scene.message("hello again").await;
        scene.passes(2 * DAY).await;
        assert_eq!(scene.told().len(), usize::from(accepted.is_some()));
    }
}

#[tokio::test]
async fn a_refusal_of_the_sender_is_nobodys_fault_and_is_tried_again() {
    let scene = due().await;
    scene.notifier.fail_next(refused(Refused::Sender));
    scene.settles().await;
    assert_eq!(scene.store.user(scene.reader()).await.unwrap().mail.refusals, 0);
    assert_eq!(is_told_in_the_end(&scene).await, 1);
}

#[tokio::test]
async fn a_refusal_of_the_content_is_among_the_dead_and_blames_no_address() {
    let scene = due().await;
    scene.notifier.fail_next(refused(Refused::Content));
    scene.settles().await;
    assert_eq!(scene.store.user(scene.reader()).await.unwrap().mail.refusals, 0);
    let dead = scene.messenger.jobs().counts().await.unwrap();
    assert_eq!(dead.iter().map(|kind| kind.dead).sum::<u64>(), 1);
}

#[tokio::test]
async fn what_is_stored_of_one_person_can_not_keep_others_waiting() {
    let scene = Scene::with(NotifySettings { texts: false, ..settings() }).await;
    let carl = crate::doc::register(&scene.messenger, "carl").await;
    let user_ids = vec![carl.user().unwrap()];
    scene.must(&scene.bob, crate::commands::AddMembers { chat_id: scene.tea, user_ids }).await;
    scene.message("hello").await;
    scene.clock.advance(DELAY);
    // The first of the two who is read.
    scene.store.fail("unread_chats", StoreErrorKind::Corrupt, 1);
    scene.settles().await;
    assert_eq!(scene.told().len(), 1);
    scene.passes(10 * MINUTE).await;
    assert_eq!(scene.told().len(), 1, "the other one, when it can be read");
}

/// Presence as it is while some of its servers, or all, can't be asked.
struct Away {
    is_all: bool,
}

#[async_trait::async_trait]
impl PresenceStore for Away {
    async fn renew(&self, _: &[Lease], _: Duration) -> Result<Vec<UserId>, PresenceError> {
        Err(PresenceError("away".into()))
    }

    async fn release(&self, _: &[Lease]) -> Result<(), PresenceError> {
        Err(PresenceError("away".into()))
    }

    async fn sweep(&self, _: Duration, _: usize) -> Result<Vec<WentOffline>, PresenceError> {
        Err(PresenceError("away".into()))
    }

    async fn query(&self, _: &[UserId]) -> Result<Vec<PresenceState>, PresenceError> {
        if self.is_all { Err(PresenceError("away".into())) } else { Ok(vec![]) }
    }
}

#[tokio::test]
async fn nobody_is_told_while_it_can_not_be_known_who_is_online() {
    for is_all in [false, true] {
        let scene = due().await;
        let blind = Desk { presence: Arc::new(Away { is_all }), ..scene.desk.clone() };
        assert_eq!(scene.try_look(&blind).await.is_err(), is_all);
        scene.work_of(&blind).await;
        scene.clock.advance(6 * MINUTE);
        scene.work_of(&blind).await;
        assert_eq!(scene.told().len(), 0);
        // Neither where it was decided before.
        scene.passes(10 * MINUTE).await;
        assert_eq!(scene.told().len(), 1);
        scene.message("hello again").await;
        scene.clock.advance(DAY);
        scene.look().await;
        scene.work_of(&blind).await;
        assert_eq!(scene.told().len(), 0);
        scene.passes(DAY).await;
        assert_eq!(scene.told().len(), 1);
    }
}

#[test]
fn each_time_that_somebody_is_told_is_later_also_where_a_clock_is_behind() {
    let at = Timestamp::from_micros;
    let first = deciding::told(None, at(1000));
    let second = deciding::told(Some(first), at(500));
    assert!(second.at > first.at);
    assert_eq!((first.times, second.times, second.since), (1, 2, first.since));
}

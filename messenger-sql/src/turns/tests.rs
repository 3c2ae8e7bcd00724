use std::{
    error::Error as _,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::{FutureExt as _, future::join_all, poll};
use tokio::{sync::Notify, task::yield_now, time::advance};

use super::*;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

/// Holds a permit for one second.
async fn second(turns: &Turns) -> StoreResult<()> {
    turns
        .run(soon(), |seat, caller| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(seat);
            caller.answer(Ok(()));
        })
        .await
}

fn cause(answer: StoreResult<()>) -> String {
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    error.source().map(ToString::to_string).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn who_is_left_alone_keeps_nobody_waiting() {
    let turns = Turns::new(2, 100);
    let mut alone: Vec<_> = (0..50).map(|_| Box::pin(second(&turns))).collect();
    for one in &mut alone {
        assert!(poll!(one).is_pending());
    }
    // Longer than those callers wait: 50 of them, one second each, on two permits.
    let patient =
        turns.run(Instant::now() + Duration::from_secs(60), |_, caller| async { caller.answer(Ok(7)) });
    assert_eq!(patient.await.unwrap(), 7);
    let answers = join_all(alone).await;
    let served = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!((8..=10).contains(&served), "{served} within five seconds");
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_while_waiting_leaves_the_queue() {
    let turns = Turns::new(1, 1);
    let mut first = Box::pin(second(&turns));
    assert!(poll!(&mut first).is_pending());
    let begun = Arc::new(AtomicBool::new(false));
    let mark = Arc::clone(&begun);
    let mut waiting = Box::pin(turns.run(soon(), move |_, caller| async move {
        mark.store(true, SeqCst);
        caller.answer(Ok(()));
    }));
    assert!(poll!(&mut waiting).is_pending());
    assert_eq!(cause(second(&turns).await), "too many are waiting for a connection");
    drop(waiting);
    yield_now().await;
    // The place is free again.
    second(&turns).await.unwrap();
    first.await.unwrap();
    assert!(!begun.load(SeqCst), "what nobody waits for is not begun");
}

#[tokio::test(start_paused = true)]
async fn turns_come_in_the_order_of_the_calls() {
    let turns = Turns::new(1, 100);
    let order = Arc::new(Mutex::new(vec![]));
    let callers = (0..20).map(|number| {
        let order = Arc::clone(&order);
        turns.run(soon(), move |seat, caller| async move {
            yield_now().await;
            drop(seat);
            order.lock().unwrap().push(number);
            caller.answer(Ok(()));
        })
    });
    join_all(callers).await;
    assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_longer_than_was_said() {
    let turns = Turns::new(1, 100);
    let mut holder = Box::pin(turns.run(soon(), |seat, _caller: Caller<()>| async move {
        std::future::pending::<()>().await;
        drop(seat);
    }));
    assert!(poll!(&mut holder).is_pending());
    let began_at = Instant::now();
    assert_eq!(cause(second(&turns).await), "no connection was free in time");
    assert_eq!(began_at.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn who_was_told_that_time_is_over_leaves_the_work_its_seat_until_it_ends() {
    let turns = Arc::new(Turns::new(1, 100));
    let (go, over) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (gone, overs) = (Arc::clone(&go), Arc::clone(&over));
    let slow = turns.run(soon(), move |seat, caller| async move {
        let work = async move {
            gone.notified().await;
            drop(seat);
            Ok(())
        };
        caller.answer_with(soon(), work, || _ = overs.fetch_add(1, SeqCst)).await;
    });
    assert_eq!(cause(slow.await), "the database did not answer in time");
    assert_eq!(over.load(SeqCst), 1);
    assert_eq!(cause(second(&turns).await), "no connection was free in time");
    go.notify_one();
    second(&turns).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn work_hears_that_its_caller_has_gone() {
    let turns = Turns::new(1, 100);
    let (over, heard) = oneshot::channel();
    let mut caller = Box::pin(turns.run(soon(), move |seat, caller| async move {
        let work = async move {
            advance(Duration::from_secs(1)).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(seat);
            Ok(())
        };
        caller.answer_with(soon(), work, || over.send(()).unwrap()).await;
    }));
    assert!(poll!(&mut caller).is_pending());
    yield_now().await;
    drop(caller);
    heard.await.unwrap();
    second(&turns).await.unwrap();
}

#[tokio::test]
async fn a_panic_is_the_callers() {
    let turns = Arc::new(Turns::new(1, 100));
    let theirs = Arc::clone(&turns);
    let panicked = tokio::spawn(async move {
        let panics = theirs.run(soon(), |seat, _caller: Caller<()>| async move {
            assert_eq!(seat.num_permits(), 0, "as a bug would");
        });
        panics.await
    });
    assert!(panicked.await.unwrap_err().is_panic());
    turns.run(soon(), |_, caller| async { caller.answer(Ok(())) }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_those_who_were_there_before() {
    let turns = Arc::new(Turns::new(2, 100));
    let mut early: Vec<_> = (0..4).map(|_| Box::pin(second(&turns))).collect();
    for one in &mut early {
        assert!(poll!(one).is_pending());
    }
    turns.close().await;
    assert!(turns.is_closed());
    assert_eq!(cause(second(&turns).await), "the store is closed");
    for one in early {
        assert!(one.now_or_never().unwrap().is_ok(), "it was served before the end");
    }
}

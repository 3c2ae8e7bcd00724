use std::{error::Error as _, iter::repeat_n};

use futures::{FutureExt as _, future::join_all};
use messenger_core::ports::{StoreError, StoreErrorKind, Unique};
use messenger_sql::{columns::corrupt, pool::QUIET};
use tokio::{spawn, time::advance};

use super::*;
use crate::fake::{self, Reply, Server, Value, error_token, refusal, returned, rows, rows_tokens};

const SETTINGS: Settings = Settings {
    max_connections: 2,
    max_waiting: 100,
    acquire_timeout: Duration::from_secs(5),
    timeout: Duration::from_secs(15),
    idle_timeout: Duration::from_secs(600),
    max_lifetime: Duration::from_secs(1800),
    keeps_free: true,
};
const ROLL_BACK: &str = "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION";

fn connections(server: &Server) -> Arc<Connections> {
    Arc::new(Connections::new(fake::connector(server.dial()), SETTINGS))
}

fn call(name: &str) -> Call {
    Call::procedure(name.into())
}

fn one(number: i64) -> Reply {
    rows(&[&[Value::Number(Some(number))]])
}

fn cause(error: &StoreError) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

async fn numbers(connections: &Arc<Connections>, name: &str) -> StoreResult<Vec<i64>> {
    connections.all(call(name), |columns| columns.integer()).await
}

#[tokio::test(start_paused = true)]
async fn calls_one_after_the_other_share_a_connection() {
    let server = Server::new();
    let connections = connections(&server);
    for number in 1..=3 {
        server.then(one(number));
        assert_eq!(numbers(&connections, "p").await.unwrap(), [number]);
    }
    server.then(one(4));
    let statement = Call::statement("SELECT @P1".into()).number("@P1", 4);
    assert_eq!(connections.one(statement, |columns| columns.integer()).await.unwrap(), Some(4));
    connections.done(call("q")).await.unwrap();
    assert_eq!(server.texts(), ["p", "p", "p", "sp_executesql", "q"]);
    assert_eq!(server.connections(), [1; 5]);
}

#[tokio::test(start_paused = true)]
async fn rows_of_all_result_sets_come_in_order_with_the_code() {
    let server = Server::new();
    let connections = connections(&server);
    let sets = [rows_tokens(&[&[Value::Number(Some(1))], &[Value::Number(Some(2))]]), {
        rows_tokens(&[&[Value::Text(Some("three")), Value::Number(Some(3))]])
    }];
    let Reply::Tokens(end) = returned(3) else { panic!() };
    server.then(Reply::Tokens([sets.concat(), end].concat()));
    let mut place = 0;
    let answer = connections.run(call("p"), move |columns| {
        place += 1;
        if place == 3 {
            assert_eq!(columns.text()?, "three");
        }
        columns.integer()
    });
    let answer = answer.await.unwrap();
    assert_eq!((answer.rows, answer.code), (vec![1, 2, 3], 3));
    server.then(returned(3));
    let error = numbers(&connections, "p").await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::NotMember);
    // An outcome of a procedure is no failure.
    assert_eq!(server.texts(), ["p", "p"]);
}

#[tokio::test(start_paused = true)]
async fn there_are_never_more_connections_than_allowed() {
    let server = Server::new();
    let connections = connections(&server);
    server.whenever("late", Reply::Late(Duration::from_secs(1), fake::done()));
    let began_at = Instant::now();
    let done = join_all((0..6).map(|_| connections.done(call("late")))).await;
    assert!(done.iter().all(Result::is_ok));
    assert!(began_at.elapsed() >= Duration::from_secs(3));
    assert_eq!((server.seen().opened, server.seen().most), (2, 2));

    // A caller that waits for too long gets an error.
    server.whenever("stall", Reply::Stall(vec![]));
    let stalled: Vec<_> = (0..2).map(|_| spawn(hold(&connections))).collect();
    server.until(|seen| seen.requests.len() == 8).await;
    let began_at = Instant::now();
    let error = connections.done(call("p")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert_eq!(cause(&error), "no connection was free in time");
    assert_eq!(began_at.elapsed().as_secs(), 5);
    for stalled in stalled {
        assert_eq!(stalled.await.unwrap().unwrap_err().kind(), StoreErrorKind::Unavailable);
    }
    assert_eq!(server.seen().most, 2);
}

fn hold(connections: &Arc<Connections>) -> impl Future<Output = StoreResult<()>> + use<> {
    let connections = Arc::clone(connections);
    async move { connections.done(call("stall")).await }
}

#[tokio::test(start_paused = true)]
async fn a_connection_with_something_under_way_is_not_used_again() {
    let begun = rows_tokens(&[&[Value::Number(Some(1))]]);
    for (reply, wanted) in [
        (Reply::Cut(vec![]), StoreErrorKind::Unavailable),
        (Reply::Cut(begun.clone()), StoreErrorKind::Unavailable),
        (Reply::Stall(vec![]), StoreErrorKind::Unavailable),
        (Reply::Stall(begun), StoreErrorKind::Unavailable),
        (Reply::Bytes(vec![0xAB; 64]), StoreErrorKind::Unavailable),
        (Reply::Tokens(vec![0xD1, 1, 2, 3]), StoreErrorKind::Unavailable),
        (Reply::Tokens(vec![0x01]), StoreErrorKind::Unavailable),
        (refusal(596, 21, "The session was ended."), StoreErrorKind::Unavailable),
        (refusal(824, 24, "A page is broken."), StoreErrorKind::Corrupt),
        // The reader expects a number.
        (rows(&[&[Value::Text(Some("one"))], &[Value::Text(Some("two"))]]), StoreErrorKind::Corrupt),
    ] {
        let server = Server::new();
        let connections = connections(&server);
        server.then(reply);
        let began_at = Instant::now();
        let error = numbers(&connections, "p").await.unwrap_err();
        assert_eq!(error.kind(), wanted, "{error:?}");
        assert!(began_at.elapsed() <= SETTINGS.timeout);
        server.until(|seen| seen.open == 0).await;
        server.then(one(7));
        assert_eq!(numbers(&connections, "q").await.unwrap(), [7]);
        assert_eq!(server.texts(), ["p", "q"]);
        assert_eq!(server.connections(), [1, 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_reader_costs_no_more_than_the_connection() {
    let server = Server::new();
    let connections = connections(&server);
    for connection in 1..=3 {
        server.then(one(1));
        let theirs = Arc::clone(&connections);
        let work =
            spawn(async move { theirs.all(call("p"), |_| -> StoreResult<()> { panic!("of a test") }).await });
        assert!(work.await.unwrap_err().is_panic());
        assert_eq!(server.seen().opened, connection);
    }
    server.until(|seen| seen.open == 0).await;
    assert_eq!(connections.pool.available(), 2);
}

async fn until_at_rest(connections: &Connections) {
    while connections.pool.available() < SETTINGS.max_connections as usize {
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_left_alone_keep_nobody_waiting() {
    let server = Server::new();
    let connections = connections(&server);
    server.whenever("p", one(7));
    let mut alone: Vec<_> = (0..20).map(|_| Box::pin(numbers(&connections, "p"))).collect();
    for call in &mut alone {
        assert!(call.now_or_never().is_none());
    }
    connections.done(call("q")).await.unwrap();
    for call in alone {
        assert_eq!(call.await.unwrap(), [7]);
    }
    assert_eq!(server.seen().most, 2);
}

#[tokio::test(start_paused = true)]
async fn what_has_begun_is_finished_without_its_caller() {
    let server = Server::new();
    let connections = connections(&server);
    server.then(Reply::Late(Duration::from_secs(2), fake::done()));
    let mut caller = Box::pin(connections.done(call("p")));
    assert!((&mut caller).now_or_never().is_none());
    let until = server.until(|seen| seen.requests.len() == 1);
    tokio::select! {
        _ = &mut caller => panic!("it is not done yet"),
        () = until => {}
    }
    drop(caller);
    assert_eq!(connections.pool.available(), 1);
    // Both permits are free only when the work is done.
    let dropped_at = Instant::now();
    until_at_rest(&connections).await;
    assert!(dropped_at.elapsed() >= Duration::from_secs(1));
    connections.done(call("q")).await.unwrap();
    assert_eq!(server.connections(), [1, 1]);

    // A call that is never answered does not hold its connection forever.
    server.then(Reply::Stall(vec![]));
    let mut caller = Box::pin(connections.done(call("r")));
    assert!((&mut caller).now_or_never().is_none());
    server.until(|seen| seen.requests.len() == 3).await;
    drop(caller);
    server.until(|seen| seen.open == 0).await;
    connections.done(call("s")).await.unwrap();
    assert_eq!(server.connections(), [1, 1, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_away_before_it_begins_leaves_it_undone() {
    let server = Server::new().at_login(fake::late_login(Duration::from_secs(1)));
    let connections = connections(&server);
    let mut caller = Box::pin(connections.done(call("p")));
    assert!((&mut caller).now_or_never().is_none());
    drop(caller);
    until_at_rest(&connections).await;
    assert_eq!(server.seen().opened, 0);

    let mut caller = Box::pin(connections.done(call("p")));
    assert!((&mut caller).now_or_never().is_none());
    // The connection is being opened.
    server.until(|seen| seen.opened == 1).await;
    drop(caller);
    until_at_rest(&connections).await;
    assert_eq!(server.texts(), [""; 0]);
    connections.done(call("q")).await.unwrap();
    assert_eq!((server.texts(), server.seen().opened), (vec!["q".to_owned()], 1));
    assert_eq!(connections.pool.available(), 2);
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_the_connection_is_rolled_back_and_used_again() {
    let server = Server::new();
    let connections = connections(&server);
    server.then(refusal(547, 16, "It conflicts with a constraint."));
    let error = connections.done(call("p")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Other);
    connections.done(call("q")).await.unwrap();
    assert_eq!(server.texts(), ["p", ROLL_BACK, "q"]);
    assert_eq!(server.connections(), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_can_not_be_rolled_back_is_closed() {
    for trouble in [
        refusal(3903, 16, "There is no transaction."),
        Reply::Cut(vec![]),
        Reply::Stall(vec![]),
        Reply::Bytes(vec![0xAB; 64]),
    ] {
        let server = Server::new();
        let connections = connections(&server);
        server.then(refusal(547, 16, "It conflicts with a constraint."));
        server.then(trouble);
        let error = connections.done(call("p")).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Other);
        connections.done(call("q")).await.unwrap();
        assert_eq!(server.texts(), ["p", ROLL_BACK, "q"]);
        assert_eq!(server.connections(), [1, 1, 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_is_run_again_when_other_work_was_in_its_way() {
    for (number, class) in [(1205, 13), (1222, 16), (3960, 16)] {
        let server = Server::new();
        let connections = connections(&server);
        for _ in 0..4 {
            // The rows before the failure are no part of the answer.
            let begun = rows_tokens(&[&[Value::Number(Some(1))]]);
            let error = error_token(number, class, "Somebody else was first.");
            server.then(Reply::Tokens([begun, error, fake::done()].concat()));
            server.then(Reply::Tokens(fake::done()));
        }
        server.then(one(7));
        let began_at = Instant::now();
        assert_eq!(numbers(&connections, "p").await.unwrap(), [7]);
        assert_eq!(server.texts(), ["p", ROLL_BACK, "p", ROLL_BACK, "p", ROLL_BACK, "p", ROLL_BACK, "p"]);
        assert_eq!(server.connections(), [1; 9]);
        // At least half of 10, 20 and 40 milliseconds.
        assert!((35..=106).contains(&began_at.elapsed().as_millis()), "{:?}", began_at.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_is_not_run_again_for_ever() {
    let server = Server::new();
    let connections = connections(&server);
    server.whenever("p", refusal(1205, 13, "Somebody else was first."));
    let error = connections.done(call("p")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(cause(&error).contains("error 1205"), "{error:?}");
    let tried: Vec<_> = repeat_n(["p", ROLL_BACK], 5).flatten().collect();
    assert_eq!(server.texts(), tried);
    connections.done(call("q")).await.unwrap();
    assert_eq!(server.connections(), [1; 11]);
}

#[tokio::test(start_paused = true)]
async fn what_would_fail_again_is_not_run_again() {
    let server = Server::new();
    let connections = connections(&server);
    server.then(refusal(2627, 14, "Violation of UNIQUE KEY constraint 'messenger_users_by_email'. (a)"));
    let error = connections.done(call("p")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::AlreadyExists(Unique::Email));
    assert_eq!(server.texts(), ["p", ROLL_BACK]);
    // Not retried on another connection either, because it is unknown how far the call got.
    server.then(Reply::Cut(vec![]));
    assert!(connections.done(call("q")).await.is_err());
    assert_eq!(server.texts(), ["p", ROLL_BACK, "q"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_quiet_is_asked_before_it_is_used() {
    let server = Server::new();
    let connections = connections(&server);
    connections.done(call("p")).await.unwrap();
    advance(QUIET).await;
    connections.done(call("q")).await.unwrap();
    advance(QUIET + Duration::from_millis(1)).await;
    connections.done(call("r")).await.unwrap();
    assert_eq!(server.texts(), ["p", "q", "SELECT 1", "r"]);
    assert_eq!(server.connections(), [1; 4]);
    // A connection that fails the check in any way is replaced, and soon.
    for (at, trouble) in
        [Reply::Stall(vec![]), Reply::Cut(vec![]), Reply::Bytes(vec![0; 20])].into_iter().enumerate()
    {
        advance(QUIET * 2).await;
        server.then(trouble);
        let began_at = Instant::now();
        connections.done(call("s")).await.unwrap();
        assert!(began_at.elapsed() <= PATIENCE);
        assert_eq!(server.seen().opened, at + 2);
    }
}

#[tokio::test(start_paused = true)]
async fn those_of_before_a_broken_one_are_asked() {
    let server = Server::new();
    let connections = connections(&server);
    server.whenever("late", Reply::Late(Duration::from_secs(1), fake::done()));
    join_all((0..2).map(|_| connections.done(call("late")))).await;
    advance(Duration::from_millis(1)).await;
    server.then(Reply::Cut(vec![]));
    assert!(connections.done(call("p")).await.is_err());
    connections.done(call("q")).await.unwrap();
    connections.done(call("r")).await.unwrap();
    assert_eq!(server.texts()[2..], ["p", "SELECT 1", "q", "r"]);
    assert_eq!(server.seen().opened, 2);
}

#[tokio::test(start_paused = true)]
async fn connections_that_are_idle_or_old_are_replaced() {
    let server = Server::new();
    let connections = connections(&server);
    connections.done(call("p")).await.unwrap();
    advance(SETTINGS.idle_timeout + Duration::from_millis(1)).await;
    connections.done(call("q")).await.unwrap();
    assert_eq!(server.texts(), ["p", "q"]);
    assert_eq!(server.connections(), [1, 2]);
    server.until(|seen| seen.open == 1).await;

    // Used continuously, but for too long.
    for _ in 0..31 {
        advance(Duration::from_secs(60)).await;
        connections.done(call("r")).await.unwrap();
    }
    assert_eq!(server.seen().opened, 3);
    server.until(|seen| seen.open == 1).await;

    // The unneeded connection stays idle while the other one is used, and is closed.
    server.whenever("late", Reply::Late(Duration::from_secs(1), fake::done()));
    join_all((0..2).map(|_| connections.done(call("late")))).await;
    assert_eq!(server.seen().open, 2);
    for _ in 0..11 {
        advance(Duration::from_secs(60)).await;
        connections.done(call("s")).await.unwrap();
    }
    server.until(|seen| seen.open == 1).await;
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_what_is_under_way() {
    let server = Server::new();
    let connections = connections(&server);
    server.whenever("late", Reply::Late(Duration::from_secs(3), fake::done()));
    let under_way: Vec<_> = (0..3)
        .map(|_| {
            let connections = Arc::clone(&connections);
            spawn(async move { connections.done(call("late")).await })
        })
        .collect();
    server.until(|seen| seen.requests.len() == 2).await;
    let began_at = Instant::now();
    connections.close().await;
    // Also for the caller that was already waiting.
    assert_eq!(began_at.elapsed().as_secs(), 6);
    for work in under_way {
        work.await.unwrap().unwrap();
    }
    server.until(|seen| seen.open == 0).await;
    let error = connections.done(call("p")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert_eq!(cause(&error), "the store is closed");
    connections.close().await;
}

#[tokio::test(start_paused = true)]
async fn why_there_is_no_connection_is_told() {
    for (reply, wanted) in [
        (refusal(18_456, 14, "Login failed for user 'sa'."), "Login failed for user 'sa'."),
        (refusal(4060, 11, "Cannot open database \"app\"."), "Cannot open database \"app\"."),
        (Reply::Stall(vec![]), "it did not answer in time"),
        (Reply::Cut(vec![]), ""),
    ] {
        let server = Server::new().at_login(reply);
        let connections = connections(&server);
        for _ in 0..3 {
            let error = connections.done(call("p")).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unavailable);
            assert!(cause(&error).starts_with(wanted), "{error:?}");
            assert!(!format!("{error:?}").contains("secret"));
        }
        assert_eq!(connections.pool.available(), 2);
        server.until(|seen| seen.open == 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_has_the_last_word_on_what_is_corrupt() {
    let server = Server::new();
    let connections = connections(&server);
    server.then(one(1));
    let error = connections.all(call("p"), |_| -> StoreResult<()> { Err(corrupt("odd")) }).await.unwrap_err();
    assert_eq!((error.kind(), cause(&error).as_str()), (StoreErrorKind::Corrupt, "odd"));
}

//! Long polling: nothing is lost or doubled between polls.

use http::StatusCode;
use messenger_signalr::{Close, SignalROptions};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Service, are_answered, handshake, invocation, many_calls, seconds};

const OK: StatusCode = StatusCode::OK;
const NO_MORE: StatusCode = StatusCode::NO_CONTENT;

fn told(value: &Value) -> Value {
    json!({"type": 1, "target": "told", "arguments": [value]})
}

#[tokio::test(start_paused = true)]
async fn a_poll_is_held_until_there_is_something_and_brings_all_of_it() {
    let (service, world) = Service::new(SignalROptions::new());
    let token = service.polling("").await;
    let began = Instant::now();
    let says = async {
        sleep(seconds(80)).await;
        world.tell(&Ok(json!(1)));
    };
    let (poll, ()) = tokio::join!(service.poll(&token), says);
    assert_eq!((poll, began.elapsed().as_secs()), ((OK, vec![told(&json!(1))]), 80));
    for number in 2..5 {
        world.tell(&Ok(json!(number)));
    }
    sleep(seconds(1)).await;
    let all = (2..5).map(|number| told(&json!(number))).collect();
    assert_eq!(service.poll(&token).await, (OK, all));
}

#[tokio::test(start_paused = true)]
async fn a_poll_without_news_is_answered_in_its_time() {
    let (service, _) = Service::new(SignalROptions::new().poll_timeout(seconds(5)));
    let token = service.polling("").await;
    let began = Instant::now();
    assert_eq!(service.poll(&token).await, (OK, vec![]));
    assert_eq!(began.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_newer_poll_takes_the_place_of_an_older_one() {
    let (service, world) = Service::new(SignalROptions::new());
    let token = service.polling("").await;
    let newer = async {
        sleep(seconds(1)).await;
        let says = async {
            sleep(seconds(1)).await;
            world.tell(&Ok(json!("news")));
        };
        tokio::join!(service.poll(&token), says).0
    };
    let (older, newer) = tokio::join!(service.poll(&token), newer);
    assert_eq!(older, (NO_MORE, vec![]));
    assert_eq!(newer, (OK, vec![told(&json!("news"))]));
}

#[tokio::test(start_paused = true)]
async fn what_an_answer_that_nobody_read_would_have_brought_comes_with_the_next() {
    let (service, world) = Service::new(SignalROptions::new());
    let token = service.polling("").await;
    world.tell(&Ok(json!("news")));
    sleep(seconds(1)).await;
    let unread = service.request("GET", &format!("?id={token}"), "*/*", String::new()).await;
    assert_eq!(unread.status(), OK);
    assert_eq!(service.poll(&token).await, (OK, vec![told(&json!("news"))]));
    // Now it is known to be nobody's.
    assert_eq!(http_body_util::BodyExt::collect(unread.into_body()).await.unwrap().to_bytes(), "");
}

#[tokio::test(start_paused = true)]
async fn posts_are_worked_off_in_order_whether_there_is_a_poll_or_not() {
    let (service, _) = Service::new(SignalROptions::new());
    let token = service.polling("").await;
    let echo = |number: u32| invocation(&number.to_string(), "Echo", &json!([number]));
    assert_eq!(service.post(&token, &[echo(0), echo(1)]).await, OK);
    assert_eq!(service.post(&token, &[echo(2)]).await, OK);
    sleep(seconds(1)).await;
    let (_, answers) = service.poll(&token).await;
    let results: Vec<_> = answers.iter().map(|answer| answer["result"].clone()).collect();
    assert_eq!(results, [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn posts_wait_for_room_and_so_does_what_is_said() {
    let options = SignalROptions::new()
        .application_max_buffer_size(1000)
        .maximum_receive_message_size(1000)
        .transport_max_buffer_size(1000);
    let (service, world) = Service::new(options);
    let token = service.polling("").await;
    let wait = invocation("wait", "Wait", &json!([]));
    assert_eq!(service.post(&token, &[wait]).await, OK);
    world.began(1).await;
    // What the session takes in, and what waits for it.
    let echo = invocation("echo", "Echo", &json!(["x".repeat(700)]));
    let mut posts = 0;
    while timeout(seconds(1), service.post(&token, std::slice::from_ref(&echo))).await.is_ok() {
        posts += 1;
    }
    assert!((2..=4).contains(&posts), "{posts}");
    let last = [echo];
    let (last, ()) = tokio::join!(service.post(&token, &last), async {
        sleep(seconds(1)).await;
        world.gate.notify_one();
    });
    assert_eq!(last, OK);
    // Answers wait for polls, and each poll makes room for more of them.
    let (mut answers, mut polls) = (0, 0);
    while answers < posts + 2 {
        sleep(seconds(1)).await;
        let (status, some) = service.poll(&token).await;
        let longest = some.iter().map(|answer| answer.to_string().len()).sum::<usize>();
        assert!(status == OK && longest < 3000, "{longest}");
        answers += some.len();
        polls += 1;
    }
    assert!(answers == posts + 2 && polls > 1, "{answers} answers in {polls} polls");
}

#[tokio::test(start_paused = true)]
async fn one_post_may_be_longer_than_all_that_may_wait() {
    let options = SignalROptions::new().application_max_buffer_size(10).transport_max_buffer_size(10);
    let (service, _) = Service::new(options);
    let token = service.polling("").await;
    let echo = invocation("echo", "Echo", &json!(["x".repeat(20_000)]));
    assert_eq!(service.post(&token, &[echo]).await, OK);
    assert_eq!(service.poll(&token).await.1[0]["result"].as_str().unwrap().len(), 20_000);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_fetches_nothing_is_too_slow() {
    let (service, world) = Service::new(SignalROptions::new().transport_max_buffer_size(100));
    let token = service.polling("").await;
    world.tell(&Ok(json!("x".repeat(200))));
    world.tell(&Ok(json!("more")));
    let began = Instant::now();
    world.has(0).await;
    assert_eq!(began.elapsed().as_secs(), 10);
    // It is told so, if it comes in time.
    let (status, records) = service.poll(&token).await;
    assert_eq!((status, records.len()), (OK, 1));
}

#[tokio::test(start_paused = true)]
async fn the_end_is_told_by_the_last_polls() {
    let (service, world) = Service::new(SignalROptions::new());
    let token = service.polling("").await;
    let close = Close { error: Some("enough".into()), allow_reconnect: false, answers_first: false };
    world.tell(&Ok(json!("last")));
    world.tell(&Err(close));
    world.has(0).await;
    let close = json!({"type": 7, "error": "enough"});
    assert_eq!(service.poll(&token).await, (OK, vec![told(&json!("last")), close]));
    assert_eq!(service.post(&token, &[json!({"type": 6})]).await, 404);
    assert_eq!(service.poll(&token).await, (NO_MORE, vec![]));
    sleep(seconds(1)).await;
    assert_eq!(service.poll(&token).await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_fetch_the_end_is_not_waited_for_long() {
    let (service, world) = Service::new(SignalROptions::new());
    let token = service.polling("").await;
    world.tell(&Err(Close { error: None, allow_reconnect: true, answers_first: false }));
    world.has(0).await;
    sleep(seconds(14)).await;
    assert_eq!(service.poll(&token).await, (OK, vec![json!({"type": 7, "allowReconnect": true})]));
    sleep(seconds(2)).await;
    assert_eq!(service.poll(&token).await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn a_client_may_end_its_connection_also_during_a_poll() {
    let (service, world) = Service::new(SignalROptions::new());
    let token = service.polling("").await;
    let delete = async {
        sleep(seconds(1)).await;
        let query = format!("?id={token}");
        service.request("DELETE", &query, "*/*", String::new()).await.status()
    };
    let (poll, deleted) = tokio::join!(service.poll(&token), delete);
    assert_eq!((poll, deleted), ((OK, vec![json!({"type": 7})]), StatusCode::ACCEPTED));
    world.has(0).await;
    sleep(seconds(1)).await;
    assert_eq!(service.poll(&token).await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_goodbye_is_answered() {
    let (service, world) = Service::new(SignalROptions::new());
    let token = service.polling("").await;
    assert_eq!(service.post(&token, &[json!({"type": 7})]).await, OK);
    assert_eq!(service.poll(&token).await, (OK, vec![json!({"type": 7})]));
    assert_eq!(service.poll(&token).await, (NO_MORE, vec![]));
    world.has(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_poll_whose_token_has_ended_brings_answers_and_the_end_of_its_connection_and_nothing_else() {
    let (service, world) = Service::new(SignalROptions::new());
    let token = service.polling("").await;
    let with_old_token = || service.poll_as(&token, "nobody");
    // As long as the connection does not end, the answer is that of any other request.
    let began = Instant::now();
    assert_eq!(with_old_token().await, (StatusCode::UNAUTHORIZED, vec![]));
    assert_eq!(began.elapsed().as_secs(), 7);
    assert_eq!(service.post(&token, &[invocation("1", "Echo", &json!(["mine"]))]).await, OK);
    world.tell(&Ok(json!("secret")));
    let ends = async {
        sleep(seconds(5)).await;
        world.tell(&Err(Close { error: None, allow_reconnect: true, answers_first: false }));
    };
    let (poll, ()) = tokio::join!(with_old_token(), ends);
    let answer = json!({"type": 3, "invocationId": "1", "result": "mine"});
    assert_eq!(poll, (OK, vec![answer, json!({"type": 7, "allowReconnect": true})]));
    assert_eq!(with_old_token().await, (NO_MORE, vec![]));
    // Requests of other kinds are answered at once.
    let token = service.polling("").await;
    let began = Instant::now();
    for (method, accept) in [("POST", "*/*"), ("DELETE", "*/*"), ("GET", "text/event-stream")] {
        let query = format!("?id={token}&access_token=nobody");
        assert_eq!(service.request(method, &query, accept, String::new()).await.status(), 401);
    }
    assert_eq!(began.elapsed().as_secs(), 0);
    // One who may not for another reason is told so at once.
    let token = service.polling("").await;
    assert_eq!(service.poll_as(&token, "banned").await, (StatusCode::FORBIDDEN, vec![]));
    assert_eq!(service.poll_as("none", "nobody").await, (StatusCode::UNAUTHORIZED, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_none_is_answered_by_a_poll() {
    let (service, _) = Service::new(SignalROptions::new());
    let token = service.token("").await;
    assert_eq!(service.poll(&token).await, (OK, vec![]));
    assert_eq!(service.post(&token, &[handshake("xml", 1)]).await, OK);
    let refused = json!({"error": "The protocol 'xml' is not supported."});
    assert_eq!(service.poll(&token).await, (OK, vec![refused]));
    assert_eq!(service.poll(&token).await, (NO_MORE, vec![]));
}

#[tokio::test(start_paused = true)]
async fn many_calls_that_are_answered_at_once_keep_nothing_waiting_behind_them() {
    let (service, world) = Service::new(SignalROptions::new());
    let token = service.polling("").await;
    let began = Instant::now();
    world.gate.notify_one();
    assert_eq!(service.post(&token, &many_calls()).await, OK);
    let mut answers = Vec::new();
    while answers.len() <= 1000 {
        let (status, some) = service.poll(&token).await;
        assert!(status == OK && !some.is_empty());
        answers.extend(some);
    }
    are_answered(&answers);
    assert_eq!(began.elapsed().as_secs(), 0);
}

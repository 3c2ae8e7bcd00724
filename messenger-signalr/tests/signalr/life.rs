//! Whether clients are there: how long the server holds on to one that is lost, for each transport, and that it lets
//! go of no other.

use std::time::Duration;

use axum::response::Response;
use http_body_util::BodyExt as _;
use messenger_signalr::SignalROptions;
use serde_json::json;
use tokio::{
    io::AsyncReadExt as _,
    time::{Instant, sleep},
};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{RECORD_END, Service, Socket, handshake, invocation, ping, seconds};

fn close_for_a_fault() -> serde_json::Value {
    json!({"type": 7, "error": "Connection closed with an error.", "allowReconnect": true})
}

mod web_sockets {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_lost_before_its_first_ping_is_missed() {
        let (service, world) = Service::new(SignalROptions::new());
        let _lost = Socket::start(&service).await;
        let began = Instant::now();
        world.has(0).await;
        // Asked after 20 s, and waited for.
        assert_eq!(began.elapsed().as_secs(), 20 + 30);
    }

    #[tokio::test(start_paused = true)]
    async fn so_it_is_within_other_times_that_are_set() {
        let options = SignalROptions::new()
            .web_socket_keep_alive_interval(seconds(50))
            .client_timeout_interval(seconds(10));
        let (service, world) = Service::new(options);
        let _lost = Socket::start(&service).await;
        let began = Instant::now();
        world.has(0).await;
        assert_eq!(began.elapsed().as_secs(), 50 + 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_only_reads_stays() {
        let (service, world) = Service::new(SignalROptions::new());
        let mut socket = Socket::start(&service).await;
        socket.only_reads(seconds(600)).await;
        assert_eq!((socket.asked, world.count()), (600 / 20 - 1, 1));
        assert_eq!(socket.call("Echo", json!(["hi"])).await["result"], "hi");
        // Lost after all that.
        let began = Instant::now();
        world.has(0).await;
        assert_eq!(began.elapsed().as_secs(), 20 + 30);
    }

    #[tokio::test(start_paused = true)]
    async fn control_frames_of_a_client_show_that_it_is_there() {
        let (service, world) = Service::new(SignalROptions::new());
        let mut socket = Socket::start(&service).await;
        for _ in 0..30 {
            sleep(seconds(19)).await;
            socket.send(Message::Ping(Default::default())).await;
        }
        sleep(seconds(49)).await;
        socket.send(Message::Pong(Default::default())).await;
        sleep(seconds(49)).await;
        assert_eq!(world.count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_pings_as_official_ones_do_is_not_asked() {
        let (service, world) = Service::new(SignalROptions::new());
        let mut socket = Socket::start(&service).await;
        for _ in 0..20 {
            socket.say(ping()).await;
            socket.only_reads(seconds(15)).await;
        }
        assert_eq!((socket.asked, world.count()), (0, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_its_library_answers_does_not_stand_for_the_pings_of_a_client_that_has_sent_one() {
        let (service, _) = Service::new(SignalROptions::new());
        let mut socket = Socket::start(&service).await;
        socket.only_reads(seconds(100)).await;
        socket.say(ping()).await;
        let began = Instant::now();
        assert_eq!(socket.hear_more().await, Some(close_for_a_fault()));
        assert_eq!((began.elapsed().as_secs(), socket.hear().await), (30, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_what_it_is_sent_slowly_is_there() {
        let (service, world) = Service::new(SignalROptions::new());
        // Holds so little that the server has to wait until the client has read.
        let mut socket = Socket::open_over(service.wire(64), "/hub", "").await.unwrap();
        socket.shake_hands(1).await;
        let reading = tokio::spawn(async move {
            loop {
                sleep(Duration::from_millis(250)).await;
                socket.stream.get_mut().read_exact(&mut [0; 50]).await.unwrap();
            }
        });
        for _ in 0..100 {
            world.tell(&Ok(json!("x".repeat(900))));
            sleep(seconds(6)).await;
        }
        assert!(!reading.is_finished());
        assert_eq!(world.count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_whose_words_have_no_room_is_not_silent() {
        let (service, world) = Service::new(SignalROptions::new());
        let mut socket = Socket::start(&service).await;
        socket.say(ping()).await;
        socket.say(invocation("wait", "Wait", &json!([]))).await;
        world.began(1).await;
        for number in 0..100 {
            socket.say(invocation(&number.to_string(), "Echo", &json!(["x".repeat(1000)]))).await;
        }
        // The server reads no further, so that neither words nor control frames reach it.
        sleep(seconds(600)).await;
        assert_eq!(world.count(), 1);
        world.gate.notify_one();
        for _ in 0..101 {
            let answer = socket.hear_more().await.unwrap();
            assert_eq!(answer["type"], 3, "{answer}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_can_resume_is_waited_for_when_it_is_lost() {
        let (service, world) = Service::new(SignalROptions::new().allow_stateful_reconnects(true));
        let (lost, token) = Socket::start_stateful(&service).await;
        sleep(seconds(20 + 30 + 14)).await;
        // It finds its connection again, and that is the same one.
        let mut socket = Socket::open(&service, &format!("?id={token}")).await.unwrap();
        assert_eq!(socket.hear_more().await, Some(json!({"type": 9, "sequenceId": 1})));
        assert_eq!(socket.call("Echo", json!(["hi"])).await["result"], "hi");
        drop((lost, socket));

        let (_lost, token) = Socket::start_stateful(&service).await;
        let began = Instant::now();
        world.has(0).await;
        assert_eq!(began.elapsed().as_secs(), 20 + 30 + 15);
        assert_eq!(
            Socket::open(&service, &format!("?id={token}")).await.err(),
            Some(http::StatusCode::NOT_FOUND)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_can_resume_is_waited_for_as_long_as_is_set_however_much_waits_for_it() {
        let options = SignalROptions::new()
            .allow_stateful_reconnects(true)
            .stateful_reconnect_buffer_size(10)
            .disconnect_timeout(seconds(120));
        let (service, world) = Service::new(options);
        let (socket, token) = Socket::start_stateful(&service).await;
        drop(socket);
        world.tell(&Ok(json!("more than may be kept")));
        sleep(seconds(110)).await;
        let mut socket = Socket::open(&service, &format!("?id={token}")).await.unwrap();
        assert_eq!(socket.hear_more().await, Some(json!({"type": 9, "sequenceId": 1})));
        assert_eq!(socket.hear_more().await.unwrap()["arguments"], json!(["more than may be kept"]));
        // Now it has to say that it has that.
        let began = Instant::now();
        assert_eq!(socket.hear_more().await, Some(close_for_a_fault()));
        assert_eq!(began.elapsed().as_secs(), 30);
    }
}

mod server_sent_events {
    use super::*;

    /// An event stream with its handshake done, all of which a system takes in, whoever is at the other end.
    async fn start(service: &Service) -> (String, Response) {
        let token = service.token("").await;
        let events =
            service.request("GET", &format!("?id={token}"), "text/event-stream", String::new()).await;
        assert_eq!(events.status(), 200);
        assert_eq!(service.post(&token, &[handshake("json", 1)]).await, 200);
        (token, events)
    }

    async fn drain(events: Response) -> String {
        let events = events.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(events.to_vec()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_lost_before_its_first_ping_is_missed() {
        let (service, world) = Service::new(SignalROptions::new());
        let (token, events) = start(&service).await;
        let reading = tokio::spawn(drain(events));
        world.has(1).await;
        let began = Instant::now();
        world.has(0).await;
        assert_eq!(began.elapsed().as_secs(), 30);
        let last = reading.await.unwrap();
        let last = last.trim_end().rsplit("data: ").next().unwrap().trim_end_matches(RECORD_END);
        assert_eq!(serde_json::from_str::<serde_json::Value>(last).unwrap(), close_for_a_fault());
        assert_eq!(service.post(&token, &[ping()]).await, 404);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_pings_stays_until_it_is_lost() {
        let (service, world) = Service::new(SignalROptions::new());
        let (token, events) = start(&service).await;
        tokio::spawn(drain(events));
        for _ in 0..40 {
            sleep(seconds(15)).await;
            assert_eq!(service.post(&token, &[ping()]).await, 200);
        }
        assert_eq!(world.count(), 1);
        let began = Instant::now();
        world.has(0).await;
        assert_eq!(began.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_a_client_says_shows_that_it_is_there() {
        let (service, world) = Service::new(SignalROptions::new().client_timeout_interval(seconds(60)));
        let (token, events) = start(&service).await;
        tokio::spawn(drain(events));
        for _ in 0..10 {
            sleep(seconds(59)).await;
            assert_eq!(service.post(&token, &[invocation("1", "Echo", &json!([7]))]).await, 200);
        }
        assert_eq!(world.count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_is_known_to_be_lost_is_the_end() {
        let (service, world) = Service::new(SignalROptions::new());
        let (_, events) = start(&service).await;
        world.has(1).await;
        let began = Instant::now();
        drop(events);
        world.has(0).await;
        assert_eq!(began.elapsed().as_secs(), 0);
    }
}

mod long_polling {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_lost_between_two_polls_is_missed() {
        let (service, world) = Service::new(SignalROptions::new());
        let _token = service.polling("").await;
        let began = Instant::now();
        world.has(0).await;
        assert_eq!(began.elapsed().as_secs(), 15);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_lost_during_a_poll_is_missed() {
        let (service, world) = Service::new(SignalROptions::new());
        let token = service.polling("").await;
        let began = Instant::now();
        // Answered to nobody.
        assert_eq!(service.poll(&token).await, (http::StatusCode::OK, vec![]));
        world.has(0).await;
        assert_eq!(began.elapsed().as_secs(), 90 + 15);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_whose_poll_is_known_to_be_lost_is_missed() {
        let (service, world) = Service::new(SignalROptions::new());
        let token = service.polling("").await;
        let began = Instant::now();
        let poll = tokio::time::timeout(seconds(40), service.poll(&token));
        assert!(poll.await.is_err());
        world.has(0).await;
        assert_eq!(began.elapsed().as_secs(), 40 + 15);
    }

    #[tokio::test(start_paused = true)]
    async fn polls_show_that_a_client_is_there_also_after_a_ping() {
        let (service, world) = Service::new(SignalROptions::new());
        let token = service.polling("").await;
        assert_eq!(service.post(&token, &[ping()]).await, 200);
        for _ in 0..40 {
            sleep(seconds(14)).await;
            assert_eq!(service.poll(&token).await, (http::StatusCode::OK, vec![]));
        }
        assert_eq!(world.count(), 1);
    }
}

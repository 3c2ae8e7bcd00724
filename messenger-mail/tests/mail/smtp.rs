//! SMTP with a real server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use messenger_core::{
    EmailAddress,
    ports::{ClaimId, Notification, Notifier as _, NotifyError, Refusal, Refused},
};
use messenger_mail::{Composer, MailUrl, SmtpBuilder, SmtpNotifier, TokenSource};
use serde_json::{Value, json};

use crate::{
    scenes,
    smtp_server::{SmtpServer, content},
};

fn builder(url: &str) -> SmtpBuilder {
    let composer = Composer::builder("Chat <chat@example.org>").build().unwrap();
    match url.parse().unwrap() {
        MailUrl::Smtp(address) => SmtpNotifier::builder(address, composer),
        other => panic!("{other}"),
    }
}

fn notifier(url: &str) -> SmtpNotifier {
    builder(url).timeout(Duration::from_secs(5)).build().unwrap()
}

fn numbered(number: u8) -> Notification {
    let (_, mut notification) = scenes::all("en").swap_remove(0);
    notification.claim = ClaimId::from_bytes([number; 16]);
    notification
}

fn refusal(error: NotifyError) -> Refusal {
    match error {
        NotifyError::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

fn cause(error: NotifyError) -> String {
    match error {
        NotifyError::Unavailable(cause) => cause.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_mail_arrives_as_it_was_made() {
    let mut server = SmtpServer::start(json!({})).await;
    notifier(&server.url()).notify(&numbered(1)).await.unwrap();
    let event = server.event("mail").await;
    assert_eq!(event["sender"], "chat@example.org");
    assert_eq!(event["to"], json!(["ada@example.org"]));
    let composer = Composer::builder("Chat <chat@example.org>").build().unwrap();
    let mail = composer.compose(&numbered(1)).unwrap();
    let made = String::from_utf8(mail.as_bytes().to_vec()).unwrap();
    assert_eq!(content(&event).trim_end(), made.trim_end());
}

#[tokio::test]
async fn mails_go_over_one_connection_after_one_another() {
    let mut server = SmtpServer::start(json!({})).await;
    let notifier = notifier(&server.url());
    for number in 1..=3 {
        notifier.notify(&numbered(number)).await.unwrap();
    }
    let mut events = Vec::new();
    while events.iter().filter(|event| **event == "mail").count() < 3 {
        events.push(server.next().await["event"].clone());
    }
    assert_eq!(events, ["connect", "mail", "mail", "mail"]);
}

#[tokio::test]
async fn no_more_connections_than_are_allowed() {
    let mut server = SmtpServer::failing(json!([{ "at": "CONTENT", "do": "stall", "times": 2 }])).await;
    let url = format!("{}&connections=2", server.url());
    let notifier = Arc::new(builder(&url).timeout(Duration::from_millis(100)).build().unwrap());
    let sends = (1..=3).map(|number| {
        let notifier = Arc::clone(&notifier);
        tokio::spawn(async move { notifier.notify(&numbered(number)).await.is_ok() })
    });
    let sends: Vec<_> = sends.collect();
    let mut events = Vec::new();
    while events.iter().filter(|event| **event == "mail").count() < 3 {
        events.push(server.next().await["event"].clone());
    }
    // The third connects after one of the first two has run out of time.
    assert_eq!(events[..4].iter().filter(|event| **event == "connect").count(), 2, "{events:?}");
    let mut delivered = 0;
    for send in sends {
        delivered += usize::from(send.await.unwrap());
    }
    assert_eq!(delivered, 1);
}

/// What is refused at a stage with 5xx, and for whose sake.
#[tokio::test]
async fn a_5xx_is_for_good_at_each_stage() {
    for (stage, what) in [
        ("GREETING", Refused::Sender),
        ("EHLO", Refused::Sender),
        ("MAIL", Refused::Sender),
        ("RCPT", Refused::Address),
        ("DATA", Refused::Content),
        ("CONTENT", Refused::Content),
    ] {
        let reply = "554 no <ADA@example.org>";
        let server = SmtpServer::failing(json!([{ "at": stage, "do": "reply", "reply": reply }])).await;
        let refusal = refusal(notifier(&server.url()).notify(&numbered(1)).await.unwrap_err());
        assert_eq!((refusal.what, refusal.code), (what, Some(554)), "{stage}");
        assert!(refusal.text.starts_with("no <"), "{stage}: {}", refusal.text);
        if matches!(stage, "RCPT" | "DATA" | "CONTENT") {
            assert_eq!(refusal.text, "no <…>", "{stage}");
        }
    }
}

#[tokio::test]
async fn a_4xx_is_for_now_at_each_stage() {
    for stage in ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "CONTENT"] {
        let reply = "451 4.7.1 later, <ada@example.org>";
        let server =
            SmtpServer::failing(json!([{ "at": stage, "do": "reply", "reply": reply, "times": 1 }])).await;
        let notifier = notifier(&server.url());
        let error = notifier.notify(&numbered(1)).await.unwrap_err();
        let shown = format!("{error:?}");
        let cause = cause(error);
        assert!(cause.contains("451"), "{stage}: {cause}");
        if matches!(stage, "RCPT" | "DATA" | "CONTENT") {
            assert!(!cause.contains("ada@") && !shown.contains("ada@"), "{stage}: {shown}");
        }
        notifier.notify(&numbered(1)).await.unwrap_or_else(|error| panic!("{stage}: {error:?}"));
    }
}

#[tokio::test]
async fn a_server_that_goes_silent_is_given_up_at_each_stage() {
    for stage in ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "CONTENT"] {
        let server = SmtpServer::failing(json!([{ "at": stage, "do": "stall" }])).await;
        let notifier = builder(&server.url()).timeout(Duration::from_millis(200)).build().unwrap();
        let began = Instant::now();
        let error = notifier.notify(&numbered(1)).await.unwrap_err();
        assert!(cause(error).contains("did not answer in time"), "{stage}");
        assert!(began.elapsed() < Duration::from_secs(10), "{stage}: {:?}", began.elapsed());
    }
}

/// The answer that was given up may come later, and would be taken for that to another mail.
#[tokio::test]
async fn a_connection_on_which_an_answer_is_overdue_is_not_used_again() {
    let fault = json!([{ "at": "RCPT", "do": "stall", "times": 1 }]);
    let mut server = SmtpServer::failing(fault).await;
    let notifier = builder(&server.url()).timeout(Duration::from_secs(2)).build().unwrap();
    notifier.notify(&numbered(1)).await.unwrap_err();
    notifier.notify(&numbered(2)).await.unwrap();
    let mut events = Vec::new();
    while events.last().is_none_or(|event| *event != "mail") {
        events.push(server.next().await["event"].clone());
    }
    assert_eq!(events, ["connect", "connect", "mail"]);
}

#[tokio::test]
async fn a_connection_that_is_cut_is_for_now_at_each_stage() {
    for stage in ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "CONTENT"] {
        let server = SmtpServer::failing(json!([{ "at": stage, "do": "drop", "times": 1 }])).await;
        let notifier = notifier(&server.url());
        let error = notifier.notify(&numbered(1)).await.unwrap_err();
        assert!(matches!(error, NotifyError::Unavailable(_)), "{stage}: {error:?}");
        notifier.notify(&numbered(1)).await.unwrap_or_else(|error| panic!("{stage}: {error:?}"));
    }
}

/// The server had it: a second try is the same mail, which a mailbox can know by its Message-ID.
#[tokio::test]
async fn a_mail_whose_answer_was_lost_is_the_same_mail_again() {
    let mut server = SmtpServer::failing(json!([{ "at": "CONTENT", "do": "drop", "times": 1 }])).await;
    let notifier = notifier(&server.url());
    notifier.notify(&numbered(1)).await.unwrap_err();
    let first = server.mail().await;
    notifier.notify(&numbered(1)).await.unwrap();
    assert_eq!(first, server.mail().await);
    assert!(first.contains("Message-ID: <01010101-0101-0101-0101-010101010101@example.org>"));
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_waited_is_opened_again() {
    for fault in [
        json!({ "at": "MAIL", "do": "drop", "after": 1, "times": 1 }),
        json!({ "at": "MAIL", "do": "reply", "reply": "421 too long idle", "after": 1, "times": 1 }),
    ] {
        let mut server = SmtpServer::failing(json!([fault])).await;
        let notifier = notifier(&server.url());
        notifier.notify(&numbered(1)).await.unwrap();
        notifier.notify(&numbered(2)).await.unwrap();
        let mut events = Vec::new();
        while events.iter().filter(|event| **event == "mail").count() < 2 {
            events.push(server.next().await["event"].clone());
        }
        assert_eq!(events, ["connect", "mail", "connect", "mail"]);
    }
}

#[tokio::test]
async fn a_refusal_costs_no_connection() {
    let mut server =
        SmtpServer::failing(json!([{ "at": "RCPT", "do": "reply", "reply": "550 5.1.1 no", "times": 1 }]))
            .await;
    let notifier = notifier(&server.url());
    notifier.notify(&numbered(1)).await.unwrap_err();
    notifier.notify(&numbered(2)).await.unwrap();
    let mut events = Vec::new();
    while events.last().is_none_or(|event| *event != "mail") {
        events.push(server.next().await["event"].clone());
    }
    assert_eq!(events, ["connect", "reset", "mail"]);
}

/// A future that is dropped in the middle of a mail gives back no connection on which the server waits for the rest.
#[tokio::test]
async fn a_send_that_is_dropped_leaves_no_connection_in_the_middle_of_a_mail() {
    let mut server = SmtpServer::failing(json!([{ "at": "RCPT", "do": "stall", "times": 1 }])).await;
    let notifier = notifier(&server.url());
    notifier.check().await.unwrap();
    let dropped = tokio::time::timeout(Duration::from_millis(300), notifier.notify(&numbered(1))).await;
    assert!(dropped.is_err());
    notifier.notify(&numbered(2)).await.unwrap();
    let mut events = Vec::new();
    while events.last().is_none_or(|event| *event != "mail") {
        events.push(server.next().await["event"].clone());
    }
    assert_eq!(events, ["connect", "connect", "mail"]);
}

#[tokio::test]
async fn starttls_and_tls_from_the_first_byte_on() {
    for (kind, scheme) in [("starttls", "smtp"), ("implicit", "smtps")] {
        let mut server = SmtpServer::start(json!({ "tls": kind, "logins": ["PLAIN"], "secret": "s" })).await;
        let url = format!("{scheme}://ada:s@127.0.0.1:{}", server.port);
        let trusting = builder(&url).ca_certificates(server.authority.clone().unwrap()).build().unwrap();
        trusting.notify(&numbered(1)).await.unwrap_or_else(|error| panic!("{kind}: {error:?}"));
        assert_eq!(server.event("login").await["good"], true);
        assert_eq!(server.event("mail").await["encrypted"], true, "{kind}");
        // An authority that is not trusted.
        let error = notifier(&url).notify(&numbered(1)).await.unwrap_err();
        assert!(matches!(error, NotifyError::Unavailable(_)), "{kind}: {error:?}");
    }
}

#[tokio::test]
async fn without_starttls_nothing_is_sent_unless_that_is_allowed() {
    let mut server = SmtpServer::start(json!({})).await;
    let refusal = refusal(
        notifier(&format!("smtp://127.0.0.1:{}", server.port)).notify(&numbered(1)).await.unwrap_err(),
    );
    assert_eq!((refusal.what, refusal.code), (Refused::Sender, None));
    assert!(refusal.text.contains("STARTTLS"), "{}", refusal.text);
    let url = format!("smtp://127.0.0.1:{}?tls=opportunistic", server.port);
    notifier(&url).notify(&numbered(1)).await.unwrap();
    assert_eq!(server.event("mail").await["encrypted"], false);
}

#[tokio::test]
async fn with_opportunistic_tls_it_is_used_where_it_is() {
    let mut server = SmtpServer::start(json!({ "tls": "starttls" })).await;
    let url = format!("smtp://127.0.0.1:{}?tls=opportunistic", server.port);
    let trusting = builder(&url).ca_certificates(server.authority.clone().unwrap()).build().unwrap();
    trusting.notify(&numbered(1)).await.unwrap();
    assert_eq!(server.event("mail").await["encrypted"], true);
}

/// What somebody on the way puts behind the answer to STARTTLS is not taken for what the server says by TLS.
#[tokio::test]
async fn what_is_put_behind_the_answer_to_starttls_ends_the_connection() {
    let server =
        SmtpServer::start(json!({ "tls": "starttls", "faults": [{ "at": "STARTTLS", "do": "inject" }] }))
            .await;
    let url = format!("smtp://127.0.0.1:{}", server.port);
    let trusting = builder(&url).ca_certificates(server.authority.clone().unwrap()).build().unwrap();
    let error = trusting.notify(&numbered(1)).await.unwrap_err();
    assert!(cause(error).contains("STARTTLS"));
}

#[tokio::test]
async fn each_kind_of_log_in() {
    for (kind, option) in
        [("PLAIN", ""), ("LOGIN", ""), ("LOGIN", "&auth=login"), ("XOAUTH2", "&auth=xoauth2")]
    {
        let settings = json!({ "logins": [kind], "secret": "s@/ ü" });
        let mut server = SmtpServer::start(settings).await;
        let url =
            |password: &str| format!("smtp://ada:{password}@127.0.0.1:{}?tls=none{option}", server.port);
        let (right, wrong) = (notifier(&url("s%40%2F%20%C3%BC")), notifier(&url("s")));
        right.notify(&numbered(1)).await.unwrap_or_else(|error| panic!("{kind}: {error:?}"));
        let login = server.event("login").await;
        assert_eq!((login["mechanism"].as_str(), &login["good"]), (Some(kind), &Value::Bool(true)));
        let refusal = refusal(wrong.notify(&numbered(1)).await.unwrap_err());
        assert_eq!(refusal.what, Refused::Sender, "{kind}");
        let checked = wrong.check().await.unwrap_err().to_string();
        assert!(checked.contains("log-in"), "{checked}");
    }
}

#[tokio::test]
async fn a_log_in_that_the_server_has_not_is_said() {
    let server = SmtpServer::start(json!({ "logins": ["LOGIN"], "secret": "s" })).await;
    let url = format!("smtp://ada:s@127.0.0.1:{}?tls=none&auth=plain", server.port);
    let refusal = refusal(notifier(&url).notify(&numbered(1)).await.unwrap_err());
    assert_eq!((refusal.what, refusal.code), (Refused::Sender, None));
}

struct Tokens(AtomicUsize);

#[async_trait]
impl TokenSource for Tokens {
    async fn token(&self) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0 => Err("the identity provider is away".into()),
            _ => Ok("fresh".to_owned()),
        }
    }
}

#[tokio::test]
async fn a_token_is_asked_for_with_each_connection() {
    let settings = json!({ "tls": "starttls", "logins": ["XOAUTH2"], "secret": "fresh" });
    let mut server = SmtpServer::start(settings).await;
    let tokens = || Arc::new(Tokens(AtomicUsize::new(0)));
    let url = format!("smtp://127.0.0.1:{}", server.port);
    let with_tokens =
        builder(&url).ca_certificates(server.authority.clone().unwrap()).tokens("ada", tokens());
    let notifier = with_tokens.build().unwrap();
    assert!(cause(notifier.notify(&numbered(1)).await.unwrap_err()).contains("token"));
    notifier.notify(&numbered(1)).await.unwrap();
    assert_eq!(server.event("login").await["good"], true);
    for url in ["smtp://h?tls=none", "smtp://h?auth=plain", "smtps://u:p@h"] {
        assert!(builder(url).tokens("ada", tokens()).build().is_err(), "{url}");
    }
}

#[tokio::test]
async fn an_address_beyond_ascii_needs_a_server_that_takes_it() {
    let mut to_umlaut = numbered(1);
    to_umlaut.to.email = EmailAddress::trusted("Jürgen@example.org");
    let mut to_domain = numbered(2);
    to_domain.to.email = EmailAddress::trusted("ada@bücher.example");
    let server = SmtpServer::start(json!({})).await;
    let refusal = refusal(notifier(&server.url()).notify(&to_umlaut).await.unwrap_err());
    assert_eq!((refusal.what, refusal.code), (Refused::Address, None));
    let mut server = SmtpServer::start(json!({ "utf8": true })).await;
    let notifier = notifier(&server.url());
    notifier.notify(&to_umlaut).await.unwrap();
    assert_eq!(server.event("mail").await["to"], json!(["Jürgen@example.org"]));
    notifier.notify(&to_domain).await.unwrap();
    assert_eq!(server.event("mail").await["to"], json!(["ada@xn--bcher-kva.example"]));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_for_now() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let notifier = notifier(&format!("smtp://u:secret@127.0.0.1:{port}"));
    let error = notifier.notify(&numbered(1)).await.unwrap_err();
    let shown = format!("{error:?} {notifier:?}");
    assert!(cause(error).contains("can't be reached") && !shown.contains("secret"));
    assert!(notifier.check().await.is_err());
}

#[tokio::test]
async fn many_mails_at_once_all_arrive() {
    let mut server = SmtpServer::start(json!({})).await;
    let notifier = Arc::new(notifier(&server.url()));
    let sends = (0..40).map(|number| {
        let notifier = Arc::clone(&notifier);
        tokio::spawn(async move { notifier.notify(&numbered(number)).await })
    });
    let sends: Vec<_> = sends.collect();
    let (mut connections, mut mails) = (0, 0);
    while mails < 40 {
        match server.next().await["event"].as_str().unwrap() {
            "connect" => connections += 1,
            _ => mails += 1,
        }
    }
    for send in sends {
        send.await.unwrap().unwrap();
    }
    assert!(connections <= 4, "{connections}");
}

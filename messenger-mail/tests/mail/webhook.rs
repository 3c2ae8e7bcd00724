//! Notifications as requests, with a server that answers as it is told.

use std::{sync::Arc, time::Duration};

use messenger_core::{
    context::Context,
    ports::{Notification, Notifier as _, NotifyError, Refused},
};
use messenger_mail::{WebhookKey, WebhookNotifier};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};

use crate::scenes;

fn key() -> WebhookKey {
    WebhookKey::new(&[7; 32]).unwrap()
}

fn notification() -> Notification {
    scenes::all("ru").swap_remove(1).1
}

/// Answers one request with `answer`, and returns the request. An empty answer is none: the connection is closed.
async fn answering(answer: &'static str) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream, answer).await
    });
    (port, serving)
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &str) -> String {
    let mut request = Vec::new();
    while !is_whole(&request) {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).await.unwrap();
        assert_ne!(read, 0, "the request has an end");
        request.extend_from_slice(&part[..read]);
    }
    stream.write_all(answer.as_bytes()).await.unwrap();
    // Both sides may be first to close it.
    let _ = stream.shutdown().await;
    String::from_utf8(request).unwrap()
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
    let length = header(head, "content-length").parse::<usize>().unwrap();
    request.len() == head.len() + 4 + length
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let prefix = format!("{name}: ");
    head.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_else(|| panic!("{name}: {head}"))
}

fn notifier(port: u16) -> WebhookNotifier {
    let builder = WebhookNotifier::builder(format!("http://127.0.0.1:{port}/hook?x=1"), key());
    builder.clock(Arc::clone(Context::fixed().clock())).timeout(Duration::from_secs(5)).build().unwrap()
}

#[tokio::test]
async fn a_request_has_the_notification_and_is_signed() {
    let (port, serving) = answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    notifier(port).notify(&notification()).await.unwrap();
    let request = serving.await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /hook?x=1 HTTP/1.1\r\n"), "{head}");
    assert_eq!(header(head, "host"), format!("127.0.0.1:{port}"));
    assert_eq!(header(head, "content-type"), "application/json");
    let id = header(head, "webhook-id");
    assert_eq!(id, notification().claim.to_string());
    let (seconds, signature) = (header(head, "webhook-timestamp"), header(head, "webhook-signature"));
    key().verify(id, seconds, signature, body.as_bytes(), Context::fixed().now()).unwrap();
    let json: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(json, serde_json::to_value(notification()).unwrap());
    insta::assert_json_snapshot!("webhook", json);
}

#[tokio::test]
async fn an_answer_says_whether_another_try_can_help() {
    for (code, expected) in [
        (301, Some(Refused::Sender)),
        (400, Some(Refused::Content)),
        (401, Some(Refused::Sender)),
        (404, Some(Refused::Sender)),
        (408, None),
        (410, Some(Refused::Sender)),
        (413, Some(Refused::Content)),
        (422, Some(Refused::Content)),
        (425, None),
        (429, None),
        (500, None),
        (503, None),
    ] {
        let answer = format!(
            "HTTP/1.1 {code} x\r\nlocation: /y\r\ncontent-length: 22\r\n\r\nno <ADA@example.org>\r\n"
        );
        let (port, serving) = answering(answer.leak()).await;
        let error = notifier(port).notify(&notification()).await.unwrap_err();
        serving.await.unwrap();
        match (error, expected) {
            (NotifyError::Refused(refusal), Some(what)) => {
                assert_eq!((refusal.what, refusal.code, &*refusal.text), (what, Some(code), "no <…>"));
            }
            (NotifyError::Unavailable(cause), None) => assert!(cause.to_string().contains(&code.to_string())),
            (error, _) => panic!("{code}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_no_answer_is_for_now() {
    for answer in ["", "HTTP/1.1 200", "hello\r\n\r\n"] {
        let (port, serving) = answering(answer).await;
        let error = notifier(port).notify(&notification()).await.unwrap_err();
        assert!(matches!(error, NotifyError::Unavailable(_)), "{answer}: {error:?}");
        serving.await.unwrap();
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let builder = WebhookNotifier::builder(format!("http://{}", listener.local_addr().unwrap()), key());
    let impatient = builder.timeout(Duration::from_millis(100)).build().unwrap();
    let error = impatient.notify(&notification()).await.unwrap_err();
    assert!(matches!(error, NotifyError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn of_a_long_answer_no_more_is_read_than_is_told() {
    for (length, told) in [(4096, "x".repeat(299) + "…"), (4097, String::new())] {
        let answer = format!("HTTP/1.1 400 x\r\ncontent-length: {length}\r\n\r\n{}", "x".repeat(length));
        let (port, serving) = answering(answer.leak()).await;
        let error = notifier(port).notify(&notification()).await.unwrap_err();
        let NotifyError::Refused(refusal) = error else { panic!("{error:?}") };
        assert_eq!((refusal.code, refusal.text), (Some(400), told));
        serving.await.unwrap();
    }
}

#[tokio::test]
async fn by_tls_the_server_must_be_trusted() {
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key_der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key_der)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        assert!(acceptor.accept(stream).await.is_err());
        let (stream, _) = listener.accept().await.unwrap();
        serve(acceptor.accept(stream).await.unwrap(), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await
    });
    let builder = || WebhookNotifier::builder(&url, key());
    let error = builder().build().unwrap().notify(&notification()).await.unwrap_err();
    assert!(matches!(error, NotifyError::Unavailable(_)), "{error:?}");
    let trusting = builder().ca_certificates(cert.pem()).build().unwrap();
    trusting.notify(&notification()).await.unwrap();
    serving.await.unwrap();
    assert!(builder().ca_certificates("nothing").build().is_err());
}

#[test]
fn an_address_that_is_none_is_refused_and_not_shown() {
    for url in ["", "push", "ftp://h/", "https://u:secret@h/", "https://", "mailto:a@b"] {
        let error = WebhookNotifier::builder(url, key()).build().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{url}");
    }
}

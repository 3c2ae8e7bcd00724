//! Links in mails that end them.

use std::sync::Arc;

use axum::body::Body;
use http::{Request, header};
use messenger_axum::{Options, Rate, RateLimits};
use messenger_core::{
    ChatId, LinkKeys, Messenger, PasswordCost, PublicUrl, Settings, Unsubscribe, UnsubscribeScope,
    memory::{MemoryNotifier, MemoryStore},
    notify::NotifySettings,
};

use crate::support::{Api, PREFIX, Person, Reply};

fn keys() -> LinkKeys {
    LinkKeys::new(&[7; 32]).unwrap()
}

fn api(options: Options) -> Api {
    let settings = Settings {
        password_cost: PasswordCost { memory_kib: 64, passes: 1, ..PasswordCost::default() },
        ..Settings::default()
    };
    let notify = NotifySettings::new(keys(), PublicUrl::parse("https://chat.example.org/api/v1").unwrap());
    let builder = Messenger::builder(Arc::new(MemoryStore::new())).settings(settings);
    Api::of(builder.notifier(Arc::new(MemoryNotifier::new()), notify).build().unwrap(), options)
}

fn unlimited() -> Api {
    api(Options::new().rate_limits(None))
}

fn token(person: &Person, scope: UnsubscribeScope) -> String {
    Unsubscribe { user: person.id.parse().unwrap(), scope }.sign(&keys())
}

/// As a browser or a mail program sends it, in this language.
async fn asked(api: &Api, method: &str, token: &str, language: &str) -> Reply {
    let request = Request::builder()
        .method(method)
        .uri(format!("{PREFIX}/unsubscribe?token={token}"))
        .header(header::ACCEPT_LANGUAGE, language);
    let request = if method == "POST" {
        // Whatever page or program it comes from.
        request
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ORIGIN, "https://mail.example.com")
            .header("sec-fetch-site", "cross-site")
            .body(Body::from("List-Unsubscribe=One-Click"))
    } else {
        request.body(Body::empty())
    };
    api.send(request.unwrap()).await
}

fn page(reply: &Reply) -> &str {
    assert_eq!(reply.headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
    assert_eq!(reply.headers[header::CACHE_CONTROL], "no-store");
    assert_eq!(reply.headers[header::REFERRER_POLICY], "no-referrer");
    let policy = reply.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(
        policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    std::str::from_utf8(&reply.bytes).unwrap()
}

async fn wants_mail(person: &Person) -> bool {
    person.get("/users/me").await.is(200)["notifications"]["email"].as_bool().unwrap()
}

async fn level(person: &Person, chat: &str) -> String {
    let chat = person.get(&format!("/chats/{chat}")).await.is(200);
    chat["me"]["notifications"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn one_click_ends_all_mail_and_again_is_no_error() {
    let api = unlimited();
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let token = token(&ada, UnsubscribeScope::Everything);
    assert!(wants_mail(&ada).await);
    for _ in 0..2 {
        let reply = asked(&api, "POST", &token, "").await;
        assert_eq!(reply.status, 200);
        let page = page(&reply);
        assert!(page.contains("You get no more mail about messages that stay unread"), "{page}");
        assert!(page.contains("turn mail about unread messages on in your profile"), "{page}");
        assert!(!page.contains("<form"), "{page}");
        assert!(!wants_mail(&ada).await);
        assert!(wants_mail(&bob).await);
    }
}

#[tokio::test]
async fn one_click_ends_mail_of_one_chat() {
    let api = unlimited();
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let (chat, other) = (ada.group(&[&bob]).await, ada.group(&[&bob]).await);
    let token = token(&ada, UnsubscribeScope::Chat(chat.parse::<ChatId>().unwrap()));
    let reply = asked(&api, "POST", &token, "ru").await;
    assert_eq!(reply.status, 200);
    assert!(page(&reply).contains("о непрочитанном в этом чате"));
    assert_eq!(level(&ada, &chat).await, "none");
    assert_eq!((level(&ada, &other).await, level(&bob, &chat).await), ("all".into(), "all".into()));
    assert!(wants_mail(&ada).await);
}

#[tokio::test]
async fn looking_at_the_page_changes_nothing() {
    let api = unlimited();
    let ada = api.register("ada").await;
    let chat = ada.group(&[]).await;
    let of_chat = token(&ada, UnsubscribeScope::Chat(chat.parse().unwrap()));
    let all = token(&ada, UnsubscribeScope::Everything);
    for (token, language, text, button) in [
        (
            &all,
            "en-GB, ru;q=0.5",
            "You will get no more mail about messages that stay unread",
            "Unsubscribe</button>",
        ),
        (&all, "ru", "перестанем присылать письма о непрочитанных сообщениях", "Отписаться</button>"),
        (&of_chat, "", "what stays unread in this chat", "Unsubscribe</button>"),
    ] {
        for method in ["GET", "HEAD"] {
            let reply = asked(&api, method, token, language).await;
            assert_eq!(reply.status, 200);
            let page = page(&reply);
            if method == "GET" {
                assert!(page.contains(text) && page.contains(button), "{page}");
                // Without an address it goes to this one, with the token; without script.
                assert!(page.contains("<form method=\"post\">") && !page.contains("<script"), "{page}");
            }
        }
    }
    assert!(wants_mail(&ada).await);
    assert_eq!(level(&ada, &chat).await, "all");
}

#[tokio::test]
async fn a_link_that_is_none_is_said_to_be_none() {
    let api = unlimited();
    let ada = api.register("ada").await;
    let other_key = LinkKeys::new(&[8; 32]).unwrap();
    let user = ada.id.parse().unwrap();
    let foreign = Unsubscribe { user, scope: UnsubscribeScope::Everything }.sign(&other_key);
    for token in ["", "abc", "%ff", "%3Cb%3E", &foreign] {
        for method in ["GET", "POST"] {
            let reply = asked(&api, method, token, "").await;
            assert_eq!(reply.status, 400, "{method} {token}");
            let page = page(&reply);
            assert!(page.contains("This link does not work") && !page.contains("<form"), "{page}");
        }
    }
    assert_eq!(api.get("/unsubscribe", "").await.status, 400);
    assert!(wants_mail(&ada).await);
}

#[tokio::test]
async fn nobody_learns_who_is_gone() {
    let api = unlimited();
    let ada = api.register("ada").await;
    let token = token(&ada, UnsubscribeScope::Everything);
    let before = asked(&api, "POST", &token, "").await;
    ada.call("DELETE", "/users/me", serde_json::json!({"password": "correct horse"})).await.is(204);
    let after = asked(&api, "POST", &token, "").await;
    assert_eq!((before.status, before.bytes), (after.status, after.bytes));
}

#[tokio::test]
async fn tries_are_limited_as_log_ins_are() {
    let limits = RateLimits { logins: Rate::per_second(1, 2), ..RateLimits::default() };
    let api = api(Options::new().rate_limits(limits).trusted_proxies(1));
    for (method, status) in [("GET", 400), ("POST", 400), ("POST", 429)] {
        let request = Request::builder()
            .method(method)
            .uri(format!("{PREFIX}/unsubscribe?token=x"))
            .header("x-forwarded-for", "192.0.2.1");
        assert_eq!(api.send(request.body(Body::empty()).unwrap()).await.status, status);
    }
}

#[tokio::test]
async fn without_mail_there_is_no_such_page() {
    let api = Api::new();
    let ada = api.register("ada").await;
    let token = token(&ada, UnsubscribeScope::Everything);
    for method in ["GET", "POST"] {
        asked(&api, method, &token, "").await.is_problem(404, "notFound");
    }
}

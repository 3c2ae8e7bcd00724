//! Accounts by mail: addresses are confirmed, and forgotten passwords set anew.

use std::sync::Arc;

use messenger_axum::{Options, Rate, RateLimits};
use messenger_core::{doc, memory::MemoryNotifier};
use serde_json::{Value, json};

use crate::support::{Api, Reply};

fn mailing(options: Options) -> (Api, Arc<MemoryNotifier>) {
    let (messenger, notifier) = doc::mailing();
    (Api::of(messenger, options), notifier)
}

async fn ask(api: &Api, email: &str) -> Reply {
    api.call("POST", "/auth/password/reset", "", json!({"email": email}).to_string()).await
}

async fn reset(api: &Api, token: &str, new: &str) -> Reply {
    api.call("PUT", "/auth/password/reset", "", json!({"token": token, "new": new}).to_string()).await
}

async fn confirm(api: &Api, token: &str) -> Reply {
    api.call("POST", "/auth/email/confirm", "", json!({"token": token}).to_string()).await
}

async fn token(notifier: &MemoryNotifier, kind: &str) -> String {
    doc::token(&doc::mail(notifier, kind).await).expose().to_owned()
}

#[tokio::test]
async fn a_forgotten_password_is_set_anew() {
    let (api, notifier) = mailing(Options::new().rate_limits(None));
    let ada = api.register("ada").await;
    let (known, unknown) = (ask(&api, "Ada@example.org").await, ask(&api, "nobody@example.org").await);
    for reply in [&known, &unknown] {
        assert_eq!((reply.is(202), reply.bytes.len()), (Value::Null, 0));
    }
    let token = token(&notifier, "resetPassword").await;
    reset(&api, &token, "short").await.is_problem(422, "invalid");
    reset(&api, &token, "battery staple").await.is(204);
    ada.get("/users/me").await.is_problem(401, "unauthenticated");
    let login = |password: &str| json!({"login": "ada", "password": password}).to_string();
    api.call("POST", "/auth/login", "", login("correct horse")).await.is_problem(401, "invalidCredentials");
    let me = api.call("POST", "/auth/login", "", login("battery staple")).await.is(200);
    assert_eq!(me["user"]["emailConfirmed"], true);
    for none in [token.as_str(), "AQEB", ""] {
        let problem = reset(&api, none, "something else").await.is_problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"], "/token", "{none}");
    }
}

#[tokio::test]
async fn an_address_is_confirmed() {
    let (api, notifier) = mailing(Options::new().rate_limits(None));
    let ada = api.register("ada").await;
    assert_eq!(ada.get("/users/me").await.is(200)["emailConfirmed"], false);
    let token = token(&notifier, "confirmAddress").await;
    let problem = confirm(&api, "AQEB").await.is_problem(422, "invalid");
    assert_eq!(problem["errors"][0]["pointer"], "/token");
    for _ in 0..2 {
        confirm(&api, &token).await.is(204);
        assert_eq!(ada.get("/users/me").await.is(200)["emailConfirmed"], true);
        ada.post("/users/me/email/confirmation", json!(null)).await.is(202);
    }
    let change = ada.call("PATCH", "/users/me", json!({"email": "ada@example.com"})).await.is(200);
    assert_eq!(change["emailConfirmed"], false);
    assert_eq!(doc::mail(&notifier, "addressChanged").await.to.email.as_str(), "ada@example.org");
    confirm(&api, &token).await.is_problem(422, "invalid");
}

#[tokio::test]
async fn where_nobody_is_mailed_that_is_told() {
    let api = Api::new();
    let ada = api.register("ada").await;
    for reply in [
        ask(&api, "ada@example.org").await,
        ask(&api, "nobody@example.org").await,
        reset(&api, "AQEB", "battery staple").await,
        confirm(&api, "AQEB").await,
        ada.post("/users/me/email/confirmation", json!(null)).await,
    ] {
        reply.is_problem(403, "forbidden");
    }
}

#[tokio::test]
async fn requests_are_counted_for_the_address_whether_or_not_it_is_known() {
    let two = Rate::every(std::time::Duration::from_secs(3600), 2);
    let limits = RateLimits { wrong_passwords: two, ..RateLimits::default() };
    let (api, _) = mailing(Options::new().rate_limits(limits));
    api.register("ada").await;
    for name in ["ada", "nobody"] {
        for email in [format!("{name}@example.org"), format!("{name}@EXAMPLE.org")] {
            ask(&api, &email).await.is(202);
        }
        ask(&api, &format!("{name}@example.org")).await.is_problem(429, "rateLimited");
    }
    // Whoever asks for others keeps nobody from logging in.
    let login = json!({"login": "ada@example.org", "password": "correct horse"});
    api.call("POST", "/auth/login", "", login.to_string()).await.is(200);
}

#[tokio::test]
async fn mails_that_a_person_asks_for_are_counted() {
    let two = Rate::every(std::time::Duration::from_secs(3600), 2);
    let limits = RateLimits { wrong_passwords: two, ..RateLimits::default() };
    let (api, _) = mailing(Options::new().rate_limits(limits));
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    for _ in 0..2 {
        ada.post("/users/me/email/confirmation", json!(null)).await.is(202);
    }
    ada.post("/users/me/email/confirmation", json!(null)).await.is_problem(429, "rateLimited");
    bob.post("/users/me/email/confirmation", json!(null)).await.is(202);
}

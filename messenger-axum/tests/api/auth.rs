use serde_json::json;

use crate::support::{Api, ID, scrubbed};

#[tokio::test]
async fn registering_answers_with_the_account_and_a_session() {
    let api = Api::new();
    let account = json!({
        "username": "Ada", "email": "Ada@example.org", "password": "correct horse", "displayName": "Ada L.",
        "device": "a test",
    });
    let reply = api.call("POST", "/auth/register", "", account.to_string()).await.is(201);
    insta::assert_json_snapshot!(scrubbed(reply));
}

#[tokio::test]
async fn names_and_addresses_are_taken_once() {
    let api = Api::new();
    api.register("ada").await;
    let register = |username: &str, email: &str| {
        let account = json!({"username": username, "email": email, "password": "correct horse"});
        api.call("POST", "/auth/register", "", account.to_string())
    };
    register("ADA", "other@example.org").await.is_problem(409, "usernameTaken");
    register("other", "ADA@example.org").await.is_problem(409, "emailTaken");
    let problem = register("a b", "nowhere").await.is_problem(422, "invalid");
    let pointers: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].clone()).collect();
    assert_eq!(pointers, ["/username", "/email"]);
}

#[tokio::test]
async fn logging_in_by_name_or_address() {
    let api = Api::new();
    api.register("ada").await;
    let log_in = |login: &str, password: &str| {
        api.call("POST", "/auth/login", "", json!({"login": login, "password": password}).to_string())
    };
    for login in ["ada", "ADA", "ada@example.org"] {
        let token = log_in(login, "correct horse").await.is(200)["token"].as_str().unwrap().to_owned();
        api.get("/users/me", &token).await.is(200);
    }
    let wrong = log_in("ada", "wrong horse").await.is_problem(401, "invalidCredentials");
    let unknown = log_in("bob", "wrong horse").await.is_problem(401, "invalidCredentials");
    assert_eq!(wrong["detail"], unknown["detail"]);
}

#[tokio::test]
async fn a_token_that_is_sent_with_a_login_does_not_matter() {
    let api = Api::new();
    api.register("ada").await;
    let login = json!({"login": "ada", "password": "correct horse"}).to_string();
    api.call("POST", "/auth/login", "an old token", login).await.is(200);
}

#[tokio::test]
async fn sessions_are_listed_and_ended() {
    let api = Api::new();
    let ada = api.register("ada").await;
    let login = json!({"login": "ada", "password": "correct horse", "device": "phone"}).to_string();
    let phone =
        api.call("POST", "/auth/login", "", login).await.is(200)["token"].as_str().unwrap().to_owned();

    let sessions = ada.get("/auth/sessions").await.is(200);
    insta::assert_json_snapshot!(scrubbed(sessions.clone()));
    let first = ada.get("/auth/sessions?limit=1").await.is(200);
    assert_eq!(first["items"][0], sessions["items"][0]);
    let next = format!("/auth/sessions?limit=1&cursor={}", first["nextCursor"].as_str().unwrap());
    let second = ada.get(&next).await.is(200);
    assert_eq!((&second["items"][0], &second["nextCursor"]), (&sessions["items"][1], &json!(null)));

    let id = sessions["items"][0]["id"].as_str().unwrap();
    ada.call("DELETE", &format!("/auth/sessions/{id}"), json!(null)).await.is(204);
    ada.call("DELETE", &format!("/auth/sessions/{id}"), json!(null)).await.is_problem(404, "notFound");
    ada.call("DELETE", &format!("/auth/sessions/{ID}"), json!(null)).await.is_problem(404, "notFound");
    api.get("/users/me", &phone).await.is_problem(401, "unauthenticated");

    ada.post("/auth/logout", json!(null)).await.is(204);
    ada.get("/users/me").await.is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions() {
    let api = Api::new();
    let ada = api.register("ada").await;
    let login = |password: &str| {
        api.call("POST", "/auth/login", "", json!({"login": "ada", "password": password}).to_string())
    };
    let other = login("correct horse").await.is(200)["token"].as_str().unwrap().to_owned();
    let change =
        |current: &str, new: &str| ada.call("PUT", "/auth/password", json!({"current": current, "new": new}));
    change("wrong horse", "battery staple").await.is_problem(401, "invalidCredentials");
    change("correct horse", "short").await.is_problem(422, "invalid");
    change("correct horse", "battery staple").await.is(204);
    ada.get("/users/me").await.is(200);
    api.get("/users/me", &other).await.is_problem(401, "unauthenticated");
    login("correct horse").await.is_problem(401, "invalidCredentials");
    login("battery staple").await.is(200);
}

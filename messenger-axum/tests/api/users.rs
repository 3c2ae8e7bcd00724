use serde_json::json;

use crate::support::{Api, ID, scrubbed};

#[tokio::test]
async fn ones_own_account_and_that_of_others() {
    let api = Api::new();
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let me = ada.get("/users/me").await.is(200);
    let seen = bob.get(&format!("/users/{}", ada.id)).await.is(200);
    insta::assert_json_snapshot!(scrubbed(json!({"me": me, "seen": seen})));
    ada.get(&format!("/users/{ID}")).await.is_problem(404, "notFound");
}

#[tokio::test]
async fn a_profile_changes_field_by_field() {
    let api = Api::new();
    let ada = api.register("ada").await;
    api.register("bob").await;
    let change = |fields| ada.call("PATCH", "/users/me", fields);
    change(json!({"displayName": "Ada L."})).await.is(200);
    change(json!({"notifications": {"email": false}})).await.is(200);
    let me = change(json!({})).await.is(200);
    assert_eq!((&me["displayName"], &me["notifications"]["email"]), (&json!("Ada L."), &json!(false)));
    assert_eq!(ada.get("/users/me").await.is(200), me);
    change(json!({"email": "bob@example.org"})).await.is_problem(409, "emailTaken");
    let problem = change(json!({"displayName": "", "email": "x"})).await.is_problem(422, "invalid");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 2);
    change(json!({"notifications": {"email": true, "push": true}})).await.is_problem(400, "malformed");
}

#[tokio::test]
async fn how_one_wants_to_be_told_changes_field_by_field() {
    let api = Api::new();
    let ada = api.register("ada").await;
    let change = |fields| ada.call("PATCH", "/users/me", fields);
    let night = json!({"from": "22:00", "to": "07:00"});
    change(json!({"language": "pt-BR", "timeZone": "america/sao_paulo"})).await.is(200);
    let me = change(json!({"notifications": {"quietHours": night}})).await.is(200);
    assert_eq!((&me["language"], &me["timeZone"]), (&json!("pt-br"), &json!("America/Sao_Paulo")));
    assert_eq!(me["notifications"], json!({"email": true, "quietHours": night}));
    // As clients say it that know of nothing else.
    let me = change(json!({"language": null, "notifications": {"email": false}})).await.is(200);
    assert_eq!(me["notifications"], json!({"email": false, "quietHours": night}));
    assert_eq!((&me["language"], ada.get("/users/me").await.is(200)), (&json!("pt-br"), me.clone()));
    let never = json!({"from": "00:00", "to": "00:00"});
    let me =
        change(json!({"language": "", "timeZone": "", "notifications": {"quietHours": never}})).await.is(200);
    assert_eq!(me["notifications"], json!({"email": false}));
    assert!(me.get("language").is_none() && me.get("timeZone").is_none(), "{me}");

    let wrong = json!({
        "language": "en_US", "timeZone": "Mars/Olympus", "notifications": {"quietHours": {"from": "22", "to": "07:00"}},
    });
    let problem = change(wrong).await.is_problem(422, "invalid");
    let pointers: Vec<&str> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(pointers, ["/language", "/timeZone", "/notifications/quietHours/from"]);
    for malformed in [json!({"from": "22:00"}), json!({"from": 22, "to": 7}), json!("22:00-07:00")] {
        let fields = json!({"notifications": {"quietHours": malformed}});
        change(fields).await.is_problem(400, "malformed");
    }
}

#[tokio::test]
async fn people_are_found_by_the_beginning_of_their_names() {
    let api = Api::new();
    let ada = api.register("ada").await;
    api.register("adam").await;
    api.register("bob").await;
    let names = |found: serde_json::Value| -> Vec<String> {
        found["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|user| user["username"].as_str().unwrap().into())
            .collect()
    };
    assert_eq!(names(ada.get("/users?query=AD").await.is(200)), ["ada", "adam"]);
    let first = ada.get("/users?query=ad&limit=1").await.is(200);
    let next = format!("/users?query=ad&limit=1&cursor={}", first["nextCursor"].as_str().unwrap());
    assert_eq!(names(first), ["ada"]);
    assert_eq!(names(ada.get(&next).await.is(200)), ["adam"]);
    assert_eq!(names(ada.get("/users?query=nobody").await.is(200)), [""; 0]);
    let missing = ada.get("/users").await.is_problem(400, "malformed");
    assert_eq!(missing["detail"], "missing field `query`");
}

#[tokio::test]
async fn an_account_is_erased_with_its_password() {
    let api = Api::new();
    let (ada, bob) = (api.register("ada").await, api.register("bob").await);
    let chat = ada.group(&[&bob]).await;
    ada.says(&chat, "a secret").await;
    ada.call("DELETE", "/users/me", json!({"password": "wrong"})).await.is_problem(401, "invalidCredentials");
    ada.call("DELETE", "/users/me", json!({"password": "correct horse"})).await.is(204);
    ada.get("/users/me").await.is_problem(401, "unauthenticated");
    let history = bob.get(&format!("/chats/{chat}/messages")).await.is(200).to_string();
    assert!(!history.contains("a secret"), "{history}");
}

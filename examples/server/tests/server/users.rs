//! `messenger-server users`, beside a server that runs.

use serde_json::{Value, json};

use crate::{
    live::{Ended, Socket},
    support::refused,
    town::Town,
};

fn ask(town: &Town, method: &str, path: &str, token: &str, body: Option<&Value>) -> Value {
    let answer = town.server.request(method, &format!("/api/v1{path}"), Some(token), body);
    assert!(answer.status() < 300, "{}", answer.text());
    answer.json()
}

#[test]
fn an_account_is_erased_beside_a_server_and_those_who_are_online_hear_of_it() {
    let town = Town::new(&[]);
    let (ada, bob) = (town.server.register("ada"), town.server.register("bob"));
    let id = ask(&town, "GET", "/users/me", &ada, None)["id"].as_str().unwrap().to_owned();
    let group = ask(&town, "POST", "/chats/group", &bob, Some(&json!({"title": "Tea", "memberIds": [id]})));
    let messages = format!("/chats/{}/messages", group["id"].as_str().unwrap());
    for _ in 0..3 {
        ask(&town, "POST", &messages, &ada, Some(&json!({"body": "forget me"})));
    }

    // Nothing is done by a slip.
    let unsure = refused(&town.run(&["users", "erase", "ADA@example.org"]));
    assert!(unsure.contains("`ada`") && unsure.contains(&id) && unsure.contains("--yes"), "{unsure}");
    let unknown = refused(&town.run(&["users", "erase", "adda", "--yes"]));
    assert!(unknown.contains("There is no account `adda`"), "{unknown}");
    ask(&town, "POST", &messages, &ada, Some(&json!({"body": "forget me"})));

    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut hers = Socket::open(town.server.address, &ada).await.unwrap();
        let mut his = Socket::open(town.server.address, &bob).await.unwrap();
        for socket in [&mut hers, &mut his] {
            socket.say(1, "Sync", &json!({})).await.unwrap();
        }
        let said = town.said(&["users", "erase", "ada", "--yes"]);
        assert!(said.contains("4 messages in 1 chats") && said.contains("left 1 groups"), "{said}");
        let mut deleted = 0;
        while deleted < 4 {
            let frame = his.hear().await.unwrap();
            deleted += usize::from(frame.to_string().contains("messageDeleted"));
        }
        let end = loop {
            if let Err(end) = hers.hear().await {
                break end;
            }
        };
        assert!(matches!(end, Ended::With(_)), "{end:?}");
    });
    let history = ask(&town, "GET", &messages, &bob, None);
    assert!(!history.to_string().contains("forget me"), "{history}");
    let answer = town.server.request("GET", "/api/v1/users/me", Some(&ada), None);
    assert_eq!(answer.status(), 401);

    // Again, to be sure; by its id alone.
    refused(&town.run(&["users", "erase", "ada", "--yes"]));
    let said = town.said(&["users", "erase", &id, "--yes"]);
    assert!(said.contains("was erased before, and nothing was left"), "{said}");
}

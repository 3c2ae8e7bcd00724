//! `messenger-server retention`, beside a server that runs.

use serde_json::json;

use crate::{
    support::{binary, refused},
    town::Town,
};

const SETTINGS: [&str; 2] = ["--retention", "365d"];

#[test]
fn holds_are_set_listed_and_ended_beside_a_server() {
    let town = Town::new(&SETTINGS);
    let ada = town.server.register("ada");
    let group = json!({"title": "Tea", "memberIds": []});
    let group = town.server.request("POST", "/api/v1/chats/group", Some(&ada), Some(&group)).json();
    let chat = group["id"].as_str().unwrap();
    let retention = |rest: &[&str]| town.said(&[&["retention"], rest].concat());

    let status = retention(&["status"]);
    assert!(status.contains("kept for 365d") && status.contains("0 holds"), "{status}");
    let held = retention(&["hold", "--user", "ADA@example.org", "--reason", "case 7"]);
    assert!(held.contains("is under a hold"), "{held}");
    assert!(retention(&["hold", "--user", "ada"]).contains("before"));
    retention(&["hold", "--chat", chat]);
    let list = retention(&["list"]);
    let lines: Vec<_> = list.lines().collect();
    assert!(lines.len() == 2 && lines[0].contains(chat) && lines[1].ends_with("case 7"), "{list}");
    assert!(retention(&["status"]).contains("2 holds"));
    assert_eq!(retention(&["audit"]), "", "nothing was purged");

    let erase = json!({"password": "correct horse battery"});
    let answer = town.server.request("DELETE", "/api/v1/users/me", Some(&ada), Some(&erase));
    assert_eq!(answer.status(), 403, "{}", answer.text());
    let by_operator = refused(&town.run(&["users", "erase", "ada", "--yes"]));
    assert!(by_operator.contains("legal hold"), "{by_operator}");

    assert!(retention(&["release", "--user", "ada"]).contains("no more"));
    assert!(retention(&["release", "--user", "ada"]).contains("no hold"));
    town.said(&["users", "erase", "ada", "--yes"]);
}

#[test]
fn what_is_asked_wrongly_is_one_sentence() {
    let town = Town::new(&SETTINGS);
    for (wrong, part) in [
        (&["retention", "hold"][..], "--chat"),
        (&["retention", "hold", "--chat", "seven"], "`seven` is no id"),
        (&["retention", "hold", "--chat", "0193a5c1-7e2b-7c3d-8e4f-5a6b7c8d9e0f"], "no such chat"),
        (&["retention", "hold", "--user", "nobody"], "There is no account `nobody`"),
        (&["retention", "audit", "--after", "seven"], "`seven` is no id"),
    ] {
        let sentence = refused(&town.run(wrong));
        assert!(sentence.contains(part), "{sentence}");
    }
    let wrong = binary().args(["check-config", "--retention", "10"]).output().unwrap();
    assert!(refused(&wrong).contains("365d"));
}

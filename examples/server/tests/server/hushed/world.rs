use serde_json::{Value, json};

use super::words::WORD;
use crate::support::Server;

/// Somebody with a session.
#[derive(Clone)]
pub(super) struct Person {
    pub(super) username: String,
    pub(super) email: String,
    pub(super) password: String,
    pub(super) token: String,
    pub(super) id: Value,
}

/// What there is already when an operation is done.
pub(super) struct World<'s> {
    pub(super) server: &'s Server,
    pub(super) ada: Person,
    pub(super) bob: Person,
    pub(super) cyd: Person,
    /// With all of them, owned by Ada.
    pub(super) chat: Value,
    pub(super) tokens: Vec<String>,
    made: usize,
}

impl<'s> World<'s> {
    pub(super) fn new(server: &'s Server) -> Self {
        let (mut made, mut tokens) = (0, Vec::new());
        let [ada, bob, cyd] = [(); 3].map(|()| person(server, &mut made, &mut tokens));
        let mut world = World { server, ada, bob, cyd, chat: Value::Null, tokens, made };
        world.chat = world.group();
        world
    }

    /// A number that was not given before.
    pub(super) fn number(&mut self) -> usize {
        self.made += 1;
        self.made
    }

    pub(super) fn person(&mut self) -> Person {
        person(self.server, &mut self.made, &mut self.tokens)
    }

    /// A further session of Ada; its id.
    pub(super) fn session(&mut self) -> Value {
        let login = json!({"login": self.ada.username, "password": self.ada.password, "device": format!("{WORD} phone")});
        let token = self.done("POST", "/auth/login", None, &login)["token"].as_str().unwrap().to_owned();
        let sessions = self.done("GET", "/auth/sessions", Some(&token), &json!({}));
        self.tokens.push(token);
        let current = sessions["items"].as_array().unwrap().iter().find(|session| session["current"] == true);
        current.unwrap()["id"].clone()
    }

    /// A further group of Ada with the others.
    pub(super) fn group(&self) -> Value {
        let group = json!({"title": format!("{WORD} title"), "memberIds": [self.bob.id, self.cyd.id]});
        self.done("POST", "/chats/group", Some(&self.ada.token), &group)["id"].clone()
    }

    /// A further message of Ada in the first chat.
    pub(super) fn message(&self) -> Value {
        let path = format!("/chats/{}/messages", self.chat.as_str().unwrap());
        let message = json!({"body": format!("{WORD} text\nof two lines"), "clientId": null});
        self.done("POST", &path, Some(&self.ada.token), &message)["id"].clone()
    }

    fn done(&self, method: &str, path: &str, token: Option<&str>, body: &Value) -> Value {
        done(self.server, method, path, token, body)
    }
}

fn person(server: &Server, made: &mut usize, tokens: &mut Vec<String>) -> Person {
    *made += 1;
    let username = format!("{WORD}_{made}");
    let (email, password) = (format!("{WORD}.{made}@{WORD}.example"), format!("{WORD} password {made}"));
    let body = json!({
        "username": username, "email": email, "password": password,
        "displayName": format!("{WORD} the {made}."), "device": format!("{WORD} tablet"),
    });
    let answer = done(server, "POST", "/auth/register", None, &body);
    let token = answer["token"].as_str().unwrap().to_owned();
    tokens.push(token.clone());
    Person { username, email, password, token, id: answer["user"]["id"].clone() }
}

fn done(server: &Server, method: &str, path: &str, token: Option<&str>, body: &Value) -> Value {
    let answer =
        server.request(method, &format!("/api/v1{path}"), token, Some(body).filter(|_| method != "GET"));
    assert!(answer.status() < 300, "{method} {path}: {}", answer.text());
    answer.json()
}

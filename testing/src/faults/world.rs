//! People and chats of a run, made before anything goes wrong, and what is stored when all is over.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use serde_json::{Value, json};

use super::{
    http::request,
    plan::Cast,
    record::{Id, Shown, Stored},
};

/// People and chats.
#[derive(Debug)]
pub(super) struct World {
    pub(super) people: Arc<[Id]>,
    pub(super) tokens: Vec<String>,
    /// Groups, then direct chats, in the order of the cast.
    pub(super) chats: Vec<Id>,
}

impl World {
    pub(super) async fn make(cast: &Cast, node: SocketAddr) -> Self {
        let (mut people, mut tokens) = (vec![], vec![]);
        for person in 0..cast.people {
            let name = format!("person{person}");
            let body = json!({
                "username": name,
                "email": format!("{name}@example.org"),
                "password": "correct horse battery",
            });
            let answer = request(node, "POST", "/auth/register", None, Some(&body)).await;
            people.push(text(&answer["user"]["id"]));
            tokens.push(text(&answer["token"]).to_string());
        }
        let mut chats = vec![];
        for (number, members) in cast.groups.iter().enumerate() {
            let others: Vec<&str> = members[1..].iter().map(|person| &*people[*person]).collect();
            let body = json!({"title": format!("Group {number}"), "memberIds": others});
            let token = Some(&*tokens[members[0]]);
            chats.push(text(&request(node, "POST", "/chats/group", token, Some(&body)).await["id"]));
        }
        for [one, other] in &cast.direct {
            let body = json!({"userId": &*people[*other]});
            let token = Some(&*tokens[*one]);
            chats.push(text(&request(node, "POST", "/chats/direct", token, Some(&body)).await["id"]));
        }
        Self { people: people.into(), tokens, chats }
    }

    /// All chats that there are, as those see them who own them or were first in them.
    pub(super) async fn stored(&self, node: SocketAddr) -> BTreeMap<Id, Stored> {
        let mut stored = BTreeMap::new();
        for token in &self.tokens {
            for chat in self.chats_of(node, token).await {
                let id = text(&chat["id"]);
                if stored.contains_key(&id) {
                    continue;
                }
                let direct =
                    if chat["kind"] == "direct" { self.two_of(token, &chat) } else { BTreeSet::new() };
                let messages = self.history(node, token, &id).await;
                stored.insert(id, Stored { direct, messages });
            }
        }
        stored
    }

    async fn chats_of(&self, node: SocketAddr, token: &str) -> Vec<Value> {
        let (mut chats, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/chats?limit=200{cursor}");
            let mut page = request(node, "GET", &path, Some(token), None).await;
            let items = page["items"].as_array_mut().map(std::mem::take);
            chats.extend(items.unwrap_or_default());
            match page["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return chats,
            }
        }
    }

    fn two_of(&self, token: &str, chat: &Value) -> BTreeSet<Id> {
        let own = self.tokens.iter().position(|other| other == token).expect("it is one of them");
        BTreeSet::from([Id::clone(&self.people[own]), text(&chat["peer"]["id"])])
    }

    async fn history(&self, node: SocketAddr, token: &str, chat: &Id) -> Vec<Shown> {
        let (mut messages, mut after): (Vec<Shown>, _) = (Vec::new(), 0);
        loop {
            let path = format!("/chats/{chat}/messages?limit=200&after={after}");
            let page = request(node, "GET", &path, Some(token), None).await;
            let items = page["items"].as_array().into_iter().flatten();
            messages.extend(items.filter_map(Shown::of));
            after = messages.last().map_or(0, |message| message.seq);
            if page["hasMoreAfter"] != true {
                return messages;
            }
        }
    }
}

fn text(value: &Value) -> Id {
    value.as_str().expect("the answer has it").into()
}

//! How a client says where it is: chat by chat, or by a position.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::record::Id;

/// What a client names.
type Named = BTreeMap<Id, u64>;

/// Where a client is.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Whether it goes by positions.
    by_position: bool,
    /// The last position that it was told, and what it had then.
    last: Option<(String, Named)>,
}

impl Place {
    pub(super) const fn new(by_position: bool) -> Self {
        Self { by_position, last: None }
    }

    pub(super) const fn is_by_position(&self) -> bool {
        self.by_position
    }

    /// The parameters of a resume of a client that has this.
    pub(super) fn resume(&self, named: &Named) -> Value {
        if !self.by_position {
            return json!({ "chats": chats(named.iter()) });
        }
        match &self.last {
            Some((position, had)) => {
                // What it was told since.
                let since = named.iter().filter(|(chat, revision)| had.get(*chat) != Some(*revision));
                json!({"position": position, "chats": chats(since)})
            }
            None => json!({"position": null, "chats": chats(named.iter())}),
        }
    }

    /// What is still to be said after the answer to a resume.
    pub(super) fn more(&mut self, answer: &Value, named: &Named) -> Option<Value> {
        if answer["unknownPosition"] == true {
            self.last = None;
            return Some(self.resume(named));
        }
        let changed: Vec<&str> = answer["changed"].as_array()?.iter().filter_map(Value::as_str).collect();
        let asked = named.iter().filter(|(chat, _)| changed.contains(&&***chat));
        Some(json!({ "chats": chats(asked) }))
    }

    /// The client has caught up and has this.
    pub(super) fn caught_up(&mut self, position: Option<&str>, has: &Named) {
        self.last = position.map(|position| (position.to_owned(), has.clone()));
    }

    /// The client has forgotten what it had of a chat: no position stands for that.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }
}

fn chats<'n>(named: impl Iterator<Item = (&'n Id, &'n u64)>) -> BTreeMap<&'n str, u64> {
    named.map(|(chat, revision)| (&**chat, *revision)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_stands_for_what_was_not_told_since() {
        let named = |a, b| Named::from([("a".into(), a), ("b".into(), b)]);
        let mut place = Place::new(true);
        assert_eq!(place.resume(&named(1, 1)), json!({"position": null, "chats": {"a": 1, "b": 1}}));
        place.caught_up(Some("p"), &named(1, 1));
        assert_eq!(place.resume(&named(1, 2)), json!({"position": "p", "chats": {"b": 2}}));
        assert_eq!(
            place.more(&json!({"changed": ["a", "c"]}), &named(1, 2)),
            Some(json!({"chats": {"a": 1}}))
        );
        assert_eq!(place.more(&json!({}), &named(1, 2)), None);
        let anew = json!({"position": null, "chats": {"a": 1, "b": 2}});
        assert_eq!(place.more(&json!({"unknownPosition": true}), &named(1, 2)), Some(anew));
    }
}

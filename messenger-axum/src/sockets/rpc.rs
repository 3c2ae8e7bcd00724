//! Operations by name, for the sockets.

use std::{collections::HashMap, sync::LazyLock};

use futures::future::BoxFuture;
use messenger_core::{Actor, Begun};
use messenger_socket::StartAfter;

use crate::{
    client::Client,
    door::Door,
    encoding::Encoding,
    fields::Fields,
    operation::{Access, Answer, Call, Operation, Writing, operations},
};

/// A command or query that can be called by name.
#[derive(Clone, Copy)]
pub(crate) struct Procedure(&'static Operation);

/// Longer names are refused without being lowercased first.
const LONGEST_NAME: usize = 32;

/// Finds the procedure with this name, in any case. Not `RegisterUser` and `LogIn`, because a socket has a session; nor a
/// download.
pub(crate) fn procedure(name: &str) -> Option<Procedure> {
    static BY_NAME: LazyLock<HashMap<String, Procedure>> = LazyLock::new(|| {
        operations()
            .iter()
            .filter(|operation| operation.access != Access::Anyone && !operation.is_download())
            .map(|operation| (operation.name.to_ascii_lowercase(), Procedure(operation)))
            .collect()
    });
    if name.len() > LONGEST_NAME {
        return None;
    }
    BY_NAME.get(&name.to_ascii_lowercase()).copied()
}

impl Procedure {
    /// When it may start: after the calls before it are done, if it must see their effects.
    pub(crate) const fn starts_after(self) -> StartAfter {
        if self.0.overlaps { StartAfter::Placed } else { StartAfter::Done }
    }

    /// Prepares it. The fields, a JSON object or nothing, are read before this returns; the work begins with the first
    /// poll of the future, which borrows nothing, and resolves as soon as the next call of the connection may begin.
    pub(crate) fn call(
        self,
        door: &Door,
        actor: Actor,
        json: &[u8],
        encoding: Encoding,
    ) -> BoxFuture<'static, Begun<Answer>> {
        let fields = Fields::of_json(&[], json);
        let writing = Writing::Value(encoding);
        self.0.run(door, &Call { actor, client: Client::of(&actor), bytes: json.len(), fields, writing })
    }
}

#[cfg(test)]
mod tests {
    use messenger_core::{Error, Messenger, Result, doc::register};
    use serde_json::{Value, json};

    use super::*;
    use crate::Options;

    async fn call(door: &Door, actor: Actor, name: &str, params: Value) -> Result<Value> {
        let params = serde_json::to_vec(&params).unwrap();
        let call = procedure(name).unwrap().call(door, actor, &params, Encoding::Json);
        call.await
            .answer()
            .await
            .map(|answer| answer.value().map_or(Value::Null, |json| serde_json::from_slice(json).unwrap()))
    }

    #[tokio::test]
    async fn operations_are_called_by_name_with_all_their_fields() {
        let door = Door::new(Messenger::in_memory(), Options::new());
        let ada = register(&door.messenger, "ada").await;
        let group = json!({"title": "Tea", "memberIds": []});
        let chat = call(&door, ada, "createGROUPchat", group).await.unwrap()["id"].clone();
        let message = json!({"chatId": chat, "body": "hi"});
        assert_eq!(call(&door, ada, "SendMessage", message).await.unwrap()["body"], "hi");
        let typing = json!({"chatId": chat, "typing": true});
        assert_eq!(call(&door, ada, "SetTyping", typing).await.unwrap(), Value::Null);
        let page = call(&door, ada, "ListChats", json!({"limit": 1})).await.unwrap();
        assert_eq!(page["items"][0]["id"], chat);
        for bad in [json!([]), json!({"chatId": chat, "body": "hi", "colour": "red"}), json!({"body": "hi"})]
        {
            let refused = call(&door, ada, "SendMessage", bad).await;
            assert!(matches!(refused, Err(Error::Malformed(_))), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn parameters_may_be_absent_where_there_are_none() {
        let door = Door::new(Messenger::in_memory(), Options::new());
        let ada = register(&door.messenger, "ada").await;
        procedure("GetMe").unwrap().call(&door, ada, b"", Encoding::Json).await.answer().await.unwrap();
    }

    #[tokio::test]
    async fn the_next_call_may_begin_before_a_send_is_done() {
        let door = Door::new(Messenger::in_memory(), Options::new());
        let ada = register(&door.messenger, "ada").await;
        let group = json!({"title": "Tea", "memberIds": []});
        let chat = call(&door, ada, "CreateGroupChat", group).await.unwrap()["id"].clone();
        let params = serde_json::to_vec(&json!({"chatId": chat, "body": "hi"})).unwrap();
        let send = procedure("SendMessage").unwrap();
        let begun = send.call(&door, ada, &params, Encoding::Json).await;
        assert!(matches!(begun, Begun::UnderWay(_)));
        begun.answer().await.unwrap();
    }

    #[test]
    fn each_name_exists_once_and_those_without_a_session_not_at_all() {
        let mut names: Vec<&str> = operations().iter().map(|operation| operation.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), operations().len());
        assert!(names.iter().all(|name| name.len() <= LONGEST_NAME));
        for none in ["RegisterUser", "LogIn", "ExportMe", "", "Nothing", &"x".repeat(1000)] {
            assert!(procedure(none).is_none(), "{none}");
        }
        assert_eq!(procedure("sync").unwrap().0.name, "Sync");
    }
}

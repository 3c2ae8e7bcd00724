//! The queries: one struct each, which implements its own handling.

mod auth;
mod chats;
mod messages;
mod realtime;
mod users;

pub use auth::ListSessions;
pub use chats::{GetChat, ListChats, ListMembers};
pub use messages::{GetHistory, GetMessage, History};
pub use realtime::{ChatSync, GetPresence, SyncChats, Synced};
pub(crate) use users::export_me::part_of as export_part_of;
pub use users::{CheckEndMail, ExportFile, ExportMe, ExportPart, FindUsers, GetMe, GetUser};

use crate::{
    Limits,
    domain::Cursor,
    error::{Error, Result},
};

/// The number of entries on a page.
fn page_size(limit: Option<u32>, limits: &Limits) -> Result<usize> {
    let limit = limit.map_or(limits.page.default, |limit| limit as usize);
    if (1..=limits.page.max).contains(&limit) {
        return Ok(limit);
    }
    Err(Error::invalid("limit", format!("must be from 1 to {}", limits.page.max)))
}

/// The place that a cursor stands for.
fn place<K: serde::de::DeserializeOwned>(cursor: Option<&Cursor>) -> Result<Option<K>> {
    let read = |cursor: &Cursor| cursor.key().ok_or_else(|| Error::invalid("cursor", "is none of this list"));
    cursor.map(read).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Actor, Messenger,
        operation::Query,
        testing::{
            Scene,
            Who::{self, *},
            code, pointers,
        },
    };

    /// The result of a query for an anonymous caller.
    async fn asked_by_nobody<Q: Query>(messenger: &Messenger, query: Q) -> (&'static str, &'static str) {
        (Q::NAME, code(&messenger.query(&Actor::anonymous(), query).await))
    }

    #[tokio::test]
    async fn all_of_them_are_for_those_who_are_logged_in() {
        let scene = Scene::new().await;
        let (messenger, chat_id) = (&scene.messenger, scene.group);
        let (user_id, message_id) = (messenger.service().context.id(), messenger.service().context.id());
        let (limit, cursor) = (None, None);
        let find = FindUsers { query: "ada".into(), limit, cursor: None };
        let history = GetHistory { chat_id, before: None, after: None, around: None, limit };
        let answers = [
            asked_by_nobody(messenger, ListSessions { limit, cursor: None }).await,
            asked_by_nobody(messenger, GetMe {}).await,
            asked_by_nobody(messenger, ExportMe { cursor: None }).await,
            asked_by_nobody(messenger, GetUser { user_id }).await,
            asked_by_nobody(messenger, find).await,
            asked_by_nobody(messenger, GetChat { chat_id }).await,
            asked_by_nobody(messenger, ListChats { limit, cursor: None }).await,
            asked_by_nobody(messenger, ListMembers { chat_id, limit, cursor }).await,
            asked_by_nobody(messenger, GetMessage { chat_id, message_id }).await,
            asked_by_nobody(messenger, history).await,
            asked_by_nobody(messenger, GetPresence { user_ids: Vec::new() }).await,
            asked_by_nobody(messenger, SyncChats { limit, ..SyncChats::default() }).await,
        ];
        for (name, answer) in answers {
            assert_eq!(answer, "unauthenticated", "{name}");
        }
    }

    #[tokio::test]
    async fn what_is_in_a_chat_is_for_its_members() {
        let scene = Scene::new().await;
        let message_id = scene.says(Owner, "hello").await.id;
        let chat_id = scene.group;
        for who in [Owner, Admin, Member, Left, Removed, Erased, Stranger, Nobody] {
            let outcome = if matches!(who, Owner | Admin | Member) { "ok" } else { "notFound" };
            let all = seen(&scene, who, chat_id, message_id).await;
            assert_eq!(all, [outcome; 4], "{who:?}");
        }
        let unknown = scene.messenger.service().context.id();
        assert_eq!(seen(&scene, Owner, unknown, message_id).await, ["notFound"; 4]);
    }

    async fn seen(
        scene: &Scene,
        who: Who,
        chat_id: crate::ChatId,
        message_id: crate::MessageId,
    ) -> [&'static str; 4] {
        let history = GetHistory { chat_id, before: None, after: None, around: None, limit: None };
        let members = ListMembers { chat_id, limit: None, cursor: None };
        [
            code(&scene.query(who, GetChat { chat_id }).await),
            code(&scene.query(who, members).await),
            code(&scene.query(who, history).await),
            code(&scene.query(who, GetMessage { chat_id, message_id }).await),
        ]
    }

    #[tokio::test]
    async fn a_page_has_1_to_200_entries() {
        let scene = Scene::new().await;
        let chat_id = scene.group;
        for (limit, wrong) in [(0, "/limit"), (1, ""), (200, ""), (201, "/limit"), (u32::MAX, "/limit")] {
            let (limit, cursor) = (Some(limit), None);
            let find = FindUsers { query: "o".into(), limit, cursor: None };
            let history = GetHistory { chat_id, before: None, after: None, around: None, limit };
            let sessions = scene.query(Owner, ListSessions { limit, cursor: None }).await;
            let chats = scene.query(Owner, ListChats { limit, cursor: None }).await;
            let members = scene.query(Owner, ListMembers { chat_id, limit, cursor }).await;
            let found = scene.query(Owner, find).await;
            let history = scene.query(Owner, history).await;
            let synced = scene.query(Owner, SyncChats { limit, ..SyncChats::default() }).await;
            let all = [
                pointers(&sessions),
                pointers(&chats),
                pointers(&members),
                pointers(&found),
                pointers(&history),
                pointers(&synced),
            ];
            assert!(all.iter().all(|pointers| pointers.concat() == wrong), "{limit:?}: {all:?}");
        }
    }

    #[test]
    fn a_page_has_50_entries_if_nothing_else_is_asked_for() {
        assert_eq!(page_size(None, &Limits::default()).unwrap(), 50);
        assert_eq!(page_size(Some(1), &Limits::default()).unwrap(), 1);
    }

    #[tokio::test]
    async fn a_cursor_belongs_to_one_list() {
        let scene = Scene::new().await;
        let chat_id = scene.group;
        let limit = None;
        // None of these is a place in any of the lists.
        let bad = [Cursor::of(&7), Cursor::of(&("a", 7)), serde_json::from_str("\"?\"").unwrap()];
        for cursor in bad.map(Some) {
            let find = FindUsers { query: "o".into(), limit, cursor: cursor.clone() };
            let sessions = scene.query(Owner, ListSessions { limit, cursor: cursor.clone() }).await;
            let chats = scene.query(Owner, ListChats { limit, cursor: cursor.clone() }).await;
            let members = scene.query(Owner, ListMembers { chat_id, limit, cursor: cursor.clone() }).await;
            let found = scene.query(Owner, find).await;
            let exported = scene.query(Owner, ExportMe { cursor: cursor.clone() }).await;
            let synced =
                scene.query(Owner, SyncChats { limit, cursor: cursor.clone(), ..SyncChats::default() }).await;
            let all = [
                pointers(&sessions),
                pointers(&chats),
                pointers(&members),
                pointers(&found),
                pointers(&exported),
                pointers(&synced),
            ];
            assert!(all.iter().all(|pointers| pointers[..] == ["/cursor"]), "{cursor:?}: {all:?}");
        }
    }
}

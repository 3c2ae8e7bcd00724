use serde::Deserialize;

use crate::{
    convert,
    cx::Cx,
    domain::{Chat, Cursor, Page},
    error::{ErrorCode, Result},
    operation::Query,
    ports::{Activity, ChatView},
    queries::{page_size, place},
};

/// Lists the caller's chats, newest activity first.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::queries::ListChats;
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// # let chat_id = messenger_core::doc::group(&messenger, &ada, &[&bob]).await;
/// # let direct = messenger_core::doc::direct(&messenger, &ada, &bob).await;
/// # messenger_core::doc::say(&messenger, &bob, direct, "hi").await;
/// let page = messenger.query(&ada, ListChats { limit: Some(1), cursor: None }).await?;
/// let next = messenger.query(&ada, ListChats { limit: Some(1), cursor: page.next_cursor }).await?;
/// assert_eq!([page.items[0].id, next.items[0].id], [direct, chat_id]);
/// assert!(next.next_cursor.is_none());
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListChats {
    /// Maximum number of entries on a page.
    pub limit: Option<u32>,
    /// The `nextCursor` of the previous page.
    pub cursor: Option<Cursor>,
}

impl Query for ListChats {
    type Output = Page<Chat>;
    const NAME: &'static str = "ListChats";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::Invalid];

    async fn run(self, cx: &Cx) -> Result<Page<Chat>> {
        let user = cx.actor().user()?;
        let limit = page_size(self.limit, cx.limits())?;
        let after: Option<Activity> = place(self.cursor.as_ref())?;
        let views = cx.store().list_chats(user, after, limit + 1, convert::PREVIEW).await?;
        let Page { items, next_cursor } = Page::of(views, limit, ChatView::activity);
        let items = items.into_iter().map(convert::chat).collect();
        Ok(Page { items, next_cursor })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        ChatId,
        commands::{DeleteMessage, EditMessage, LeaveChat},
        testing::{
            Scene,
            Who::{self, *},
        },
    };

    fn page(limit: u32, cursor: Option<Cursor>) -> ListChats {
        ListChats { limit: Some(limit), cursor }
    }

    async fn listed(scene: &Scene, who: Who) -> Vec<ChatId> {
        scene.ask(who, page(200, None)).await.items.iter().map(|chat| chat.id).collect()
    }

    /// Creates three more groups of the member, in the order of the result.
    async fn with_groups() -> (Scene, [ChatId; 3]) {
        let scene = Scene::new().await;
        let mut groups = Vec::new();
        for _ in 0..3 {
            scene.clock.advance(Duration::from_secs(1));
            groups.push(scene.makes_group(Member, [Stranger]).await);
        }
        scene.clock.advance(Duration::from_secs(1));
        (scene, groups.try_into().unwrap())
    }

    #[tokio::test]
    async fn ones_chats_are_listed_newest_activity_first() {
        let (scene, [a, b, c]) = with_groups().await;
        // Of those with the same time, the one created last comes first.
        assert_eq!(listed(&scene, Member).await, [c, b, a, scene.direct, scene.group]);
        let message = scene.says_in(a, Stranger, "hello").await;
        assert_eq!(listed(&scene, Member).await, [a, c, b, scene.direct, scene.group]);
        scene.clock.advance(Duration::from_secs(1));
        scene.says_in(scene.direct, Owner, "hello").await;
        assert_eq!(listed(&scene, Member).await, [scene.direct, a, c, b, scene.group]);
        // Editing or deleting a message is no activity.
        scene.clock.advance(Duration::from_secs(1));
        let (chat_id, message_id) = (message.chat_id, message.id);
        scene.must(Stranger, EditMessage { chat_id, message_id, body: "hi".into() }).await;
        scene.must(Stranger, DeleteMessage { chat_id, message_id }).await;
        assert_eq!(listed(&scene, Member).await, [scene.direct, a, c, b, scene.group]);
        let first = &scene.ask(Member, page(1, None)).await.items[0];
        assert_eq!(*first, scene.chat(Member, scene.direct).await);
    }

    #[tokio::test]
    async fn chats_that_one_is_not_in_are_not_ones_own() {
        let (scene, [a, b, c]) = with_groups().await;
        assert_eq!(listed(&scene, Stranger).await, [c, b, a]);
        scene.must(Stranger, LeaveChat { chat_id: b }).await;
        assert_eq!(listed(&scene, Stranger).await, [c, a]);
        for who in [Left, Removed, Erased, Nobody] {
            assert_eq!(listed(&scene, who).await, [], "{who:?}");
        }
    }

    #[tokio::test]
    async fn pages_follow_each_other_without_gap_or_repetition() {
        let (scene, _) = with_groups().await;
        let all = scene.ask(Member, page(200, None)).await.items;
        for (limit, sizes) in [(1, &[1, 1, 1, 1, 1][..]), (2, &[2, 2, 1]), (4, &[4, 1]), (5, &[5])] {
            let (mut cursor, mut items) = (None, Vec::new());
            for (n, size) in sizes.iter().enumerate() {
                let page = scene.ask(Member, page(limit, cursor)).await;
                assert_eq!(page.items.len(), *size, "{limit}");
                assert_eq!(page.next_cursor.is_none(), n + 1 == sizes.len(), "{limit}");
                items.extend(page.items);
                cursor = page.next_cursor;
            }
            assert_eq!(items, all, "{limit}");
        }
    }
}

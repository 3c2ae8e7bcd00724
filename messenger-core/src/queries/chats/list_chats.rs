use serde::Deserialize;

use crate::{
    convert,
    domain::{Chat, Cursor, Page},
    error::Result,
    messenger::{Cx, Query},
    ports::{Activity, ChatView},
    queries::{page_size, place},
};

/// One's chats, newest activity first.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListChats {
    /// Entries on a page.
    pub limit: Option<u32>,
    /// The `nextCursor` of the page before.
    pub cursor: Option<Cursor>,
}

impl Query for ListChats {
    type Output = Page<Chat>;
    const NAME: &'static str = "ListChats";

    async fn run(self, cx: &Cx) -> Result<Page<Chat>> {
        let user = cx.actor().user()?;
        let limit = page_size(self.limit, cx.limits())?;
        let after: Option<Activity> = place(self.cursor.as_ref())?;
        let views = cx.store().list_chats(user, after, limit + 1).await?;
        let Page { items, next_cursor } = Page::of(views, limit, ChatView::activity);
        let items = items.into_iter().map(convert::chat).collect::<Result<_, _>>()?;
        Ok(Page { items, next_cursor })
    }
}

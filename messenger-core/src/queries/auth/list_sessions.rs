use serde::Deserialize;

use crate::{
    domain::{Cursor, Page, Session, SessionId},
    error::Result,
    messenger::{Cx, Query},
    queries::{page_size, place},
};

/// The places where one is logged in, newest first.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListSessions {
    /// Entries on a page.
    pub limit: Option<u32>,
    /// The `nextCursor` of the page before.
    pub cursor: Option<Cursor>,
}

impl Query for ListSessions {
    type Output = Page<Session>;
    const NAME: &'static str = "ListSessions";

    async fn run(self, cx: &Cx) -> Result<Page<Session>> {
        let user = cx.actor().user()?;
        let limit = page_size(self.limit, cx.limits())?;
        let after: Option<SessionId> = place(self.cursor.as_ref())?;
        let now = cx.context().now();
        let sessions = cx.store().sessions(user).await?;
        // Newest first, and ids rise with time.
        let page: Vec<Session> = sessions
            .into_iter()
            .filter(|session| session.expires_at > now && after.is_none_or(|after| session.id < after))
            .take(limit + 1)
            .map(|session| Session {
                id: session.id,
                created_at: session.created_at,
                last_used_at: session.last_used_at,
                expires_at: session.expires_at,
                device: session.device,
                current: cx.actor().session() == Some(session.id),
            })
            .collect();
        Ok(Page::of(page, limit, |session| session.id))
    }
}

use std::collections::HashMap;

use serde::Deserialize;

use crate::{
    convert,
    domain::{ChatId, Cursor, Member, Page, UserId},
    error::{Error, Result},
    messenger::{Cx, Query},
    ports::{MemberRecord, StoreErrorKind, UserRecord},
    queries::{page_size, place},
};

/// Who is in a chat, those longest in it first.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListMembers {
    /// The chat.
    pub chat_id: ChatId,
    /// Entries on a page.
    pub limit: Option<u32>,
    /// The `nextCursor` of the page before.
    pub cursor: Option<Cursor>,
}

impl Query for ListMembers {
    type Output = Page<Member>;
    const NAME: &'static str = "ListMembers";

    async fn run(self, cx: &Cx) -> Result<Page<Member>> {
        let user = cx.actor().user()?;
        let limit = page_size(self.limit, cx.limits())?;
        let after: Option<(UserId, i64)> = place(self.cursor.as_ref())?;
        let roster = match cx.store().roster(self.chat_id).await {
            Err(error) if error.kind() == StoreErrorKind::NotFound => return Err(Error::NotFound("chat")),
            found => found?,
        };
        if !roster.members.iter().any(|member| member.user_id == user) {
            return Err(Error::NotFound("chat"));
        }
        let rest = following(&roster.members, after);
        let page: Vec<&MemberRecord> = rest.iter().take(limit + 1).collect();
        let ids: Vec<UserId> = page.iter().take(limit).map(|member| member.user_id).collect();
        let mut users: HashMap<UserId, UserRecord> =
            cx.store().users(&ids).await?.into_iter().map(|user| (user.id, user)).collect();
        let Page { items, next_cursor } =
            Page::of(page, limit, |member| (member.user_id, member.joined_at.as_micros()));
        let items = items
            .into_iter()
            .filter_map(|member| users.remove(&member.user_id).map(|user| convert::member(user, member)))
            .collect();
        Ok(Page { items, next_cursor })
    }
}

/// Those behind the last one of the page before; who has left since is looked for by the moment of joining.
fn following(members: &[MemberRecord], after: Option<(UserId, i64)>) -> &[MemberRecord] {
    let Some((last, joined)) = after else { return members };
    let start = match members.iter().position(|member| member.user_id == last) {
        Some(index) => index + 1,
        None => members.partition_point(|member| member.joined_at.as_micros() <= joined),
    };
    &members[start..]
}

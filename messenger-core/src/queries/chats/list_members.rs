use std::collections::HashMap;

use serde::Deserialize;

use crate::{
    convert,
    cx::Cx,
    domain::{ChatId, Cursor, Member, Page, UserId},
    error::{Error, ErrorCode, OrNotFound as _, Result},
    operation::Query,
    ports::{MemberRecord, UserRecord},
    queries::{page_size, place},
};

/// Lists the members of a chat, longest-standing members first.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{Role, queries::ListMembers};
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// # let chat_id = messenger_core::doc::group(&messenger, &ada, &[&bob]).await;
/// let members = messenger.query(&bob, ListMembers { chat_id, limit: None, cursor: None }).await?.items;
/// assert_eq!((members[0].user.id, members[0].role), (ada.user()?, Role::Owner));
/// assert_eq!((members[1].user.id, members[1].role), (bob.user()?, Role::Member));
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListMembers {
    /// The chat.
    pub chat_id: ChatId,
    /// Maximum number of entries on a page.
    pub limit: Option<u32>,
    /// The `nextCursor` of the previous page.
    pub cursor: Option<Cursor>,
}

impl Query for ListMembers {
    type Output = Page<Member>;
    const NAME: &'static str = "ListMembers";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::Invalid, ErrorCode::NotFound];

    async fn run(self, cx: &Cx) -> Result<Page<Member>> {
        let user = cx.actor().user()?;
        let limit = page_size(self.limit, cx.limits())?;
        let after: Option<(UserId, i64)> = place(self.cursor.as_ref())?;
        let roster = cx.store().roster(self.chat_id).await.or_not_found(|| Error::NotFound("chat"))?;
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

/// The members after the last one of the previous page. If that one has left since, the page begins at their time of
/// joining: others who joined at the same time may be listed again, which is better than being missed.
fn following(members: &[MemberRecord], after: Option<(UserId, i64)>) -> &[MemberRecord] {
    let Some((last, joined)) = after else { return members };
    let start = match members.iter().position(|member| member.user_id == last) {
        Some(index) => index + 1,
        None => members.partition_point(|member| member.joined_at.as_micros() < joined),
    };
    &members[start..]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        commands::{AddMembers, LeaveChat, RemoveMember},
        domain::Role,
        ports::StoreErrorKind,
        queries::GetUser,
        testing::{Scene, Who::*, code},
    };

    fn page(scene: &Scene, limit: u32, cursor: Option<Cursor>) -> ListMembers {
        ListMembers { chat_id: scene.group, limit: Some(limit), cursor }
    }

    fn ids(page: &Page<crate::Member>) -> Vec<UserId> {
        page.items.iter().map(|member| member.user.id).collect()
    }

    #[tokio::test]
    async fn members_are_listed_in_the_order_of_joining() {
        let scene = Scene::new().await;
        let all = scene.ask(Member, page(&scene, 200, None)).await;
        assert_eq!(ids(&all), scene.ids([Owner, Member, Admin, OtherAdmin, OtherMember]));
        let roles = [Role::Owner, Role::Member, Role::Admin, Role::Admin, Role::Member];
        assert_eq!(all.items.iter().map(|member| member.role).collect::<Vec<_>>(), roles);
        assert_eq!(all.items[1].user, scene.ask(Owner, GetUser { user_id: scene.id(Member) }).await);
        // A member who returns is last.
        scene.clock.advance(Duration::from_secs(60));
        scene.must(Owner, RemoveMember { chat_id: scene.group, user_id: scene.id(Member) }).await;
        let user_ids = scene.ids([Member]);
        scene.must(Owner, AddMembers { chat_id: scene.group, user_ids }).await;
        let all = scene.ask(Owner, page(&scene, 200, None)).await;
        assert_eq!(ids(&all), scene.ids([Owner, Admin, OtherAdmin, OtherMember, Member]));
        let last = all.items.last().unwrap();
        assert_eq!(last.joined_at, scene.messenger.service().context.now());
        // Everything before the joining counts as delivered.
        let removal = scene.chat(Owner, scene.group).await.last_seq.get() - 1;
        assert_eq!((last.read_seq.get(), last.delivered_seq.get()), (removal, removal));
    }

    #[tokio::test]
    async fn pages_follow_each_other_without_gap_or_repetition() {
        let scene = Scene::new().await;
        let all = scene.ask(Member, page(&scene, 200, None)).await.items;
        for (limit, sizes) in [(1, &[1, 1, 1, 1, 1][..]), (2, &[2, 2, 1]), (4, &[4, 1]), (5, &[5])] {
            let (mut cursor, mut items) = (None, Vec::new());
            for (n, size) in sizes.iter().enumerate() {
                let page = scene.ask(Member, page(&scene, limit, cursor)).await;
                assert_eq!(page.items.len(), *size, "{limit}");
                assert_eq!(page.next_cursor.is_none(), n + 1 == sizes.len(), "{limit}");
                items.extend(page.items);
                cursor = page.next_cursor;
            }
            assert_eq!(items, all, "{limit}");
        }
    }

    #[tokio::test]
    async fn a_page_goes_on_behind_one_who_left_meanwhile() {
        let scene = Scene::new().await;
        for who in [Left, Removed, Stranger] {
            scene.clock.advance(Duration::from_secs(1));
            scene.must(Owner, AddMembers { chat_id: scene.group, user_ids: scene.ids([who]) }).await;
        }
        let first = scene.ask(Owner, page(&scene, 6, None)).await;
        assert_eq!(ids(&first).last(), Some(&scene.id(Left)));
        scene.must(Left, LeaveChat { chat_id: scene.group }).await;
        let second = scene.ask(Owner, page(&scene, 6, first.next_cursor)).await;
        assert_eq!(ids(&second), scene.ids([Removed, Stranger]));
    }

    #[tokio::test]
    async fn who_came_together_with_one_who_left_meanwhile_is_not_passed_over() {
        let scene = Scene::new().await;
        scene.clock.advance(Duration::from_secs(1));
        let user_ids = scene.ids([Left, Removed, Stranger]);
        scene.must(Owner, AddMembers { chat_id: scene.group, user_ids: user_ids.clone() }).await;
        let first = scene.ask(Owner, page(&scene, 7, None)).await;
        assert_eq!(ids(&first).last(), Some(&scene.id(Removed)));
        scene.must(Removed, LeaveChat { chat_id: scene.group }).await;
        let second = scene.ask(Owner, page(&scene, 7, first.next_cursor)).await;
        assert_eq!(ids(&second), scene.ids([Left, Stranger]));
    }

    #[tokio::test]
    async fn an_unknown_chat_is_one_that_is_not_ones_own() {
        let scene = Scene::new().await;
        let unknown =
            ListMembers { chat_id: scene.messenger.service().context.id(), ..page(&scene, 200, None) };
        let strange = page(&scene, 200, None);
        for answer in [scene.query(Owner, unknown).await, scene.query(Stranger, strange).await] {
            let error = answer.unwrap_err().to_string();
            assert_eq!(error, "There is no such chat, or it is not yours to see.");
        }
    }

    #[tokio::test]
    async fn a_store_that_fails_is_no_unknown_chat() {
        for method in ["roster", "users"] {
            let scene = Scene::new().await;
            scene.store.fail(method, StoreErrorKind::Unavailable, 1);
            let answer = scene.query(Owner, page(&scene, 200, None)).await;
            assert_eq!(code(&answer), "unavailable", "{method}");
        }
    }
}

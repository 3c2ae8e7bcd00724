use serde::Deserialize;

use crate::{
    convert,
    cx::Cx,
    domain::{Cursor, DisplayName, Page, User},
    error::{Error, ErrorCode, Result},
    operation::Query,
    ports::{FoundUser, NamePlace, StoreResult},
    queries::{page_size, place},
};

/// The maximum number of reads of the store for one page.
const LOOKS: usize = 8;

/// Finds people whose username or display name begins with a text; each is listed at the first of their names that
/// matches.
///
/// A page may have fewer entries than were asked for, or none, although there are more pages: this happens where very
/// many consecutive people were already on an earlier page by their other name.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::queries::FindUsers;
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// let found = messenger.query(&ada, FindUsers { query: "BO".into(), limit: None, cursor: None }).await?;
/// assert_eq!(found.items[0].id, bob.user()?);
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FindUsers {
    /// The prefix of the name, case-insensitive.
    pub query: String,
    /// Maximum number of entries on a page.
    pub limit: Option<u32>,
    /// The `nextCursor` of the previous page.
    pub cursor: Option<Cursor>,
}

impl Query for FindUsers {
    type Output = Page<User>;
    const NAME: &'static str = "FindUsers";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::Invalid];

    async fn run(self, cx: &Cx) -> Result<Page<User>> {
        cx.actor().user()?;
        let limit = page_size(self.limit, cx.limits())?;
        let prefix = self.query.trim().to_lowercase();
        let longest = *cx.limits().display_name.end();
        if prefix.is_empty() || prefix.contains('\0') || prefix.chars().count() > longest {
            return Err(Error::invalid("query", format!("must be a text of 1 to {longest} characters")));
        }
        let after: Option<NamePlace> = place(self.cursor.as_ref())?;
        if after.as_ref().is_some_and(|after| !is_among(after, &prefix)) {
            return Err(Error::invalid("cursor", "is none of this list"));
        }
        let Page { items, next_cursor } = page(cx, &prefix, after, limit).await?;
        let items = items.into_iter().map(|found| convert::user(found.user)).collect();
        Ok(Page { items, next_cursor })
    }
}

/// Whether the place is among the names with this prefix.
fn is_among(place: &NamePlace, prefix: &str) -> bool {
    place.name.starts_with(prefix) && !place.name.contains('\0') && !place.username.as_str().contains('\0')
}

async fn page(cx: &Cx, prefix: &str, mut after: Option<NamePlace>, limit: usize) -> Result<Page<FoundUser>> {
    let mut items = vec![];
    let by_both_names = cx.store().capabilities().display_names_are_found;
    for _ in 0..LOOKS {
        let names = cx.store().find_users(prefix, after.as_ref(), limit + 1).await?;
        let is_last = names.len() <= limit;
        after = names.last().map(FoundUser::place);
        for found in names {
            if is_first(&found, prefix, by_both_names)? {
                items.push(found);
            }
        }
        if is_last || items.len() > limit {
            return Ok(Page::of(items, limit, FoundUser::place));
        }
    }
    Ok(Page { items, next_cursor: after.as_ref().map(Cursor::of) })
}

/// Whether the account was not already found by its other name.
fn is_first(found: &FoundUser, prefix: &str, by_both_names: bool) -> StoreResult<bool> {
    let username = found.user.username.as_str();
    if !by_both_names {
        return Ok(found.name == username);
    }
    let display_name = DisplayName::trusted(found.user.display_name.to_text()?).folded();
    let other = if found.name == username { &display_name } else { username };
    Ok(!(other.starts_with(prefix) && other < found.name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commands::UpdateProfile,
        doc::register,
        ports::{Content, UserRecord, UserStore as _},
        queries::GetUser,
        testing::{Scene, Who::*, code, pointers},
    };

    fn find(query: &str) -> FindUsers {
        FindUsers { query: query.into(), limit: None, cursor: None }
    }

    fn names(page: &Page<User>) -> Vec<&str> {
        page.items.iter().map(|user| user.username.as_str()).collect()
    }

    #[tokio::test]
    async fn people_are_found_by_the_beginning_of_either_name_without_regard_to_case() {
        let scene = Scene::new().await;
        let display_name = Some("Öttö the Great".into());
        scene.must(Stranger, UpdateProfile { display_name, ..UpdateProfile::default() }).await;
        for (query, found) in [
            ("other", &["other-admin", "other-member"][..]),
            ("OTHER-A", &["other-admin"]),
            ("  other-a\n", &["other-admin"]),
            ("admin", &["admin"]),
            ("ÖTTÖ", &["stranger"]),
            ("öttö the", &["stranger"]),
            ("great", &[]),
            ("stranger", &["stranger"]),
            // An erased account.
            ("erased", &[]),
            ("deleted", &[]),
        ] {
            let page = scene.ask(Left, find(query)).await;
            assert_eq!(names(&page), found, "{query:?}");
            assert_eq!(page.next_cursor, None, "{query:?}");
            for user in page.items {
                assert_eq!(user, scene.ask(Left, GetUser { user_id: user.id }).await);
            }
        }
    }

    #[tokio::test]
    async fn pages_follow_each_other_by_name() {
        let scene = Scene::new().await;
        for (limit, pages) in [
            (1, &[&["other-admin"][..], &["other-member"], &["owner"]][..]),
            (2, &[&["other-admin", "other-member"], &["owner"]]),
            (3, &[&["other-admin", "other-member", "owner"]]),
        ] {
            let mut cursor = None;
            for (n, expected) in pages.iter().enumerate() {
                let page = scene.ask(Left, FindUsers { limit: Some(limit), cursor, ..find("o") }).await;
                assert_eq!(names(&page), *expected, "{limit}");
                assert_eq!(page.next_cursor.is_none(), n + 1 == pages.len(), "{limit}");
                cursor = page.next_cursor;
            }
        }
    }

    #[tokio::test]
    async fn who_has_two_such_names_is_found_by_the_first_of_them_alone() {
        let scene = Scene::new().await;
        for (who, name) in [(Owner, "Admin-like"), (Admin, "Ad min"), (Member, "Adam")] {
            let display_name = Some(name.into());
            scene.must(who, UpdateProfile { display_name, ..UpdateProfile::default() }).await;
        }
        for limit in 1..5 {
            let (mut found, mut cursor) = (vec![], None);
            loop {
                let page = scene.ask(Left, FindUsers { limit: Some(limit), cursor, ..find("ad") }).await;
                found.extend(names(&page).into_iter().map(str::to_owned));
                cursor = page.next_cursor;
                if cursor.is_none() {
                    break;
                }
            }
            assert_eq!(found, ["admin", "member", "owner"], "{limit}");
        }
    }

    #[tokio::test]
    async fn who_is_found_by_username_alone_is_not_passed_over_for_the_display_name() {
        let scene = Scene::new().await;
        let display_name = Some("Mem".into());
        scene.must(Member, UpdateProfile { display_name, ..UpdateProfile::default() }).await;
        let user = scene.store.user(scene.id(Member)).await.unwrap();
        let by = |name: &str| FoundUser { name: name.into(), user: user.clone() };
        for (name, by_both_names, first) in
            [("mem", true, true), ("member", true, false), ("mem", false, false), ("member", false, true)]
        {
            assert_eq!(is_first(&by(name), "me", by_both_names).unwrap(), first, "{name} {by_both_names}");
        }
        // A sealed name that was not opened.
        let user = UserRecord { display_name: Content(vec![0xff]), ..user };
        assert!(is_first(&FoundUser { name: "member".into(), user }, "me", true).is_err());
    }

    #[tokio::test]
    async fn a_page_ends_where_many_in_a_row_were_found_before() {
        let scene = Scene::new().await;
        for n in 0..60 {
            let actor = register(&scene.messenger, &format!("find{n:02}")).await;
            let display_name = Some(format!("Find {n}"));
            let change = UpdateProfile { display_name, ..UpdateProfile::default() };
            scene.messenger.execute(&actor, change).await.unwrap();
        }
        let (mut found, mut cursor, mut sizes) = (vec![], None, vec![]);
        loop {
            let page = scene.ask(Left, FindUsers { limit: Some(2), cursor, ..find("find") }).await;
            found.extend(names(&page).into_iter().map(str::to_owned));
            sizes.push(page.items.len());
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), 60, "each of them, and nobody twice: {found:?}");
        assert_eq!(sizes.iter().sum::<usize>(), 60);
        assert_eq!(sizes[30..], [0, 0], "eight looks see 24 of those who were found before");
    }

    #[tokio::test]
    async fn a_query_has_1_to_64_characters() {
        let scene = Scene::new().await;
        for good in ["x".to_owned(), "ü".repeat(64), format!("  {}  ", "ü".repeat(64))] {
            assert_eq!(code(&scene.query(Owner, find(&good)).await), "ok", "{good:?}");
        }
        for bad in [String::new(), "  ".into(), "ü".repeat(65), "a\0b".into()] {
            assert_eq!(pointers(&scene.query(Owner, find(&bad)).await), ["/query"], "{bad:?}");
        }
    }
}

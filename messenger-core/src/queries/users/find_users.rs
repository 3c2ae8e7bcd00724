use serde::Deserialize;

use crate::{
    convert,
    domain::{Cursor, Page, User, Username},
    error::{Error, Result},
    messenger::{Cx, Query},
    queries::{page_size, place},
};

/// People whose username or display name begins with a text, by username.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FindUsers {
    /// What the name begins with, without regard to case.
    pub query: String,
    /// Entries on a page.
    pub limit: Option<u32>,
    /// The `nextCursor` of the page before.
    pub cursor: Option<Cursor>,
}

impl Query for FindUsers {
    type Output = Page<User>;
    const NAME: &'static str = "FindUsers";

    async fn run(self, cx: &Cx) -> Result<Page<User>> {
        cx.actor().user()?;
        let limit = page_size(self.limit, cx.limits())?;
        let after: Option<Username> = place(self.cursor.as_ref())?;
        let prefix = self.query.trim().to_lowercase();
        let longest = *cx.limits().display_name.end();
        if prefix.is_empty() || prefix.contains('\0') || prefix.chars().count() > longest {
            return Err(Error::invalid("query", format!("must be a text of 1 to {longest} characters")));
        }
        let found = cx.store().find_users(&prefix, after.as_ref(), limit + 1).await?;
        Ok(Page::of(found, limit, |user| user.username.clone()).map(convert::user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commands::UpdateProfile,
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
        scene.must(Stranger, UpdateProfile { display_name, email: None, notifications: None }).await;
        for (query, found) in [
            ("other", &["other-admin", "other-member"][..]),
            ("OTHER-A", &["other-admin"]),
            ("  other-a\n", &["other-admin"]),
            ("admin", &["admin"]),
            ("ÖTTÖ", &["stranger"]),
            ("öttö the", &["stranger"]),
            ("great", &[]),
            ("stranger", &["stranger"]),
            // Erased.
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
    async fn pages_follow_each_other_by_username() {
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

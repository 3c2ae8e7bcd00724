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

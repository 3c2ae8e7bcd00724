use serde::Deserialize;

use crate::{
    domain::{Page, Presence, UserId},
    error::{Error, Result},
    messenger::{Cx, Query},
};

/// Whether people are there, in the order in which they are named. An unknown person is not.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetPresence {
    /// Who; at most 200.
    pub user_ids: Vec<UserId>,
}

impl Query for GetPresence {
    type Output = Page<Presence>;
    const NAME: &'static str = "GetPresence";

    async fn run(self, cx: &Cx) -> Result<Page<Presence>> {
        cx.actor().user()?;
        let max = cx.limits().presence_users;
        if self.user_ids.len() > max {
            return Err(Error::invalid("userIds", format!("may name at most {max} people")));
        }
        Ok(Page::whole(cx.messenger().hub().presence_of(&self.user_ids).await?))
    }
}

use serde::Deserialize;

use crate::{
    convert,
    domain::{User, UserId},
    error::{Error, Result},
    messenger::{Cx, Query},
    ports::StoreErrorKind,
};

/// Anybody's account, as everybody may see it. An erased one is still there, without a name.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetUser {
    /// Whose.
    pub user_id: UserId,
}

impl Query for GetUser {
    type Output = User;
    const NAME: &'static str = "GetUser";

    async fn run(self, cx: &Cx) -> Result<User> {
        cx.actor().user()?;
        match cx.store().user(self.user_id).await {
            Err(error) if error.kind() == StoreErrorKind::NotFound => Err(Error::NotFound("person")),
            found => Ok(convert::user(found?)),
        }
    }
}

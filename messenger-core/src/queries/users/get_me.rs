use serde::Deserialize;

use crate::{
    convert,
    domain::Me,
    error::{Error, Result},
    messenger::{Cx, Query},
};

/// One's own account.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetMe {}

impl Query for GetMe {
    type Output = Me;
    const NAME: &'static str = "GetMe";

    async fn run(self, cx: &Cx) -> Result<Me> {
        let account = cx.store().user(cx.actor().user()?).await?;
        if account.erased_at.is_some() {
            return Err(Error::Unauthenticated);
        }
        Ok(convert::me(account)?)
    }
}

use serde::Deserialize;

use super::tell_ended;
use crate::{
    error::{Error, Result},
    messenger::{Command, Cx},
    ports::{StoreErrorKind, Topic},
};

/// Ends the session that asks, and its live connections.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogOut {}

impl Command for LogOut {
    type Output = ();
    const NAME: &'static str = "LogOut";

    async fn run(self, cx: &mut Cx) -> Result<()> {
        let user = cx.actor().user()?;
        let session = cx.actor().session().ok_or(Error::Forbidden("Only a session can be logged out."))?;
        cx.writes([Topic::User(user)]);
        match cx.store().end_session(user, session).await {
            Err(error) if error.kind() == StoreErrorKind::NotFound => return Err(Error::Unauthenticated),
            ended => ended?,
        }
        tell_ended(cx, user, vec![session]);
        Ok(())
    }
}

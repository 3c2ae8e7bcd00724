use serde::Deserialize;

use super::tell_ended;
use crate::{
    domain::SessionId,
    error::{Error, Result},
    messenger::{Command, Cx},
    ports::{StoreErrorKind, Topic},
};

/// Ends one of the person's own sessions, and its live connections.
///
/// Errors: `notFound`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevokeSession {
    /// The session.
    pub session_id: SessionId,
}

impl Command for RevokeSession {
    type Output = ();
    const NAME: &'static str = "RevokeSession";

    async fn run(self, cx: &mut Cx) -> Result<()> {
        let user = cx.actor().user()?;
        cx.writes([Topic::User(user)]);
        match cx.store().end_session(user, self.session_id).await {
            Err(error) if error.kind() == StoreErrorKind::NotFound => return Err(Error::NotFound("session")),
            ended => ended?,
        }
        tell_ended(cx, user, vec![self.session_id]);
        Ok(())
    }
}

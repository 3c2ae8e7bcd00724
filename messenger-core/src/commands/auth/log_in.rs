use serde::Deserialize;

use super::{new_session, tell_ended};
use crate::{
    convert,
    domain::{Authenticated, Device, Password, Username},
    error::{Checks, Error, Result},
    messenger::{Command, Cx},
    ports::{LoginKey, StoreErrorKind, Topic, UserRecord},
};

/// Begins a session.
///
/// Errors: `invalidCredentials`, for an unknown account as for a wrong password, after the same time.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogIn {
    /// The username or the mail address, without regard to case.
    pub login: String,
    /// The password.
    pub password: Password,
    /// What the session is used on, in words for its owner.
    pub device: Option<String>,
}

impl Command for LogIn {
    type Output = Authenticated;
    const NAME: &'static str = "LogIn";

    async fn run(self, cx: &mut Cx) -> Result<Authenticated> {
        let mut checks = Checks::default();
        let device = checks.optional("device", self.device.as_deref().map(|d| Device::parse(d, cx.limits())));
        checks.finish()?;

        let account = find(cx, &self.login).await?;
        let hash = account.as_ref().and_then(|account| account.password_hash.as_deref());
        if !cx.messenger().passwords().verify(self.password, hash).await? {
            return Err(Error::InvalidCredentials);
        }
        let account = account.ok_or(Error::InvalidCredentials)?;
        let (session, token) = new_session(cx, account.id, device);
        let expires_at = session.expires_at;
        cx.writes([Topic::User(account.id)]);
        let ended = cx.store().create_session(session, cx.limits().sessions).await?;
        tell_ended(cx, account.id, ended);
        Ok(Authenticated { user: convert::me(account)?, token, expires_at })
    }
}

async fn find(cx: &Cx, login: &str) -> Result<Option<UserRecord>> {
    let folded = login.to_lowercase();
    let username;
    let key = if folded.contains('@') {
        LoginKey::Email(folded.as_bytes())
    } else {
        match Username::parse(&folded, cx.limits()) {
            Ok(parsed) => username = parsed,
            Err(_) => return Ok(None),
        }
        LoginKey::Username(&username)
    };
    // Longer than any address: not worth a question to the store.
    if folded.len() > 320 {
        return Ok(None);
    }
    match cx.store().user_by_login(key).await {
        Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(None),
        found => Ok(Some(found?)),
    }
}

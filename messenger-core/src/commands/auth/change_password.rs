use serde::Deserialize;

use super::tell_ended;
use crate::{
    commands::ATTEMPTS,
    domain::Password,
    error::{Checks, Error, Result},
    messenger::{Command, Cx},
    ports::{StoreErrorKind, Topic},
};

/// Replaces the password and ends all other sessions.
///
/// Errors: `invalidCredentials` if `current` is wrong, `invalid`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangePassword {
    /// The password as it is.
    pub current: Password,
    /// The password as it shall be.
    pub new: Password,
}

impl Command for ChangePassword {
    type Output = ();
    const NAME: &'static str = "ChangePassword";

    async fn run(self, cx: &mut Cx) -> Result<()> {
        let user = cx.actor().user()?;
        let mut checks = Checks::default();
        checks.field("new", self.new.check(cx.limits()));
        checks.finish()?;
        for _ in 0..ATTEMPTS {
            let account = cx.store().user(user).await?;
            let passwords = cx.messenger().passwords();
            if !passwords.verify(self.current.clone(), account.password_hash.as_deref()).await? {
                return Err(Error::InvalidCredentials);
            }
            let hash = passwords.hash(self.new.clone(), cx.context().random()).await?;
            cx.writes([Topic::User(user)]);
            match cx.store().change_password(user, account.version, &hash, cx.actor().session()).await {
                Err(error) if error.kind() == StoreErrorKind::Conflict => {}
                changed => {
                    let ended = changed?;
                    tell_ended(cx, user, ended);
                    return Ok(());
                }
            }
        }
        Err(Error::Conflict)
    }
}

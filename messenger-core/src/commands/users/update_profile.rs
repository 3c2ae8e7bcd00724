use serde::Deserialize;

use crate::{
    commands::{ATTEMPTS, auth::stored_address},
    convert,
    domain::{DisplayName, EmailAddress, Me, Notifications},
    error::{Checks, Error, Result},
    messenger::{Command, Cx},
    ports::{StoreErrorKind, UpdateUser},
};

/// Changes one's own account; what is absent stays as it is.
///
/// Errors: `invalid`, `emailTaken`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateProfile {
    /// The name that others see.
    pub display_name: Option<String>,
    /// The mail address.
    pub email: Option<String>,
    /// What to be told about outside the chat.
    pub notifications: Option<Notifications>,
}

impl Command for UpdateProfile {
    type Output = Me;
    const NAME: &'static str = "UpdateProfile";

    async fn run(self, cx: &mut Cx) -> Result<Me> {
        let user = cx.actor().user()?;
        let mut checks = Checks::default();
        let limits = cx.limits();
        let display_name = checks
            .optional("displayName", self.display_name.as_deref().map(|n| DisplayName::parse(n, limits)));
        let email = checks.optional("email", self.email.as_deref().map(|e| EmailAddress::parse(e, limits)));
        checks.finish()?;
        for _ in 0..ATTEMPTS {
            let expected = cx.store().user(user).await?.version;
            let update = UpdateUser {
                id: user,
                expected,
                display_name: display_name.clone(),
                email: email.as_ref().map(stored_address),
                notify_email: self.notifications.map(|notifications| notifications.email),
            };
            match cx.store().update_user(update).await {
                Err(error) if error.kind() == StoreErrorKind::Conflict => {}
                updated => return Ok(convert::me(updated?)?),
            }
        }
        Err(Error::Conflict)
    }
}

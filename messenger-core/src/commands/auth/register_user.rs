use serde::Deserialize;

use super::new_session;
use crate::{
    convert,
    domain::{Authenticated, Device, DisplayName, EmailAddress, Password, Username},
    error::{Checks, Result},
    messenger::{Command, Cx},
    ports::{Content, NewUser, StoredAddress, UserRecord},
};

/// Makes an account and logs it in.
///
/// Errors: `invalid`, `usernameTaken`, `emailTaken`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegisterUser {
    /// The name to log in with: `a-z 0-9 _ . -`, compared without case.
    pub username: String,
    /// The mail address.
    pub email: String,
    /// The password.
    pub password: Password,
    /// The name that others see; the username if absent.
    pub display_name: Option<String>,
    /// What the session is used on, in words for its owner.
    pub device: Option<String>,
}

impl Command for RegisterUser {
    type Output = Authenticated;
    const NAME: &'static str = "RegisterUser";

    async fn run(self, cx: &mut Cx) -> Result<Authenticated> {
        let limits = cx.limits();
        let mut checks = Checks::default();
        let username = checks.field("username", Username::parse(&self.username, limits));
        let email = checks.field("email", EmailAddress::parse(&self.email, limits));
        checks.field("password", self.password.check(limits));
        let display_name = self.display_name.as_deref().unwrap_or(&self.username);
        let display_name = match &username {
            Some(_) => checks.field("displayName", DisplayName::parse(display_name, limits)),
            None => checks
                .optional("displayName", self.display_name.as_deref().map(|n| DisplayName::parse(n, limits))),
        };
        let device = checks.optional("device", self.device.as_deref().map(|d| Device::parse(d, limits)));
        checks.finish()?;
        let (Some(username), Some(email), Some(display_name)) = (username, email, display_name) else {
            return Err(crate::Error::Malformed("The request is not complete.".into()));
        };

        let salt = cx.context().random();
        let password_hash = cx.messenger().passwords().hash(self.password, salt).await?;
        let user = NewUser {
            id: cx.context().id(),
            username,
            display_name,
            email: stored_address(&email),
            password_hash,
            created_at: cx.context().now(),
        };
        let (session, token) = new_session(cx, user.id, device);
        let expires_at = session.expires_at;
        cx.store().create_user(user.clone(), session).await?;
        Ok(Authenticated { user: convert::me(new_record(user))?, token, expires_at })
    }
}

/// An address as it is stored and found.
pub(crate) fn stored_address(email: &EmailAddress) -> StoredAddress {
    StoredAddress { content: Content::from(email.as_str()), key: email.folded().into_bytes() }
}

fn new_record(user: NewUser) -> UserRecord {
    UserRecord {
        id: user.id,
        username: user.username,
        display_name: user.display_name,
        email: Some(user.email),
        password_hash: Some(user.password_hash),
        notify_email: true,
        created_at: user.created_at,
        last_seen_at: None,
        erased_at: None,
        version: 1,
        memberships: 0,
    }
}

use serde::Deserialize;

use crate::{
    convert,
    cx::Cx,
    domain::Me,
    error::{Error, ErrorCode, Result},
    operation::Query,
};

/// Reads the caller's account.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{Actor, queries::GetMe};
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// assert_eq!(messenger.query(&ada, GetMe {}).await?.email.as_str(), "ada@example.org");
/// assert_eq!(messenger.query(&Actor::anonymous(), GetMe {}).await.unwrap_err().code(), "unauthenticated");
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetMe {}

impl Query for GetMe {
    type Output = Me;
    const NAME: &'static str = "GetMe";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::NotFound];

    async fn run(self, cx: &Cx) -> Result<Me> {
        let account = cx.store().user(cx.actor().user()?).await?;
        if account.erased_at.is_some() {
            return Err(Error::Unauthenticated);
        }
        Ok(convert::me(account)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Actor,
        domain::Notifications,
        queries::GetUser,
        testing::{Scene, Who::*, code},
    };

    #[tokio::test]
    async fn one_sees_ones_own_address_and_settings() {
        let scene = Scene::new().await;
        let me = scene.ask(Member, GetMe {}).await;
        assert_eq!(me.user, scene.ask(Owner, GetUser { user_id: scene.id(Member) }).await);
        assert_eq!(me.email.as_str(), "member@example.org");
        assert_eq!(me.notifications, Notifications { email: true, quiet_hours: None });
    }

    #[tokio::test]
    async fn an_erased_account_is_nobody() {
        let scene = Scene::new().await;
        assert_eq!(code(&scene.query(Erased, GetMe {}).await), "unauthenticated");
        let actor = Actor::on_behalf_of(scene.id(Erased));
        assert_eq!(code(&scene.messenger.query(&actor, GetMe {}).await), "unauthenticated");
        assert_eq!(code(&scene.query(Nobody, GetMe {}).await), "notFound");
    }
}

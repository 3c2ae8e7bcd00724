use serde::Deserialize;

use crate::{
    convert,
    cx::Cx,
    domain::{User, UserId},
    error::{Error, ErrorCode, OrNotFound as _, Result},
    operation::Query,
};

/// Reads the public part of any account. An erased account can still be read, without its name.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::queries::GetUser;
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// let user = messenger.query(&ada, GetUser { user_id: bob.user()? }).await?;
/// assert_eq!(user.username.as_str(), "bob");
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetUser {
    /// The account.
    pub user_id: UserId,
}

impl Query for GetUser {
    type Output = User;
    const NAME: &'static str = "GetUser";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::NotFound];

    async fn run(self, cx: &Cx) -> Result<User> {
        cx.actor().user()?;
        let user = cx.store().user(self.user_id).await.or_not_found(|| Error::NotFound("person"))?;
        Ok(convert::user(user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ports::StoreErrorKind,
        testing::{Scene, Who::*, code},
    };

    #[tokio::test]
    async fn everybody_sees_the_names_of_everybody() {
        let scene = Scene::new().await;
        for who in [Owner, Stranger] {
            let user = scene.ask(who, GetUser { user_id: scene.id(Member) }).await;
            assert_eq!((user.id, user.username.as_str()), (scene.id(Member), "member"));
            assert_eq!(user.display_name.as_str(), "member");
            assert_eq!(user.created_at, scene.messenger.service().context.now());
        }
    }

    #[tokio::test]
    async fn an_erased_account_is_there_without_a_name() {
        let scene = Scene::new().await;
        let user = scene.ask(Stranger, GetUser { user_id: scene.id(Erased) }).await;
        assert_eq!(user.display_name.as_str(), "Deleted account");
        assert_eq!(user.username.as_str(), format!("deleted:{}", user.id));
    }

    #[tokio::test]
    async fn an_unknown_account_is_not_found_and_a_store_that_fails_is_none() {
        let scene = Scene::new().await;
        let answer = scene.query(Owner, GetUser { user_id: scene.id(Nobody) }).await;
        assert_eq!(code(&answer), "notFound");
        assert!(answer.unwrap_err().to_string().contains("such person"));
        scene.store.fail("user", StoreErrorKind::Unavailable, 1);
        assert_eq!(code(&scene.query(Owner, GetUser { user_id: scene.id(Member) }).await), "unavailable");
    }
}

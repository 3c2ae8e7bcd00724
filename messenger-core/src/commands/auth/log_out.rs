use serde::Deserialize;

use super::publish_ended;
use crate::{
    cx::Cx,
    error::{Error, ErrorCode, OrNotFound as _, Result},
    operation::Command,
    ports::Topic,
};

/// Ends the caller's session and its live connections.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{Actor, Password, commands::{LogIn, LogOut}};
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// let log_in = LogIn { login: "ada".into(), password: Password::new("correct horse"), device: None };
/// let token = messenger.execute(&Actor::anonymous(), log_in).await?.token;
/// let ada = messenger.authenticate(token.expose()).await?;
/// messenger.execute(&ada, LogOut {}).await?;
/// assert_eq!(messenger.authenticate(token.expose()).await.unwrap_err().code(), "unauthenticated");
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogOut {}

impl Command for LogOut {
    type Output = ();
    const NAME: &'static str = "LogOut";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::Forbidden];

    async fn run(self, cx: &mut Cx) -> Result<()> {
        let user = cx.actor().user()?;
        let session = cx.actor().session().ok_or(Error::Forbidden("Only a session can be logged out."))?;
        cx.begin_write([Topic::User(user)]);
        cx.store().end_session(user, session).await.or_not_found(|| Error::Unauthenticated)?;
        publish_ended(cx, user, vec![session]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Actor,
        commands::LogIn,
        domain::Password,
        ports::StoreErrorKind,
        testing::{Scene, Told, Who::*, code},
    };

    #[tokio::test]
    async fn the_session_that_asks_ends_with_its_sockets() {
        let scene = Scene::new().await;
        let login = LogIn { login: "member".into(), password: Password::new("correct horse"), device: None };
        let token = scene.messenger.execute(&Actor::anonymous(), login).await.unwrap().token;
        let actor = scene.messenger.authenticate(token.expose()).await.unwrap();
        scene.messenger.execute(&actor, LogOut {}).await.unwrap();
        assert_eq!(scene.told().await, [Told::ended(scene.id(Member), &[actor.session().unwrap()])]);
        assert_eq!(code(&scene.messenger.authenticate(token.expose()).await), "unauthenticated");
        // Other sessions stay valid.
        scene.must(Member, LogOut {}).await;
    }

    #[tokio::test]
    async fn a_session_ends_once() {
        let scene = Scene::new().await;
        scene.must(Member, LogOut {}).await;
        scene.told().await;
        assert_eq!(code(&scene.execute(Member, LogOut {}).await), "unauthenticated");
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn whom_the_host_has_authenticated_has_no_session_to_end() {
        let scene = Scene::new().await;
        let actor = Actor::on_behalf_of(scene.id(Member));
        assert_eq!(code(&scene.messenger.execute(&actor, LogOut {}).await), "forbidden");
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn a_store_that_fails_has_ended_nothing() {
        let scene = Scene::new().await;
        scene.store.fail("end_session", StoreErrorKind::Unavailable, 1);
        assert_eq!(code(&scene.execute(Member, LogOut {}).await), "unavailable");
        assert_eq!(scene.told().await, []);
    }
}

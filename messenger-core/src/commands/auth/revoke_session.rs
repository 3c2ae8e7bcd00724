use serde::Deserialize;

use super::publish_ended;
use crate::{
    cx::Cx,
    domain::SessionId,
    error::{Error, ErrorCode, OrNotFound as _, Result},
    operation::Command,
    ports::Topic,
};

/// Ends one of the person's own sessions, and its live connections.
///
/// Errors: `notFound`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{Actor, Password, commands::{LogIn, RevokeSession}, queries::ListSessions};
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// let log_in = LogIn { login: "ada".into(), password: Password::new("correct horse"), device: Some("phone".into()) };
/// let phone = messenger.execute(&Actor::anonymous(), log_in).await?;
///
/// // The phone is lost.
/// let sessions = messenger.query(&ada, ListSessions { limit: None, cursor: None }).await?;
/// let lost = sessions.items.iter().find(|session| !session.current).unwrap();
/// messenger.execute(&ada, RevokeSession { session_id: lost.id }).await?;
/// assert!(messenger.authenticate(phone.token.expose()).await.is_err());
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
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
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::NotFound];

    async fn run(self, cx: &mut Cx) -> Result<()> {
        let user = cx.actor().user()?;
        cx.begin_write([Topic::User(user)]);
        cx.store().end_session(user, self.session_id).await.or_not_found(|| Error::NotFound("session"))?;
        publish_ended(cx, user, vec![self.session_id]);
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
    async fn one_ends_any_session_of_ones_own_with_its_sockets() {
        let scene = Scene::new().await;
        let login = LogIn { login: "member".into(), password: Password::new("correct horse"), device: None };
        let token = scene.messenger.execute(&Actor::anonymous(), login).await.unwrap().token;
        let other = scene.messenger.authenticate(token.expose()).await.unwrap().session().unwrap();
        // Also the caller's own session, and that one last: nothing can be asked in it afterwards.
        for session_id in [other, scene.session(Member)] {
            scene.must(Member, RevokeSession { session_id }).await;
            assert_eq!(scene.told().await, [Told::ended(scene.id(Member), &[session_id])]);
            let again = scene.execute(Member, RevokeSession { session_id }).await;
            assert_eq!(code(&again), "notFound");
        }
        assert_eq!(code(&scene.messenger.authenticate(token.expose()).await), "unauthenticated");
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn sessions_of_others_are_not_found() {
        let scene = Scene::new().await;
        for session_id in [scene.session(Owner), scene.messenger.service().context.id()] {
            let answer = scene.execute(Member, RevokeSession { session_id }).await;
            assert_eq!(code(&answer), "notFound");
            assert!(answer.unwrap_err().to_string().contains("such session"));
        }
        assert_eq!(scene.told().await, []);
        scene.must(Owner, RevokeSession { session_id: scene.session(Owner) }).await;
    }

    #[tokio::test]
    async fn a_store_that_fails_is_no_unknown_session() {
        let scene = Scene::new().await;
        scene.store.fail("end_session", StoreErrorKind::Unavailable, 1);
        let answer = scene.execute(Member, RevokeSession { session_id: scene.session(Member) }).await;
        assert_eq!(code(&answer), "unavailable");
        assert_eq!(scene.told().await, []);
    }
}

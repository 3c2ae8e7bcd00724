use serde::Deserialize;

use crate::{
    convert,
    cx::Cx,
    domain::{Cursor, Page, Session, SessionId},
    error::{ErrorCode, Result},
    operation::Query,
    queries::{page_size, place},
};

/// Lists the caller's sessions, newest first.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::queries::ListSessions;
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// let sessions = messenger.query(&ada, ListSessions { limit: None, cursor: None }).await?;
/// assert_eq!(sessions.items.len(), 1);
/// assert!(sessions.items[0].current);
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListSessions {
    /// Maximum number of entries on a page.
    pub limit: Option<u32>,
    /// The `nextCursor` of the previous page.
    pub cursor: Option<Cursor>,
}

impl Query for ListSessions {
    type Output = Page<Session>;
    const NAME: &'static str = "ListSessions";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::Invalid];

    async fn run(self, cx: &Cx) -> Result<Page<Session>> {
        let user = cx.actor().user()?;
        let limit = page_size(self.limit, cx.limits())?;
        let after: Option<SessionId> = place(self.cursor.as_ref())?;
        let now = cx.context().now();
        let sessions = cx.store().sessions(user).await?;
        // Newest first, and ids rise with time.
        let page: Vec<Session> = sessions
            .into_iter()
            .filter(|session| session.expires_at > now && after.is_none_or(|after| session.id < after))
            .take(limit + 1)
            .map(|session| convert::session(session, cx.actor().session()))
            .collect();
        Ok(Page::of(page, limit, |session| session.id))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        Actor, Settings,
        commands::{LogIn, LogOut},
        domain::Password,
        testing::{Scene, Setup, Who::*},
    };

    const LIFETIME: Duration = Duration::from_secs(3600);

    async fn scene() -> Scene {
        let settings = Settings { session_lifetime: LIFETIME, ..Settings::default() };
        Scene::with(Setup { settings, ..Setup::default() }).await
    }

    /// Logs the member in once more, one second later.
    async fn log_in(scene: &Scene, device: &str) -> Actor {
        scene.clock.advance(Duration::from_secs(1));
        let (login, password) = ("member".into(), Password::new("correct horse"));
        let login = LogIn { login, password, device: Some(device.into()) };
        let token = scene.messenger.execute(&Actor::anonymous(), login).await.unwrap().token;
        scene.messenger.authenticate(token.expose()).await.unwrap()
    }

    fn page(limit: u32, cursor: Option<Cursor>) -> ListSessions {
        ListSessions { limit: Some(limit), cursor }
    }

    #[tokio::test]
    async fn ones_own_live_sessions_are_listed_newest_first() {
        let scene = scene().await;
        let first = scene.messenger.service().context.now();
        let ended = log_in(&scene, "desk").await;
        let phone = log_in(&scene, "phone").await;
        let tablet = log_in(&scene, "tablet").await;
        scene.messenger.execute(&ended, LogOut {}).await.unwrap();
        let sessions = scene.messenger.query(&phone, page(200, None)).await.unwrap();
        assert_eq!(sessions.next_cursor, None);
        let expected =
            [(tablet, Some("tablet"), 3), (phone, Some("phone"), 2), (scene.actor(Member), None, 0)];
        let expected = expected.map(|(actor, device, after)| {
            let created_at = first.after(Duration::from_secs(after));
            Session {
                id: actor.session().unwrap(),
                created_at,
                last_used_at: created_at,
                expires_at: created_at.after(LIFETIME),
                device: device.map(crate::Device::trusted),
                current: actor == phone,
            }
        });
        assert_eq!(sessions.items, expected);
    }

    #[tokio::test]
    async fn pages_follow_each_other_without_gap_or_repetition() {
        let scene = scene().await;
        for _ in 0..4 {
            log_in(&scene, "phone").await;
        }
        let all = scene.ask(Member, page(200, None)).await.items;
        for (limit, sizes) in [(1, &[1, 1, 1, 1, 1][..]), (2, &[2, 2, 1]), (4, &[4, 1]), (5, &[5])] {
            let (mut cursor, mut items) = (None, Vec::new());
            for (n, size) in sizes.iter().enumerate() {
                let page = scene.ask(Member, page(limit, cursor)).await;
                assert_eq!(page.items.len(), *size, "{limit}");
                assert_eq!(page.next_cursor.is_none(), n + 1 == sizes.len(), "{limit}");
                items.extend(page.items);
                cursor = page.next_cursor;
            }
            assert_eq!(items, all, "{limit}");
        }
    }

    #[tokio::test]
    async fn a_session_is_listed_until_it_expires() {
        let scene = scene().await;
        log_in(&scene, "phone").await;
        for (after, listed) in [(LIFETIME - Duration::from_secs(2), 2), (Duration::from_secs(1), 1)] {
            scene.clock.advance(after);
            assert_eq!(scene.ask(Member, page(200, None)).await.items.len(), listed);
        }
        scene.clock.advance(Duration::from_secs(1));
        assert_eq!(scene.ask(Member, page(200, None)).await.items, []);
    }

    #[tokio::test]
    async fn whom_the_host_has_authenticated_asks_in_no_session() {
        let scene = scene().await;
        let actor = Actor::on_behalf_of(scene.id(Member));
        let sessions = scene.messenger.query(&actor, page(200, None)).await.unwrap().items;
        assert_eq!(sessions.iter().map(|session| session.current).collect::<Vec<_>>(), [false]);
    }
}

use serde::Deserialize;

use crate::{
    cx::Cx,
    domain::{Page, Presence, UserId},
    error::{Error, ErrorCode, Result},
    operation::Query,
};

/// Whether people are online, in the order of `userIds`. An unknown person is offline; one whose presence is not known at present
/// is left out.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::queries::GetPresence;
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// let connection = messenger.connect(&bob).await?;
/// let people = vec![ada.user()?, bob.user()?];
/// let presence = messenger.query(&ada, GetPresence { user_ids: people }).await?.items;
/// assert!(!presence[0].online && presence[1].online);
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetPresence {
    /// The people; at most 200.
    pub user_ids: Vec<UserId>,
}

impl Query for GetPresence {
    type Output = Page<Presence>;
    const NAME: &'static str = "GetPresence";
    const ERRORS: &'static [ErrorCode] = &[ErrorCode::Invalid];

    async fn run(self, cx: &Cx) -> Result<Page<Presence>> {
        cx.actor().user()?;
        let max = cx.limits().presence_users;
        if self.user_ids.len() > max {
            return Err(Error::invalid("userIds", format!("may name at most {max} people")));
        }
        Ok(Page::whole(cx.hub().presence_of(&self.user_ids).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::Limits,
        ports::UserStore as _,
        testing::{Scene, Setup, Who::*, code, pointers},
    };

    #[tokio::test]
    async fn people_are_answered_for_in_the_order_in_which_they_are_named() {
        let scene = Scene::new().await;
        let seen = scene.messenger.service().context.now();
        scene.store.set_last_seen(&[(scene.id(Owner), seen), (scene.id(Member), seen)]).await.unwrap();
        let _connection = scene.messenger.connect(&scene.actor(Member)).await.unwrap();
        let user_ids = scene.ids([Owner, Nobody, Member, Admin, Owner]);
        let answer = scene.ask(Stranger, GetPresence { user_ids: user_ids.clone() }).await;
        let expected = [(false, Some(seen)), (false, None), (true, None), (false, None), (false, Some(seen))];
        let expected = user_ids.into_iter().zip(expected);
        let expected: Vec<_> = expected
            .map(|(user_id, (online, last_seen_at))| Presence { user_id, online, last_seen_at })
            .collect();
        assert_eq!(answer, Page::whole(expected));
    }

    #[tokio::test]
    async fn at_most_so_many_are_named_at_once() {
        let limits = Limits { presence_users: 3, ..Limits::default() };
        let scene = Scene::with(Setup { limits, ..Setup::default() }).await;
        for (named, wrong) in [(0, ""), (3, ""), (4, "/userIds")] {
            // A person named several times counts several times.
            let answer = scene.query(Owner, GetPresence { user_ids: vec![scene.id(Member); named] }).await;
            assert_eq!(pointers(&answer).concat(), wrong, "{named}");
            assert_eq!(code(&answer), if wrong.is_empty() { "ok" } else { "invalid" }, "{named}");
        }
    }
}

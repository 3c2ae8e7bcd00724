use serde::Deserialize;

use super::roster::{as_message, note, read};
use crate::{
    commands::{attempts::Attempts, view},
    cx::Cx,
    domain::{Chat, ChatId, RetentionPeriod, Role, SystemEvent, SystemNote},
    error::{Error, ErrorCode, Result},
    operation::Command,
    ports::{RetentionChange, Topic},
};

/// Sets for how long messages of a group are kept; without a time, it is for as long as the service keeps them. For the owner.
///
/// Messages that are older are turned into tombstones within a few minutes. A group can't keep messages for longer than the
/// service does. Setting the same time again changes nothing.
///
/// Errors: `notFound`, `forbidden` (also in a direct chat, which has no owner), `invalid`, `conflict`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use messenger_core::{RetentionPeriod, commands::SetRetention};
///
/// # let messenger = messenger_core::Messenger::in_memory();
/// # let ada = messenger_core::doc::register(&messenger, "ada").await;
/// # let bob = messenger_core::doc::register(&messenger, "bob").await;
/// # let chat_id = messenger_core::doc::group(&messenger, &ada, &[&bob]).await;
/// let chat = messenger.execute(&ada, SetRetention { chat_id, seconds: Some(86_400) }).await?;
/// assert_eq!(chat.retention.map(RetentionPeriod::as_secs), Some(86_400));
///
/// let refused = messenger.execute(&bob, SetRetention { chat_id, seconds: None }).await;
/// assert_eq!(refused.unwrap_err().code(), "forbidden");
/// # Ok::<(), messenger_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetRetention {
    /// The group.
    pub chat_id: ChatId,
    /// For how many seconds messages are kept, from 60 to 3155760000.
    #[cfg_attr(feature = "openapi", schema(minimum = 60, maximum = 3_155_760_000_u64))]
    pub seconds: Option<u64>,
}

impl SetRetention {
    fn checked(&self, service: Option<RetentionPeriod>) -> Result<Option<RetentionPeriod>> {
        let Some(seconds) = self.seconds else { return Ok(None) };
        let period = RetentionPeriod::from_secs(seconds)
            .map_err(|error| Error::invalid("seconds", format!("{error}")))?;
        match service.filter(|service| period > *service) {
            Some(service) => {
                let longest = service.as_secs();
                Err(Error::invalid(
                    "seconds",
                    format!("must be at most {longest}: no message is kept longer"),
                ))
            }
            None => Ok(Some(period)),
        }
    }
}

impl Command for SetRetention {
    type Output = Chat;
    const NAME: &'static str = "SetRetention";
    const ERRORS: &'static [ErrorCode] =
        &[ErrorCode::NotFound, ErrorCode::Forbidden, ErrorCode::Invalid, ErrorCode::Conflict];

    async fn run(self, cx: &mut Cx) -> Result<Chat> {
        let user = cx.actor().user()?;
        let retention = self.checked(cx.settings().retention)?;
        let mut attempts = Attempts::new();
        loop {
            let snapshot = read(cx, self.chat_id, user).await?;
            if snapshot.me.role < Role::Owner {
                return Err(Error::Forbidden("Only the owner of the group may do this."));
            }
            let now = view(cx, self.chat_id, user).await?;
            if now.retention == retention {
                // The call that made the change may have lost its answer, so that nobody was told.
                cx.invalidate(vec![Topic::Chat(self.chat_id)]);
                return Ok(now);
            }
            let said = SystemNote { retention, ..note(SystemEvent::RetentionChanged, Vec::new()) };
            let change = RetentionChange {
                chat: self.chat_id,
                expected: snapshot.roster.chat.roster_version,
                retention,
                message: as_message(cx, user, &said),
            };
            cx.begin_write([Topic::Chat(self.chat_id)]);
            if let Some(changed) = attempts.settled(cx.store().set_retention(change).await)? {
                cx.publish_changes(&changed.chat, changed.messages);
                return view(cx, self.chat_id, user).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ports::StoreErrorKind,
        testing::{Scene, Who::*, code, pointers},
    };

    fn keep(scene: &Scene, seconds: Option<u64>) -> SetRetention {
        SetRetention { chat_id: scene.group, seconds }
    }

    fn changed(seconds: Option<u64>) -> SystemNote {
        let retention = seconds.map(|seconds| RetentionPeriod::from_secs(seconds).unwrap());
        SystemNote { retention, ..note(SystemEvent::RetentionChanged, Vec::new()) }
    }

    #[tokio::test]
    async fn only_the_owner_says_how_long_messages_are_kept() {
        for (who, outcome) in
            [(Owner, "ok"), (Admin, "forbidden"), (Member, "forbidden"), (Stranger, "notFound")]
        {
            let scene = Scene::new().await;
            let answer = scene.execute(who, keep(&scene, Some(3600))).await;
            assert_eq!(code(&answer), outcome, "{who:?}");
            let expected = [scene.update(who, changed(Some(3600)))];
            assert_eq!(scene.updates().await, expected[..usize::from(outcome == "ok")], "{who:?}");
            let chat = scene.chat(Owner, scene.group).await;
            assert_eq!(chat.retention.is_some(), outcome == "ok");
            if let Ok(answer) = answer {
                assert_eq!(answer, chat);
            }
        }
    }

    #[tokio::test]
    async fn a_direct_chat_has_no_owner() {
        let scene = Scene::new().await;
        for (who, outcome) in [(Owner, "forbidden"), (Member, "forbidden"), (Stranger, "notFound")] {
            let keep = SetRetention { chat_id: scene.direct, seconds: Some(3600) };
            assert_eq!(code(&scene.execute(who, keep).await), outcome, "{who:?}");
        }
    }

    #[tokio::test]
    async fn a_time_is_from_a_minute_to_a_hundred_years() {
        let scene = Scene::new().await;
        for seconds in [60, 3_155_760_000] {
            let chat = scene.must(Owner, keep(&scene, Some(seconds))).await;
            assert_eq!(chat.retention.map(RetentionPeriod::as_secs), Some(seconds));
        }
        scene.told().await;
        for seconds in [0, 59, 3_155_760_001, u64::MAX] {
            let refused = scene.execute(Owner, keep(&scene, Some(seconds))).await;
            assert_eq!(pointers(&refused), ["/seconds"], "{seconds}");
        }
        assert_eq!(scene.updates().await, []);
        assert_eq!(scene.must(Owner, keep(&scene, None)).await.retention, None);
        assert_eq!(scene.updates().await, [scene.update(Owner, changed(None))]);
    }

    #[tokio::test]
    async fn the_time_that_it_has_changes_nothing() {
        let scene = Scene::new().await;
        let before = scene.chat(Owner, scene.group).await;
        assert_eq!(scene.must(Owner, keep(&scene, None)).await, before);
        let kept = scene.must(Owner, keep(&scene, Some(60))).await;
        scene.told().await;
        assert_eq!(scene.must(Owner, keep(&scene, Some(60))).await, kept);
        assert_eq!(scene.updates().await, []);
    }

    #[tokio::test]
    async fn others_may_get_ahead_of_it_seven_times() {
        for (times, outcome) in [(7, "ok"), (8, "conflict")] {
            let scene = Scene::new().await;
            scene.store.fail("set_retention", StoreErrorKind::Conflict, times);
            assert_eq!(code(&scene.execute(Owner, keep(&scene, Some(60))).await), outcome, "{times}");
        }
    }
}

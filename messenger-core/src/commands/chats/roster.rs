//! Changes of members, roles and title: decided on a snapshot, stored if nothing has changed since, and otherwise
//! decided anew.

use crate::{
    commands::attempts::Attempts,
    convert,
    cx::Cx,
    domain::{ChatId, ChatKind, Role, SystemEvent, SystemNote, UserId},
    error::{Error, OrNotFound as _, Result},
    ports::{
        Content, MemberRecord, NewSystemMessage, Roster, RosterChange, RosterChanged, StoreErrorKind, Topic,
    },
};

/// A chat with all its members, as seen by the member who wants to change it.
pub(super) struct Snapshot {
    pub(super) roster: Roster,
    pub(super) me: MemberRecord,
}

/// The changes to make, and the system messages that record them.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) add: Vec<UserId>,
    pub(super) remove: Vec<UserId>,
    pub(super) roles: Vec<(UserId, Role)>,
    pub(super) title: Option<Content>,
    pub(super) notes: Vec<SystemNote>,
}

impl Snapshot {
    /// Requires that this person may change members and title.
    pub(super) fn require_admin(&self) -> Result<()> {
        if self.me.role >= Role::Admin {
            return Ok(());
        }
        Err(Error::Forbidden("Only the owner and admins of the group may do this."))
    }

    pub(super) fn member(&self, user: UserId) -> Option<&MemberRecord> {
        self.roster.members.iter().find(|member| member.user_id == user)
    }
}

/// A note that records what happened to which people.
pub(super) fn note(event: SystemEvent, user_ids: Vec<UserId>) -> SystemNote {
    SystemNote { event, user_ids, title: None, role: None, retention: None }
}

/// Lets `decide` determine the change of a group that the actor is in, and repeats that until no other write comes
/// first. If it returns `None`, there is nothing to do: the call that made the change may have lost its answer, so that
/// nobody was told, and the chat is compared with the store.
pub(super) async fn change(
    cx: &mut Cx,
    chat: ChatId,
    user: UserId,
    decide: impl Fn(&Snapshot) -> Result<Option<Draft>> + Send,
) -> Result<Option<RosterChanged>> {
    let mut attempts = Attempts::new();
    loop {
        let snapshot = read(cx, chat, user).await?;
        let Some(draft) = decide(&snapshot)? else {
            cx.invalidate(vec![Topic::Chat(chat)]);
            return Ok(None);
        };
        let change = as_change(cx, &snapshot, user, draft);
        let added: Vec<Topic> = change.add.iter().map(|user| Topic::User(*user)).collect();
        cx.begin_write([Topic::Chat(chat)].into_iter().chain(added));
        let changed = match cx.store().change_roster(change).await {
            Err(error) if error.kind() == StoreErrorKind::NotFound => {
                return Err(Error::invalid("userIds", "names somebody who does not exist"));
            }
            changed => attempts.settled(changed)?,
        };
        if let Some(changed) = changed {
            cx.publish_changes(&changed.chat, changed.messages.clone());
            return Ok(Some(changed));
        }
    }
}

/// The chat as the person sees it who wants to change it; `forbidden` in a direct chat.
pub(super) async fn read(cx: &Cx, chat: ChatId, user: UserId) -> Result<Snapshot> {
    let roster = cx.store().roster(chat).await.or_not_found(|| Error::NotFound("chat"))?;
    let me = roster.members.iter().find(|member| member.user_id == user).cloned();
    let snapshot = Snapshot { roster, me: me.ok_or(Error::NotFound("chat"))? };
    if snapshot.roster.chat.kind == ChatKind::Direct {
        return Err(Error::Forbidden("A direct chat is between the same two people for good."));
    }
    Ok(snapshot)
}

fn as_change(cx: &Cx, snapshot: &Snapshot, user: UserId, draft: Draft) -> RosterChange {
    let at = cx.context().now();
    let message = |note: &SystemNote| NewSystemMessage { at, ..as_message(cx, user, note) };
    RosterChange {
        chat: snapshot.roster.chat.id,
        expected: snapshot.roster.chat.roster_version,
        add: draft.add,
        remove: draft.remove,
        roles: draft.roles,
        title: draft.title,
        messages: draft.notes.iter().map(message).collect(),
    }
}

/// A system message of now.
pub(super) fn as_message(cx: &Cx, user: UserId, note: &SystemNote) -> NewSystemMessage {
    let context = cx.context();
    NewSystemMessage { id: context.id(), sender: user, note: convert::write_note(note), at: context.now() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commands::{AddMembers, LeaveChat, RemoveMember, SetRole, UpdateChat},
        ports::ChatStore as _,
        testing::{
            Scene,
            Who::{self, *},
            code,
        },
    };

    /// Every kind of change that a group can have.
    #[derive(Debug, Clone, Copy)]
    enum Change {
        Add,
        Remove,
        Leave,
        Role,
        Title,
    }

    const ALL: [Change; 5] = [Change::Add, Change::Remove, Change::Leave, Change::Role, Change::Title];

    impl Change {
        /// Executes the change; in the group only the owner may.
        async fn ask(self, scene: &Scene, who: Who, chat_id: ChatId) -> &'static str {
            let user_id = scene.id(Member);
            match self {
                Self::Add => {
                    let user_ids = scene.ids([Stranger]);
                    code(&scene.execute(who, AddMembers { chat_id, user_ids }).await)
                }
                Self::Remove => code(&scene.execute(who, RemoveMember { chat_id, user_id }).await),
                Self::Leave => code(&scene.execute(who, LeaveChat { chat_id }).await),
                Self::Role => {
                    code(&scene.execute(who, SetRole { chat_id, user_id, role: Role::Admin }).await)
                }
                Self::Title => {
                    code(&scene.execute(who, UpdateChat { chat_id, title: "Coffee".into() }).await)
                }
            }
        }
    }

    #[tokio::test]
    async fn a_direct_chat_is_between_the_same_two_people_for_good() {
        let scene = Scene::new().await;
        let before = scene.store.roster(scene.direct).await.unwrap();
        for change in ALL {
            for (who, outcome) in [(Owner, "forbidden"), (Member, "forbidden"), (Admin, "notFound")] {
                assert_eq!(change.ask(&scene, who, scene.direct).await, outcome, "{change:?} by {who:?}");
            }
        }
        assert_eq!(scene.store.roster(scene.direct).await.unwrap(), before);
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn to_those_who_are_not_in_it_there_is_no_such_group() {
        let scene = Scene::new().await;
        let before = scene.store.roster(scene.group).await.unwrap();
        for change in ALL {
            for who in [Left, Removed, Erased, Stranger, Nobody] {
                assert_eq!(change.ask(&scene, who, scene.group).await, "notFound", "{change:?} by {who:?}");
            }
            let unknown = scene.messenger.service().context.id();
            assert_eq!(change.ask(&scene, Owner, unknown).await, "notFound", "{change:?}");
        }
        let unknown = LeaveChat { chat_id: scene.messenger.service().context.id() };
        let error = scene.execute(Owner, unknown).await.unwrap_err();
        assert_eq!(error.to_string(), "There is no such chat, or it is not yours to see.");
        assert_eq!(scene.store.roster(scene.group).await.unwrap(), before);
        assert_eq!(scene.told().await, []);
    }

    #[tokio::test]
    async fn others_may_get_ahead_of_a_change_seven_times() {
        for change in ALL {
            for (times, outcome) in [(7, "ok"), (8, "conflict")] {
                let scene = Scene::new().await;
                scene.store.fail("change_roster", StoreErrorKind::Conflict, times);
                assert_eq!(change.ask(&scene, Owner, scene.group).await, outcome, "{change:?} {times}");
                assert_eq!(scene.updates().await.is_empty(), outcome != "ok", "{change:?} {times}");
            }
        }
    }

    #[tokio::test]
    async fn a_store_that_fails_is_not_asked_again() {
        for (method, kind, outcome) in [
            ("roster", StoreErrorKind::Unavailable, "unavailable"),
            ("change_roster", StoreErrorKind::Unavailable, "unavailable"),
            ("change_roster", StoreErrorKind::Corrupt, "internal"),
        ] {
            let scene = Scene::new().await;
            scene.store.fail(method, kind, 1);
            assert_eq!(Change::Title.ask(&scene, Owner, scene.group).await, outcome, "{method} {kind:?}");
            assert_eq!(scene.updates().await, []);
        }
    }
}

//! Changes of members, roles and title: decided on a snapshot, stored if nothing has changed since, else decided anew.

use crate::{
    commands::ATTEMPTS,
    convert,
    domain::{ChatId, ChatKind, Role, SystemEvent, SystemNote, Title, UserId},
    error::{Error, Result},
    messenger::Cx,
    ports::{MemberRecord, NewSystemMessage, Roster, RosterChange, RosterChanged, StoreErrorKind, Topic},
};

/// A chat with all its members, as somebody who wants to change it sees it.
pub(super) struct Snapshot {
    pub(super) roster: Roster,
    pub(super) me: MemberRecord,
}

/// What is to be changed, and what the history will say of it.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) add: Vec<UserId>,
    pub(super) remove: Vec<UserId>,
    pub(super) roles: Vec<(UserId, Role)>,
    pub(super) title: Option<Title>,
    pub(super) notes: Vec<SystemNote>,
}

impl Snapshot {
    /// Whether this person may change members and title.
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

/// A note that says what happened to whom.
pub(super) fn note(event: SystemEvent, user_ids: Vec<UserId>) -> SystemNote {
    SystemNote { event, user_ids, title: None, role: None }
}

/// Lets `decide` say what is to be changed in a group that the actor is in, until nobody got ahead of it.
/// `None` from it means that there is nothing to do: whoever has done it may not have been answered, so that nobody was
/// told, and the chat is compared with what is stored.
pub(super) async fn change(
    cx: &mut Cx,
    chat: ChatId,
    user: UserId,
    decide: impl Fn(&Snapshot) -> Result<Option<Draft>> + Send,
) -> Result<Option<RosterChanged>> {
    for _ in 0..ATTEMPTS {
        let snapshot = read(cx, chat, user).await?;
        let Some(draft) = decide(&snapshot)? else {
            cx.tell_invalid(vec![Topic::Chat(chat)]);
            return Ok(None);
        };
        let change = as_change(cx, &snapshot, user, draft);
        let added: Vec<Topic> = change.add.iter().map(|user| Topic::User(*user)).collect();
        cx.writes([Topic::Chat(chat)].into_iter().chain(added));
        match cx.store().change_roster(change).await {
            Err(error) if error.kind() == StoreErrorKind::Conflict => {}
            Err(error) if error.kind() == StoreErrorKind::NotFound => {
                return Err(Error::invalid("userIds", "names somebody who does not exist"));
            }
            changed => {
                let changed = changed?;
                tell(cx, &changed)?;
                return Ok(Some(changed));
            }
        }
    }
    Err(Error::Conflict)
}

async fn read(cx: &Cx, chat: ChatId, user: UserId) -> Result<Snapshot> {
    let roster = match cx.store().roster(chat).await {
        Err(error) if error.kind() == StoreErrorKind::NotFound => return Err(Error::NotFound("chat")),
        found => found?,
    };
    let me = roster.members.iter().find(|member| member.user_id == user).cloned();
    let snapshot = Snapshot { roster, me: me.ok_or(Error::NotFound("chat"))? };
    if snapshot.roster.chat.kind == ChatKind::Direct {
        return Err(Error::Forbidden("A direct chat is between the same two people for good."));
    }
    Ok(snapshot)
}

fn as_change(cx: &Cx, snapshot: &Snapshot, user: UserId, draft: Draft) -> RosterChange {
    let at = cx.context().now();
    let message = |note: &SystemNote| NewSystemMessage {
        id: cx.context().id(),
        sender: user,
        note: convert::write_note(note),
        at,
    };
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

fn tell(cx: &mut Cx, changed: &RosterChanged) -> Result<()> {
    cx.tell_changes(&changed.chat, changed.messages.clone())?;
    Ok(())
}

use std::collections::{HashMap, HashSet, VecDeque};

use super::Hub;
use crate::{
    convert,
    domain::{ChatId, Event, Revision, SystemEvent, UserId},
    error::Result,
    ports::{ChatHead, ChatView},
};

/// Chats and changes read in one step.
const CHATS_AT_ONCE: usize = 50;
const CHANGES_AT_ONCE: u64 = 2000;
/// Changes sent in one catch-up over all chats; what is left then is reset.
const CHANGES_IN_ALL: u64 = 20_000;

/// What a client that came back is still to be sent. Read step by step, so that the memory it takes is bounded.
#[derive(Debug)]
pub(super) struct CatchUp {
    /// Events to be sent now.
    pub(super) ready: VecDeque<Event>,
    added: VecDeque<ChatId>,
    reset: VecDeque<ChatId>,
    behind: VecDeque<Behind>,
    /// Chats that are no longer the person's, and a revision at which they were not: what waits of them is old.
    pub(super) gone: Vec<(ChatId, Revision)>,
    finished: bool,
}

#[derive(Debug, Clone, Copy)]
struct Behind {
    chat: ChatId,
    since: Revision,
    changes: u64,
}

impl CatchUp {
    pub(super) fn nothing() -> Self {
        Self::new(VecDeque::new())
    }

    fn new(ready: VecDeque<Event>) -> Self {
        Self {
            ready,
            added: VecDeque::new(),
            reset: VecDeque::new(),
            behind: VecDeque::new(),
            gone: Vec::new(),
            finished: false,
        }
    }

    /// Compares what the client has with the store. If changes have gone out already, older ones can't be sent
    /// in order any more, and a chat that has them is reset.
    pub(super) async fn plan(
        hub: &Hub,
        user: UserId,
        mut chats: HashMap<ChatId, Revision>,
        has_told_changes: bool,
    ) -> Result<Self> {
        let mut heads = hub.store.memberships(user).await?.chats;
        let mut plan = Self::new(VecDeque::new());
        let theirs = |heads: &[ChatHead]| heads.iter().map(|head| head.chat).collect::<HashSet<_>>();
        let seen = theirs(&heads);
        let gone: Vec<ChatId> = chats.keys().filter(|chat| !seen.contains(chat)).copied().collect();
        for some in gone.chunks(CHATS_AT_ONCE) {
            plan.gone.extend(hub.store.revisions(some).await?);
        }
        if !plan.gone.is_empty() {
            // Looked at again, so that no revision of these is later than the moment at which they are not there.
            heads = hub.store.memberships(user).await?.chats;
            let seen = theirs(&heads);
            plan.gone.retain(|(chat, _)| !seen.contains(chat));
        }
        let mut in_all = 0;
        for ChatHead { chat, revision: head, .. } in heads {
            let Some(since) = chats.remove(&chat) else {
                plan.added.push_back(chat);
                continue;
            };
            if since == head {
                plan.behind.push_back(Behind { chat, since, changes: 0 });
                continue;
            }
            let changes = head.get().saturating_sub(since.get());
            in_all += changes;
            let too_much = changes > hub.limits.catch_up as u64 || in_all > CHANGES_IN_ALL;
            if since > head || has_told_changes || too_much {
                plan.reset.push_back(chat);
            } else {
                plan.behind.push_back(Behind { chat, since, changes });
            }
        }
        plan.ready.extend(chats.into_keys().map(|chat_id| Event::ChatRemoved { chat_id }));
        Ok(plan)
    }

    /// Reads the next step into `ready`, and answers up to which revision the client has chats then; `None` when all
    /// has been sent. Dropping the future loses nothing.
    pub(super) async fn read_more(
        &mut self,
        hub: &Hub,
        user: UserId,
    ) -> Result<Option<Vec<(ChatId, Revision)>>> {
        if !self.behind.is_empty() {
            return self.read_changes(hub, user).await.map(Some);
        }
        for (chats, event) in [
            (&mut self.reset, (|chat| Event::ChatReset { chat }) as fn(_) -> _),
            (&mut self.added, |chat| Event::ChatAdded { chat }),
        ] {
            if !chats.is_empty() {
                let step: Vec<ChatId> = chats.iter().take(CHATS_AT_ONCE).copied().collect();
                let views = hub.store.chat_views(user, &step).await?;
                chats.drain(..step.len());
                return views
                    .into_iter()
                    .map(|view| show(&mut self.ready, view, event))
                    .collect::<Result<_>>()
                    .map(Some);
            }
        }
        if self.finished {
            return Ok(None);
        }
        self.finished = true;
        self.ready.push_back(Event::CaughtUp {});
        Ok(Some(Vec::new()))
    }

    async fn read_changes(&mut self, hub: &Hub, user: UserId) -> Result<Vec<(ChatId, Revision)>> {
        let mut known = Vec::new();
        let mut step = Vec::new();
        let (mut taken, mut changes) = (0, 0);
        for behind in &self.behind {
            if step.len() >= CHATS_AT_ONCE || (changes + behind.changes > CHANGES_AT_ONCE && changes > 0) {
                break;
            }
            taken += 1;
            changes += behind.changes;
            if behind.changes > 0 {
                step.push((behind.chat, behind.since));
            } else {
                // Its room may lag behind the store and repeat what the client has.
                known.push((behind.chat, behind.since));
            }
        }
        let limit = hub.limits.catch_up;
        let read = if step.is_empty() { Vec::new() } else { hub.store.changes(&step, limit).await? };
        self.behind.drain(..taken);
        for found in read {
            let since = step
                .iter()
                .find(|(chat, _)| *chat == found.chat.id)
                .map_or(Revision::ZERO, |(_, since)| *since);
            if found.truncated {
                // It grew meanwhile.
                self.reset.push_back(found.chat.id);
                continue;
            }
            let mut events = Vec::with_capacity(found.messages.len());
            for message in found.messages {
                events.push(convert::event(message, &found.chat, since)?);
            }
            let mut until = found.chat.revision;
            if let Some(removal) = removal_of(user, &events) {
                // The word of it waits in the mailbox.
                until = Revision::new(removal.get() - 1);
                events.retain(|event| event.change().is_some_and(|(_, revision)| revision < removal));
            }
            known.push((found.chat.id, until));
            self.ready.extend(events);
        }
        Ok(known)
    }
}

/// The last of these changes that took the person out, unless a later one has brought them back. The client may have
/// taken its time since it was seen to be a member.
fn removal_of(user: UserId, events: &[Event]) -> Option<Revision> {
    events.iter().rev().find_map(|event| match event {
        Event::ChatUpdated(update) => match &update.message.system {
            Some(note) if !note.user_ids.contains(&user) => None,
            Some(note) => match note.event {
                SystemEvent::MembersRemoved | SystemEvent::MemberLeft => Some(Some(update.revision)),
                SystemEvent::MembersAdded => Some(None),
                SystemEvent::Created | SystemEvent::RoleChanged | SystemEvent::TitleChanged => None,
            },
            None => None,
        },
        _ => None,
    })?
}

fn show(
    ready: &mut VecDeque<Event>,
    view: ChatView,
    event: fn(Box<crate::domain::Chat>) -> Event,
) -> Result<(ChatId, Revision)> {
    let chat = convert::chat(view)?;
    let known = (chat.id, chat.revision);
    ready.push_back(event(Box::new(chat)));
    Ok(known)
}

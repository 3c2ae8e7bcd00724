//! The stored history of a chat, as what clients were told is compared with it.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{Id, Shown, Stored};

/// One chat.
#[derive(Debug)]
pub(super) struct Truth<'s> {
    stored: &'s Stored,
    /// Messages by the revision of their last change.
    current: BTreeMap<u64, &'s Shown>,
    members: BTreeMap<&'s Id, Vec<Span>>,
}

/// A time in which somebody was a member.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: u64,
    /// The change by which they were one no longer.
    until: Option<u64>,
}

impl<'s> Truth<'s> {
    pub(super) fn of(stored: &'s Stored) -> Self {
        let current: BTreeMap<_, _> =
            stored.messages.iter().map(|message| (message.revision, message)).collect();
        let always = |user| (user, vec![Span { from: 0, until: None }]);
        let mut truth = Self { stored, members: stored.direct.iter().map(always).collect(), current };
        let changes: Vec<_> = truth.current.values().copied().collect();
        for message in changes {
            truth.move_members(message);
        }
        truth
    }

    fn move_members(&mut self, message: &'s Shown) {
        let Some(system) = &message.system else { return };
        let revision = message.revision;
        for user in &system.users {
            let spans = self.members.entry(user).or_default();
            match system.event.as_str() {
                "created" | "membersAdded" => spans.push(Span { from: revision, until: None }),
                "membersRemoved" | "memberLeft" => {
                    if let Some(span) = spans.last_mut() {
                        span.until = Some(revision);
                    }
                }
                _ => {}
            }
        }
    }

    /// The last revision.
    pub(super) fn head(&self) -> u64 {
        self.current.keys().next_back().copied().unwrap_or(0)
    }

    /// The message whose last change this is; none if it has changed since.
    pub(super) fn current(&self, revision: u64) -> Option<&'s Shown> {
        self.current.get(&revision).copied()
    }

    /// Changes after `has` and before `revision` that nothing has taken the place of.
    pub(super) fn left_out(&self, has: u64, revision: u64) -> Vec<u64> {
        if has + 1 >= revision {
            return Vec::new();
        }
        self.current.range(has + 1..revision).map(|(revision, _)| *revision).collect()
    }

    pub(super) fn was_member(&self, user: &Id, at: u64) -> bool {
        self.spans(user).iter().any(|span| span.from <= at && span.until.is_none_or(|until| at < until))
    }

    pub(super) fn is_member(&self, user: &Id) -> bool {
        self.member_since(user).is_some()
    }

    /// Since when the person is a member, if they are one in the end.
    pub(super) fn member_since(&self, user: &Id) -> Option<u64> {
        self.spans(user).last().filter(|span| span.until.is_none()).map(|span| span.from)
    }

    /// The first change by which the person stopped being a member after `since`.
    pub(super) fn left_after(&self, user: &Id, since: u64) -> Option<u64> {
        self.spans(user).iter().filter_map(|span| span.until).find(|until| *until > since)
    }

    fn spans(&self, user: &Id) -> &[Span] {
        self.members.get(user).map_or(&[], |spans| spans)
    }

    pub(super) fn messages(&self) -> &'s [Shown] {
        &self.stored.messages
    }

    /// How often each person was added, or taken out.
    pub(super) fn moves(&self, user: &Id) -> (usize, usize) {
        let spans = self.spans(user);
        (spans.len(), spans.iter().filter(|span| span.until.is_some()).count())
    }

    /// Text messages by what their senders called them.
    pub(super) fn client_ids(&self) -> (BTreeMap<&'s Id, &'s Shown>, BTreeSet<&'s Id>) {
        let (mut by_name, mut twice) = (BTreeMap::new(), BTreeSet::new());
        for message in self.stored.messages.iter().filter(|message| message.system.is_none()) {
            if let Some(name) = &message.client_id
                && by_name.insert(name, message).is_some()
            {
                twice.insert(name);
            }
        }
        (by_name, twice)
    }
}

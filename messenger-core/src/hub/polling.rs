//! Asks the store every few seconds which chats have changed, in case this node was not told of it. The cost depends on
//! how much was changed, and not on how many chats are idle.

use std::{collections::HashMap, time::Duration};

use tokio::time::{sleep, timeout};

use super::{Hub, bounds::RETRY};
use crate::{
    domain::{ChatId, Revision, Timestamp},
    error::Result,
    ports::{ChangedChat, StoreErrorKind},
};

/// How far each question overlaps the one before: the clocks of nodes differ, and a change is stored some time after it
/// was given its time. What comes later than that is found when everything is compared.
const OVERLAP: Duration = Duration::from_secs(10);
/// Maximum number of chats in an answer. Where more have changed, everything is compared.
const CHATS: usize = 10_000;
/// Maximum number of chats whose members are read to find those on this node. Where there are more, everybody on this
/// node is compared.
const ROSTERS: usize = 100;

/// What was asked and answered last.
#[derive(Debug)]
struct Polled {
    /// When the last question that was answered was asked.
    at: Timestamp,
    /// Chats that no connection here was in, and that somebody may have joined since.
    strange: HashMap<ChatId, Revision>,
}

impl Hub {
    /// Whether chats that have changed are asked for.
    pub(super) fn polls(&self) -> bool {
        self.store.capabilities().shared && !self.settings.poll_interval.is_zero()
    }

    /// Polls at intervals, and whenever something may have been lost.
    pub(super) async fn poll_at_intervals(&self) {
        if !self.polls() {
            return std::future::pending().await;
        }
        let mut polled = Polled { at: self.context.now(), strange: HashMap::new() };
        loop {
            // Either is a reason to ask.
            let _ = timeout(self.settings.poll_interval, self.checks.poll_wanted.notified()).await;
            if let Err(error) = self.poll(&mut polled).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the chats that have changed could not be read");
            }
            // Losses that follow each other closely are one question.
            sleep(RETRY).await;
        }
    }

    async fn poll(&self, polled: &mut Polled) -> Result<()> {
        let now = self.context.now();
        // The clock may have been set back.
        let since = polled.at.min(now).before(OVERLAP);
        let changed = self.store.changed_since(since, CHATS).await?;
        polled.at = now;
        if changed.len() >= CHATS {
            self.compare_everything();
            return Ok(());
        }
        let is_behind = |changed: &&ChangedChat| {
            self.room(changed.chat).is_some_and(|room| room.delivered() != changed.revision)
        };
        let behind: Vec<_> = changed.iter().filter(is_behind).map(|changed| changed.chat).collect();
        if !behind.is_empty() {
            self.checks.want(&behind, &[]);
        }
        let was_here = |chat| self.room(chat).is_some_and(|room| room.made_at() < since);
        let strange =
            changed.iter().filter(|changed| changed.may_have_new_members && !was_here(changed.chat));
        let strange = strange.map(|changed| (changed.chat, changed.revision)).collect();
        self.look_for_new_members(strange, polled).await
    }

    /// Finds people on this node who were added to chats of which this node had no room then: if it has one now, that was
    /// made for somebody else, and with the change that has added them given out.
    async fn look_for_new_members(
        &self,
        joined: HashMap<ChatId, Revision>,
        polled: &mut Polled,
    ) -> Result<()> {
        let is_new = |(chat, revision): &(&ChatId, &Revision)| polled.strange.get(*chat) != Some(*revision);
        let new: Vec<ChatId> = joined.iter().filter(is_new).map(|(chat, _)| *chat).collect();
        if self.users.is_empty() {
            // Nobody to look for.
        } else if new.len() > ROSTERS {
            let users: Vec<_> = self.users.iter().map(|user| *user.key()).collect();
            self.checks.want(&[], &users);
        } else {
            for chat in new {
                self.compare_members(chat).await?;
            }
        }
        polled.strange = joined;
        Ok(())
    }

    async fn compare_members(&self, chat: ChatId) -> Result<()> {
        let members = match self.store.roster(chat).await {
            Ok(roster) => roster.members,
            Err(error) if error.kind() == StoreErrorKind::Unavailable => return Err(error.into()),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, %chat, "a chat can't be read");
                return Ok(());
            }
        };
        let users = members.iter().map(|member| member.user_id);
        let here: Vec<_> = users.filter(|user| self.users.contains_key(user)).collect();
        if !here.is_empty() {
            self.checks.want(&[], &here);
        }
        Ok(())
    }
}

mod accounts;
mod chats;
mod look;
mod messages;

use std::{fmt, sync::Arc};

use super::{
    replica::Replica,
    step::{Pick, Step},
};
use crate::{
    domain::{ChatId, Id, MessageId, SessionId, UserId},
    ports::{Store, StoreErrorKind, StoreResult},
    testkit::World,
};

/// A history that is played to the world's store, and to a reference store that must answer the same.
///
/// Intents are built from what the world's store returns, with ids and times of the world, so that both stores receive
/// exactly the same calls.
pub(super) struct Play {
    world: World,
    rival: Option<Arc<dyn Store>>,
    replica: Option<Replica>,
    users: Vec<UserId>,
    sessions: Vec<(UserId, SessionId)>,
    chats: Vec<ChatId>,
    texts: Vec<(ChatId, MessageId)>,
}

impl Play {
    pub(super) fn new(world: World, rival: Option<Arc<dyn Store>>, replica: Option<Replica>) -> Self {
        Self { world, rival, replica, users: vec![], sessions: vec![], chats: vec![], texts: vec![] }
    }

    pub(super) async fn all(&mut self, steps: Vec<Step>) {
        for step in steps {
            self.step(step).await;
        }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Register { name, address } => self.register(name, address).await,
            Step::UpdateUser(update) => self.update_user(update).await,
            Step::ChangePassword { who, keep, stale } => self.change_password(who, keep, stale).await,
            Step::EraseUser { who, stale } => self.erase_user(who, stale).await,
            Step::Seen { who } => self.set_last_seen(who).await,
            Step::LogIn { who, max, stale } => self.log_in(who, max, stale).await,
            Step::Touch { session, used, expires } => self.touch(session, used, expires).await,
            Step::LogOut { who, session } => self.log_out(who, session).await,
            Step::RemoveExpired => self.remove_expired().await,
            Step::OpenDirect { a, b } => self.open_direct(a, b).await,
            Step::CreateGroup { creator, members, client_id } => {
                self.create_group(creator, members, client_id).await;
            }
            Step::ChangeRoster(roster) => self.change_roster(roster).await,
            Step::Mute { chat, who, until } => self.mute(chat, who, until).await,
            Step::Append { batch } => self.append(batch).await,
            Step::Edit { message, stale, misplaced } => self.edit(message, stale, misplaced).await,
            Step::Delete { message, stale, misplaced } => self.delete(message, stale, misplaced).await,
            Step::EraseMessages { message, limit } => self.erase_messages(message, limit).await,
            Step::Mark { batch } => self.mark(batch).await,
            Step::Look { who, chat, place, limit } => self.look(who, chat, place, limit).await,
            Step::Sync { limit } => self.sync(limit).await,
        }
    }

    /// Runs the intent on both stores and compares the answers.
    async fn ask<T: PartialEq + fmt::Debug>(
        &self,
        intent: impl AsyncFn(&dyn Store) -> StoreResult<T>,
    ) -> Result<T, StoreErrorKind> {
        let answer = intent(&*self.world.store).await.map_err(|error| error.kind());
        if let Some(rival) = &self.rival {
            let theirs = intent(&**rival).await.map_err(|error| error.kind());
            assert_eq!(theirs, answer, "the store's answer is not that of the in-memory store");
        }
        answer
    }

    fn user(&self, pick: Pick) -> UserId {
        pick_or_unknown(&self.users, pick, &self.world)
    }

    fn chat(&self, pick: Pick) -> ChatId {
        pick_or_unknown(&self.chats, pick, &self.world)
    }

    async fn sync(&mut self, limit: Pick) {
        if let Some(replica) = &mut self.replica {
            replica.sync(&*self.world.store, &self.chats, limit.into()).await;
        }
    }
}

/// Mostly picks a known id, sometimes an unknown one.
fn pick_or_unknown<K>(known: &[Id<K>], pick: Pick, world: &World) -> Id<K> {
    if known.is_empty() || pick == 39 { world.id() } else { known[usize::from(pick) % known.len()] }
}

fn kinds<T>(answers: Vec<StoreResult<T>>) -> Vec<Result<T, StoreErrorKind>> {
    answers.into_iter().map(|answer| answer.map_err(|error| error.kind())).collect()
}

fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort_unstable();
    items
}

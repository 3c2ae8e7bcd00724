use std::time::Duration;

use super::{Play, sorted};
use crate::{
    domain::{DisplayName, SessionId, UserId},
    ports::{Content, Store, StoredAddress, StoredName, UpdateUser},
    testkit::model::step::{Pick, Update},
};

impl Play {
    pub(super) async fn register(&mut self, name: Pick, address: Pick) {
        let (mut user, session) = self.world.account(&format!("user{name}"));
        user.email = stored_address(address);
        let answer = self.ask(async |store| store.create_user(user.clone(), session.clone()).await).await;
        if answer.is_ok() {
            self.users.push(user.id);
            self.sessions.push((user.id, session.id));
        }
    }

    pub(super) async fn update_user(&self, update: Update) {
        let id = self.user(update.who);
        let update = UpdateUser {
            id,
            expected: self.version(id, update.stale).await,
            display_name: update
                .name
                .map(|name| StoredName::from(&DisplayName::trusted(format!("Name {name}")))),
            // If there are two reasons to refuse, no port defines which one is reported.
            email: update.address.filter(|_| !update.stale).map(stored_address),
            notify_email: Some(update.notify),
            preferences: None,
        };
        let _ = self.ask(async |store| store.update_user(update.clone()).await).await;
    }

    pub(super) async fn change_password(&self, who: Pick, keep: Option<Pick>, stale: bool) {
        let user = self.user(who);
        let (expected, hash) = (self.version(user, stale).await, format!("$hash-{}", self.world.tick()));
        let keep = keep.map(|keep| self.session(keep).1);
        let change =
            self.ask(async |store| store.change_password(user, expected, &hash, keep).await.map(sorted));
        let _ = change.await;
    }

    pub(super) async fn erase_user(&self, who: Pick, stale: bool) {
        let user = self.user(who);
        let (expected, at) = (self.version(user, stale).await, self.world.tick());
        let erasure = self.world.erasure(user, expected, at);
        let _ = self.ask(async |store| store.erase_user(&erasure).await.map(sorted)).await;
    }

    pub(super) async fn set_last_seen(&self, who: Vec<(Pick, Pick)>) {
        let now = self.world.tick();
        let moment = |ago: Pick| now.before(Duration::from_secs(ago.into()));
        let seen: Vec<_> = who.into_iter().map(|(who, ago)| (self.user(who), moment(ago))).collect();
        self.ask(async |store| store.set_last_seen(&seen).await).await.unwrap();
    }

    pub(super) async fn log_in(&mut self, who: Pick, max: Pick, stale: bool) {
        let mut session = self.world.session(self.user(who));
        session.expires_at = session.created_at.after(Duration::from_secs(20));
        let expected = self.version(session.user_id, stale).await;
        let create = async |store: &dyn Store| {
            store.create_session(session.clone(), expected, max.into()).await.map(sorted)
        };
        if self.ask(create).await.is_ok() {
            self.sessions.push((session.user_id, session.id));
        }
    }

    pub(super) async fn touch(&self, session: Pick, used: Pick, expires: Pick) {
        let (now, session) = (self.world.tick(), self.session(session).1);
        // Steps that no sum of ticks equals, so that no two sessions are used at the same time.
        let used = now.before(Duration::from_micros(700_003) * used.into());
        let expires = now.after(Duration::from_millis(1_500) * expires.into());
        self.ask(async |store| store.touch_session(session, used, expires).await).await.unwrap();
    }

    pub(super) async fn log_out(&self, who: Pick, session: Pick) {
        let (owner, session) = self.session(session);
        let user = if who.is_multiple_of(2) { owner } else { self.user(who) };
        let _ = self.ask(async |store| store.end_session(user, session).await).await;
    }

    /// Removes all of them: which ones a limit leaves out is the store's choice.
    pub(super) async fn remove_expired(&self) {
        let now = self.world.tick();
        self.ask(async |store| store.remove_expired_sessions(now, 10_000).await).await.unwrap();
    }

    /// The account's version, or the previous one.
    async fn version(&self, user: UserId, stale: bool) -> u64 {
        let version = self.world.store.user(user).await.map_or(1, |user| user.version);
        version - u64::from(stale)
    }

    fn session(&self, pick: Pick) -> (UserId, SessionId) {
        let sessions = &self.sessions;
        if sessions.is_empty() {
            (self.world.id(), self.world.id())
        } else {
            sessions[usize::from(pick) % sessions.len()]
        }
    }
}

fn stored_address(address: Pick) -> StoredAddress {
    let key = format!("address{address}").into_bytes();
    StoredAddress { content: Content(key.clone()), key }
}

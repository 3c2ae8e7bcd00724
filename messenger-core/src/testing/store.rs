#![deny(clippy::missing_trait_methods)]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::{
    domain::{ChatId, JobId, MessageId, NotifyLevel, Revision, SessionId, Timestamp, TokenHash, UserId},
    memory::MemoryStore,
    ports::*,
};

/// A store in memory that counts its calls, fails on request, and lets other work run before or after a call.
#[derive(Default)]
pub(crate) struct TestStore {
    inner: Arc<MemoryStore>,
    plan: Mutex<Plan>,
    /// It says that no other process writes to it.
    is_alone: bool,
    /// Other nodes of the test go on with what is in it.
    outlives: bool,
}

#[derive(Default)]
struct Plan {
    calls: HashMap<&'static str, usize>,
    faults: HashMap<&'static str, Fault>,
    meanwhile: HashMap<&'static str, BoxFuture<'static, ()>>,
    afterwards: HashMap<&'static str, BoxFuture<'static, ()>>,
    lost: HashMap<&'static str, usize>,
    hangs: bool,
}

struct Fault {
    kind: StoreErrorKind,
    /// How many calls still succeed before it.
    after: usize,
    times: usize,
}

impl TestStore {
    /// One to which no other process may write, or one that is shared.
    pub(crate) fn of(is_alone: bool) -> Self {
        Self { is_alone, ..Self::default() }
    }

    /// One node's way to a store that several nodes use.
    pub(crate) fn on(inner: &Arc<MemoryStore>) -> Arc<Self> {
        Arc::new(Self { inner: Arc::clone(inner), plan: Mutex::default(), is_alone: false, outlives: true })
    }

    /// Carries out the next `times` calls of a method of jobs, and answers as if it could not be reached.
    pub(crate) fn lose(&self, method: &'static str, times: usize) {
        self.plan().lost.insert(method, times);
    }

    /// From now on no call comes back, and none is carried out: the node is as good as dead.
    pub(crate) fn hang(&self, hangs: bool) {
        self.plan().hangs = hangs;
    }

    fn heard<T>(&self, method: &'static str, answer: StoreResult<T>) -> StoreResult<T> {
        match self.plan().lost.get_mut(method) {
            Some(times) if *times > 0 => {
                *times -= 1;
                Err(StoreErrorKind::Unavailable.into())
            }
            _ => answer,
        }
    }

    /// Makes the next `times` calls of a method fail with this error, without being carried out.
    pub(crate) fn fail(&self, method: &'static str, kind: StoreErrorKind, times: usize) {
        self.plan().faults.insert(method, Fault { kind, after: 0, times });
    }

    /// Makes one call of a method fail without being carried out, after `after` successful calls.
    pub(crate) fn fail_after(&self, method: &'static str, after: usize, kind: StoreErrorKind) {
        self.plan().faults.insert(method, Fault { kind, after, times: 1 });
    }

    /// Runs work before the next call of a method is carried out.
    pub(crate) fn meanwhile(&self, method: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.plan().meanwhile.insert(method, Box::pin(work));
    }

    /// Runs work after the next read of views or memberships is carried out, and before it is answered.
    pub(crate) fn afterwards(&self, method: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.plan().afterwards.insert(method, Box::pin(work));
    }

    async fn leave(&self, method: &'static str) {
        let afterwards = self.plan().afterwards.remove(method);
        if let Some(work) = afterwards {
            work.await;
        }
    }

    /// How often a method was called.
    pub(crate) fn calls(&self, method: &'static str) -> usize {
        self.plan().calls.get(method).copied().unwrap_or_default()
    }

    async fn enter(&self, method: &'static str) -> StoreResult<&MemoryStore> {
        if self.plan().hangs {
            std::future::pending::<()>().await;
        }
        let meanwhile = self.plan().meanwhile.remove(method);
        if let Some(work) = meanwhile {
            work.await;
        }
        let mut plan = self.plan();
        *plan.calls.entry(method).or_default() += 1;
        match plan.faults.get_mut(method) {
            Some(fault) if fault.after > 0 => fault.after -= 1,
            Some(fault) if fault.times > 0 => {
                fault.times -= 1;
                return Err(fault.kind.into());
            }
            _ => {}
        }
        Ok(&self.inner)
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap()
    }
}

#[async_trait]
impl Store for TestStore {
    fn capabilities(&self) -> Capabilities {
        let capabilities = self.inner.capabilities();
        if self.is_alone { capabilities.with_shared(false) } else { capabilities }
    }

    async fn ping(&self) -> StoreResult<()> {
        self.enter("ping").await?.ping().await
    }

    async fn close(&self) {
        if !self.outlives {
            self.inner.close().await;
        }
    }
}

#[async_trait]
impl UserStore for TestStore {
    async fn create_user(&self, user: NewUser, session: NewSession) -> StoreResult<()> {
        self.enter("create_user").await?.create_user(user, session).await
    }

    async fn user(&self, user: UserId) -> StoreResult<UserRecord> {
        self.enter("user").await?.user(user).await
    }

    async fn users(&self, users: &[UserId]) -> StoreResult<Vec<UserRecord>> {
        self.enter("users").await?.users(users).await
    }

    async fn user_by_login(&self, login: LoginKey<'_>) -> StoreResult<UserRecord> {
        self.enter("user_by_login").await?.user_by_login(login).await
    }

    async fn find_users(
        &self,
        prefix: &str,
        after: Option<&NamePlace>,
        limit: usize,
    ) -> StoreResult<Vec<FoundUser>> {
        self.enter("find_users").await?.find_users(prefix, after, limit).await
    }

    async fn update_user(&self, update: UpdateUser) -> StoreResult<UserRecord> {
        self.enter("update_user").await?.update_user(update).await
    }

    async fn change_password(
        &self,
        user: UserId,
        expected: u64,
        hash: &str,
        keep: Option<SessionId>,
    ) -> StoreResult<Vec<SessionId>> {
        self.enter("change_password").await?.change_password(user, expected, hash, keep).await
    }

    async fn upgrade_password(&self, user: UserId, former: &str, hash: &str) -> StoreResult<bool> {
        self.enter("upgrade_password").await?.upgrade_password(user, former, hash).await
    }

    async fn erase_user(&self, erase: &EraseUser) -> StoreResult<Vec<SessionId>> {
        self.enter("erase_user").await?.erase_user(erase).await
    }

    async fn set_last_seen(&self, seen: &[(UserId, Timestamp)]) -> StoreResult<()> {
        self.enter("set_last_seen").await?.set_last_seen(seen).await
    }

    async fn note_mail(&self, user: UserId, key: &[u8], outcome: MailOutcome) -> StoreResult<()> {
        self.enter("note_mail").await?.note_mail(user, key, outcome).await
    }

    async fn confirm_email(&self, user: UserId, key: &[u8], at: Timestamp) -> StoreResult<bool> {
        self.enter("confirm_email").await?.confirm_email(user, key, at).await
    }
}

#[async_trait]
impl SessionStore for TestStore {
    async fn create_session(
        &self,
        session: NewSession,
        expected: u64,
        max: usize,
    ) -> StoreResult<Vec<SessionId>> {
        self.enter("create_session").await?.create_session(session, expected, max).await
    }

    async fn session_by_token(&self, token: &TokenHash) -> StoreResult<SessionRecord> {
        self.enter("session_by_token").await?.session_by_token(token).await
    }

    async fn sessions(&self, user: UserId) -> StoreResult<Vec<SessionRecord>> {
        self.enter("sessions").await?.sessions(user).await
    }

    async fn touch_session(
        &self,
        session: SessionId,
        used: Timestamp,
        expires: Timestamp,
    ) -> StoreResult<()> {
        self.enter("touch_session").await?.touch_session(session, used, expires).await
    }

    async fn end_session(&self, user: UserId, session: SessionId) -> StoreResult<()> {
        self.enter("end_session").await?.end_session(user, session).await
    }

    async fn remove_expired_sessions(&self, now: Timestamp, limit: usize) -> StoreResult<usize> {
        self.enter("remove_expired_sessions").await?.remove_expired_sessions(now, limit).await
    }

    async fn existing_sessions(&self, sessions: &[SessionId]) -> StoreResult<Vec<SessionId>> {
        self.enter("existing_sessions").await?.existing_sessions(sessions).await
    }
}

#[async_trait]
impl ChatStore for TestStore {
    async fn open_direct(&self, chat: DirectChat) -> StoreResult<Opened> {
        self.enter("open_direct").await?.open_direct(chat).await
    }

    async fn create_group(&self, group: NewGroup) -> StoreResult<Opened> {
        self.enter("create_group").await?.create_group(group).await
    }

    async fn chat_views(&self, user: UserId, chats: &[ChatId], preview: usize) -> StoreResult<Vec<ChatView>> {
        let views = self.enter("chat_views").await?.chat_views(user, chats, preview).await;
        self.leave("chat_views").await;
        views
    }

    async fn list_chats(
        &self,
        user: UserId,
        after: Option<Activity>,
        limit: usize,
        preview: usize,
    ) -> StoreResult<Vec<ChatView>> {
        self.enter("list_chats").await?.list_chats(user, after, limit, preview).await
    }

    async fn membership(&self, chat: ChatId, user: UserId) -> StoreResult<Membership> {
        self.enter("membership").await?.membership(chat, user).await
    }

    async fn roster(&self, chat: ChatId) -> StoreResult<Roster> {
        self.enter("roster").await?.roster(chat).await
    }

    async fn change_roster(&self, change: RosterChange) -> StoreResult<RosterChanged> {
        self.enter("change_roster").await?.change_roster(change).await
    }

    async fn set_mute(&self, chat: ChatId, user: UserId, until: Option<Timestamp>) -> StoreResult<()> {
        self.enter("set_mute").await?.set_mute(chat, user, until).await
    }

    async fn set_notify_level(&self, chat: ChatId, user: UserId, level: NotifyLevel) -> StoreResult<()> {
        self.enter("set_notify_level").await?.set_notify_level(chat, user, level).await
    }

    async fn memberships(&self, user: UserId, left_after: Option<u64>) -> StoreResult<Memberships> {
        let memberships = self.enter("memberships").await?.memberships(user, left_after).await;
        self.leave("memberships").await;
        memberships
    }

    async fn membership_counts(&self, users: &[UserId]) -> StoreResult<Vec<(UserId, u64)>> {
        self.enter("membership_counts").await?.membership_counts(users).await
    }

    async fn revisions(&self, chats: &[ChatId]) -> StoreResult<Vec<(ChatId, Revision)>> {
        self.enter("revisions").await?.revisions(chats).await
    }

    async fn changed_since(&self, since: Timestamp, limit: usize) -> StoreResult<Vec<ChangedChat>> {
        self.enter("changed_since").await?.changed_since(since, limit).await
    }

    async fn chats_ever_joined(&self, user: UserId) -> StoreResult<Vec<ChatId>> {
        self.enter("chats_ever_joined").await?.chats_ever_joined(user).await
    }
}

#[async_trait]
impl MessageStore for TestStore {
    async fn append_messages(&self, batch: &[NewMessage]) -> StoreResult<Vec<StoreResult<Appended>>> {
        self.enter("append_messages").await?.append_messages(batch).await
    }

    async fn message(&self, chat: ChatId, message: MessageId) -> StoreResult<MessageRecord> {
        self.enter("message").await?.message(chat, message).await
    }

    async fn history(
        &self,
        chat: ChatId,
        user: UserId,
        anchor: Anchor,
        budget: Budget,
    ) -> StoreResult<HistoryRange> {
        self.enter("history").await?.history(chat, user, anchor, budget).await
    }

    async fn edit_message(&self, edit: EditMessage) -> StoreResult<MessageRecord> {
        self.enter("edit_message").await?.edit_message(edit).await
    }

    async fn delete_message(&self, delete: DeleteMessage) -> StoreResult<MessageRecord> {
        self.enter("delete_message").await?.delete_message(delete).await
    }

    async fn erase_messages(
        &self,
        chat: ChatId,
        sender: UserId,
        at: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<MessageRecord>> {
        self.enter("erase_messages").await?.erase_messages(chat, sender, at, limit).await
    }

    async fn changes(&self, since: &[(ChatId, Revision)], budget: Budget) -> StoreResult<Vec<Changes>> {
        self.enter("changes").await?.changes(since, budget).await
    }
}

#[async_trait]
impl MarkerStore for TestStore {
    async fn move_markers(&self, batch: &[MoveMarker]) -> StoreResult<Vec<StoreResult<MarkerMoved>>> {
        self.enter("move_markers").await?.move_markers(batch).await
    }
}

#[async_trait]
impl UnreadStore for TestStore {
    async fn claim_unread_chats(&self, claim: &ClaimUnread, limit: usize) -> StoreResult<Vec<ClaimedChat>> {
        self.enter("claim_unread_chats").await?.claim_unread_chats(claim, limit).await
    }

    async fn finish_unread_chat(&self, claimed: &ClaimedChat, due: Timestamp) -> StoreResult<bool> {
        self.enter("finish_unread_chat").await?.finish_unread_chat(claimed, due).await
    }

    async fn unread_members(
        &self,
        asked: &AskUnread,
        after: Option<UserId>,
        limit: usize,
    ) -> StoreResult<Vec<PendingMember>> {
        self.enter("unread_members").await?.unread_members(asked, after, limit).await
    }

    async fn unread_chats(
        &self,
        user: UserId,
        until: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<PendingChat>> {
        self.enter("unread_chats").await?.unread_chats(user, until, now, limit).await
    }

    async fn unread_lines(
        &self,
        user: UserId,
        ranges: &[UnreadRange],
        lines: usize,
    ) -> StoreResult<Vec<MessageRecord>> {
        self.enter("unread_lines").await?.unread_lines(user, ranges, lines).await
    }

    async fn record_notified(&self, notified: &Notified) -> StoreResult<bool> {
        self.enter("record_notified").await?.record_notified(notified).await
    }

    async fn people_last_seen(
        &self,
        after: SeenPlace,
        until: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<SeenPlace>> {
        self.enter("people_last_seen").await?.people_last_seen(after, until, limit).await
    }
}

#[async_trait]
impl JobStore for TestStore {
    async fn enqueue_jobs(&self, jobs: &[NewJob]) -> StoreResult<Vec<Enqueued>> {
        let answer = self.enter("enqueue_jobs").await?.enqueue_jobs(jobs).await;
        self.heard("enqueue_jobs", answer)
    }

    async fn claim_jobs(&self, claim: &ClaimJobs) -> StoreResult<Vec<ClaimedJob>> {
        let answer = self.enter("claim_jobs").await?.claim_jobs(claim).await;
        self.heard("claim_jobs", answer)
    }

    async fn renew_jobs(&self, claims: &[JobClaim], until: Timestamp) -> StoreResult<Vec<JobId>> {
        let answer = self.enter("renew_jobs").await?.renew_jobs(claims, until).await;
        self.heard("renew_jobs", answer)
    }

    async fn finish_jobs(&self, finished: &[FinishedJob], now: Timestamp) -> StoreResult<Vec<bool>> {
        let answer = self.enter("finish_jobs").await?.finish_jobs(finished, now).await;
        self.heard("finish_jobs", answer)
    }

    async fn job(&self, id: JobId) -> StoreResult<JobRecord> {
        self.enter("job").await?.job(id).await
    }

    async fn jobs(
        &self,
        filter: &JobFilter,
        before: Option<JobId>,
        limit: usize,
    ) -> StoreResult<Vec<JobRecord>> {
        self.enter("jobs").await?.jobs(filter, before, limit).await
    }

    async fn change_job(&self, id: JobId, change: JobChange, now: Timestamp) -> StoreResult<JobRecord> {
        self.enter("change_job").await?.change_job(id, change, now).await
    }

    async fn pause_jobs(&self, kind: &JobKind, paused: bool) -> StoreResult<()> {
        self.enter("pause_jobs").await?.pause_jobs(kind, paused).await
    }

    async fn job_counts(&self, now: Timestamp) -> StoreResult<Vec<JobCounts>> {
        self.enter("job_counts").await?.job_counts(now).await
    }

    async fn prune_jobs(&self, before: Timestamp, limit: usize) -> StoreResult<usize> {
        self.enter("prune_jobs").await?.prune_jobs(before, limit).await
    }
}

#[async_trait]
impl ScheduleStore for TestStore {
    async fn move_schedule(&self, moved: &MoveSchedule) -> StoreResult<bool> {
        let answer = self.enter("move_schedule").await?.move_schedule(moved).await;
        self.heard("move_schedule", answer)
    }

    async fn schedules(&self) -> StoreResult<Vec<ScheduleRecord>> {
        self.enter("schedules").await?.schedules().await
    }

    async fn remove_schedule(&self, name: &ScheduleName) -> StoreResult<bool> {
        self.enter("remove_schedule").await?.remove_schedule(name).await
    }
}

#[async_trait]
impl KeyStore for TestStore {
    async fn create_keys(&self, keys: &[StoredKey]) -> StoreResult<Vec<StoredKey>> {
        let answer = self.enter("create_keys").await?.create_keys(keys).await;
        self.heard("create_keys", answer)
    }

    async fn keys(&self, ids: &[KeyId]) -> StoreResult<Vec<StoredKey>> {
        self.enter("keys").await?.keys(ids).await
    }

    async fn list_keys(&self, after: Option<KeyId>, limit: usize) -> StoreResult<Vec<StoredKey>> {
        self.enter("list_keys").await?.list_keys(after, limit).await
    }

    async fn rewrap_keys(&self, rewraps: &[Rewrap]) -> StoreResult<usize> {
        let answer = self.enter("rewrap_keys").await?.rewrap_keys(rewraps).await;
        self.heard("rewrap_keys", answer)
    }

    async fn destroy_keys(&self, user: UserId, at: Timestamp) -> StoreResult<()> {
        let answer = self.enter("destroy_keys").await?.destroy_keys(user, at).await;
        self.heard("destroy_keys", answer)
    }
}

#[async_trait]
impl RetentionStore for TestStore {
    async fn set_retention(&self, change: RetentionChange) -> StoreResult<RosterChanged> {
        let answer = self.enter("set_retention").await?.set_retention(change).await;
        self.heard("set_retention", answer)
    }

    async fn overdue_chats(&self, asked: &AskOverdue, limit: usize) -> StoreResult<Vec<OverdueChat>> {
        self.enter("overdue_chats").await?.overdue_chats(asked, limit).await
    }

    async fn purge(&self, purge: &Purge) -> StoreResult<Purged> {
        let answer = self.enter("purge").await?.purge(purge).await;
        self.heard("purge", answer)
    }

    async fn hold(&self, hold: &Hold) -> StoreResult<bool> {
        let answer = self.enter("hold").await?.hold(hold).await;
        self.heard("hold", answer)
    }

    async fn release(&self, subject: HoldSubject) -> StoreResult<bool> {
        let answer = self.enter("release").await?.release(subject).await;
        self.heard("release", answer)
    }

    async fn holds(&self, after: Option<HoldSubject>, limit: usize) -> StoreResult<Vec<Hold>> {
        self.enter("holds").await?.holds(after, limit).await
    }

    async fn purges(&self, after: Option<PurgeId>, limit: usize) -> StoreResult<Vec<PurgeRecord>> {
        self.enter("purges").await?.purges(after, limit).await
    }
}

#[async_trait]
impl ContentStore for TestStore {
    async fn contents(&self, asked: &AskContents) -> StoreResult<ContentPage> {
        self.enter("contents").await?.contents(asked).await
    }

    async fn replace_contents(
        &self,
        field: ContentField,
        replacements: &[ReplaceContent],
    ) -> StoreResult<usize> {
        let answer = self.enter("replace_contents").await?.replace_contents(field, replacements).await;
        self.heard("replace_contents", answer)
    }
}

//! A node's way to the store, on which answers can be late, fail or get lost after the commit.

use std::{
    future::{Future, pending},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use messenger_core::{
    ChatId, ChatKind, JobId, MessageId, NotifyLevel, Revision, SessionId, Timestamp, TokenHash, UserId,
    ports::*,
};
use tokio::time::{Instant, sleep};

use crate::record::Record;

/// What goes wrong between one node and the store.
#[derive(Debug, Default)]
pub(crate) struct StoreFaults {
    /// So many writes are done, and answered as if they were not.
    pub(crate) lose_answers: usize,
    /// So many writes are not done.
    pub(crate) refuse_writes: usize,
    pub(crate) reads_fail_until: Option<Instant>,
    pub(crate) slow_until: Option<Instant>,
    /// The node is no more: nothing that it has under way goes on.
    pub(crate) dead: bool,
}

pub(crate) struct SimStore {
    inner: Arc<dyn Store>,
    record: Record,
    faults: Mutex<StoreFaults>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Read,
    Write,
}

impl SimStore {
    pub(crate) fn new(inner: Arc<dyn Store>, record: Record) -> Self {
        Self { inner, record, faults: Mutex::default() }
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, StoreFaults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read<T>(&self, op: impl Future<Output = StoreResult<T>> + Send) -> StoreResult<T> {
        self.travel().await;
        self.refuse(Kind::Read)?;
        let answer = op.await;
        self.travel().await;
        answer
    }

    /// `chats` says which of them may have changed.
    async fn write<T: Send>(
        &self,
        op: impl Future<Output = StoreResult<T>> + Send,
        chats: impl Fn(&T) -> Vec<ChatId> + Send,
    ) -> StoreResult<T> {
        self.travel().await;
        self.refuse(Kind::Write)?;
        let answer = op.await;
        if let Ok(done) = &answer {
            for chat in chats(done) {
                self.write_down(chat).await;
            }
        }
        let lost = {
            let mut faults = self.faults();
            let lost = faults.lose_answers > 0;
            faults.lose_answers = faults.lose_answers.saturating_sub(1);
            lost
        };
        self.travel().await;
        if lost {
            self.record.log("        the answer of that was lost");
            return Err(StoreErrorKind::Unavailable.into());
        }
        answer
    }

    async fn travel(&self) {
        let slow = self.faults().slow_until.is_some_and(|until| Instant::now() < until);
        let time = if slow { self.record.millis(500, 3000) } else { self.record.millis(0, 4) };
        sleep(time).await;
        if self.faults().dead {
            pending::<()>().await;
        }
    }

    fn refuse(&self, kind: Kind) -> StoreResult<()> {
        let mut faults = self.faults();
        let refused = match kind {
            Kind::Read => faults.reads_fail_until.is_some_and(|until| Instant::now() < until),
            Kind::Write => faults.refuse_writes > 0,
        };
        if kind == Kind::Write {
            faults.refuse_writes = faults.refuse_writes.saturating_sub(1);
        }
        if refused { Err(StoreErrorKind::Unavailable.into()) } else { Ok(()) }
    }

    /// In the same moment as the write: the memory store answers at once.
    async fn write_down(&self, chat: ChatId) {
        let known = self.record.lock().journal.get(chat).map_or(Revision::ZERO, |history| history.head());
        let changes = self
            .inner
            .changes(&[(chat, known)], Budget::of_messages(usize::MAX))
            .await
            .expect("the memory store answers");
        for Changes { messages, .. } in changes {
            self.record.lock().add(chat, messages);
        }
    }
}

fn none<T>(_: &T) -> Vec<ChatId> {
    Vec::new()
}

#[async_trait]
impl Store for SimStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default().with_append_lanes(2)
    }
    async fn ping(&self) -> StoreResult<()> {
        self.read(self.inner.ping()).await
    }
    /// Other nodes go on with it.
    async fn close(&self) {}
}

#[async_trait]
impl UserStore for SimStore {
    async fn create_user(&self, user: NewUser, session: NewSession) -> StoreResult<()> {
        self.write(self.inner.create_user(user, session), none).await
    }
    async fn user(&self, user: UserId) -> StoreResult<UserRecord> {
        self.read(self.inner.user(user)).await
    }
    async fn users(&self, users: &[UserId]) -> StoreResult<Vec<UserRecord>> {
        self.read(self.inner.users(users)).await
    }
    async fn user_by_login(&self, login: LoginKey<'_>) -> StoreResult<UserRecord> {
        self.read(self.inner.user_by_login(login)).await
    }
    async fn find_users(
        &self,
        prefix: &str,
        after: Option<&NamePlace>,
        limit: usize,
    ) -> StoreResult<Vec<FoundUser>> {
        self.read(self.inner.find_users(prefix, after, limit)).await
    }
    async fn update_user(&self, update: UpdateUser) -> StoreResult<UserRecord> {
        self.write(self.inner.update_user(update), none).await
    }
    async fn change_password(
        &self,
        user: UserId,
        expected: u64,
        hash: &str,
        keep: Option<SessionId>,
    ) -> StoreResult<Vec<SessionId>> {
        self.write(self.inner.change_password(user, expected, hash, keep), none).await
    }
    async fn upgrade_password(&self, user: UserId, former: &str, hash: &str) -> StoreResult<bool> {
        self.write(self.inner.upgrade_password(user, former, hash), none).await
    }
    async fn erase_user(&self, erase: &EraseUser) -> StoreResult<Vec<SessionId>> {
        self.write(self.inner.erase_user(erase), none).await
    }
    async fn set_last_seen(&self, seen: &[(UserId, Timestamp)]) -> StoreResult<()> {
        self.write(self.inner.set_last_seen(seen), none).await
    }

    async fn note_mail(&self, user: UserId, key: &[u8], outcome: MailOutcome) -> StoreResult<()> {
        self.write(self.inner.note_mail(user, key, outcome), none).await
    }

    async fn confirm_email(&self, user: UserId, key: &[u8], at: Timestamp) -> StoreResult<bool> {
        self.write(self.inner.confirm_email(user, key, at), none).await
    }
}

#[async_trait]
impl SessionStore for SimStore {
    async fn create_session(
        &self,
        session: NewSession,
        expected: u64,
        max: usize,
    ) -> StoreResult<Vec<SessionId>> {
        self.write(self.inner.create_session(session, expected, max), none).await
    }
    async fn session_by_token(&self, token: &TokenHash) -> StoreResult<SessionRecord> {
        self.read(self.inner.session_by_token(token)).await
    }
    async fn sessions(&self, user: UserId) -> StoreResult<Vec<SessionRecord>> {
        self.read(self.inner.sessions(user)).await
    }
    async fn touch_session(
        &self,
        session: SessionId,
        used: Timestamp,
        expires: Timestamp,
    ) -> StoreResult<()> {
        self.write(self.inner.touch_session(session, used, expires), none).await
    }
    async fn end_session(&self, user: UserId, session: SessionId) -> StoreResult<()> {
        self.write(self.inner.end_session(user, session), none).await
    }
    async fn remove_expired_sessions(&self, now: Timestamp, limit: usize) -> StoreResult<usize> {
        self.write(self.inner.remove_expired_sessions(now, limit), none).await
    }
    async fn existing_sessions(&self, sessions: &[SessionId]) -> StoreResult<Vec<SessionId>> {
        self.read(self.inner.existing_sessions(sessions)).await
    }
}

#[async_trait]
impl ChatStore for SimStore {
    async fn open_direct(&self, chat: DirectChat) -> StoreResult<Opened> {
        let users = chat.users;
        let opened = |opened: &Opened| self.opened(opened, ChatKind::Direct, &users);
        self.write(self.inner.open_direct(chat), opened).await
    }
    async fn create_group(&self, group: NewGroup) -> StoreResult<Opened> {
        let mut members = group.members.clone();
        members.push(group.creator);
        let opened = |opened: &Opened| self.opened(opened, ChatKind::Group, &members);
        self.write(self.inner.create_group(group), opened).await
    }
    async fn chat_views(&self, user: UserId, chats: &[ChatId], preview: usize) -> StoreResult<Vec<ChatView>> {
        self.read(self.inner.chat_views(user, chats, preview)).await
    }
    async fn list_chats(
        &self,
        user: UserId,
        after: Option<Activity>,
        limit: usize,
        preview: usize,
    ) -> StoreResult<Vec<ChatView>> {
        self.read(self.inner.list_chats(user, after, limit, preview)).await
    }
    async fn membership(&self, chat: ChatId, user: UserId) -> StoreResult<Membership> {
        self.read(self.inner.membership(chat, user)).await
    }
    async fn roster(&self, chat: ChatId) -> StoreResult<Roster> {
        self.read(self.inner.roster(chat)).await
    }
    async fn change_roster(&self, change: RosterChange) -> StoreResult<RosterChanged> {
        self.write(self.inner.change_roster(change), |changed| vec![changed.chat.id]).await
    }
    async fn set_mute(&self, chat: ChatId, user: UserId, until: Option<Timestamp>) -> StoreResult<()> {
        self.write(self.inner.set_mute(chat, user, until), none).await
    }

    async fn set_notify_level(&self, chat: ChatId, user: UserId, level: NotifyLevel) -> StoreResult<()> {
        self.write(self.inner.set_notify_level(chat, user, level), none).await
    }
    async fn memberships(&self, user: UserId, left_after: Option<u64>) -> StoreResult<Memberships> {
        let mut memberships = self.read(self.inner.memberships(user, left_after)).await?;
        // Where several writers commit at once, a store can't be sure of what came last.
        let unsure = self.record.lock().rng.below(5) as u64;
        memberships.settled = memberships.settled.saturating_sub(unsure);
        Ok(memberships)
    }
    async fn membership_counts(&self, users: &[UserId]) -> StoreResult<Vec<(UserId, u64)>> {
        self.read(self.inner.membership_counts(users)).await
    }
    async fn revisions(&self, chats: &[ChatId]) -> StoreResult<Vec<(ChatId, Revision)>> {
        self.read(self.inner.revisions(chats)).await
    }
    async fn changed_since(&self, since: Timestamp, limit: usize) -> StoreResult<Vec<ChangedChat>> {
        self.read(self.inner.changed_since(since, limit)).await
    }
    async fn chats_ever_joined(&self, user: UserId) -> StoreResult<Vec<ChatId>> {
        self.read(self.inner.chats_ever_joined(user)).await
    }
}

impl SimStore {
    fn opened(&self, opened: &Opened, kind: ChatKind, members: &[UserId]) -> Vec<ChatId> {
        if opened.created {
            let mut record = self.record.lock();
            record.log(&format!("        {kind:?} chat {} opened for {members:?}", opened.chat));
            record.journal.open(opened.chat, kind, members);
        }
        vec![opened.chat]
    }
}

#[async_trait]
impl MessageStore for SimStore {
    async fn append_messages(&self, batch: &[NewMessage]) -> StoreResult<Vec<StoreResult<Appended>>> {
        let chats: Vec<ChatId> = batch.iter().map(|message| message.chat).collect();
        self.write(self.inner.append_messages(batch), move |_| chats.clone()).await
    }
    async fn message(&self, chat: ChatId, message: MessageId) -> StoreResult<MessageRecord> {
        self.read(self.inner.message(chat, message)).await
    }
    async fn history(
        &self,
        chat: ChatId,
        user: UserId,
        anchor: Anchor,
        budget: Budget,
    ) -> StoreResult<HistoryRange> {
        self.read(self.inner.history(chat, user, anchor, budget)).await
    }
    async fn edit_message(&self, edit: EditMessage) -> StoreResult<MessageRecord> {
        self.write(self.inner.edit_message(edit), |message| vec![message.chat]).await
    }
    async fn delete_message(&self, delete: DeleteMessage) -> StoreResult<MessageRecord> {
        self.write(self.inner.delete_message(delete), |message| vec![message.chat]).await
    }
    async fn erase_messages(
        &self,
        chat: ChatId,
        sender: UserId,
        at: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<MessageRecord>> {
        self.write(self.inner.erase_messages(chat, sender, at, limit), move |_| vec![chat]).await
    }
    async fn changes(&self, since: &[(ChatId, Revision)], budget: Budget) -> StoreResult<Vec<Changes>> {
        self.read(self.inner.changes(since, budget)).await
    }
}

#[async_trait]
impl MarkerStore for SimStore {
    async fn move_markers(&self, batch: &[MoveMarker]) -> StoreResult<Vec<StoreResult<MarkerMoved>>> {
        self.write(self.inner.move_markers(batch), none).await
    }
}

#[async_trait]
impl UnreadStore for SimStore {
    async fn claim_unread_chats(&self, claim: &ClaimUnread, limit: usize) -> StoreResult<Vec<ClaimedChat>> {
        self.write(self.inner.claim_unread_chats(claim, limit), none).await
    }

    async fn finish_unread_chat(&self, claimed: &ClaimedChat, due: Timestamp) -> StoreResult<bool> {
        self.write(self.inner.finish_unread_chat(claimed, due), none).await
    }

    async fn unread_members(
        &self,
        asked: &AskUnread,
        after: Option<UserId>,
        limit: usize,
    ) -> StoreResult<Vec<PendingMember>> {
        self.read(self.inner.unread_members(asked, after, limit)).await
    }

    async fn unread_chats(
        &self,
        user: UserId,
        until: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<PendingChat>> {
        self.read(self.inner.unread_chats(user, until, now, limit)).await
    }

    async fn unread_lines(
        &self,
        user: UserId,
        ranges: &[UnreadRange],
        lines: usize,
    ) -> StoreResult<Vec<MessageRecord>> {
        self.read(self.inner.unread_lines(user, ranges, lines)).await
    }

    async fn record_notified(&self, notified: &Notified) -> StoreResult<bool> {
        self.write(self.inner.record_notified(notified), none).await
    }

    async fn people_last_seen(
        &self,
        after: SeenPlace,
        until: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<SeenPlace>> {
        self.read(self.inner.people_last_seen(after, until, limit)).await
    }
}

#[async_trait]
impl JobStore for SimStore {
    async fn enqueue_jobs(&self, jobs: &[NewJob]) -> StoreResult<Vec<Enqueued>> {
        self.write(self.inner.enqueue_jobs(jobs), none).await
    }

    async fn claim_jobs(&self, claim: &ClaimJobs) -> StoreResult<Vec<ClaimedJob>> {
        self.write(self.inner.claim_jobs(claim), none).await
    }

    async fn renew_jobs(&self, claims: &[JobClaim], until: Timestamp) -> StoreResult<Vec<JobId>> {
        self.write(self.inner.renew_jobs(claims, until), none).await
    }

    async fn finish_jobs(&self, finished: &[FinishedJob], now: Timestamp) -> StoreResult<Vec<bool>> {
        self.write(self.inner.finish_jobs(finished, now), none).await
    }

    async fn job(&self, id: JobId) -> StoreResult<JobRecord> {
        self.read(self.inner.job(id)).await
    }

    async fn jobs(
        &self,
        filter: &JobFilter,
        before: Option<JobId>,
        limit: usize,
    ) -> StoreResult<Vec<JobRecord>> {
        self.read(self.inner.jobs(filter, before, limit)).await
    }

    async fn change_job(&self, id: JobId, change: JobChange, now: Timestamp) -> StoreResult<JobRecord> {
        self.write(self.inner.change_job(id, change, now), none).await
    }

    async fn pause_jobs(&self, kind: &JobKind, paused: bool) -> StoreResult<()> {
        self.write(self.inner.pause_jobs(kind, paused), none).await
    }

    async fn job_counts(&self, now: Timestamp) -> StoreResult<Vec<JobCounts>> {
        self.read(self.inner.job_counts(now)).await
    }

    async fn prune_jobs(&self, before: Timestamp, limit: usize) -> StoreResult<usize> {
        self.write(self.inner.prune_jobs(before, limit), none).await
    }
}

#[async_trait]
impl ScheduleStore for SimStore {
    async fn move_schedule(&self, moved: &MoveSchedule) -> StoreResult<bool> {
        self.write(self.inner.move_schedule(moved), none).await
    }

    async fn schedules(&self) -> StoreResult<Vec<ScheduleRecord>> {
        self.read(self.inner.schedules()).await
    }

    async fn remove_schedule(&self, name: &ScheduleName) -> StoreResult<bool> {
        self.write(self.inner.remove_schedule(name), none).await
    }
}

#[async_trait]
impl KeyStore for SimStore {
    async fn create_keys(&self, keys: &[StoredKey]) -> StoreResult<Vec<StoredKey>> {
        self.write(self.inner.create_keys(keys), none).await
    }

    async fn keys(&self, ids: &[KeyId]) -> StoreResult<Vec<StoredKey>> {
        self.read(self.inner.keys(ids)).await
    }

    async fn list_keys(&self, after: Option<KeyId>, limit: usize) -> StoreResult<Vec<StoredKey>> {
        self.read(self.inner.list_keys(after, limit)).await
    }

    async fn rewrap_keys(&self, rewraps: &[Rewrap]) -> StoreResult<usize> {
        self.write(self.inner.rewrap_keys(rewraps), none).await
    }

    async fn destroy_keys(&self, user: UserId, at: Timestamp) -> StoreResult<()> {
        self.write(self.inner.destroy_keys(user, at), none).await
    }
}

#[async_trait]
impl RetentionStore for SimStore {
    async fn set_retention(&self, change: RetentionChange) -> StoreResult<RosterChanged> {
        self.write(self.inner.set_retention(change), |changed| vec![changed.chat.id]).await
    }

    async fn overdue_chats(&self, asked: &AskOverdue, limit: usize) -> StoreResult<Vec<OverdueChat>> {
        self.read(self.inner.overdue_chats(asked, limit)).await
    }

    async fn purge(&self, purge: &Purge) -> StoreResult<Purged> {
        let chat = purge.chat;
        self.write(self.inner.purge(purge), move |_| vec![chat]).await
    }

    async fn hold(&self, hold: &Hold) -> StoreResult<bool> {
        self.write(self.inner.hold(hold), none).await
    }

    async fn release(&self, subject: HoldSubject) -> StoreResult<bool> {
        self.write(self.inner.release(subject), none).await
    }

    async fn holds(&self, after: Option<HoldSubject>, limit: usize) -> StoreResult<Vec<Hold>> {
        self.read(self.inner.holds(after, limit)).await
    }

    async fn purges(&self, after: Option<PurgeId>, limit: usize) -> StoreResult<Vec<PurgeRecord>> {
        self.read(self.inner.purges(after, limit)).await
    }
}

#[async_trait]
impl ContentStore for SimStore {
    async fn contents(&self, asked: &AskContents) -> StoreResult<ContentPage> {
        self.read(self.inner.contents(asked)).await
    }

    async fn replace_contents(
        &self,
        field: ContentField,
        replacements: &[ReplaceContent],
    ) -> StoreResult<usize> {
        self.write(self.inner.replace_contents(field, replacements), none).await
    }
}

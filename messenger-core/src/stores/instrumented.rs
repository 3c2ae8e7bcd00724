#![deny(clippy::missing_trait_methods)]

use std::{fmt, sync::Arc, time::Instant};

use async_trait::async_trait;
use tracing::Instrument as _;

use crate::{
    domain::{ChatId, JobId, MessageId, NotifyLevel, Revision, SessionId, Timestamp, TokenHash, UserId},
    meters::Meters,
    ports::{
        Activity, Anchor, Appended, AskContents, AskOverdue, AskUnread, Budget, Capabilities, ChangedChat,
        Changes, ChatStore, ChatView, ClaimJobs, ClaimUnread, ClaimedChat, ClaimedJob, ContentField,
        ContentPage, ContentStore, DeleteMessage, DirectChat, EditMessage, Enqueued, EraseUser, FinishedJob,
        FoundUser, HistoryRange, Hold, HoldSubject, JobChange, JobClaim, JobCounts, JobFilter, JobKind,
        JobRecord, JobStore, KeyId, KeyStore, LoginKey, MailOutcome, MarkerMoved, MarkerStore, Membership,
        Memberships, MessageRecord, MessageStore, MoveMarker, MoveSchedule, NamePlace, NewGroup, NewJob,
        NewMessage, NewSession, NewUser, Notified, Opened, OverdueChat, PendingChat, PendingMember, Purge,
        PurgeId, PurgeRecord, Purged, ReplaceContent, RetentionChange, RetentionStore, Rewrap, Roster,
        RosterChange, RosterChanged, ScheduleName, ScheduleRecord, ScheduleStore, SeenPlace, SessionRecord,
        SessionStore, Store, StoreResult, StoredKey, UnreadRange, UnreadStore, UpdateUser, UserRecord,
        UserStore,
    },
};

/// Wraps a store and measures its intents: each has a span `store` at the level `debug`, with the field `intent`, and
/// is recorded in the histogram `messenger_store_duration_seconds`, by the labels `operation` (the method of the port)
/// and `outcome`: `ok`, the [code](crate::ports::StoreErrorKind::code) of an error, or `dropped` where the caller
/// stopped waiting.
///
/// [`Builder::instrument_store`](crate::Builder::instrument_store) wraps a store in it; it can also be used directly:
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::sync::Arc;
/// use messenger_core::{memory::MemoryStore, ports::Store, stores::InstrumentedStore};
///
/// let store = InstrumentedStore::new(Arc::new(MemoryStore::new()));
/// store.ping().await?;
/// # Ok::<(), messenger_core::ports::StoreError>(()) }).unwrap();
/// ```
pub struct InstrumentedStore {
    inner: Arc<dyn Store>,
    meters: Meters,
}

impl InstrumentedStore {
    /// Wraps this store.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, meters: Meters::new("messenger_store_duration_seconds") }
    }

    async fn observe<T>(
        &self,
        intent: &'static str,
        answer: impl Future<Output = StoreResult<T>> + Send,
    ) -> StoreResult<T> {
        let mut observation =
            Observation { meters: &self.meters, intent, outcome: "dropped", begun: Instant::now() };
        let answer = answer.instrument(tracing::debug_span!("store", intent)).await;
        observation.outcome = answer.as_ref().map_or_else(|error| error.kind().code(), |_| "ok");
        answer
    }
}

/// Recorded on drop, however the intent ends.
struct Observation<'a> {
    meters: &'a Meters,
    intent: &'static str,
    outcome: &'static str,
    begun: Instant,
}

impl Drop for Observation<'_> {
    fn drop(&mut self) {
        self.meters.record(self.intent, self.outcome, self.begun);
    }
}

impl fmt::Debug for InstrumentedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstrumentedStore").finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for InstrumentedStore {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn ping(&self) -> StoreResult<()> {
        self.observe("ping", self.inner.ping()).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl UserStore for InstrumentedStore {
    async fn create_user(&self, user: NewUser, session: NewSession) -> StoreResult<()> {
        self.observe("create_user", self.inner.create_user(user, session)).await
    }

    async fn user(&self, user: UserId) -> StoreResult<UserRecord> {
        self.observe("user", self.inner.user(user)).await
    }

    async fn users(&self, users: &[UserId]) -> StoreResult<Vec<UserRecord>> {
        self.observe("users", self.inner.users(users)).await
    }

    async fn user_by_login(&self, login: LoginKey<'_>) -> StoreResult<UserRecord> {
        self.observe("user_by_login", self.inner.user_by_login(login)).await
    }

    async fn find_users(
        &self,
        prefix: &str,
        after: Option<&NamePlace>,
        limit: usize,
    ) -> StoreResult<Vec<FoundUser>> {
        self.observe("find_users", self.inner.find_users(prefix, after, limit)).await
    }

    async fn update_user(&self, update: UpdateUser) -> StoreResult<UserRecord> {
        self.observe("update_user", self.inner.update_user(update)).await
    }

    async fn change_password(
        &self,
        user: UserId,
        expected: u64,
        hash: &str,
        keep: Option<SessionId>,
    ) -> StoreResult<Vec<SessionId>> {
        self.observe("change_password", self.inner.change_password(user, expected, hash, keep)).await
    }

    async fn upgrade_password(&self, user: UserId, former: &str, hash: &str) -> StoreResult<bool> {
        self.observe("upgrade_password", self.inner.upgrade_password(user, former, hash)).await
    }

    async fn erase_user(&self, erase: &EraseUser) -> StoreResult<Vec<SessionId>> {
        self.observe("erase_user", self.inner.erase_user(erase)).await
    }

    async fn set_last_seen(&self, seen: &[(UserId, Timestamp)]) -> StoreResult<()> {
        self.observe("set_last_seen", self.inner.set_last_seen(seen)).await
    }

    async fn note_mail(&self, user: UserId, key: &[u8], outcome: MailOutcome) -> StoreResult<()> {
        self.observe("note_mail", self.inner.note_mail(user, key, outcome)).await
    }

    async fn confirm_email(&self, user: UserId, key: &[u8], at: Timestamp) -> StoreResult<bool> {
        self.observe("confirm_email", self.inner.confirm_email(user, key, at)).await
    }
}

#[async_trait]
impl SessionStore for InstrumentedStore {
    async fn create_session(
        &self,
        session: NewSession,
        expected: u64,
        max: usize,
    ) -> StoreResult<Vec<SessionId>> {
        self.observe("create_session", self.inner.create_session(session, expected, max)).await
    }

    async fn session_by_token(&self, token: &TokenHash) -> StoreResult<SessionRecord> {
        self.observe("session_by_token", self.inner.session_by_token(token)).await
    }

    async fn sessions(&self, user: UserId) -> StoreResult<Vec<SessionRecord>> {
        self.observe("sessions", self.inner.sessions(user)).await
    }

    async fn touch_session(
        &self,
        session: SessionId,
        used: Timestamp,
        expires: Timestamp,
    ) -> StoreResult<()> {
        self.observe("touch_session", self.inner.touch_session(session, used, expires)).await
    }

    async fn end_session(&self, user: UserId, session: SessionId) -> StoreResult<()> {
        self.observe("end_session", self.inner.end_session(user, session)).await
    }

    async fn remove_expired_sessions(&self, now: Timestamp, limit: usize) -> StoreResult<usize> {
        self.observe("remove_expired_sessions", self.inner.remove_expired_sessions(now, limit)).await
    }

    async fn existing_sessions(&self, sessions: &[SessionId]) -> StoreResult<Vec<SessionId>> {
        self.observe("existing_sessions", self.inner.existing_sessions(sessions)).await
    }
}

#[async_trait]
impl ChatStore for InstrumentedStore {
    async fn open_direct(&self, chat: DirectChat) -> StoreResult<Opened> {
        self.observe("open_direct", self.inner.open_direct(chat)).await
    }

    async fn create_group(&self, group: NewGroup) -> StoreResult<Opened> {
        self.observe("create_group", self.inner.create_group(group)).await
    }

    async fn chat_views(&self, user: UserId, chats: &[ChatId], preview: usize) -> StoreResult<Vec<ChatView>> {
        self.observe("chat_views", self.inner.chat_views(user, chats, preview)).await
    }

    async fn list_chats(
        &self,
        user: UserId,
        after: Option<Activity>,
        limit: usize,
        preview: usize,
    ) -> StoreResult<Vec<ChatView>> {
        self.observe("list_chats", self.inner.list_chats(user, after, limit, preview)).await
    }

    async fn membership(&self, chat: ChatId, user: UserId) -> StoreResult<Membership> {
        self.observe("membership", self.inner.membership(chat, user)).await
    }

    async fn roster(&self, chat: ChatId) -> StoreResult<Roster> {
        self.observe("roster", self.inner.roster(chat)).await
    }

    async fn change_roster(&self, change: RosterChange) -> StoreResult<RosterChanged> {
        self.observe("change_roster", self.inner.change_roster(change)).await
    }

    async fn set_mute(&self, chat: ChatId, user: UserId, until: Option<Timestamp>) -> StoreResult<()> {
        self.observe("set_mute", self.inner.set_mute(chat, user, until)).await
    }

    async fn set_notify_level(&self, chat: ChatId, user: UserId, level: NotifyLevel) -> StoreResult<()> {
        self.observe("set_notify_level", self.inner.set_notify_level(chat, user, level)).await
    }

    async fn memberships(&self, user: UserId, left_after: Option<u64>) -> StoreResult<Memberships> {
        self.observe("memberships", self.inner.memberships(user, left_after)).await
    }

    async fn membership_counts(&self, users: &[UserId]) -> StoreResult<Vec<(UserId, u64)>> {
        self.observe("membership_counts", self.inner.membership_counts(users)).await
    }

    async fn revisions(&self, chats: &[ChatId]) -> StoreResult<Vec<(ChatId, Revision)>> {
        self.observe("revisions", self.inner.revisions(chats)).await
    }

    async fn changed_since(&self, since: Timestamp, limit: usize) -> StoreResult<Vec<ChangedChat>> {
        self.observe("changed_since", self.inner.changed_since(since, limit)).await
    }

    async fn chats_ever_joined(&self, user: UserId) -> StoreResult<Vec<ChatId>> {
        self.observe("chats_ever_joined", self.inner.chats_ever_joined(user)).await
    }
}

#[async_trait]
impl MessageStore for InstrumentedStore {
    async fn append_messages(&self, batch: &[NewMessage]) -> StoreResult<Vec<StoreResult<Appended>>> {
        self.observe("append_messages", self.inner.append_messages(batch)).await
    }

    async fn message(&self, chat: ChatId, message: MessageId) -> StoreResult<MessageRecord> {
        self.observe("message", self.inner.message(chat, message)).await
    }

    async fn history(
        &self,
        chat: ChatId,
        user: UserId,
        anchor: Anchor,
        budget: Budget,
    ) -> StoreResult<HistoryRange> {
        self.observe("history", self.inner.history(chat, user, anchor, budget)).await
    }

    async fn edit_message(&self, edit: EditMessage) -> StoreResult<MessageRecord> {
        self.observe("edit_message", self.inner.edit_message(edit)).await
    }

    async fn delete_message(&self, delete: DeleteMessage) -> StoreResult<MessageRecord> {
        self.observe("delete_message", self.inner.delete_message(delete)).await
    }

    async fn erase_messages(
        &self,
        chat: ChatId,
        sender: UserId,
        at: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<MessageRecord>> {
        self.observe("erase_messages", self.inner.erase_messages(chat, sender, at, limit)).await
    }

    async fn changes(&self, since: &[(ChatId, Revision)], budget: Budget) -> StoreResult<Vec<Changes>> {
        self.observe("changes", self.inner.changes(since, budget)).await
    }
}

#[async_trait]
impl MarkerStore for InstrumentedStore {
    async fn move_markers(&self, batch: &[MoveMarker]) -> StoreResult<Vec<StoreResult<MarkerMoved>>> {
        self.observe("move_markers", self.inner.move_markers(batch)).await
    }
}

#[async_trait]
impl UnreadStore for InstrumentedStore {
    async fn claim_unread_chats(&self, claim: &ClaimUnread, limit: usize) -> StoreResult<Vec<ClaimedChat>> {
        self.observe("claim_unread_chats", self.inner.claim_unread_chats(claim, limit)).await
    }

    async fn finish_unread_chat(&self, claimed: &ClaimedChat, due: Timestamp) -> StoreResult<bool> {
        self.observe("finish_unread_chat", self.inner.finish_unread_chat(claimed, due)).await
    }

    async fn unread_members(
        &self,
        asked: &AskUnread,
        after: Option<UserId>,
        limit: usize,
    ) -> StoreResult<Vec<PendingMember>> {
        self.observe("unread_members", self.inner.unread_members(asked, after, limit)).await
    }

    async fn unread_chats(
        &self,
        user: UserId,
        until: Timestamp,
        now: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<PendingChat>> {
        self.observe("unread_chats", self.inner.unread_chats(user, until, now, limit)).await
    }

    async fn unread_lines(
        &self,
        user: UserId,
        ranges: &[UnreadRange],
        lines: usize,
    ) -> StoreResult<Vec<MessageRecord>> {
        self.observe("unread_lines", self.inner.unread_lines(user, ranges, lines)).await
    }

    async fn record_notified(&self, notified: &Notified) -> StoreResult<bool> {
        self.observe("record_notified", self.inner.record_notified(notified)).await
    }

    async fn people_last_seen(
        &self,
        after: SeenPlace,
        until: Timestamp,
        limit: usize,
    ) -> StoreResult<Vec<SeenPlace>> {
        self.observe("people_last_seen", self.inner.people_last_seen(after, until, limit)).await
    }
}

#[async_trait]
impl JobStore for InstrumentedStore {
    async fn enqueue_jobs(&self, jobs: &[NewJob]) -> StoreResult<Vec<Enqueued>> {
        self.observe("enqueue_jobs", self.inner.enqueue_jobs(jobs)).await
    }

    async fn claim_jobs(&self, claim: &ClaimJobs) -> StoreResult<Vec<ClaimedJob>> {
        self.observe("claim_jobs", self.inner.claim_jobs(claim)).await
    }

    async fn renew_jobs(&self, claims: &[JobClaim], until: Timestamp) -> StoreResult<Vec<JobId>> {
        self.observe("renew_jobs", self.inner.renew_jobs(claims, until)).await
    }

    async fn finish_jobs(&self, finished: &[FinishedJob], now: Timestamp) -> StoreResult<Vec<bool>> {
        self.observe("finish_jobs", self.inner.finish_jobs(finished, now)).await
    }

    async fn job(&self, id: JobId) -> StoreResult<JobRecord> {
        self.observe("job", self.inner.job(id)).await
    }

    async fn jobs(
        &self,
        filter: &JobFilter,
        before: Option<JobId>,
        limit: usize,
    ) -> StoreResult<Vec<JobRecord>> {
        self.observe("jobs", self.inner.jobs(filter, before, limit)).await
    }

    async fn change_job(&self, id: JobId, change: JobChange, now: Timestamp) -> StoreResult<JobRecord> {
        self.observe("change_job", self.inner.change_job(id, change, now)).await
    }

    async fn pause_jobs(&self, kind: &JobKind, paused: bool) -> StoreResult<()> {
        self.observe("pause_jobs", self.inner.pause_jobs(kind, paused)).await
    }

    async fn job_counts(&self, now: Timestamp) -> StoreResult<Vec<JobCounts>> {
        self.observe("job_counts", self.inner.job_counts(now)).await
    }

    async fn prune_jobs(&self, before: Timestamp, limit: usize) -> StoreResult<usize> {
        self.observe("prune_jobs", self.inner.prune_jobs(before, limit)).await
    }
}

#[async_trait]
impl ScheduleStore for InstrumentedStore {
    async fn move_schedule(&self, moved: &MoveSchedule) -> StoreResult<bool> {
        self.observe("move_schedule", self.inner.move_schedule(moved)).await
    }

    async fn schedules(&self) -> StoreResult<Vec<ScheduleRecord>> {
        self.observe("schedules", self.inner.schedules()).await
    }

    async fn remove_schedule(&self, name: &ScheduleName) -> StoreResult<bool> {
        self.observe("remove_schedule", self.inner.remove_schedule(name)).await
    }
}

#[async_trait]
impl KeyStore for InstrumentedStore {
    async fn create_keys(&self, keys: &[StoredKey]) -> StoreResult<Vec<StoredKey>> {
        self.observe("create_keys", self.inner.create_keys(keys)).await
    }

    async fn keys(&self, ids: &[KeyId]) -> StoreResult<Vec<StoredKey>> {
        self.observe("keys", self.inner.keys(ids)).await
    }

    async fn list_keys(&self, after: Option<KeyId>, limit: usize) -> StoreResult<Vec<StoredKey>> {
        self.observe("list_keys", self.inner.list_keys(after, limit)).await
    }

    async fn rewrap_keys(&self, rewraps: &[Rewrap]) -> StoreResult<usize> {
        self.observe("rewrap_keys", self.inner.rewrap_keys(rewraps)).await
    }

    async fn destroy_keys(&self, user: UserId, at: Timestamp) -> StoreResult<()> {
        self.observe("destroy_keys", self.inner.destroy_keys(user, at)).await
    }
}

#[async_trait]
impl RetentionStore for InstrumentedStore {
    async fn set_retention(&self, change: RetentionChange) -> StoreResult<RosterChanged> {
        self.observe("set_retention", self.inner.set_retention(change)).await
    }

    async fn overdue_chats(&self, asked: &AskOverdue, limit: usize) -> StoreResult<Vec<OverdueChat>> {
        self.observe("overdue_chats", self.inner.overdue_chats(asked, limit)).await
    }

    async fn purge(&self, purge: &Purge) -> StoreResult<Purged> {
        self.observe("purge", self.inner.purge(purge)).await
    }

    async fn hold(&self, hold: &Hold) -> StoreResult<bool> {
        self.observe("hold", self.inner.hold(hold)).await
    }

    async fn release(&self, subject: HoldSubject) -> StoreResult<bool> {
        self.observe("release", self.inner.release(subject)).await
    }

    async fn holds(&self, after: Option<HoldSubject>, limit: usize) -> StoreResult<Vec<Hold>> {
        self.observe("holds", self.inner.holds(after, limit)).await
    }

    async fn purges(&self, after: Option<PurgeId>, limit: usize) -> StoreResult<Vec<PurgeRecord>> {
        self.observe("purges", self.inner.purges(after, limit)).await
    }
}

#[async_trait]
impl ContentStore for InstrumentedStore {
    async fn contents(&self, asked: &AskContents) -> StoreResult<ContentPage> {
        self.observe("contents", self.inner.contents(asked)).await
    }

    async fn replace_contents(
        &self,
        field: ContentField,
        replacements: &[ReplaceContent],
    ) -> StoreResult<usize> {
        self.observe("replace_contents", self.inner.replace_contents(field, replacements)).await
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::Mutex,
    };

    use futures::FutureExt as _;
    use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
    use tracing_subscriber::fmt::format::FmtSpan;

    use super::*;
    use crate::{ports::StoreErrorKind, testing::TestStore};

    fn instrumented() -> (Arc<TestStore>, InstrumentedStore) {
        let inner = Arc::new(TestStore::default());
        (Arc::clone(&inner), InstrumentedStore::new(inner))
    }

    fn recorder() -> (PrometheusRecorder, PrometheusHandle) {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        (recorder, handle)
    }

    /// How many intents were recorded, by method and outcome.
    fn counts(handle: &PrometheusHandle) -> Vec<String> {
        let text = handle.render();
        let counts =
            text.lines().filter_map(|line| line.strip_prefix("messenger_store_duration_seconds_count"));
        let mut counts: Vec<String> = counts.map(str::to_owned).collect();
        counts.sort_unstable();
        counts
    }

    #[tokio::test]
    async fn each_intent_is_recorded_with_its_outcome() {
        let (recorder, handle) = recorder();
        let _recording = metrics::set_default_local_recorder(&recorder);
        let (inner, store) = instrumented();
        for _ in 0..2 {
            store.ping().await.unwrap();
        }
        inner.fail("ping", StoreErrorKind::Unavailable, 1);
        store.ping().await.unwrap_err();
        let nobody = UserId::from_bytes([7; 16]);
        store.user(nobody).await.unwrap_err();
        inner.meanwhile("roster", std::future::pending());
        assert!(store.roster(ChatId::from_bytes([7; 16])).now_or_never().is_none());
        let expected = [
            r#"{operation="ping",outcome="ok"} 2"#,
            r#"{operation="ping",outcome="unavailable"} 1"#,
            r#"{operation="roster",outcome="dropped"} 1"#,
            r#"{operation="user",outcome="notFound"} 1"#,
        ];
        assert_eq!(counts(&handle), expected);
    }

    /// The output of a tracing subscriber.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    #[expect(clippy::missing_trait_methods, reason = "no store")]
    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn each_intent_has_a_span() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_span_events(FmtSpan::CLOSE)
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        let _subscribed = tracing::subscriber::set_default(subscriber);
        instrumented().1.ping().await.unwrap();
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(log.contains(r#"DEBUG store{intent="ping"}"#), "{log}");
    }

    #[tokio::test]
    async fn a_service_measures_its_store_if_it_is_asked_to() {
        for on in [true, false] {
            let (recorder, handle) = recorder();
            let _recording = metrics::set_default_local_recorder(&recorder);
            let messenger = crate::Messenger::builder(instrumented().0).instrument_store(on).build().unwrap();
            messenger.ready().await.unwrap();
            let is_measured = counts(&handle).iter().any(|count| count.contains("ping"));
            assert_eq!(is_measured, on);
        }
    }
}

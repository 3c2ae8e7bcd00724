//! A deployment that tells people, without tasks of its own: each look and each job is done when a test says so.

use std::{sync::Arc, time::Duration};

use crate::{
    Actor, Messenger, PasswordCost, Settings,
    commands::*,
    context::{Context, CountingRandom, ManualClock},
    doc::{group, register},
    domain::{ChatId, LinkKeys, Message, Password, PublicUrl, Timestamp, UserId},
    jobs::{JobError, Why},
    memory::{MemoryNotifier, MemoryPresence, MemoryStore},
    notify::{
        Desk, NotifySettings,
        deciding::Verdict,
        looking::{Gone, LookError},
        outbox::{ACCOUNT, UNREAD},
        registrations,
    },
    operation::Command,
    ports::{
        ClaimJobs, ClaimedJob, FinishedJob, JobOutcome, Lease, Notice, Notification, PresenceStore as _,
        UnreadDigest, UserStore as _,
    },
    testing::TestStore,
};

pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const DELAY: Duration = Duration::from_secs(300);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
pub(super) const KINDS: [&str; 3] = [UNREAD, ACCOUNT, "messenger.look-at-unread"];

pub(super) struct Scene {
    pub(super) messenger: Messenger,
    pub(super) store: Arc<TestStore>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) presence: Arc<MemoryPresence>,
    pub(super) notifier: Arc<MemoryNotifier>,
    pub(super) desk: Desk,
    /// Who reads.
    pub(super) ada: Actor,
    /// Who writes.
    pub(super) bob: Actor,
    /// A group of Bob and Ada.
    pub(super) tea: ChatId,
}

pub(super) fn settings() -> NotifySettings {
    let url = PublicUrl::parse("https://chat.example.org").unwrap();
    NotifySettings::new(LinkKeys::new(&[7; 32]).unwrap(), url)
}

impl Scene {
    pub(super) async fn new() -> Self {
        Self::with(settings()).await
    }

    /// A day after the node began, so that it is known who was online.
    pub(super) async fn with(settings: NotifySettings) -> Self {
        let scene = Self::on(&Arc::new(MemoryStore::new()), Arc::new(ManualClock::default()), settings).await;
        scene.clock.advance(DAY);
        scene
    }

    async fn on(inner: &Arc<MemoryStore>, clock: Arc<ManualClock>, settings: NotifySettings) -> Self {
        let (store, notifier) = (TestStore::on(inner), Arc::new(MemoryNotifier::new()));
        let presence = Arc::new(MemoryPresence::new(Arc::clone(&clock) as _));
        let context = Context::new(Arc::clone(&clock) as _, Arc::new(CountingRandom::default()));
        let messenger = Messenger::builder(Arc::clone(&store) as _)
            .presence(Arc::clone(&presence) as _)
            .context(context)
            .settings(Settings {
                password_cost: PasswordCost { memory_kib: 8, passes: 1, ..PasswordCost::default() },
                ..Settings::default()
            })
            .notifier(Arc::clone(&notifier) as _, settings)
            .workers(false)
            .build()
            .unwrap();
        let desk = messenger.service().desk.clone().unwrap();
        let (ada, bob) = (register(&messenger, "ada").await, register(&messenger, "bob").await);
        let tea = group(&messenger, &bob, &[&ada]).await;
        let scene = Self { messenger, store, clock, presence, notifier, desk, ada, bob, tea };
        // Their addresses are to be confirmed, which is no matter of these tests.
        scene.work().await;
        scene
    }

    /// Another node on the same store, which has just begun.
    pub(super) fn another_node(&self) -> Desk {
        let node = self.desk.clone();
        Desk { began: node.context.now(), ..node }
    }

    pub(super) fn reader(&self) -> UserId {
        self.ada.user().unwrap()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.desk.context.now()
    }

    pub(super) async fn must<C: Command>(&self, actor: &Actor, command: C) -> C::Output {
        self.messenger.execute(actor, command).await.unwrap_or_else(|error| panic!("{}: {error:?}", C::NAME))
    }

    pub(super) async fn says(&self, actor: &Actor, chat_id: ChatId, body: &str) -> Message {
        let send = SendMessage { chat_id, body: body.into(), client_id: None, reply_to: None };
        self.must(actor, send).await.value
    }

    /// Bob writes to the group.
    pub(super) async fn message(&self, body: &str) -> Message {
        self.says(&self.bob, self.tea, body).await
    }

    pub(super) async fn reads(&self, message: &Message) {
        self.must(&self.ada, MarkRead { chat_id: message.chat_id, seq: message.seq }).await;
    }

    /// A device of the reader connects, and stays connected.
    pub(super) async fn connects(&self) -> Lease {
        let lease = Lease { user: self.reader(), connection: self.desk.context.id() };
        self.presence.renew(&[lease], 365 * DAY).await.unwrap();
        lease
    }

    /// It disconnects, and the person is announced to have gone.
    pub(super) async fn goes(&self, lease: Lease) {
        self.presence.release(&[lease]).await.unwrap();
        let gone = self.presence.sweep(Duration::ZERO, 10).await.unwrap();
        let seen: Vec<_> = gone.iter().map(|gone| (gone.user, gone.last_seen)).collect();
        self.store.set_last_seen(&seen).await.unwrap();
    }

    /// One look, as a node does it again and again.
    pub(super) async fn look(&self) {
        self.try_look(&self.desk).await.unwrap();
    }

    pub(super) async fn try_look(&self, desk: &Desk) -> Result<(), LookError> {
        let mut gone = Gone::beginning(desk);
        while desk.look(&mut gone).await? {}
        Ok(())
    }

    /// Does all jobs that are due, and returns what each answered.
    pub(super) async fn work(&self) -> Vec<String> {
        self.work_of(&self.desk).await
    }

    pub(super) async fn work_of(&self, desk: &Desk) -> Vec<String> {
        let mut answers = Vec::new();
        loop {
            let claimed = self.claim(desk).await;
            if claimed.is_empty() {
                return answers;
            }
            for job in claimed {
                let (answer, outcome) = self.done(desk, job.clone()).await;
                let finished = FinishedJob { claim: job.claim, outcome };
                desk.store.finish_jobs(&[finished], self.now()).await.unwrap();
                answers.push(answer);
            }
        }
    }

    pub(super) async fn claim(&self, desk: &Desk) -> Vec<ClaimedJob> {
        let kinds = KINDS.map(|kind| (kind.parse().unwrap(), 100)).to_vec();
        let claim = ClaimJobs { kinds, now: self.now(), until: self.now().after(Duration::from_secs(30)) };
        desk.store.claim_jobs(&claim).await.unwrap()
    }

    pub(super) async fn done(&self, desk: &Desk, job: ClaimedJob) -> (String, JobOutcome) {
        let all = registrations(desk).unwrap();
        let of_kind = all.iter().find(|registration| registration.kind == job.kind).unwrap();
        let (attempt, answer) = (job.attempt, (of_kind.handler)(job).await);
        let said = answer.as_ref().map_or_else(ToString::to_string, |()| "done".to_owned());
        let now = self.now();
        let outcome = match answer {
            Ok(()) => JobOutcome::Done,
            Err(JobError(Why::Snoozed { time })) => JobOutcome::Snoozed { until: now.after(time) },
            Err(JobError(Why::Dead { .. })) => JobOutcome::Dead { reason: said.clone() },
            Err(JobError(Why::Failed { pause, .. })) => JobOutcome::Failed {
                retry_at: now.after(pause.unwrap_or_else(|| of_kind.retry.pause(attempt, [255; 4]))),
                reason: said.clone(),
            },
        };
        (said, outcome)
    }

    /// Looks and works until nothing is left to be done now.
    pub(super) async fn settles(&self) {
        self.look().await;
        self.work().await;
    }

    /// Time goes by in steps of a minute, in each of which it looks and works.
    pub(super) async fn passes(&self, time: Duration) {
        let end = self.now().after(time);
        while self.now() < end {
            self.clock.advance(MINUTE.min(end.since(self.now())));
            self.settles().await;
        }
    }

    /// What was delivered since the last call.
    pub(super) fn told(&self) -> Vec<Notification> {
        let delivered = self.notifier.take().into_iter();
        delivered.filter(|told| matches!(told.notice, Notice::Unread(_))).collect()
    }

    pub(super) fn digests(&self) -> Vec<UnreadDigest> {
        let digest = |told: Notification| match told.notice {
            Notice::Unread(digest) => digest,
            other => panic!("{other:?}"),
        };
        self.told().into_iter().map(digest).collect()
    }

    /// The texts that were delivered since the last call, by notification.
    pub(super) fn texts(&self) -> Vec<Vec<String>> {
        let text =
            |line: &crate::ports::UnreadLine| line.body.as_ref().map_or("…", |body| body.as_str()).to_owned();
        let digests = self.digests().into_iter();
        digests
            .map(|digest| digest.chats.iter().flat_map(|chat| chat.lines.iter().map(text)).collect())
            .collect()
    }

    pub(super) async fn decide(&self) -> Verdict {
        let online = self.desk.is_online(self.reader()).await.unwrap();
        self.desk.decide(self.reader(), online).await.unwrap()
    }

    pub(super) async fn erases_account(&self) {
        self.must(&self.ada, EraseMe { password: Password::new("correct horse") }).await;
    }
}

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{TestStore, code};
use crate::{
    Actor, LinkKeys, LinkToken, Messenger, PasswordCost, PublicUrl, Settings,
    commands::{ConfirmEmail, LogIn, RequestPasswordReset, ResetPassword, UpdateProfile},
    context::{Clock, Context, CountingRandom},
    doc,
    domain::{Authenticated, Me, Password, Timestamp, UserId},
    error::Result,
    memory::{MemoryNotifier, MemoryStore},
    notify::NotifySettings,
    ports::{JobFilter, JobRecord, JobStore as _, Notification},
    queries::GetMe,
};

/// The time of the paused runtime.
pub(crate) struct RuntimeClock(pub(crate) Instant);

impl Clock for RuntimeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_767_225_600_000_000 + self.0.elapsed().as_micros() as i64)
    }
}

/// A service that mails, in the time of a paused runtime, with somebody who is registered.
pub(crate) struct MailScene {
    pub(crate) messenger: Messenger,
    pub(crate) store: Arc<TestStore>,
    pub(crate) memory: Arc<MemoryStore>,
    pub(crate) notifier: Arc<MemoryNotifier>,
    pub(crate) context: Context,
    pub(crate) ada: Actor,
}

impl MailScene {
    /// With Ada, who has just been mailed.
    pub(crate) async fn new() -> Self {
        let memory = Arc::new(MemoryStore::new());
        let context =
            Context::new(Arc::new(RuntimeClock(Instant::now())), Arc::new(CountingRandom::default()));
        let (store, notifier) = (TestStore::on(&memory), Arc::new(MemoryNotifier::new()));
        let messenger = node(&store, &context, &notifier);
        let ada = doc::register(&messenger, "ada").await;
        Self { messenger, store, memory, notifier, context, ada }
    }

    /// Another node on the same store.
    pub(crate) fn other_node(&self) -> (Messenger, Arc<TestStore>) {
        let store = TestStore::on(&self.memory);
        (node(&store, &self.context, &self.notifier), store)
    }

    pub(crate) fn id(&self) -> UserId {
        self.ada.user().unwrap()
    }

    /// What was mailed since the last call: by then everything has been that is due.
    pub(crate) async fn mails(&self) -> Vec<Notification> {
        tokio::time::sleep(Duration::from_secs(5)).await;
        self.notifier.take()
    }

    /// The kinds and addresses of what was mailed since the last call.
    pub(crate) async fn mailed(&self) -> Vec<(&'static str, String)> {
        let mails = self.mails().await;
        let mailed = mails.iter().map(|mail| (mail.notice.kind(), mail.to.email.as_str().to_owned()));
        let mut mailed: Vec<_> = mailed.collect();
        mailed.sort_unstable();
        mailed
    }

    /// The token of the only mail of this kind since the last call.
    pub(crate) async fn token(&self, kind: &str) -> LinkToken {
        let mut mails = self.mails().await;
        mails.retain(|mail| mail.notice.kind() == kind);
        let [mail] = &mails[..] else { panic!("{} of {kind}", mails.len()) };
        doc::token(mail)
    }

    /// Lets so much time pass that what was mailed may be mailed again.
    pub(crate) async fn later(&self) {
        tokio::time::advance(Duration::from_secs(300)).await;
    }

    pub(crate) async fn me(&self) -> Me {
        self.messenger.query(&self.ada, GetMe {}).await.unwrap()
    }

    pub(crate) async fn moves_to(&self, email: &str) {
        let change = UpdateProfile { email: Some(email.into()), ..UpdateProfile::default() };
        self.messenger.execute(&self.ada, change).await.unwrap();
    }

    pub(crate) async fn log_in(&self, password: &str) -> Result<Authenticated> {
        let login = LogIn { login: "ada".into(), password: Password::new(password), device: None };
        self.messenger.execute(&Actor::anonymous(), login).await
    }

    pub(crate) async fn asks(&self, email: &str) -> &'static str {
        let request = RequestPasswordReset { email: email.into() };
        code(&self.messenger.execute(&Actor::anonymous(), request).await)
    }

    pub(crate) async fn resets(&self, token: &LinkToken, new: &str) -> Result<()> {
        let reset = ResetPassword { token: token.clone(), new: Password::new(new) };
        self.messenger.execute(&Actor::anonymous(), reset).await
    }

    pub(crate) async fn confirms(&self, token: &LinkToken) -> Result<()> {
        self.messenger.execute(&Actor::anonymous(), ConfirmEmail { token: token.clone() }).await
    }

    /// Keeps everything waiting until what is done here is done.
    pub(crate) async fn meanwhile<T>(&self, done: impl Future<Output = T>) -> T {
        let kind = "messenger.notify-account".parse().unwrap();
        self.messenger.jobs().pause(&kind).await.unwrap();
        let done = done.await;
        self.messenger.jobs().resume(&kind).await.unwrap();
        done
    }

    /// All jobs that tell somebody something.
    pub(crate) async fn jobs(&self) -> Vec<JobRecord> {
        let kind = Some("messenger.notify-account".parse().unwrap());
        self.memory.jobs(&JobFilter { kind, ..JobFilter::default() }, None, 100).await.unwrap()
    }
}

fn node(store: &Arc<TestStore>, context: &Context, notifier: &Arc<MemoryNotifier>) -> Messenger {
    let password_cost = PasswordCost { memory_kib: 8, passes: 1, ..PasswordCost::default() };
    let url = PublicUrl::parse("https://chat.example.org").unwrap();
    let notify = NotifySettings::new(LinkKeys::new(&[7; 32]).unwrap(), url);
    Messenger::builder(Arc::clone(store) as _)
        .settings(Settings { password_cost, ..Settings::default() })
        .context(context.clone())
        .notifier(Arc::clone(notifier) as _, notify)
        .build()
        .unwrap()
}

use std::sync::Arc;

use super::stores::{bodies, history, messenger, sealed};
use crate::{
    Actor, Messenger,
    commands::{CreateGroupChat, DeleteMessage, EditMessage, LogIn, SendMessage},
    context::Context,
    doc,
    domain::{ChatId, MessageKind, Password},
    encryption::{KeyRing, PlainValues, SealSettings, SealedSoFar, SealedStore, Sealing},
    memory::MemoryStore,
    ports::{
        Anchor, AskContents, Budget, Content, ContentField, ContentStore as _, JobPriority, JobStore as _,
        KeyStore as _, LoginKey, NewJob, SessionStore as _, Store, StoreErrorKind, UserStore as _,
    },
    queries::{GetMe, ListChats, ListSessions},
    testing::TestStore,
};

const STRICT: SealSettings = SealSettings {
    display_names: false,
    padding: false,
    plain: PlainValues::Refused,
    keys_cached: 100,
    keys_cached_for: std::time::Duration::from_secs(60),
};

fn ring() -> Arc<KeyRing> {
    Arc::new(KeyRing::new(&[7; 32]))
}

async fn seal_all(store: Arc<SealedStore>) -> SealedSoFar {
    let mut sealing = Sealing::of(store);
    while sealing.step().await.unwrap() {}
    sealing.so_far()
}

/// How many values of any field are plain.
async fn plain(memory: &MemoryStore) -> usize {
    let mut count = 0;
    for field in ContentField::ALL {
        let unlike = if field.is_text() { 1 } else { 0xFF };
        let asked = AskContents { field, unlike, after: [0; 16], limit: 100_000, rows: 100_000 };
        count += memory.contents(&asked).await.unwrap().contents.len();
    }
    count
}

/// Two people, a group and what they wrote, before anything was sealed.
struct Before {
    memory: Arc<MemoryStore>,
    plain: Messenger,
    ada: Actor,
    bob: Actor,
    chat: ChatId,
}

impl Before {
    async fn new(messages: usize) -> Self {
        let memory = Arc::new(MemoryStore::new());
        let plain = messenger(memory.clone());
        let (ada, bob) = (doc::register(&plain, "ada").await, doc::register(&plain, "bob").await);
        let chat = doc::group(&plain, &ada, &[&bob]).await;
        for n in 0..messages {
            doc::say(&plain, if n % 2 == 0 { &ada } else { &bob }, chat, &format!("text {n}")).await;
        }
        Self { memory, plain, ada, bob, chat }
    }

    async fn sealed(&self) -> Arc<SealedStore> {
        sealed(&self.memory, SealSettings::default()).await
    }

    /// What everybody reads who trusts nothing that is plain.
    async fn strictly(&self) -> Messenger {
        messenger(sealed(&self.memory, STRICT).await)
    }

    /// The texts of the group that can be read.
    async fn read(&self, store: &dyn Store) -> Vec<String> {
        let (user, all) = (self.bob.user().unwrap(), Budget::of_messages(1000));
        let read = store.history(self.chat, user, Anchor::Newest, all).await.unwrap().messages;
        let texts = read.into_iter().filter(|message| message.kind == MessageKind::Text);
        texts.filter_map(|message| message.body?.into_text().ok()).collect()
    }
}

fn job(context: &Context, payload: &str) -> NewJob {
    NewJob {
        id: context.id(),
        kind: "test".parse().unwrap(),
        payload: Content::from(payload),
        priority: JobPriority::Normal,
        run_at: context.now(),
        max_attempts: 1,
        unique: None,
        after: None,
        created_at: context.now(),
    }
}

#[tokio::test]
async fn all_that_was_stored_before_is_sealed_and_reads_as_before() {
    let before = Before::new(3).await;
    let send = SendMessage {
        chat_id: before.chat,
        body: "named".to_owned(),
        client_id: Some("c1".to_owned()),
        reply_to: None,
    };
    let first = before.plain.execute(&before.ada, send.clone()).await.unwrap().value;
    let group =
        CreateGroupChat { title: "Tea".to_owned(), member_ids: vec![], client_id: Some("g1".to_owned()) };
    let tea = before.plain.execute(&before.ada, group.clone()).await.unwrap().value;
    before.memory.enqueue_jobs(&[job(&Context::fixed(), "planted")]).await.unwrap();
    let log_in = |login: &str| LogIn {
        login: login.to_owned(),
        password: Password::new("correct horse"),
        device: Some("Planted phone".to_owned()),
    };
    before.plain.execute(&Actor::anonymous(), log_in("ada")).await.unwrap();

    let so_far = seal_all(before.sealed().await).await;
    assert_eq!(so_far.left, 0);
    // Display names are not sealed, and there are two.
    assert_eq!(plain(&before.memory).await, 2);
    assert_eq!(seal_all(before.sealed().await).await, SealedSoFar::default());

    let strict = before.strictly().await;
    let read = history(&strict, &before.bob, before.chat).await;
    assert_eq!(
        bodies(&read).into_iter().flatten().collect::<Vec<_>>(),
        ["text 0", "text 1", "text 2", "named"]
    );
    assert!(
        read.iter().all(|message| !message.corrupt && message.body.is_some() != message.system.is_some())
    );
    strict.execute(&Actor::anonymous(), log_in("Ada@example.org")).await.unwrap();
    assert_eq!(strict.query(&before.ada, GetMe {}).await.unwrap().email.as_str(), "ada@example.org");
    let list = ListSessions { limit: None, cursor: None };
    let sessions = strict.query(&before.ada, list).await.unwrap().items;
    assert!(
        sessions.iter().any(|s| s.device.as_ref().is_some_and(|device| device.as_str() == "Planted phone"))
    );
    let chats = strict.query(&before.ada, ListChats { limit: None, cursor: None }).await.unwrap().items;
    let mut titles: Vec<_> = chats.iter().map(|chat| chat.title.as_ref().unwrap().as_str()).collect();
    titles.sort_unstable();
    assert_eq!(titles, ["Engines", "Tea"]);
    // Requests of before are known again.
    let again = strict.execute(&before.ada, send.clone()).await.unwrap();
    assert_eq!((again.value.id, again.created), (first.id, false));
    let other = SendMessage { body: "other".to_owned(), ..send };
    assert_eq!(strict.execute(&before.ada, other).await.unwrap_err().code(), "clientIdReused");
    let again = strict.execute(&before.ada, group).await.unwrap();
    assert_eq!((again.value.id, again.created), (tea.id, false));
}

#[tokio::test]
async fn display_names_are_sealed_if_the_settings_say_so() {
    let before = Before::new(0).await;
    let settings = SealSettings { display_names: true, ..SealSettings::default() };
    seal_all(sealed(&before.memory, settings).await).await;
    assert_eq!(plain(&before.memory).await, 0);
    let strict =
        messenger(sealed(&before.memory, SealSettings { plain: PlainValues::Refused, ..settings }).await);
    assert_eq!(strict.query(&before.ada, GetMe {}).await.unwrap().user.display_name.as_str(), "ada");
    let user = before.memory.user(before.ada.user().unwrap()).await.unwrap();
    assert!(user.display_name.0.starts_with(b"\x01"));
}

#[tokio::test]
async fn what_was_interrupted_goes_on_wherever_that_was() {
    // More than are sealed in one step.
    let before = Before::new(450).await;
    let expected = before.read(&*before.memory).await;
    assert_eq!(expected.len(), 450);
    for steps in 0..20 {
        let store = TestStore::on(&before.memory);
        let opened = SealedStore::open(store.clone(), ring(), SealSettings::default()).await.unwrap();
        let mut sealing = Sealing::of(Arc::new(opened));
        let mut left = steps;
        while left > 0 && sealing.step().await.unwrap() {
            left -= 1;
        }
        // Done, and the node dies before it hears so; or not done.
        match steps % 2 {
            0 => store.lose("replace_contents", 1),
            _ => store.fail("replace_contents", StoreErrorKind::Unavailable, 1),
        }
        if let Err(error) = sealing.step().await {
            assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        }
        assert_eq!(before.read(&*before.sealed().await).await, expected, "after {steps} steps");
    }
    seal_all(before.sealed().await).await;
    assert_eq!(plain(&before.memory).await, 2);
    assert_eq!(before.read(&*sealed(&before.memory, STRICT).await).await, expected);
}

#[tokio::test]
async fn an_error_is_no_end() {
    let before = Before::new(3).await;
    let store = TestStore::on(&before.memory);
    let opened = SealedStore::open(store.clone(), ring(), SealSettings::default()).await.unwrap();
    let mut sealing = Sealing::of(Arc::new(opened));
    store.fail("replace_contents", StoreErrorKind::Unavailable, 2);
    let mut errors = 0;
    loop {
        match sealing.step().await {
            Ok(true) => {}
            Ok(false) => break,
            Err(_) => errors += 1,
        }
    }
    assert_eq!((errors, plain(&before.memory).await), (2, 2));
}

#[tokio::test]
async fn what_others_change_meanwhile_is_theirs() {
    let before = Before::new(6).await;
    let live = messenger(before.sealed().await);
    let (chat, ada) = (before.chat, before.ada);
    let sent = history(&live, &before.ada, chat).await;
    let sent: Vec<_> = sent.into_iter().filter(|message| message.system.is_none()).map(|m| m.id).collect();
    let store = TestStore::on(&before.memory);
    let opened = SealedStore::open(store.clone(), ring(), SealSettings::default()).await.unwrap();
    let mut sealing = Sealing::of(Arc::new(opened));
    while sealing.field() != Some(ContentField::Body) {
        sealing.step().await.unwrap();
    }
    // Between what was read and what replaces it.
    let meanwhile = live.clone();
    store.meanwhile("replace_contents", async move {
        let edit = EditMessage { chat_id: chat, message_id: sent[0], body: "edited".to_owned() };
        meanwhile.execute(&ada, edit).await.unwrap();
        meanwhile.execute(&ada, DeleteMessage { chat_id: chat, message_id: sent[2] }).await.unwrap();
        doc::say(&meanwhile, &ada, chat, "new").await;
    });
    while sealing.step().await.unwrap() {}
    assert_eq!((plain(&before.memory).await, sealing.so_far().left), (2, 0));
    let read = before.read(&*sealed(&before.memory, STRICT).await).await;
    assert_eq!(read, ["edited", "text 1", "text 3", "text 4", "text 5", "new"]);
}

#[tokio::test]
async fn an_address_is_found_while_it_is_being_sealed() {
    let before = Before::new(0).await;
    let store = TestStore::on(&before.memory);
    let opened = SealedStore::open(store.clone(), ring(), SealSettings::default()).await.unwrap();
    // Sealed after the first look, which is by the other key.
    let (again, other) = (store.clone(), before.sealed().await);
    store.meanwhile("user_by_login", async move {
        again.meanwhile("user_by_login", async move {
            seal_all(other).await;
        });
    });
    let found = opened.user_by_login(LoginKey::Email(b"ada@example.org")).await.unwrap();
    assert_eq!(found.id, before.ada.user().unwrap());
    assert_eq!(store.calls("user_by_login"), 3);

    let user = found.id;
    let key = b"bob@example.org";
    assert!(!opened.confirm_email(user, key, found.created_at).await.unwrap());
    assert!(opened.confirm_email(user, b"ada@example.org", found.created_at).await.unwrap());
}

#[tokio::test]
async fn what_can_not_be_sealed_is_left_and_counted() {
    let before = Before::new(2).await;
    let store = before.sealed().await;
    let sealing = messenger(store.clone());
    // A node that does not seal yet lets somebody in whose address is taken.
    doc::register(&sealing, "cleo").await;
    super::stores::register(&before.plain, "dora", "cleo@example.org").await.unwrap();
    // What an erasure would not have left.
    let bob = before.bob.user().unwrap();
    store.destroy_keys(bob, Context::fixed().now()).await.unwrap();
    let so_far = seal_all(before.sealed().await).await;
    // The address, and of bob: address, device and text.
    let devices = usize::from(before.memory.sessions(bob).await.unwrap()[0].device.is_some());
    assert_eq!(so_far.left, 3 + devices as u64);
    assert_eq!(plain(&before.memory).await, 3 + devices + 4);
    assert_eq!(before.read(&*store).await, ["text 0", "text 1"]);
}

use std::sync::Arc;

use crate::{
    Actor, Messenger, PasswordCost, Settings,
    commands::{CreateGroupChat, LogIn, RegisterUser, SendMessage, UpdateProfile},
    context::Context,
    doc,
    domain::{ChatId, Event, Password},
    encryption::{KeyRing, PlainValues, SealSettings, SealedBus, SealedStore},
    error::Result,
    memory::{MemoryBus, MemoryStore},
    ports::{
        Bus as _, BusEvent, BusMessage, ChatStore as _, ClaimJobs, Content, EditMessage, Fingerprint,
        FinishedJob, Hint, JobFilter, JobOutcome, JobPriority, JobStore as _, KeyStore as _,
        MessageStore as _, NewJob, NodeId, RosterChange, SessionRecord, SessionStore as _, Store, Topic,
        UnreadStore as _, UserStore as _,
    },
    queries::{FindUsers, GetHistory, GetMe, ListChats, ListSessions},
    testing::TestStore,
};

pub(super) async fn sealed(memory: &Arc<MemoryStore>, settings: SealSettings) -> Arc<SealedStore> {
    let store: Arc<dyn Store> = memory.clone();
    let opened = SealedStore::open(store, Arc::new(KeyRing::new(&[7; 32])), settings).await;
    Arc::new(opened.unwrap())
}

pub(super) fn messenger(store: Arc<dyn Store>) -> Messenger {
    let password_cost = PasswordCost { memory_kib: 8, passes: 1, ..PasswordCost::default() };
    let settings = Settings { password_cost, ..Settings::default() };
    Messenger::builder(store).settings(settings).build().unwrap()
}

async fn over(memory: &Arc<MemoryStore>, settings: SealSettings) -> Messenger {
    messenger(sealed(memory, settings).await)
}

pub(super) async fn history(messenger: &Messenger, actor: &Actor, chat_id: ChatId) -> Vec<crate::Message> {
    let all = GetHistory { chat_id, before: None, after: None, around: None, limit: None };
    messenger.query(actor, all).await.unwrap().items
}

pub(super) fn bodies(messages: &[crate::Message]) -> Vec<Option<&str>> {
    messages.iter().map(|message| message.body.as_ref().map(|body| body.as_str())).collect()
}

async fn edit(memory: &MemoryStore, message: &crate::Message, body: Content) {
    let stored = memory.message(message.chat_id, message.id).await.unwrap();
    let edit = EditMessage {
        chat: stored.chat,
        message: stored.id,
        sender: stored.sender,
        expected: stored.revision,
        body,
        edited_at: stored.created_at,
    };
    memory.edit_message(edit).await.unwrap();
}

#[tokio::test]
async fn a_text_that_was_changed_or_copied_is_corrupt_by_itself() {
    let memory = Arc::new(MemoryStore::new());
    let messenger = over(&memory, SealSettings::default()).await;
    let (ada, bob) = (doc::register(&messenger, "ada").await, doc::register(&messenger, "bob").await);
    let chat = doc::direct(&messenger, &ada, &bob).await;
    let mut sent = Vec::new();
    for (who, text) in [(&ada, "one"), (&ada, "two"), (&bob, "three"), (&ada, "four")] {
        sent.push(doc::say(&messenger, who, chat, text).await);
    }
    let stored = |at: usize| memory.message(chat, sent[at].id);
    // One with a byte changed, one with the text of another message.
    let mut changed = stored(0).await.unwrap().body.unwrap();
    *changed.0.last_mut().unwrap() ^= 1;
    edit(&memory, &sent[0], changed).await;
    edit(&memory, &sent[1], stored(3).await.unwrap().body.unwrap()).await;

    let read = history(&messenger, &bob, chat).await;
    assert_eq!(bodies(&read), [None, None, Some("three"), Some("four")]);
    assert_eq!(read.iter().map(|message| message.corrupt).collect::<Vec<_>>(), [true, true, false, false]);
    // Writing goes on, and so does the list.
    doc::say(&messenger, &bob, chat, "five").await;
    let list = messenger.query(&ada, ListChats { limit: None, cursor: None }).await.unwrap().items;
    assert_eq!(list[0].last_message.as_ref().unwrap().body.as_ref().unwrap().as_str(), "five");
}

#[tokio::test]
async fn nothing_that_people_wrote_is_in_the_store() {
    let memory = Arc::new(MemoryStore::new());
    let settings = SealSettings { display_names: true, ..SealSettings::default() };
    let messenger = over(&memory, settings).await;
    let (ada, bob) = (doc::register(&messenger, "ada").await, doc::register(&messenger, "bob").await);
    let name = UpdateProfile { display_name: Some("Planted".to_owned()), ..UpdateProfile::default() };
    messenger.execute(&ada, name).await.unwrap();
    let group = doc::group(&messenger, &ada, &[&bob]).await;
    let long = "planted ".repeat(500);
    doc::say(&messenger, &ada, group, &long).await;

    let user = memory.user(ada.user().unwrap()).await.unwrap();
    let view = memory.chat_views(ada.user().unwrap(), &[group], usize::MAX).await.unwrap().remove(0);
    let email = user.email.unwrap();
    for content in [
        &user.display_name,
        &email.content,
        &Content(email.key.clone()),
        &view.chat.title.unwrap(),
        view.last_message.unwrap().body.as_ref().unwrap(),
    ] {
        let text = String::from_utf8_lossy(&content.0).to_lowercase();
        assert!(!text.contains("planted") && !text.contains("ada") && !text.contains("engines"), "{text}");
    }

    let login = LogIn {
        login: "ada".into(),
        password: Password::new("correct horse"),
        device: Some("Planted phone".to_owned()),
    };
    messenger.execute(&Actor::anonymous(), login).await.unwrap();
    let devices = |sessions: Vec<SessionRecord>| -> Vec<String> {
        let devices = sessions.into_iter().filter_map(|session| session.device);
        devices.map(|device| device.into_text().unwrap()).collect()
    };
    let stored = devices(memory.sessions(user.id).await.unwrap());
    assert!(stored.iter().all(|device| device.starts_with('\u{1}') && !device.contains("Planted")));
    let list = ListSessions { limit: None, cursor: None };
    let listed = messenger.query(&ada, list).await.unwrap().items;
    assert!(
        listed.iter().filter_map(|session| session.device.as_ref()).any(|d| d.as_str() == "Planted phone")
    );

    // All of it is there for those who may read it.
    let me = messenger.query(&ada, GetMe {}).await.unwrap();
    assert_eq!((me.user.display_name.as_str(), me.email.as_str()), ("Planted", "ada@example.org"));
    let list = messenger.query(&bob, ListChats { limit: None, cursor: None }).await.unwrap().items;
    assert_eq!(list[0].title.as_ref().unwrap().as_str(), "Engines");
    let last = list[0].last_message.as_ref().unwrap();
    assert_eq!((last.body.as_ref().unwrap().as_str(), last.truncated), (&long[..256], true));
    let login =
        LogIn { login: "Ada@Example.org".into(), password: Password::new("correct horse"), device: None };
    messenger.execute(&Actor::anonymous(), login).await.unwrap();
    // With sealed display names, people are found by username alone.
    let find = |text: &str| FindUsers { query: text.to_owned(), limit: None, cursor: None };
    assert_eq!(messenger.query(&bob, find("ada")).await.unwrap().items.len(), 1);
    assert_eq!(messenger.query(&bob, find("plan")).await.unwrap().items.len(), 0);
}

pub(super) async fn register(messenger: &Messenger, username: &str, email: &str) -> Result<()> {
    let command = RegisterUser {
        username: username.to_owned(),
        email: email.to_owned(),
        password: Password::new("correct horse"),
        display_name: None,
        device: None,
    };
    messenger.execute(&Actor::anonymous(), command).await.map(drop)
}

#[tokio::test]
async fn what_was_stored_before_is_read_until_it_is_refused() {
    let memory = Arc::new(MemoryStore::new());
    let plain = messenger(memory.clone());
    let (ada, bob) = (doc::register(&plain, "ada").await, doc::register(&plain, "bob").await);
    let chat = doc::direct(&plain, &ada, &bob).await;
    let send = SendMessage {
        chat_id: chat,
        body: "before".to_owned(),
        client_id: Some("c1".to_owned()),
        reply_to: None,
    };
    let first = plain.execute(&ada, send.clone()).await.unwrap().value;

    let sealing = over(&memory, SealSettings::default()).await;
    // A repetition is known, though fingerprints are kept in another way now.
    let again = sealing.execute(&ada, send.clone()).await.unwrap();
    assert_eq!((again.value.id, again.created), (first.id, false));
    let other = SendMessage { body: "other".to_owned(), ..send };
    assert_eq!(sealing.execute(&ada, other).await.unwrap_err().code(), "clientIdReused");
    doc::say(&sealing, &ada, chat, "after").await;
    assert_eq!(bodies(&history(&sealing, &bob, chat).await), [Some("before"), Some("after")]);
    // An address is taken in whichever form it is stored.
    assert_eq!(register(&sealing, "cleo", "ADA@example.org").await.unwrap_err().code(), "emailTaken");
    let email = Some("bob@example.org".to_owned());
    let taken = sealing.execute(&ada, UpdateProfile { email, ..UpdateProfile::default() }).await;
    assert_eq!(taken.unwrap_err().code(), "emailTaken");
    let login =
        LogIn { login: "ada@example.org".into(), password: Password::new("correct horse"), device: None };
    sealing.execute(&Actor::anonymous(), login).await.unwrap();

    let strict = SealSettings { plain: PlainValues::Refused, ..SealSettings::default() };
    let strict = over(&memory, strict).await;
    assert_eq!(bodies(&history(&strict, &bob, chat).await), [None, Some("after")]);
}

#[tokio::test]
async fn fingerprints_and_keys_of_addresses_confirm_no_guess() {
    let [one, other] = [Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new())];
    let (one, other) =
        (sealed(&one, SealSettings::default()).await, sealed(&other, SealSettings::default()).await);
    let plain = Fingerprint([7; 16]);
    assert_eq!(one.sealer().fingerprint(plain), one.sealer().fingerprint(plain));
    assert_ne!(one.sealer().fingerprint(plain), plain);
    assert_ne!(one.sealer().fingerprint(plain), other.sealer().fingerprint(plain));
    let address = b"ada@example.org";
    assert_eq!(one.sealer().blind(address), one.sealer().blind(address));
    assert_ne!(one.sealer().blind(address), other.sealer().blind(address));
}

#[tokio::test]
async fn a_group_of_before_is_known_again() {
    let memory = Arc::new(MemoryStore::new());
    let plain = messenger(memory.clone());
    let ada = doc::register(&plain, "ada").await;
    let group = |title: &str| CreateGroupChat {
        title: title.to_owned(),
        member_ids: vec![],
        client_id: Some("g1".to_owned()),
    };
    let first = plain.execute(&ada, group("Tea")).await.unwrap().value;
    let sealing = over(&memory, SealSettings::default()).await;
    let again = sealing.execute(&ada, group("Tea")).await.unwrap();
    assert_eq!((again.value.id, again.created), (first.id, false));
    assert_eq!(sealing.execute(&ada, group("Coffee")).await.unwrap_err().code(), "clientIdReused");
}

#[tokio::test]
async fn for_what_is_not_sealed_no_key_is_asked_for() {
    let inner = Arc::new(TestStore::of(false));
    let plain = messenger(inner.clone());
    let (ada, bob) = (doc::register(&plain, "ada").await, doc::register(&plain, "bob").await);
    let chat = doc::direct(&plain, &ada, &bob).await;
    doc::say(&plain, &ada, chat, "before").await;
    let ring = Arc::new(KeyRing::new(&[7; 32]));
    let store = SealedStore::open(inner.clone(), ring, SealSettings::default()).await.unwrap();
    let sealing = messenger(Arc::new(store));
    let before = inner.calls("keys");
    assert_eq!(bodies(&history(&sealing, &bob, chat).await), [Some("before")]);
    let list = sealing.query(&bob, ListChats { limit: None, cursor: None }).await.unwrap().items;
    assert_eq!(list[0].peer.as_ref().unwrap().username.as_str(), "ada");
    assert_eq!(inner.calls("keys"), before);
    doc::say(&sealing, &ada, chat, "after").await;
    assert_eq!(inner.calls("keys"), before + 1);
}

#[tokio::test]
async fn of_two_nodes_that_make_a_key_at_the_same_time_both_use_the_first() {
    let inner = Arc::new(TestStore::of(false));
    let ring = || Arc::new(KeyRing::new(&[7; 32]));
    let store = SealedStore::open(inner.clone(), ring(), SealSettings::default()).await.unwrap();
    let other = SealedStore::open(inner.clone(), ring(), SealSettings::default()).await.unwrap();
    let user = Context::fixed().id();
    let (one, two) = (store.sealer(), other.sealer());
    inner.meanwhile("create_keys", async move {
        two.keys.for_writing(user).await.unwrap();
    });
    let key = one.keys.for_writing(user).await.unwrap();
    assert_eq!(other.sealer().keys.for_writing(user).await.unwrap().expose(), key.expose());
}

#[tokio::test]
async fn what_a_job_is_about_and_why_it_failed_is_sealed() {
    let memory = Arc::new(MemoryStore::new());
    let (store, context) = (sealed(&memory, SealSettings::default()).await, Context::fixed());
    let job = NewJob {
        id: context.id(),
        kind: "test".parse().unwrap(),
        payload: Content::from("planted"),
        priority: JobPriority::Normal,
        run_at: context.now(),
        max_attempts: 1,
        unique: None,
        after: None,
        created_at: context.now(),
    };
    store.enqueue_jobs(std::slice::from_ref(&job)).await.unwrap();
    let until = context.now().after(std::time::Duration::from_secs(60));
    let claim = ClaimJobs { kinds: vec![(job.kind.clone(), 1)], now: context.now(), until };
    let claimed = store.claim_jobs(&claim).await.unwrap().remove(0);
    assert_eq!(claimed.payload, job.payload);
    let outcome = JobOutcome::Dead { reason: "planted, too".to_owned() };
    let finished = FinishedJob { claim: claimed.claim, outcome };
    assert_eq!(store.finish_jobs(&[finished], context.now()).await.unwrap(), [true]);
    let read = store.job(job.id).await.unwrap();
    assert_eq!((read.payload, read.reason.as_deref()), (job.payload, Some("planted, too")));
    assert_eq!(store.jobs(&JobFilter::default(), None, 10).await.unwrap()[0].reason, read.reason);
    let stored = memory.job(job.id).await.unwrap();
    assert!(!String::from_utf8_lossy(&stored.payload.0).contains("planted"));
    assert!(!stored.reason.unwrap().contains("planted"));
}

#[tokio::test]
async fn a_name_that_is_taken_leaves_no_key_behind() {
    let memory = Arc::new(MemoryStore::new());
    let messenger = over(&memory, SealSettings::default()).await;
    doc::register(&messenger, "ada").await;
    let before = memory.list_keys(None, 100).await.unwrap().len();
    for (username, email, code) in
        [("ada", "new@example.org", "usernameTaken"), ("new", "ada@example.org", "emailTaken")]
    {
        assert_eq!(register(&messenger, username, email).await.unwrap_err().code(), code);
    }
    assert_eq!(memory.list_keys(None, 100).await.unwrap().len(), before);
}

#[tokio::test]
async fn one_whose_key_was_destroyed_writes_nothing_and_is_not_read() {
    let memory = Arc::new(MemoryStore::new());
    let store = sealed(&memory, SealSettings::default()).await;
    let messenger = messenger(store.clone());
    let (ada, bob) = (doc::register(&messenger, "ada").await, doc::register(&messenger, "bob").await);
    let chat = doc::direct(&messenger, &ada, &bob).await;
    doc::say(&messenger, &ada, chat, "hello").await;
    store.destroy_keys(ada.user().unwrap(), Context::fixed().now()).await.unwrap();
    let send = SendMessage { chat_id: chat, body: "more".to_owned(), client_id: None, reply_to: None };
    assert_eq!(messenger.execute(&ada, send).await.unwrap_err().code(), "notFound");
    assert_eq!(bodies(&history(&messenger, &bob, chat).await), [None]);
    // Also for a node that has never had the key.
    let other = over(&memory, SealSettings::default()).await;
    assert_eq!(bodies(&history(&other, &bob, chat).await), [None]);
    doc::say(&other, &bob, chat, "still here").await;
}

#[tokio::test]
async fn what_a_store_writes_itself_is_read_as_it_is() {
    let memory = Arc::new(MemoryStore::new());
    let store = sealed(&memory, SealSettings::default()).await;
    let messenger = messenger(store.clone());
    let ada = doc::register(&messenger, "ada").await;
    assert_eq!(store.jobs(&JobFilter::default(), None, 10).await.unwrap(), []);
    assert!(store.unread_lines(ada.user().unwrap(), &[], 10).await.unwrap().is_empty());
    let group = doc::group(&messenger, &ada, &[]).await;
    let before = store.roster(group).await.unwrap().chat;
    let change = RosterChange {
        chat: group,
        expected: before.roster_version,
        add: vec![],
        remove: vec![],
        roles: vec![],
        title: Some(Content::from("Tea")),
        messages: vec![],
    };
    assert_eq!(store.change_roster(change).await.unwrap().chat.title, Some(Content::from("Tea")));
    assert!(memory.roster(group).await.unwrap().chat.title.unwrap().to_text().unwrap().starts_with('\u{1}'));
}

fn said(context: &Context, body: &str) -> BusMessage {
    let chat: ChatId = context.id();
    let message = crate::Message {
        id: context.id(),
        chat_id: chat,
        seq: crate::Seq::new(1),
        revision: crate::Revision::new(1),
        kind: crate::MessageKind::Text,
        sender_id: context.id(),
        body: Some(crate::MessageBody::trusted(body)),
        client_id: None,
        reply_to: None,
        created_at: context.now(),
        edited_at: None,
        deleted_at: None,
        system: None,
        truncated: false,
        corrupt: false,
    };
    let change = crate::MessageChange { chat_id: chat, revision: message.revision, message };
    BusMessage { topics: vec![Topic::Chat(chat)], hint: Arc::new(Hint::Event(Event::MessageCreated(change))) }
}

#[tokio::test]
async fn a_sealed_bus_tells_its_nodes_and_nobody_else() {
    let (memory, context) = (Arc::new(MemoryStore::new()), Context::fixed());
    let store = sealed(&memory, SealSettings::default()).await;
    let strict = SealSettings { plain: PlainValues::Refused, ..SealSettings::default() };
    let strict = sealed(&memory, strict).await;
    let inner = Arc::new(MemoryBus::new());
    let bus = |store: &SealedStore| SealedBus::new(inner.clone(), store);
    let (one, two, careful) = (bus(&store), bus(&store), bus(&strict));
    let message = said(&context, "planted");
    let mut ends = Vec::new();
    for (node, end) in [
        (2, two.join(NodeId(2)).await.unwrap()),
        (3, inner.join(NodeId(3)).await.unwrap()),
        (4, careful.join(NodeId(4)).await.unwrap()),
    ] {
        inner.subscribe(NodeId(node), &message.topics).await.unwrap();
        ends.push(end);
    }
    let mut heard = async |at: usize| loop {
        match ends[at].next().await {
            Some(BusEvent::Message(message)) => return message,
            Some(_) => {}
            None => panic!("the subscription has ended"),
        }
    };
    one.publish(NodeId(1), std::slice::from_ref(&message)).await.unwrap();
    assert_eq!(heard(0).await, message);
    let listened = heard(1).await;
    assert!(matches!(&*listened.hint, Hint::Sealed(_)), "{listened:?}");
    assert!(!String::from_utf8(listened.to_bytes()).unwrap().contains("planted"));
    assert_eq!(BusMessage::from_bytes(&listened.to_bytes()).unwrap(), listened);
    assert_eq!(heard(2).await, message);

    // Under other topics, or changed, it says nothing but that one should look.
    let invalid =
        |topics: &[Topic]| BusMessage { topics: topics.to_vec(), hint: Arc::new(Hint::Invalidate {}) };
    let Hint::Sealed(text) = &*listened.hint else { panic!("it is sealed") };
    let moved =
        BusMessage { topics: [&message.topics[..], &[Topic::Nodes]].concat(), hint: listened.hint.clone() };
    let changed =
        BusMessage { topics: message.topics.clone(), hint: Arc::new(Hint::Sealed(text[1..].to_owned())) };
    for forged in [moved, changed] {
        inner.publish(NodeId(1), std::slice::from_ref(&forged)).await.unwrap();
        assert_eq!(heard(0).await, invalid(&forged.topics));
        assert_eq!(heard(2).await, invalid(&forged.topics));
    }
    // What nobody has sealed is heard by those who accept that.
    inner.publish(NodeId(1), std::slice::from_ref(&message)).await.unwrap();
    assert_eq!(heard(0).await, message);
    assert_eq!(heard(2).await, invalid(&message.topics));
}

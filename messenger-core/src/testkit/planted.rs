//! Sealing what was stored before, with words that are looked for afterwards.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::World;
use crate::{
    domain::{ChatId, ClientId, MessageId, UserId},
    encryption::{KeyRing, PlainValues, SealSettings, SealedSoFar, SealedStore, Sealing},
    ports::{
        Anchor, Budget, ClaimJobs, Content, Fingerprint, FinishedJob, JobFilter, JobOutcome, JobPriority,
        LoginKey, MessageRecord, NewGroup, NewJob, NewMessage, NewSession, NewUser, Store, StoredAddress,
    },
};

/// What people wrote before anything was sealed. The words in it are [looked for](Self::words) afterwards.
#[derive(Debug)]
pub struct Planted {
    world: World,
    chat: ChatId,
    people: [UserId; 2],
    sent: Vec<MessageRecord>,
    words: Vec<Vec<u8>>,
}

const ADDRESS: &str = "planted-address@example.org";
const OTHERS: [&str; 4] = ["planted-device", "planted-title", "planted-payload", "planted-reason"];

impl Planted {
    /// Fills an empty store as a service does that seals nothing, with so many messages.
    ///
    /// # Panics
    /// If the store fails.
    pub async fn in_plain(store: Arc<dyn Store>, messages: usize) -> Self {
        let world = World::new(store);
        let ada = plant_account(&world).await;
        let bob = world.user("bob").await;
        let group = NewGroup { title: Content::from(OTHERS[1]), ..world.new_group(ada, &[bob]) };
        let chat = world.store.create_group(group).await.unwrap().chat;
        plant_job(&world).await;
        let mut words: Vec<_> = OTHERS.iter().map(|word| word.as_bytes().to_vec()).collect();
        words.push(ADDRESS.as_bytes().to_vec());
        let mut sent = vec![];
        for n in 0..messages {
            let text = format!("planted-text-{n:06} and more");
            words.push(text.as_bytes()[..19].to_vec());
            let print: [u8; 16] = world.context.random();
            // Some are changed while all is sealed, and their fingerprints stay.
            let is_named = n % 10 > 1;
            let client_id = is_named.then(|| (ClientId::trusted(format!("c{n}")), Fingerprint(print)));
            words.extend(is_named.then(|| print.to_vec()));
            let sender = if n % 3 == 0 { ada } else { bob };
            let message = NewMessage { client_id, ..world.text(chat, sender, &text) };
            sent.push(world.append(&message).await.unwrap().into_record());
        }
        Self { world, chat, people: [ada, bob], sent, words }
    }

    /// What must not be found afterwards: texts, and the fingerprints of requests.
    pub fn words(&self) -> &[Vec<u8>] {
        &self.words
    }

    /// Seals all of it while others send, change and delete, and checks that everything is there for those who may read it,
    /// though nothing plain is accepted any more.
    ///
    /// # Panics
    /// If something is lost, changed or left.
    pub async fn seal(&self) -> SealedSoFar {
        let live = self.world.over(self.sealed(PlainValues::Accepted).await);
        let is_over = Arc::new(AtomicBool::new(false));
        let writing =
            tokio::spawn(write(live, self.chat, self.people[1], self.sent.clone(), Arc::clone(&is_over)));
        let mut sealing = Sealing::of(self.sealed(PlainValues::Accepted).await);
        while sealing.step().await.unwrap() {}
        is_over.store(true, Ordering::Release);
        let changed = writing.await.unwrap();
        // What others had in hand at the end of the last way through.
        let mut again = Sealing::of(self.sealed(PlainValues::Accepted).await);
        while again.step().await.unwrap() {}
        assert_eq!((again.so_far().sealed, again.so_far().left), (0, 0));
        self.check(&changed).await;
        sealing.so_far()
    }

    async fn sealed(&self, plain: PlainValues) -> Arc<SealedStore> {
        let settings = SealSettings { plain, ..SealSettings::default() };
        let ring = Arc::new(KeyRing::new(&[7; 32]));
        Arc::new(SealedStore::open(Arc::clone(&self.world.store), ring, settings).await.unwrap())
    }

    async fn check(&self, changed: &BTreeMap<MessageId, Option<Content>>) {
        let strict = self.sealed(PlainValues::Refused).await as Arc<dyn Store>;
        let all = Budget::of_messages(100_000);
        let mut read = strict.history(self.chat, self.people[0], Anchor::Newest, all).await.unwrap().messages;
        let mut read: BTreeMap<_, _> = read.drain(1..).map(|message| (message.id, message.body)).collect();
        for message in &self.sent {
            let expected = changed.get(&message.id).unwrap_or(&message.body);
            assert_eq!(read.remove(&message.id).as_ref(), Some(expected), "seq {}", message.seq.get());
        }
        for (id, body) in &read {
            assert_eq!(changed.get(id), Some(body), "a new one");
        }
        assert!(changed.len() > read.len(), "some were changed");
        let ada = strict.user_by_login(LoginKey::Email(ADDRESS.as_bytes())).await.unwrap();
        assert_eq!((ada.id, ada.version), (self.people[0], 1));
        assert_eq!(ada.email.unwrap().content, Content::from(ADDRESS));
        let device = strict.sessions(ada.id).await.unwrap().remove(0).device;
        assert_eq!(device, Some(Content::from(OTHERS[0])));
        assert_eq!(strict.roster(self.chat).await.unwrap().chat.title, Some(Content::from(OTHERS[1])));
        let job = strict.jobs(&JobFilter::default(), None, 1).await.unwrap().remove(0);
        assert_eq!((job.payload, job.reason.as_deref()), (Content::from(OTHERS[2]), Some(OTHERS[3])));
    }
}

async fn plant_account(world: &World) -> UserId {
    let (user, session) = world.account("ada");
    let email = StoredAddress { content: Content::from(ADDRESS), key: ADDRESS.as_bytes().to_vec() };
    let id = user.id;
    let session = NewSession { device: Some(Content::from(OTHERS[0])), ..session };
    world.store.create_user(NewUser { email, ..user }, session).await.unwrap();
    assert!(world.store.confirm_email(id, ADDRESS.as_bytes(), world.tick()).await.unwrap());
    id
}

async fn plant_job(world: &World) {
    let now = world.tick();
    let job = NewJob {
        id: world.id(),
        kind: "planted".parse().unwrap(),
        payload: Content::from(OTHERS[2]),
        priority: JobPriority::Normal,
        run_at: now,
        max_attempts: 1,
        unique: None,
        after: None,
        created_at: now,
    };
    let kinds = vec![(job.kind.clone(), 1)];
    world.store.enqueue_jobs(&[job]).await.unwrap();
    let claim = ClaimJobs { kinds, now, until: now };
    let claimed = world.store.claim_jobs(&claim).await.unwrap().remove(0);
    let outcome = JobOutcome::Dead { reason: OTHERS[3].to_owned() };
    let finished = FinishedJob { claim: claimed.claim, outcome };
    world.store.finish_jobs(&[finished], now).await.unwrap();
}

/// Sends all the while, and changes or deletes some of what was sent before. Tells what has become of what.
async fn write(
    world: World,
    chat: ChatId,
    sender: UserId,
    sent: Vec<MessageRecord>,
    is_over: Arc<AtomicBool>,
) -> BTreeMap<MessageId, Option<Content>> {
    let mut became = BTreeMap::new();
    // The newest first, so that some are changed before they are sealed.
    for message in sent.iter().rev().filter(|message| message.client_id.is_none()) {
        let changed = match became.len() % 3 {
            0 => world.edit(message, "changed meanwhile").await,
            1 => world.delete(message).await,
            _ => world.send(chat, sender, "sent meanwhile").await,
        };
        became.insert(changed.id, changed.body);
        if is_over.load(Ordering::Acquire) {
            break;
        }
    }
    became
}

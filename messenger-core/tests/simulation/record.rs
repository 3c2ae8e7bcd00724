//! What is shared by all parts of a run: the journal, the log, and what was found wrong.

use std::{
    collections::{BTreeMap, HashMap, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use messenger_core::{ChatId, UserId, ports::MessageRecord};
use tokio::time::Instant;

use crate::{journal::Journal, rng::Rng};

#[derive(Clone)]
pub(crate) struct Record(Arc<Mutex<State>>);

pub(crate) struct State {
    pub(crate) journal: Journal,
    pub(crate) rng: Rng,
    pub(crate) names: BTreeMap<UserId, String>,
    pub(crate) violation: Option<String>,
    /// Events that were told and checked.
    pub(crate) told: usize,
    /// What each client id was answered with: where the message is for good.
    pub(crate) acknowledged: HashMap<String, MessageRecord>,
    /// When people were last found to have a first connection, or none any more.
    pub(crate) turned: BTreeMap<UserId, Instant>,
    began: Instant,
    log: Vec<String>,
}

impl Record {
    pub(crate) fn new(rng: Rng) -> Self {
        Self(Arc::new(Mutex::new(State {
            journal: Journal::default(),
            rng,
            names: BTreeMap::new(),
            violation: None,
            told: 0,
            acknowledged: HashMap::new(),
            turned: BTreeMap::new(),
            began: Instant::now(),
            log: Vec::new(),
        })))
    }

    /// For a moment, and over no await.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn log(&self, line: impl AsRef<str>) {
        self.lock().log(line.as_ref());
    }

    /// The first thing that is wrong is the one that counts.
    pub(crate) fn wrong(&self, what: impl Into<String>) {
        let mut state = self.lock();
        let what = what.into();
        state.log(&format!("WRONG: {what}"));
        state.violation.get_or_insert(what);
    }

    pub(crate) fn is_wrong(&self) -> bool {
        self.lock().violation.is_some()
    }

    pub(crate) fn millis(&self, from: u64, to: u64) -> Duration {
        self.lock().rng.millis(from, to)
    }

    /// All that was said, with ids as words.
    pub(crate) fn lines(&self) -> Vec<String> {
        let state = self.lock();
        let users = state.names.iter().map(|(user, name)| (user.to_string(), name.clone()));
        let chats =
            state.journal.chats().iter().enumerate().map(|(n, chat)| (chat.to_string(), format!("#{n}")));
        let words: Vec<_> = users.chain(chats).collect();
        let in_words = |line: &String| {
            words.iter().fold(line.clone(), |line, (id, word)| {
                line.replace(&format!("Id({id})"), word).replace(id, word)
            })
        };
        state.log.iter().map(in_words).collect()
    }

    /// The same for two runs in which the same was said at the same time.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.lock().log.hash(&mut hasher);
        hasher.finish()
    }
}

impl State {
    pub(crate) fn log(&mut self, line: &str) {
        let at = self.began.elapsed();
        self.log.push(format!("{:>9.3} {line}", at.as_secs_f64()));
    }

    pub(crate) fn add(&mut self, chat: ChatId, messages: Vec<MessageRecord>) {
        for words in self.journal.add(chat, messages) {
            self.log(&format!("        stored in {chat}: {words}"));
        }
    }

    pub(crate) fn name(&self, user: UserId) -> &str {
        self.names.get(&user).map_or("?", |name| name)
    }
}

//! A client: it does what its plan says, keeps what `docs/realtime.md` says that it should keep, and writes down everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};

use super::{
    outbox::{Outbox, Wish},
    place::Place,
    plan::{Deed, Deeds},
    record::{Acknowledged, Diary, Entry, Id, Moved, Noted, Shown, Told},
    rng::Rng,
    view::View,
    wire::{Ended, Frame, Socket, Wire},
};

/// Requests that are not answered at most, before the client does more.
const WINDOW: usize = 8;
/// How often the client looks at what is due.
const TICK: Duration = Duration::from_millis(50);
/// A node that has not answered for so long is left.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many messages of a history are read.
const PAGE: u32 = 200;

/// What all clients are to do at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Act,
    /// No new deeds; what was begun is finished.
    Finish,
    End,
}

/// What a client begins with.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: String,
    pub(super) user: Id,
    pub(super) token: String,
    pub(super) wire: Wire,
    pub(super) nodes: Vec<SocketAddr>,
    /// The chats and groups that its deeds count.
    pub(super) chats: Vec<Id>,
    pub(super) owned: Vec<Id>,
    pub(super) people: Arc<[Id]>,
    pub(super) deeds: Deeds,
    /// Which node it goes to.
    pub(super) rng: Rng,
    pub(super) began: Instant,
    /// How it says where it is.
    pub(super) place: Place,
    /// When it goes away for good.
    pub(super) leaves_at: Option<Instant>,
    pub(super) view: SharedView,
}

/// What a client has, for others to look at.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedView(Arc<Mutex<View>>);

impl SharedView {
    /// For a moment, and over no await.
    pub(super) fn lock(&self) -> MutexGuard<'_, View> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a client leaves behind.
#[derive(Debug)]
pub(super) struct Memoir {
    pub(super) diary: Diary,
    pub(super) acknowledged: Vec<Acknowledged>,
    pub(super) moved: Vec<Moved>,
    pub(super) tried: BTreeSet<Id>,
    /// How often a node took longer than it may.
    pub(super) hung: usize,
}

/// Why a client is not connected any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parting {
    Lost,
    Away(Duration),
    ForGood,
    End,
}

/// A request that is no wish.
#[derive(Debug)]
enum Asked {
    /// By a client that has this.
    Resume(BTreeMap<Id, u64>),
    Watch,
    /// A history, for the so-manieth time that the chat was shown.
    Page(Id, u64),
}

impl Client {
    /// Until the end of the run, or the client's.
    pub(super) async fn run(self, phase: watch::Receiver<Phase>) -> Memoir {
        let diary =
            Diary { client: self.name.clone(), user: Id::clone(&self.user), entries: vec![], stayed: false };
        let memoir = Memoir { diary, acknowledged: vec![], moved: vec![], tried: BTreeSet::new(), hung: 0 };
        let mut life = Life {
            next_deed: None,
            deeds_done: 0,
            next_id: 1,
            outbox: Outbox::default(),
            asked: BTreeMap::new(),
            has_resumed: false,
            shown: BTreeMap::new(),
            watch_at: None,
            last_sent: None,
            phase,
            memoir,
            client: self,
        };
        life.live().await;
        life.memoir
    }
}

struct Life {
    client: Client,
    phase: watch::Receiver<Phase>,
    /// The next deed and its time.
    next_deed: Option<(Instant, Deed)>,
    deeds_done: u64,
    next_id: u64,
    outbox: Outbox,
    asked: BTreeMap<u64, Asked>,
    /// Whether it may ask for other things than to resume: who goes by a position may be asked for more first, and what is
    /// asked for before that makes it a late resume, which resets chats.
    has_resumed: bool,
    /// How often each chat was shown.
    shown: BTreeMap<Id, u64>,
    /// When it is asked again who is online.
    watch_at: Option<Instant>,
    /// The message that was acknowledged last.
    last_sent: Option<(Id, Id)>,
    memoir: Memoir,
}

impl Life {
    async fn live(&mut self) {
        while let Some((node, mut socket)) = self.connect().await {
            self.note(Entry::Opened { node });
            let parting = match self.over(&mut socket).await {
                Ok(parting) => parting,
                Err(Ended) => Parting::Lost,
            };
            drop(socket);
            self.note(Entry::Lost);
            self.client.view.lock().is_live = false;
            match parting {
                Parting::Lost => {}
                Parting::Away(time) => sleep(time).await,
                Parting::ForGood => return,
                Parting::End => {
                    self.memoir.diary.stayed = true;
                    return;
                }
            }
        }
    }

    /// To any node that is there. None at the end.
    async fn connect(&mut self) -> Option<(usize, Socket)> {
        loop {
            if *self.phase.borrow() == Phase::End || self.has_to_leave() {
                return None;
            }
            let node = self.client.rng.below(self.client.nodes.len());
            let opened = Socket::open(self.client.wire, self.client.nodes[node], &self.client.token).await;
            match opened {
                Ok(socket) => return Some((node, socket)),
                Err(Ended) => sleep(self.client.rng.millis(20, 200)).await,
            }
        }
    }

    fn has_to_leave(&self) -> bool {
        self.client.leaves_at.is_some_and(|at| at <= Instant::now())
    }

    async fn over(&mut self, socket: &mut Socket) -> Result<Parting, Ended> {
        self.begin(socket).await?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let deed_at = self.deed_at();
            tokio::select! {
                frame = socket.next() => self.hear(socket, frame?).await?,
                _ = ticks.tick() => {
                    if let Some(parting) = self.tick(socket).await? {
                        return Ok(parting);
                    }
                }
                () = sleep_until(deed_at.unwrap_or_else(Instant::now)), if deed_at.is_some() => {
                    if let Some(away) = self.act() {
                        return Ok(Parting::Away(away));
                    }
                    self.ask_for_due(socket).await?;
                }
            }
        }
    }

    async fn begin(&mut self, socket: &mut Socket) -> Result<(), Ended> {
        self.asked.clear();
        let named = {
            let mut view = self.client.view.lock();
            let named = view.named();
            if named.len() < view.has.len() {
                self.client.place.forget();
            }
            view.resumes(&named);
            named
        };
        self.has_resumed = !self.client.place.is_by_position();
        let params = self.client.place.resume(&named);
        self.note(Entry::Resumes(named.clone()));
        self.ask(socket, Asked::Resume(named), "Resume", &params).await?;
        self.watch_at = Some(Instant::now());
        self.outbox.begin_anew();
        self.ask_for_due(socket).await
    }

    async fn ask(
        &mut self,
        socket: &mut Socket,
        asked: Asked,
        method: &str,
        params: &Value,
    ) -> Result<(), Ended> {
        let id = self.take_id();
        self.asked.insert(id, asked);
        socket.ask(id, method, params).await
    }

    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    async fn ask_for_due(&mut self, socket: &mut Socket) -> Result<(), Ended> {
        if !self.has_resumed {
            return Ok(());
        }
        for (id, wish) in self.outbox.due() {
            if let Wish::Send { client_id, .. } = &wish {
                self.memoir.tried.insert(Id::clone(client_id));
            }
            let (method, params) = wish.request();
            socket.ask(id, method, &params).await?;
        }
        Ok(())
    }

    async fn tick(&mut self, socket: &mut Socket) -> Result<Option<Parting>, Ended> {
        if *self.phase.borrow() == Phase::End {
            return Ok(Some(Parting::End));
        }
        if self.has_to_leave() {
            return Ok(Some(Parting::ForGood));
        }
        if self.outbox.waits_for() > PATIENCE {
            self.memoir.hung += 1;
            return Ok(Some(Parting::Lost));
        }
        if self.has_resumed && self.watch_at.is_some_and(|at| at <= Instant::now()) {
            self.watch_at = None;
            let people: Vec<&str> = self.client.people.iter().map(|user| &**user).collect();
            let params = json!({ "userIds": people });
            self.ask(socket, Asked::Watch, "WatchPresence", &params).await?;
        }
        self.ask_for_due(socket).await?;
        self.client.view.lock().unanswered = self.outbox.len();
        Ok(None)
    }

    /// When the next deed is to be done, if one is.
    fn deed_at(&mut self) -> Option<Instant> {
        if *self.phase.borrow() != Phase::Act || self.outbox.len() >= WINDOW {
            return None;
        }
        let deeds = &mut self.client.deeds;
        let (at, _) = self.next_deed.get_or_insert_with(|| {
            let (after, deed) = deeds.next();
            (Instant::now() + after, deed)
        });
        Some(*at)
    }

    /// Wishes for what the plan says. How long the client is away, if it goes.
    fn act(&mut self) -> Option<Duration> {
        let (_, deed) = self.next_deed.take()?;
        self.deeds_done += 1;
        let name = format!("{}-{}", self.client.name, self.deeds_done);
        let client = &self.client;
        let wish = match deed {
            Deed::Send { chat } => send(&client.chats[chat], &name),
            Deed::Edit => {
                let (chat, message) = self.last_sent.clone()?;
                Wish::Edit { chat, message, body: format!("{name} is new") }
            }
            Deed::Group { with } => {
                let with = with.into_iter().map(|person| Id::clone(&client.people[person])).collect();
                Wish::Group { client_id: name, with }
            }
            Deed::Add { group, whom } => {
                Wish::Add { chat: Id::clone(&client.owned[group]), user: Id::clone(&client.people[whom]) }
            }
            Deed::Remove { group, whom } => {
                Wish::Remove { chat: Id::clone(&client.owned[group]), user: Id::clone(&client.people[whom]) }
            }
            Deed::Away { time } => return Some(time),
        };
        let id = self.take_id();
        self.outbox.add(id, wish);
        None
    }

    async fn hear(&mut self, socket: &mut Socket, frame: Frame) -> Result<(), Ended> {
        match frame {
            Frame::Event { name, params } => {
                let Some(told) = told(&name, &params) else { return Ok(()) };
                let to_read = {
                    let mut view = self.client.view.lock();
                    let to_read = view.take(&told);
                    if told == Told::CaughtUp {
                        self.client.place.caught_up(params["position"].as_str(), &view.has);
                    }
                    to_read
                };
                self.note(Entry::Told(told));
                if let Some(chat) = to_read {
                    *self.shown.entry(Id::clone(&chat)).or_default() += 1;
                    self.read(socket, chat).await?;
                }
                Ok(())
            }
            Frame::Answer { id, result } => match self.asked.remove(&id) {
                Some(asked) => self.answered(socket, asked, result).await,
                None => {
                    self.granted(id, &result);
                    Ok(())
                }
            },
        }
    }

    async fn read(&mut self, socket: &mut Socket, chat: Id) -> Result<(), Ended> {
        let time = self.shown.get(&chat).copied().unwrap_or_default();
        let params = json!({"chatId": &*chat, "limit": PAGE});
        self.ask(socket, Asked::Page(chat, time), "GetHistory", &params).await
    }

    /// Takes the answer to what is no wish.
    async fn answered(
        &mut self,
        socket: &mut Socket,
        asked: Asked,
        result: Result<Value, String>,
    ) -> Result<(), Ended> {
        match (asked, result) {
            (Asked::Resume(named), Ok(answer)) => {
                if let Some(params) = self.client.place.more(&answer, &named) {
                    self.ask(socket, Asked::Resume(named), "Resume", &params).await?;
                } else {
                    self.has_resumed = true;
                    self.ask_for_due(socket).await?;
                }
            }
            (Asked::Resume(_), Err(_)) => return Err(Ended),
            (Asked::Watch, Ok(answer)) => {
                let items = answer["items"].as_array().into_iter().flatten();
                let states = items.filter_map(|item| {
                    Some((item["userId"].as_str().map(Id::from)?, item["online"].as_bool()?))
                });
                let states: Vec<_> = states.collect();
                self.client.view.lock().online.extend(states.iter().cloned());
                self.note(Entry::Watches(states));
            }
            (Asked::Watch, Err(_)) => self.watch_at = Some(Instant::now() + Duration::from_secs(1)),
            (Asked::Page(chat, time), Ok(page)) => {
                let is_of_now = self.shown.get(&chat) == Some(&time);
                if is_of_now && self.client.view.lock().has.contains_key(&chat) {
                    let items = page["items"].as_array().into_iter().flatten();
                    let items = items.filter_map(Shown::of).collect();
                    self.client.view.lock().loaded.insert(Id::clone(&chat));
                    self.note(Entry::Page { chat, items });
                }
            }
            // Who was taken out meanwhile may not read it.
            (Asked::Page(_, _), Err(code)) if code == "notFound" => {}
            (Asked::Page(chat, _), Err(_)) => {
                sleep(TICK).await;
                self.read(socket, chat).await?;
            }
        }
        Ok(())
    }

    /// Takes the answer to a wish.
    fn granted(&mut self, id: u64, result: &Result<Value, String>) {
        let Some(wish) = self.outbox.answered(id, result) else { return };
        let Ok(answer) = result else { return };
        match wish {
            Wish::Send { chat, client_id, .. } => {
                let message = self.acknowledged(chat, answer, false);
                assert_eq!(message.client_id.as_ref(), Some(&client_id), "{answer}");
            }
            Wish::Edit { chat, .. } => {
                self.acknowledged(chat, answer, true);
            }
            Wish::Group { client_id, .. } => {
                let chat = answer["id"].as_str().expect("a chat has an id").into();
                let id = self.take_id();
                self.outbox.add(id, send(&chat, &format!("{client_id}-first")));
            }
            Wish::Add { chat, user } => {
                let added = answer["added"].as_array().into_iter().flatten();
                if added.filter_map(Value::as_str).any(|added| *added == *user) {
                    self.memoir.moved.push(Moved { chat, user, added: true });
                }
            }
            Wish::Remove { chat, user } => self.memoir.moved.push(Moved { chat, user, added: false }),
        }
    }

    fn acknowledged(&mut self, chat: Id, answer: &Value, is_edit: bool) -> Shown {
        let message = Shown::of(answer).unwrap_or_else(|| panic!("{answer} is no message"));
        self.last_sent = Some((Id::clone(&chat), Id::clone(&message.id)));
        let at = self.client.began.elapsed();
        self.memoir.acknowledged.push(Acknowledged { at, chat, message: message.clone(), is_edit });
        message
    }

    fn note(&mut self, entry: Entry) {
        let at = self.client.began.elapsed();
        self.memoir.diary.entries.push(Noted { at, entry });
    }
}

fn send(chat: &Id, name: &str) -> Wish {
    Wish::Send { chat: Id::clone(chat), client_id: name.into(), body: format!("{name} says this") }
}

/// An event, if it is one that is judged.
fn told(name: &str, params: &Value) -> Option<Told> {
    let text = |field: &str| params[field].as_str().map(Id::from);
    let event = match name {
        "messageCreated" => "messageCreated",
        "messageEdited" => "messageEdited",
        "messageDeleted" => "messageDeleted",
        "chatUpdated" => "chatUpdated",
        _ => return other(name, params, &text),
    };
    let message = Shown::of(&params["message"])?;
    assert_eq!(params["revision"], message.revision, "{params}");
    Some(Told::Changed { event, chat: text("chatId")?, message })
}

fn other(name: &str, params: &Value, text: &dyn Fn(&str) -> Option<Id>) -> Option<Told> {
    let chat = &params["chat"];
    let shown = || Some((Id::from(chat["id"].as_str()?), chat["revision"].as_u64()?));
    Some(match name {
        "chatAdded" => {
            let (chat, revision) = shown()?;
            Told::Added { chat, revision }
        }
        "chatReset" => {
            let (chat, revision) = shown()?;
            Told::Reset { chat, revision }
        }
        "chatRemoved" => Told::Removed { chat: text("chatId")? },
        "presenceChanged" => Told::Presence { user: text("userId")?, online: params["online"].as_bool()? },
        "caughtUp" => Told::CaughtUp,
        _ => return None,
    })
}

//! Compares what each client was told with what is stored, by the contract of `docs/realtime.md`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    time::Duration,
};

use super::{
    record::{Acknowledged, Diary, Entry, Evidence, Id, Noted, Shown, Told},
    truth::Truth,
};

/// A catch-up has no more changes of one chat; then it is shown anew.
const CATCH_UP: u64 = 1000;
/// Who has been connected for this long is shown to nobody as gone.
const SURELY_THERE: Duration = Duration::from_secs(30);

/// What kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// Something acknowledged is not stored, or did not come.
    Lost,
    /// Something is stored twice, or came twice.
    Doubled,
    /// Something came before what was to come before it, or is another thing for somebody else.
    Order,
    /// A coming or going of a member was not told, or something came to who is none.
    Membership,
    /// Somebody is not shown as they are.
    Presence,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The kind.
    pub wrong: Wrong,
    /// What exactly.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.wrong, self.what)
    }
}

/// Everything that is wrong.
pub(super) fn check(evidence: &Evidence) -> Vec<Finding> {
    let truths: BTreeMap<&Id, Truth<'_>> =
        evidence.stored.iter().map(|(chat, stored)| (chat, Truth::of(stored))).collect();
    let mut findings = Findings::default();
    check_stored(evidence, &truths, &mut findings);
    let acknowledged = newest_by_time(&evidence.acknowledged);
    let mut shown = HashMap::new();
    for diary in &evidence.diaries {
        let mut replay = Replay::of(diary, &truths, &acknowledged, &mut shown, &mut findings);
        for noted in &diary.entries {
            replay.take(noted);
        }
        if diary.stayed {
            replay.ends(&evidence.online);
        }
    }
    check_who_was_gone(evidence, &mut findings);
    findings.0
}

#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, wrong: Wrong, what: String) {
        self.0.push(Finding { wrong, what });
    }
}

/// Whether what was acknowledged is stored once, and nothing else is.
fn check_stored(evidence: &Evidence, truths: &BTreeMap<&Id, Truth<'_>>, findings: &mut Findings) {
    let mut everywhere = HashSet::new();
    for (chat, truth) in truths {
        for (index, message) in truth.messages().iter().enumerate() {
            if message.seq != index as u64 + 1 {
                findings
                    .add(Wrong::Order, format!("{chat}: message {} is stored as {}", index + 1, message.seq));
            }
        }
        let (by_name, twice) = truth.client_ids();
        for name in twice {
            findings.add(Wrong::Doubled, format!("{chat}: {name} is stored twice"));
        }
        for name in by_name.into_keys() {
            if !everywhere.insert(name) {
                findings.add(Wrong::Doubled, format!("{name} is stored in two chats"));
            }
            if !evidence.tried.contains(name) {
                findings.add(Wrong::Doubled, format!("{chat}: nobody sent {name}"));
            }
        }
    }
    for Acknowledged { chat, message, is_edit, .. } in &evidence.acknowledged {
        let stored = truths.get(chat).and_then(|truth| truth.messages().get(message.seq as usize - 1));
        let is_there = stored.is_some_and(|stored| {
            stored.id == message.id
                && stored.client_id == message.client_id
                && stored.sender == message.sender
                && (stored.revision > message.revision || stored == message)
        });
        if !is_there {
            let what = if *is_edit { "the edit of" } else { "" };
            findings.add(
                Wrong::Lost,
                format!("{chat}: {what} {message:?} was acknowledged, and {stored:?} is stored"),
            );
        }
    }
    check_moves(evidence, truths, findings);
}

fn check_moves(evidence: &Evidence, truths: &BTreeMap<&Id, Truth<'_>>, findings: &mut Findings) {
    let mut moves: BTreeMap<(&Id, &Id), (usize, usize)> = BTreeMap::new();
    for moved in &evidence.moved {
        let (added, removed) = moves.entry((&moved.chat, &moved.user)).or_default();
        *(if moved.added { added } else { removed }) += 1;
    }
    for ((chat, user), (added, removed)) in moves {
        let stored = truths.get(chat).map_or((0, 0), |truth| truth.moves(user));
        if stored.0 < added || stored.1 < removed {
            let what = format!(
                "{chat}: {user} was added {added} times and taken out {removed} times, and {stored:?} are stored"
            );
            findings.add(Wrong::Lost, what);
        }
    }
}

/// Of each chat, which revision had been acknowledged by which time.
type ByTime<'e> = BTreeMap<&'e Id, Vec<(Duration, u64)>>;

fn newest_by_time(acknowledged: &[Acknowledged]) -> ByTime<'_> {
    let mut by_chat: ByTime<'_> = BTreeMap::new();
    for Acknowledged { at, chat, message, .. } in acknowledged {
        by_chat.entry(chat).or_default().push((*at, message.revision));
    }
    for times in by_chat.values_mut() {
        times.sort_unstable();
        let mut newest = 0;
        for (_, revision) in times {
            newest = newest.max(*revision);
            *revision = newest;
        }
    }
    by_chat
}

/// What anybody was shown of each change; everybody must be shown the same.
type ShownOnce<'e> = HashMap<(&'e Id, u64), &'e Shown>;

/// Goes through what a client was told.
struct Replay<'e, 'f> {
    diary: &'e Diary,
    truths: &'f BTreeMap<&'e Id, Truth<'e>>,
    acknowledged: &'f ByTime<'e>,
    shown: &'f mut ShownOnce<'e>,
    findings: &'f mut Findings,
    has: BTreeMap<&'e Id, u64>,
    /// What was named by a resume that has not ended, and when.
    resuming: Option<(&'e BTreeMap<Id, u64>, Duration)>,
    told: HashSet<(&'e Id, u64)>,
    messages: BTreeMap<&'e Id, BTreeMap<u64, &'e Shown>>,
    /// From where on the client has the history.
    loaded: BTreeMap<&'e Id, u64>,
    online: BTreeMap<&'e Id, bool>,
}

impl<'e, 'f> Replay<'e, 'f> {
    fn of(
        diary: &'e Diary,
        truths: &'f BTreeMap<&'e Id, Truth<'e>>,
        acknowledged: &'f ByTime<'e>,
        shown: &'f mut ShownOnce<'e>,
        findings: &'f mut Findings,
    ) -> Self {
        Self {
            diary,
            truths,
            acknowledged,
            shown,
            findings,
            has: BTreeMap::new(),
            resuming: None,
            told: HashSet::new(),
            messages: BTreeMap::new(),
            loaded: BTreeMap::new(),
            online: BTreeMap::new(),
        }
    }

    fn wrong(&mut self, wrong: Wrong, at: Duration, what: &str) {
        self.findings.add(wrong, format!("{} at {:.3} s: {what}", self.diary.client, at.as_secs_f64()));
    }

    fn take(&mut self, noted: &'e Noted) {
        let at = noted.at;
        match &noted.entry {
            Entry::Opened { .. } => self.online.clear(),
            Entry::Resumes(named) => {
                self.has = named.iter().map(|(chat, revision)| (chat, *revision)).collect();
                self.loaded.retain(|chat, _| named.contains_key(*chat));
                self.resuming = Some((named, at));
            }
            Entry::Told(told) => self.told(told, at),
            Entry::Page { chat, items } => self.reads(chat, items, at),
            Entry::Watches(states) => {
                self.online.extend(states.iter().map(|(user, online)| (user, *online)));
            }
            Entry::Lost => self.resuming = None,
        }
    }

    fn told(&mut self, told: &'e Told, at: Duration) {
        match told {
            Told::Changed { event, chat, message } => self.changed(event, chat, message, at),
            Told::Added { chat, revision } => {
                if self.has.contains_key(chat) {
                    self.wrong(Wrong::Membership, at, &format!("has {chat}, and is added to it"));
                }
                self.shows(chat, *revision, at);
            }
            Told::Reset { chat, revision } => {
                let has = self.has.get(chat).copied();
                let head = self.truths.get(chat).map_or(0, Truth::head);
                if has.is_none_or(|has| head - has.min(head) <= CATCH_UP) {
                    self.wrong(Wrong::Order, at, &format!("has {chat} at {has:?}, and is shown it anew"));
                }
                self.shows(chat, *revision, at);
            }
            Told::Removed { chat } => self.removed(chat, at),
            Told::Presence { user, online } => {
                if self.online.insert(user, *online) == Some(*online) {
                    self.wrong(
                        Wrong::Presence,
                        at,
                        &format!("knows already that {user} is online: {online}"),
                    );
                }
            }
            Told::CaughtUp => self.caught_up(at),
        }
    }

    fn changed(&mut self, event: &str, chat: &'e Id, message: &'e Shown, at: Duration) {
        let revision = message.revision;
        let Some(has) = self.has.get(chat).copied() else {
            return self.wrong(Wrong::Membership, at, &format!("hears of {chat}, which it does not have"));
        };
        let Some(truth) = self.truths.get(chat) else {
            return self.wrong(Wrong::Order, at, &format!("hears of {chat}, which is not stored"));
        };
        if revision <= has {
            let seen = !self.told.insert((chat, revision));
            let wrong = if seen { Wrong::Doubled } else { Wrong::Order };
            return self.wrong(wrong, at, &format!("{event} {chat} {revision} comes after {has}"));
        }
        let left_out = truth.left_out(has, revision);
        if !left_out.is_empty() {
            let what = format!("{event} {chat} {revision} comes after {has}, without {left_out:?}");
            self.wrong(Wrong::Lost, at, &what);
        }
        if !self.resuming.is_some_and(|(named, _)| named.contains_key(chat)) {
            let user = &self.diary.user;
            if !truth.was_member(user, revision) {
                self.wrong(
                    Wrong::Membership,
                    at,
                    &format!("hears of {chat} {revision}, and is no member then"),
                );
            }
            if let Some(left) = truth.left_after(user, has).filter(|left| *left <= revision) {
                let what = format!("hears of {chat} {revision} after {has}, and not of its end at {left}");
                self.wrong(Wrong::Membership, at, &what);
            }
        }
        self.told.insert((chat, revision));
        self.has.insert(chat, revision);
        self.keeps(chat, message, at);
    }

    /// Everybody is shown the same, and in the end it is what is stored.
    fn keeps(&mut self, chat: &'e Id, message: &'e Shown, at: Duration) {
        let first = *self.shown.entry((chat, message.revision)).or_insert(message);
        if first != message {
            self.wrong(Wrong::Order, at, &format!("is shown {message:?} in {chat}, and another {first:?}"));
        }
        let stored = self.truths.get(chat).and_then(|truth| truth.current(message.revision));
        if let Some(stored) = stored.filter(|stored| *stored != message) {
            self.wrong(
                Wrong::Order,
                at,
                &format!("is shown {message:?} in {chat}, and stored is {stored:?}"),
            );
        }
        let known = self.messages.entry(chat).or_default().entry(message.seq).or_insert(message);
        if known.revision < message.revision {
            *known = message;
        }
    }

    fn shows(&mut self, chat: &'e Id, revision: u64, at: Duration) {
        let is_member = self
            .truths
            .get(chat)
            .is_some_and(|truth| revision <= truth.head() && truth.was_member(&self.diary.user, revision));
        if !is_member {
            self.wrong(
                Wrong::Membership,
                at,
                &format!("is shown {chat} at {revision}, and is no member then"),
            );
        }
        self.has.insert(chat, revision);
        self.loaded.remove(chat);
        self.messages.remove(chat);
    }

    fn removed(&mut self, chat: &'e Id, at: Duration) {
        let Some(has) = self.has.remove(chat) else {
            return self.wrong(Wrong::Membership, at, &format!("loses {chat}, which it does not have"));
        };
        let left = self.truths.get(chat).and_then(|truth| truth.left_after(&self.diary.user, has));
        if left.is_none() {
            self.wrong(Wrong::Membership, at, &format!("loses {chat} at {has}, and was a member ever since"));
        }
        self.loaded.remove(chat);
        self.messages.remove(chat);
    }

    /// All that was acknowledged before it asked has come.
    fn caught_up(&mut self, at: Duration) {
        let Some((_, asked)) = self.resuming.take() else {
            return self.wrong(Wrong::Order, at, "has caught up, and asked for nothing");
        };
        let acknowledged = self.acknowledged;
        for (chat, times) in acknowledged {
            let before = times.partition_point(|(at, _)| *at < asked);
            let newest = before.checked_sub(1).map_or(0, |index| times[index].1);
            let since = self.truths.get(*chat).and_then(|truth| truth.member_since(&self.diary.user));
            let has = self.has.get(*chat).copied();
            if since.is_some_and(|since| since <= newest) && has.is_none_or(|has| has < newest) {
                let what = format!("has caught up, and has {chat} at {has:?} in place of {newest}");
                self.wrong(Wrong::Lost, at, &what);
            }
        }
    }

    fn reads(&mut self, chat: &'e Id, items: &'e [Shown], at: Duration) {
        let first = items.first().map_or(1, |message| message.seq);
        self.loaded.insert(chat, first);
        for message in items {
            self.keeps(chat, message, at);
        }
    }

    /// When all had its time, the client has what there is.
    fn ends(&mut self, online: &BTreeMap<Id, bool>) {
        let at = self.diary.entries.last().map_or(Duration::ZERO, |noted| noted.at);
        let (truths, user) = (self.truths, &self.diary.user);
        for (chat, truth) in truths {
            match (truth.is_member(user), self.has.get(*chat).copied()) {
                (true, None) => self.wrong(Wrong::Membership, at, &format!("lacks {chat}")),
                (false, Some(_)) => self.wrong(Wrong::Membership, at, &format!("has {chat} still")),
                (true, Some(has)) => self.ends_with(chat, truth, has, at),
                (false, None) => {}
            }
        }
        for (user, is_online) in online {
            let known = self.online.get(user).copied();
            if known != Some(*is_online) {
                self.wrong(
                    Wrong::Presence,
                    at,
                    &format!("{user} is online: {is_online}, and is shown as {known:?}"),
                );
            }
        }
    }

    fn ends_with(&mut self, chat: &'e Id, truth: &Truth<'e>, has: u64, at: Duration) {
        if has != truth.head() {
            let what = format!("has {chat} at {has}, and its last change is {}", truth.head());
            self.wrong(Wrong::Lost, at, &what);
        }
        let Some(first) = self.loaded.get(chat).copied() else { return };
        let known = self.messages.remove(chat).unwrap_or_default();
        for message in truth.messages().iter().filter(|message| message.seq >= first) {
            if known.get(&message.seq).is_none_or(|known| *known != message) {
                let known = known.get(&message.seq);
                self.wrong(Wrong::Lost, at, &format!("has {known:?} in {chat}, and stored is {message:?}"));
            }
        }
    }
}

/// Nobody is shown as gone who has been connected for long.
fn check_who_was_gone(evidence: &Evidence, findings: &mut Findings) {
    let mut there: BTreeMap<&Id, Vec<(Duration, Duration)>> = BTreeMap::new();
    for diary in &evidence.diaries {
        there.entry(&diary.user).or_default().extend(connected(diary));
    }
    let mut seen = BTreeSet::new();
    for diary in &evidence.diaries {
        for Noted { at, entry } in &diary.entries {
            let Entry::Told(Told::Presence { user, online: false }) = entry else { continue };
            let long = there
                .get(user)
                .into_iter()
                .flatten()
                .find(|(from, until)| *from + SURELY_THERE < *at && at < until);
            if let Some((from, _)) = long
                && seen.insert((user, *from))
            {
                let what = format!(
                    "{} is told at {:.3} s that {user} has gone, who is there since {:.3} s",
                    diary.client,
                    at.as_secs_f64(),
                    from.as_secs_f64()
                );
                findings.add(Wrong::Presence, what);
            }
        }
    }
}

/// The times in which a client had a socket.
fn connected(diary: &Diary) -> Vec<(Duration, Duration)> {
    let (mut times, mut opened) = (Vec::new(), None);
    for Noted { at, entry } in &diary.entries {
        match entry {
            Entry::Opened { .. } => opened = Some(*at),
            Entry::Lost => times.extend(opened.take().map(|from| (from, *at))),
            _ => {}
        }
    }
    times
}

#[cfg(test)]
mod tests {
    use super::{
        super::record::{Moved, Stored, System},
        *,
    };

    fn id(text: &str) -> Id {
        text.into()
    }

    fn at(millis: u64, entry: Entry) -> Noted {
        Noted { at: Duration::from_millis(millis), entry }
    }

    fn system(seq: u64, event: &str, users: &[&str]) -> Shown {
        let users = users.iter().copied().map(id).collect();
        let system = Some(System { event: event.into(), users });
        Shown { body: None, client_id: None, system, ..text(seq) }
    }

    fn text(seq: u64) -> Shown {
        Shown {
            seq,
            revision: seq,
            id: id(&format!("m{seq}")),
            sender: id("ada"),
            client_id: Some(id(&format!("c{seq}"))),
            body: Some(id("hi")),
            system: None,
        }
    }

    fn changed(message: Shown) -> Entry {
        let event = if message.system.is_some() { "chatUpdated" } else { "messageCreated" };
        Entry::Told(Told::Changed { event, chat: id("tea"), message })
    }

    fn told(told: Told) -> Entry {
        Entry::Told(told)
    }

    /// Ada made a group with Bob, who is there from the beginning, and said four things.
    fn evidence() -> Evidence {
        let messages: Vec<_> =
            [system(1, "created", &["ada", "bob"])].into_iter().chain((2..=5).map(text)).collect();
        let acknowledged = messages[1..].iter().map(|message| Acknowledged {
            at: Duration::from_millis(100 * message.seq),
            chat: id("tea"),
            message: message.clone(),
            is_edit: false,
        });
        let entries = vec![
            at(0, Entry::Opened { node: 0 }),
            at(1, Entry::Resumes(BTreeMap::new())),
            at(2, told(Told::Added { chat: id("tea"), revision: 1 })),
            at(3, told(Told::CaughtUp)),
            at(4, Entry::Watches(vec![(id("ada"), true)])),
            at(5, Entry::Page { chat: id("tea"), items: messages[..1].to_vec() }),
            at(201, changed(text(2))),
            at(301, changed(text(3))),
            at(401, changed(text(4))),
            at(501, changed(text(5))),
        ];
        Evidence {
            acknowledged: acknowledged.collect(),
            tried: (2..=5).map(|seq| id(&format!("c{seq}"))).collect(),
            moved: vec![],
            stored: BTreeMap::from([(id("tea"), Stored { direct: BTreeSet::new(), messages })]),
            online: BTreeMap::from([(id("ada"), true)]),
            diaries: vec![Diary { client: "bob-a".into(), user: id("bob"), entries, stayed: true }],
        }
    }

    /// What is found after something was changed in Bob's diary.
    fn found(change: impl FnOnce(&mut Vec<Noted>)) -> BTreeSet<Wrong> {
        found_in(|evidence| change(&mut evidence.diaries[0].entries))
    }

    fn found_in(change: impl FnOnce(&mut Evidence)) -> BTreeSet<Wrong> {
        let mut evidence = evidence();
        change(&mut evidence);
        check(&evidence).into_iter().map(|finding| finding.wrong).collect()
    }

    #[test]
    fn nothing_is_wrong_where_nothing_is() {
        assert_eq!(check(&evidence()), []);
    }

    #[test]
    fn a_message_that_does_not_come_is_lost() {
        let lost = BTreeSet::from([Wrong::Lost]);
        for gone in 6..10 {
            assert_eq!(found(|entries| drop(entries.remove(gone))), lost);
        }
    }

    #[test]
    fn a_message_that_comes_twice_is_doubled() {
        let doubled = BTreeSet::from([Wrong::Doubled]);
        for twice in 6..10 {
            assert_eq!(found(|entries| entries.insert(twice, entries[twice].clone())), doubled);
        }
        assert_eq!(found(|entries| entries.push(entries[6].clone())), doubled);
    }

    #[test]
    fn messages_that_are_swapped_are_found() {
        assert_eq!(found(|entries| entries.swap(7, 8)), BTreeSet::from([Wrong::Lost, Wrong::Order]));
    }

    #[test]
    fn a_message_that_is_another_one_for_somebody_is_found() {
        let other = |entries: &mut Vec<Noted>| {
            entries[7].entry = changed(Shown { body: Some(id("ho")), ..text(3) });
        };
        assert!(found(other).contains(&Wrong::Order));
    }

    #[test]
    fn what_was_acknowledged_must_be_stored_once() {
        let messages =
            |evidence: &mut Evidence| std::mem::take(&mut evidence.stored.get_mut("tea").unwrap().messages);
        let without_the_last = found_in(|evidence| {
            let stored = messages(evidence);
            evidence.stored.get_mut("tea").unwrap().messages = stored[..4].to_vec();
        });
        assert!(without_the_last.contains(&Wrong::Lost));
        let twice = found_in(|evidence| {
            let mut stored = messages(evidence);
            stored.push(Shown { client_id: Some(id("c2")), ..text(6) });
            evidence.stored.get_mut("tea").unwrap().messages = stored;
        });
        assert!(twice.contains(&Wrong::Doubled));
        let never_sent = found_in(|evidence| {
            evidence.tried.remove("c3");
        });
        assert_eq!(never_sent, BTreeSet::from([Wrong::Doubled]));
        let never_moved = found_in(|evidence| {
            evidence.moved.push(Moved { chat: id("tea"), user: id("bob"), added: false });
        });
        assert_eq!(never_moved, BTreeSet::from([Wrong::Lost]));
    }

    #[test]
    fn a_resume_brings_what_was_acknowledged_before_it() {
        let resumes = |entries: &mut Vec<Noted>| {
            entries.truncate(8);
            entries.push(at(600, Entry::Lost));
            entries.push(at(601, Entry::Opened { node: 1 }));
            entries.push(at(602, Entry::Resumes(BTreeMap::from([(id("tea"), 3)]))));
            entries.push(at(603, Entry::Watches(vec![(id("ada"), true)])));
            entries.push(at(605, changed(text(4))));
            entries.push(at(606, changed(text(5))));
            entries.push(at(607, told(Told::CaughtUp)));
        };
        assert_eq!(found(resumes), BTreeSet::new());
        let too_early = |entries: &mut Vec<Noted>| {
            resumes(entries);
            entries.swap(13, 14);
        };
        assert_eq!(found(too_early), BTreeSet::from([Wrong::Lost]));
    }

    #[test]
    fn what_was_edited_since_may_be_left_out() {
        let edited = found_in(|evidence| {
            let new = Shown { revision: 6, body: Some(id("ho")), ..text(3) };
            evidence.stored.get_mut("tea").unwrap().messages[2] = new.clone();
            evidence.diaries[0].entries.remove(7);
            evidence.diaries[0].entries.push(at(700, changed(new)));
        });
        assert_eq!(edited, BTreeSet::new());
    }

    #[test]
    fn who_is_taken_out_and_comes_back_is_told_both() {
        let with = |evidence: &mut Evidence, told_of_end: bool| {
            let stored = &mut evidence.stored.get_mut("tea").unwrap().messages;
            stored.push(system(6, "membersRemoved", &["bob"]));
            stored.push(system(7, "membersAdded", &["bob"]));
            let entries = &mut evidence.diaries[0].entries;
            let all = stored.clone();
            if told_of_end {
                entries.push(at(600, told(Told::Removed { chat: id("tea") })));
                entries.push(at(700, told(Told::Added { chat: id("tea"), revision: 7 })));
                entries.push(at(701, Entry::Page { chat: id("tea"), items: all }));
            } else {
                entries.push(at(700, changed(system(7, "membersAdded", &["bob"]))));
            }
        };
        assert_eq!(found_in(|evidence| with(evidence, true)), BTreeSet::new());
        assert!(found_in(|evidence| with(evidence, false)).contains(&Wrong::Membership));
        let never = found_in(|evidence| {
            let stored = &mut evidence.stored.get_mut("tea").unwrap().messages;
            stored.push(system(6, "membersRemoved", &["bob"]));
        });
        assert_eq!(never, BTreeSet::from([Wrong::Membership]));
    }

    #[test]
    fn nothing_comes_of_a_chat_that_one_was_taken_out_of() {
        let wrong = found(|entries| {
            entries.insert(8, at(350, told(Told::Removed { chat: id("tea") })));
        });
        assert_eq!(wrong, BTreeSet::from([Wrong::Membership]));
    }

    #[test]
    fn who_is_there_is_shown_so() {
        let presence = BTreeSet::from([Wrong::Presence]);
        let gone = |online| told(Told::Presence { user: id("ada"), online });
        assert_eq!(found(|entries| entries.push(at(600, gone(false)))), presence);
        assert_eq!(found(|entries| entries.push(at(600, gone(true)))), presence, "it is known");
        assert_eq!(
            found_in(|evidence| {
                evidence.online.insert(id("bob"), true);
            }),
            presence
        );
    }

    #[test]
    fn nobody_is_shown_as_gone_who_is_there() {
        let flaps = |since: u64| {
            found_in(|evidence| {
                let entries = vec![at(since, Entry::Opened { node: 0 }), at(100_000, Entry::Lost)];
                let diary = Diary { client: "ada-a".into(), user: id("ada"), entries, stayed: false };
                evidence.diaries.push(diary);
                let bob = &mut evidence.diaries[0].entries;
                bob.push(at(40_000, told(Told::Presence { user: id("ada"), online: false })));
                bob.push(at(41_000, told(Told::Presence { user: id("ada"), online: true })));
            })
        };
        assert_eq!(flaps(0), BTreeSet::from([Wrong::Presence]));
        assert_eq!(flaps(39_000), BTreeSet::new(), "this may be late");
    }
}

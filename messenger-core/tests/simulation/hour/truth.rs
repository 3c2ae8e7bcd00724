//! When people really had connections, and what is wrong with what an observer was told of them.

use std::{collections::BTreeMap, time::Duration};

use messenger_core::UserId;
use tokio::time::Instant;

use super::{GRACE, LEASE};

/// From a connection's end until the lease is returned, and until a sweep has found it, where presence answers at once.
const TOLD: Duration = Duration::from_millis(2500);
/// The same where it is slow.
const TOLD_SLOWLY: Duration = Duration::from_secs(30);
/// How long the answer to a sweep is under way, at most.
const ANSWERED: Duration = Duration::from_secs(2);
/// What a loss of all leases adds: those of people who have just gone are settled anew.
const RESTORED: Duration = Duration::from_secs(8);

/// One connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) asked: Instant,
    pub(crate) from: Instant,
    pub(crate) until: Option<Instant>,
    /// The process went without a word.
    pub(crate) killed: bool,
}

/// What an observer was told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Told {
    pub(crate) at: Instant,
    pub(crate) online: bool,
}

#[derive(Default)]
pub(crate) struct Truth {
    spans: BTreeMap<UserId, Vec<Span>>,
    /// Times in which presence answered slowly.
    pub(crate) slow: Vec<(Instant, Instant)>,
    pub(crate) flushed: Vec<Instant>,
}

/// A time in which somebody had no connection.
struct Absence {
    from: Instant,
    until: Option<Instant>,
    /// When the last lease has ended, at the latest, and the grace period after it.
    gone: Instant,
    killed: bool,
}

impl Absence {
    /// Whether somebody may be told to have gone then. Who has come back meanwhile is told so afterwards.
    fn explains(&self, at: Instant) -> bool {
        let since = self.from + GRACE;
        since <= at && self.until.is_none_or(|until| since <= until && at <= until + ANSWERED)
    }
}

/// What was found, over all people.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) wrong: Vec<String>,
    pub(crate) events: usize,
    pub(crate) absences: usize,
    pub(crate) flaps: usize,
    pub(crate) longest: Duration,
    pub(crate) killed: usize,
    pub(crate) longest_killed: Duration,
}

impl Truth {
    /// Somebody has a connection. Its number.
    pub(crate) fn begins(&mut self, user: UserId, span: Span) -> usize {
        let spans = self.spans.entry(user).or_default();
        spans.push(span);
        spans.len() - 1
    }

    pub(crate) fn ends(&mut self, user: UserId, number: usize, killed: bool) {
        if let Some(span) = self.spans.get_mut(&user).and_then(|spans| spans.get_mut(number)) {
            (span.until, span.killed) = (Some(Instant::now()), killed);
        }
    }

    /// Times without a connection, of somebody who has had one.
    fn absences(&self, user: UserId) -> Vec<Absence> {
        let mut spans = self.spans.get(&user).cloned().unwrap_or_default();
        spans.sort_by_key(|span| span.from);
        let mut absences = Vec::new();
        for (n, span) in spans.iter().enumerate() {
            let Some(end) = span.until else { continue };
            let others = || spans.iter().enumerate().filter(|(other, _)| *other != n).map(|(_, span)| span);
            if others().any(|other| other.from <= end && other.until.is_none_or(|until| until > end)) {
                continue;
            }
            let until = others().map(|other| other.from).filter(|from| *from > end).min();
            let ended = spans.iter().filter(|span| span.until.is_some_and(|until| until <= end));
            let lease_ends = ended
                .map(|span| span.until.unwrap_or(end) + if span.killed { LEASE } else { Duration::ZERO });
            let gone = lease_ends.max().unwrap_or(end) + GRACE;
            absences.push(Absence { from: end, until, gone, killed: span.killed });
        }
        absences
    }

    /// How long after the grace period somebody is told of, at the latest.
    fn allowed(&self, absence: &Absence) -> Duration {
        let latest = absence.gone + TOLD_SLOWLY;
        let slow = self.slow.iter().any(|(from, until)| *from < latest && absence.from < *until);
        let flushed =
            self.flushed.iter().any(|at| absence.from < *at + RESTORED && *at < absence.gone + TOLD);
        let told = if slow { TOLD_SLOWLY } else { TOLD };
        if flushed { told + RESTORED } else { told }
    }

    /// Compares what was told of a person with the truth, until `end`.
    pub(crate) fn check(&self, user: UserId, told: &[Told], end: Instant, found: &mut Found) {
        found.events += told.len();
        let no_spans = Vec::new();
        let spans = self.spans.get(&user).unwrap_or(&no_spans);
        let absences = self.absences(user);
        let mut known = false;
        for event in told {
            let at = event.at;
            if event.online == known {
                found.wrong.push(format!("{user} is told twice to be {}", word(known)));
            }
            known = event.online;
            if event.online && !spans.iter().any(|span| span.asked <= at) {
                found.wrong.push(format!("{user} is told to be there and never came"));
            }
            if !event.online && !absences.iter().any(|absence| absence.explains(at)) {
                found.flaps += 1;
                let last =
                    absences.iter().filter(|absence| absence.from <= at).max_by_key(|absence| absence.from);
                let absent = last.map(|last| (at - last.from, last.until.map(|until| until - last.from)));
                found.wrong.push(format!(
                    "{user} is told to have gone {:?} before the end: that long after they were absent for so long: {absent:?}",
                    end - at
                ));
            }
        }
        for absence in &absences {
            self.check_absence(user, absence, told, end, found);
        }
        let there = spans.iter().any(|span| span.until.is_none());
        if known != there {
            found.wrong.push(format!("{user} is taken to be {} in the end", word(known)));
        }
    }

    fn check_absence(&self, user: UserId, absence: &Absence, told: &[Told], end: Instant, found: &mut Found) {
        let latest = absence.gone + self.allowed(absence);
        if latest > end || absence.until.is_some_and(|until| until < latest) {
            return;
        }
        found.absences += 1;
        found.killed += usize::from(absence.killed);
        let is_in =
            |event: &&Told| absence.from < event.at && absence.until.is_none_or(|until| event.at < until);
        let gone: Vec<_> = told.iter().filter(is_in).filter(|event| !event.online).collect();
        let [event] = gone[..] else {
            return found.wrong.push(format!("{user} is told {} times to have gone", gone.len()));
        };
        if event.at > latest {
            found.wrong.push(format!("{user} is told to have gone {:?} late", event.at - latest));
        }
        if absence.killed {
            found.longest_killed = found.longest_killed.max(event.at - absence.from);
        } else {
            // Another of their connections may have gone with its node, and its lease have lasted longer.
            found.longest = found.longest.max(event.at + GRACE - absence.gone);
        }
    }

    /// What is wrong with when a person was last seen, where nothing hinders the one who stores it.
    pub(crate) fn check_last_seen(&self, user: UserId, seen: Option<Instant>, found: &mut Found) {
        let Some(last) = self.absences(user).pop().filter(|absence| absence.until.is_none()) else { return };
        let right = seen.is_some_and(|seen| last.from <= seen && seen <= last.gone - GRACE + TOLD_SLOWLY);
        if !right {
            found.wrong.push(format!("{user} was last seen {seen:?}, and not after {:?}", last.from));
        }
    }
}

const fn word(online: bool) -> &'static str {
    if online { "there" } else { "away" }
}

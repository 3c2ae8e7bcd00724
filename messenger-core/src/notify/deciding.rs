//! Whether a person is told now of what they have not read, and why not.

use std::time::Duration;

use super::{quiet, settings::NotifySettings};
use crate::{
    domain::Timestamp,
    ports::{MailState, PendingChat, PendingMember, Told, UserRecord},
};

/// The time in which is counted how often a person was told.
const DAY: Duration = Duration::from_secs(86_400);
/// How much longer each pause is than the one before.
const LONGER: u32 = 3;

/// What is done about a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They are told.
    Tell,
    /// Not yet: it is decided anew then.
    Wait(Timestamp, Reason),
    /// They are not told of this.
    Nothing(Reason),
}

/// Why a person is not told, or not now. The names are those of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Reason {
    /// The account is erased.
    Erased,
    /// They want no mail.
    Off,
    /// Their address has refused it too often.
    Suppressed,
    /// They are online.
    Online,
    /// It is not known at present whether they are online.
    Unknown,
    /// They have not been away for long enough.
    JustLeft,
    /// It is night.
    Quiet,
    /// They have been told as often as they are in a day.
    DailyLimit,
    /// They were told of something a moment ago.
    Lately,
    /// They were told of these chats before and have not read them since.
    Paused,
    /// Nothing has been unread for long enough.
    Recent,
    /// All that is unread is so old that it is no news.
    Old,
    /// Nothing is unread, or they know of it.
    Read,
    /// Others decided at the same time.
    Contended,
}

impl Reason {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Erased => "erased",
            Self::Off => "off",
            Self::Suppressed => "suppressed",
            Self::Online => "online",
            Self::Unknown => "unknown",
            Self::JustLeft => "justLeft",
            Self::Quiet => "quietHours",
            Self::DailyLimit => "dailyLimit",
            Self::Lately => "lately",
            Self::Paused => "paused",
            Self::Recent => "recent",
            Self::Old => "old",
            Self::Read => "nothingUnread",
            Self::Contended => "contended",
        }
    }
}

/// What is known of a person, wherever it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Person {
    pub(super) wants_mail: bool,
    pub(super) mail: MailState,
    pub(super) last_seen_at: Option<Timestamp>,
    /// `None` if it is not known at present.
    pub(super) online: Option<bool>,
}

/// From when on somebody who is offline has been away for long enough.
#[derive(Debug, Clone, Copy)]
pub(super) struct Absence {
    pub(super) after: Duration,
    /// Nothing is known of who was online before.
    pub(super) known_since: Timestamp,
}

impl Person {
    pub(super) const fn of_account(account: &UserRecord, online: Option<bool>) -> Self {
        let UserRecord { notify_email: wants_mail, mail, last_seen_at, .. } = *account;
        Self { wants_mail, mail, last_seen_at, online }
    }

    pub(super) const fn of_member(member: &PendingMember, online: Option<bool>) -> Self {
        let PendingMember { notify_email: wants_mail, mail, last_seen_at, .. } = *member;
        Self { wants_mail, mail, last_seen_at, online }
    }

    /// Why they are not told of anything, whether they are there or not.
    pub(super) const fn never(&self) -> Option<Reason> {
        match self {
            Self { wants_mail: false, .. } => Some(Reason::Off),
            Self { mail: MailState { suppressed_at: Some(_), .. }, .. } => Some(Reason::Suppressed),
            _ => None,
        }
    }

    /// Why they are not told of anything now; `None` if they may be.
    pub(super) fn away(&self, absence: Absence, now: Timestamp) -> Option<Verdict> {
        if let Some(reason) = self.never() {
            return Some(Verdict::Nothing(reason));
        }
        let Absence { after, known_since } = absence;
        let later = now.after(after);
        match self.online {
            None => return Some(Verdict::Wait(later, Reason::Unknown)),
            Some(true) => return Some(Verdict::Wait(later, Reason::Online)),
            Some(false) => {}
        }
        let seen = self.last_seen_at.map_or(known_since, |seen| seen.max(known_since));
        let long_enough = seen.after(after);
        (long_enough > now).then_some(Verdict::Wait(long_enough, Reason::JustLeft))
    }

    /// Why they are not told of anything *more* now; `None` if they may be.
    pub(super) fn enough(&self, settings: &NotifySettings, now: Timestamp) -> Option<Verdict> {
        let told = self.mail.told?;
        let (next, next_day) = (told.at.after(settings.after), told.since.after(DAY));
        if told.times >= settings.per_day && now < next_day {
            return Some(Verdict::Wait(next_day, Reason::DailyLimit));
        }
        (now < next).then_some(Verdict::Wait(next, Reason::Lately))
    }
}

/// Why the person is not told now because of the hours; `None` if they may be.
pub(super) fn hours(settings: &NotifySettings, account: &UserRecord, now: Timestamp) -> Option<Verdict> {
    let wanted = &account.preferences;
    let hours = wanted.quiet_hours.or(settings.quiet_hours)?;
    let zone = wanted.time_zone.as_ref().or(settings.time_zone.as_ref());
    quiet::end(hours, zone, now).map(|end| Verdict::Wait(end, Reason::Quiet))
}

/// Whether a person who may be told is told of these chats.
pub(super) fn chats(settings: &NotifySettings, chats: &[PendingChat], now: Timestamp) -> Verdict {
    let Some(first) = chats.iter().map(|chat| chat.since).min() else {
        return Verdict::Nothing(Reason::Read);
    };
    let is_news = |chat: &PendingChat| chat.last_at.after(settings.forget_after) > now;
    if !chats.iter().any(is_news) {
        return Verdict::Nothing(Reason::Old);
    }
    let old_enough = |chat: &&PendingChat| chat.since.after(settings.after) <= now;
    let due = chats
        .iter()
        .filter(|chat| is_news(chat))
        .filter(old_enough)
        .map(|chat| pause_end(settings, chat.told_at, chat.told_times));
    match due.min() {
        None => Verdict::Wait(first.after(settings.after), Reason::Recent),
        Some(Some(end)) if end > now => Verdict::Wait(end, Reason::Paused),
        Some(_) => Verdict::Tell,
    }
}

/// Until when nobody is told again of a chat that they were told of so often without reading it.
pub(super) fn pause_end(
    settings: &NotifySettings,
    told_at: Option<Timestamp>,
    told_times: u32,
) -> Option<Timestamp> {
    let pause = settings.after.saturating_mul(LONGER.saturating_pow(told_times));
    Some(told_at?.after(pause.min(settings.longest_pause)))
}

/// What the account says after the person was told once more.
pub(super) fn told(before: Option<Told>, now: Timestamp) -> Told {
    match before {
        None => Told { at: now, since: now, times: 1 },
        Some(before) => {
            // Each time is later than the one before, also where clocks differ: that is how it is known.
            let at = now.max(before.at.after(Duration::from_micros(1)));
            let is_same_day = at < before.since.after(DAY);
            let (since, times) =
                if is_same_day { (before.since, before.times.saturating_add(1)) } else { (at, 1) };
            Told { at, since, times }
        }
    }
}

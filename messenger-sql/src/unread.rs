//! The questions about what people have not read, which all engines are asked in the same way, and their answers.

use messenger_core::{
    NotifyLevel, QuietHours, TimeZone, Timestamp,
    ports::{ClaimedChat, MailState, PendingChat, PendingMember, Preferences, SeenPlace, StoreResult, Told},
};

use crate::columns::{Columns, Row, corrupt};

/// The columns of `messenger_chats` that a claim answers with.
pub const CLAIMED: [&str; 4] = ["id", "unread_claims", "unread_since", "last_seq"];

/// The last message that a member `p` has read or was told of.
pub const MARK: &str =
    "CASE WHEN coalesce(p.notified_seq, 0) > p.read_seq THEN p.notified_seq ELSE p.read_seq END";

/// A text message `n` that was not deleted.
pub const LIVE: &str = "n.kind = 0 AND n.deleted_at IS NULL";

/// How an engine spells what the others spell otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Dialect<'d> {
    /// What stands before the names of tables.
    pub schema: &'d str,
    /// Joins the tables in the order in which they are written, where the engine can be told to.
    pub join: &'d str,
    /// The name of a parameter, up to its number.
    pub parameter: &'d str,
    /// A parameter that is an id.
    pub id: fn(u8) -> String,
    /// Whether a limit stands at the begin, as `TOP`.
    pub top: bool,
    /// Keeps a subquery from being moved into what is around it.
    pub fence: &'d str,
}

impl Dialect<'_> {
    /// Those who are to be told of something in the chat 1 that was sent at 2 or before; 3 is the time, 4 the person to
    /// begin after, 5 the limit.
    pub fn members(&self) -> String {
        let Self { schema, join, parameter: p, id, fence, .. } = *self;
        let (top, limit) = self.limits(&format!("{p}5"));
        let (top_one, limit_one) = self.limits("1");
        let (chat, after, wanted) = (id(1), id(4), self.wanted(3));
        let last = format!(
            "(
                SELECT {top_one}k.seq FROM {schema}messenger_messages AS k
                WHERE k.chat_id = {chat} AND k.created_at <= {p}2 ORDER BY k.seq DESC {limit_one}
            )"
        );
        let found = format!("p.chat_id = {chat} AND p.user_id > {after}");
        let memberships = self.memberships(&found, "p.user_id");
        // In order already, so that the limit ends it early.
        let order = if fence.is_empty() { String::new() } else { format!("ORDER BY p.user_id {fence}") };
        // Members who have read to the end need no look at the messages, and the others none at those that are too new.
        format!(
            "SELECT {top}f.user_id, f.since, f.last_seen_at, f.notify_email, f.mail_refusals, f.mail_suppressed_at,
                f.notified_at, f.notified_since, f.notified_times, f.told_at, f.told_times, f.has_read
            FROM (
                SELECT p.user_id, u.last_seen_at, u.notify_email, u.mail_refusals, u.mail_suppressed_at, u.notified_at,
                    u.notified_since, u.notified_times, p.notified_at AS told_at, p.notified_times AS told_times,
                    CASE WHEN p.read_seq > p.notified_read THEN 1 ELSE 0 END AS has_read, (
                    SELECT {top_one}n.created_at FROM {schema}messenger_messages AS n
                    WHERE n.chat_id = {chat} AND n.seq > {MARK} AND n.seq <= {last} AND {LIVE}
                        AND n.sender_id <> p.user_id AND n.created_at <= {p}2
                    ORDER BY n.seq {limit_one}
                ) AS since
                FROM {memberships}
                {join} {schema}messenger_users AS u ON u.id = p.user_id
                WHERE {found} AND {wanted} AND {MARK} < {last}
                    AND u.erased_at IS NULL {order}
            ) AS f
            WHERE f.since IS NOT NULL ORDER BY f.user_id {limit}"
        )
    }

    /// The chats in which something that was sent at 2 or before is pending for the person 1; 3 is the time, 4 the limit.
    pub fn chats(&self) -> String {
        let Self { schema, join, parameter: p, id, fence, .. } = *self;
        let (top, limit) = self.limits(&format!("{p}4"));
        let (top_one, limit_one) = self.limits("1");
        let (top_counted, limit_counted) = self.limits(&PendingChat::COUNTED.to_string());
        let (person, wanted) = (id(1), self.wanted(3));
        let found = format!("p.user_id = {person}");
        let memberships = self.memberships(&found, "p.chat_id");
        // T-SQL has an offset after an order alone.
        let fence = if self.top { format!("ORDER BY p.chat_id {fence}") } else { fence.to_owned() };
        let pending = format!(
            "FROM {schema}messenger_messages AS n WHERE n.chat_id = f.chat_id AND n.seq > f.mark AND n.seq <= f.up_to
                AND {LIVE} AND n.sender_id <> {person}"
        );
        format!(
            "SELECT {top}f.chat_id, f.mark, f.up_to, (
                    SELECT l.created_at FROM {schema}messenger_messages AS l
                    WHERE l.chat_id = f.chat_id AND l.seq = f.up_to
                ) AS last_at,
                (SELECT {top_one}n.created_at {pending} ORDER BY n.seq {limit_one}),
                (SELECT count(*) FROM (SELECT {top_counted}n.seq {pending} {limit_counted}) AS a),
                f.notified_at, f.notified_times, CASE WHEN f.read_seq > f.notified_read THEN 1 ELSE 0 END
            FROM (
                SELECT p.chat_id, {MARK} AS mark, p.read_seq, p.notified_at, p.notified_times, p.notified_read, (
                    SELECT {top_one}n.seq FROM {schema}messenger_messages AS n
                    WHERE n.chat_id = p.chat_id AND n.seq > {MARK} AND {LIVE} AND n.sender_id <> {person}
                        AND n.created_at <= {p}2
                    ORDER BY n.seq DESC {limit_one}
                ) AS up_to
                FROM {memberships}
                {join} {schema}messenger_chats AS c ON c.id = p.chat_id
                WHERE {found} AND {wanted} AND c.last_seq > {MARK} {fence}
            ) AS f
            WHERE f.up_to IS NOT NULL ORDER BY last_at DESC, f.chat_id {limit}"
        )
    }

    /// Those who were last seen after the time 1 and the person 2, and at 3 or before; 4 is the limit.
    pub fn seen(&self) -> String {
        let Self { schema, parameter: p, id, .. } = *self;
        let after = id(2);
        let (top, limit) = self.limits(&format!("{p}4"));
        format!(
            "SELECT {top}u.last_seen_at, u.id FROM {schema}messenger_users AS u
            WHERE u.last_seen_at IS NOT NULL AND u.last_seen_at >= {p}1 AND u.last_seen_at <= {p}3
                AND (u.last_seen_at > {p}1 OR u.id > {after})
            ORDER BY u.last_seen_at, u.id {limit}"
        )
    }

    /// The memberships `p` to look at. In T-SQL they are found before they are joined to anything: an engine that knows little
    /// of binary keys reads the whole table instead.
    fn memberships(&self, found: &str, order: &str) -> String {
        let Self { schema, fence, top, .. } = *self;
        if top {
            format!(
                "(SELECT p.* FROM {schema}messenger_members AS p WHERE {found} ORDER BY {order} {fence}) AS p"
            )
        } else {
            format!("{schema}messenger_members AS p")
        }
    }

    /// Whether the member `p` is to be told of the chat at the time of this parameter.
    fn wanted(&self, now: u8) -> String {
        let p = self.parameter;
        format!(
            "p.left_at IS NULL AND (p.muted_until IS NULL OR p.muted_until <= {p}{now})
                AND (p.notify_level IS NULL OR p.notify_level <> {})",
            stored_level(NotifyLevel::None).unwrap_or_default()
        )
    }

    fn limits(&self, rows: &str) -> (String, String) {
        if self.top {
            (format!("TOP ({rows}) "), String::new())
        } else {
            (String::new(), format!("LIMIT {rows}"))
        }
    }
}

/// The stored form of a level.
pub const fn stored_level(level: NotifyLevel) -> Option<i16> {
    match level {
        NotifyLevel::All => None,
        NotifyLevel::Mentions => Some(1),
        NotifyLevel::None => Some(2),
    }
}

/// The stored form of preferences: the language, the time zone, and the bounds of the quiet hours.
pub fn stored_preferences(
    preferences: Option<&Preferences>,
) -> (Option<&str>, Option<&str>, Option<i16>, Option<i16>) {
    let quiet = preferences.and_then(|preferences| preferences.quiet_hours);
    (
        preferences.and_then(|preferences| preferences.language.as_ref()).map(|language| language.as_str()),
        preferences.and_then(|preferences| preferences.time_zone.as_ref()).map(TimeZone::as_str),
        quiet.map(|quiet| quiet.from().cast_signed()),
        quiet.map(|quiet| quiet.to().cast_signed()),
    )
}

/// Sorts claims, which engines give in any order.
pub fn in_order(mut claimed: Vec<ClaimedChat>) -> Vec<ClaimedChat> {
    claimed.sort_by_key(|claimed| (claimed.since, claimed.chat));
    claimed
}

impl<R: Row + ?Sized> Columns<'_, R> {
    /// Reads the columns of [`CLAIMED`].
    pub fn claimed_chat(&mut self) -> StoreResult<ClaimedChat> {
        Ok(ClaimedChat {
            chat: self.id()?,
            number: self.number()?,
            since: self.time()?,
            last_seq: self.seq()?,
        })
    }

    /// Reads a row of [`Dialect::members`].
    pub fn pending_member(&mut self) -> StoreResult<PendingMember> {
        let (user, since, last_seen_at) = (self.id()?, self.time()?, self.optional_time()?);
        let (notify_email, mail) = (self.flag()?, self.mail_state()?);
        let (told_at, told_times) = self.told_of_chat()?;
        Ok(PendingMember { user, since, last_seen_at, notify_email, mail, told_at, told_times })
    }

    /// Reads a row of [`Dialect::chats`].
    pub fn pending_chat(&mut self) -> StoreResult<PendingChat> {
        let (chat, after, up_to) = (self.id()?, self.seq()?, self.seq()?);
        let (last_at, since, unread) = (self.time()?, self.time()?, self.number()?);
        let (told_at, told_times) = self.told_of_chat()?;
        Ok(PendingChat { chat, after, up_to, since, last_at, unread, told_at, told_times })
    }

    /// Reads when and how often a member was told of a chat, and whether they have read in it since.
    fn told_of_chat(&mut self) -> StoreResult<(Option<Timestamp>, u32)> {
        let (at, times) = (self.optional_time()?, self.optional_number()?.unwrap_or_default());
        let times = u32::try_from(times).map_err(corrupt)?;
        Ok(if self.integer()? == 0 { (at, times) } else { (None, 0) })
    }

    /// Reads a row of [`Dialect::seen`].
    pub fn seen_place(&mut self) -> StoreResult<SeenPlace> {
        Ok(SeenPlace { at: self.time()?, user: self.id()? })
    }

    /// Reads a level.
    pub(crate) fn notify_level(&mut self) -> StoreResult<NotifyLevel> {
        match self.optional_integer()? {
            None => Ok(NotifyLevel::All),
            Some(1) => Ok(NotifyLevel::Mentions),
            Some(2) => Ok(NotifyLevel::None),
            Some(_) => Err(corrupt("an unknown level")),
        }
    }

    /// Reads language, time zone and quiet hours.
    pub(crate) fn preferences(&mut self) -> StoreResult<Preferences> {
        let language = self.optional_text()?.map(messenger_core::Language::trusted);
        let time_zone = self.optional_text()?.map(|name| name.parse().map_err(corrupt)).transpose()?;
        let minute =
            |minute: Option<i64>| minute.map(|minute| u16::try_from(minute).map_err(corrupt)).transpose();
        let (from, to) = (minute(self.optional_integer()?)?, minute(self.optional_integer()?)?);
        let quiet_hours = from.zip(to).map(|(from, to)| QuietHours::new(from, to).map_err(corrupt));
        Ok(Preferences { language, time_zone, quiet_hours: quiet_hours.transpose()? })
    }

    /// Reads refusals, the time of suppression, and when and how often the person was told of something.
    pub(crate) fn mail_state(&mut self) -> StoreResult<MailState> {
        let refusals = u32::try_from(self.optional_number()?.unwrap_or_default()).map_err(corrupt)?;
        let suppressed_at = self.optional_time()?;
        let (at, since, times) = (self.optional_time()?, self.optional_time()?, self.optional_number()?);
        let told = match (at, since, times) {
            (Some(at), Some(since), Some(times)) => {
                Some(Told { at, since, times: u32::try_from(times).map_err(corrupt)? })
            }
            _ => None,
        };
        Ok(MailState { refusals, suppressed_at, told })
    }
}

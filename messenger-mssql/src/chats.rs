use std::sync::Arc;

use async_trait::async_trait;
use messenger_core::{
    ChatId, Revision, Role, Timestamp, UserId,
    ports::{
        Activity, ChatRecord, ChatStore, ChatView, DirectChat, MemberRecord, Membership, Memberships,
        NewGroup, Opened, Roster, RosterChange, RosterChanged, StoreErrorKind, StoreResult,
    },
};
use messenger_sql::{
    columns::{CHAT, MEMBER, USER, cut_at, integer, last_message, role, rows},
    memberships::{self, Listed},
    records::system_message,
};

use crate::{
    MssqlStore,
    call::Call,
    schema::Schema,
    sql::{Bytes, distinct, fits, id, int, list, procedure},
};

/// The other one of a direct chat `c`, as seen by its member `p`; null in a group.
const PEER: &str = "CASE c.pair_low WHEN p.user_id THEN c.pair_high ELSE c.pair_low END";

/// The procedures and statements of this file.
#[derive(Debug)]
pub(crate) struct Sql {
    open_direct: Arc<str>,
    create_group: Arc<str>,
    change_roster: Arc<str>,
    views: Arc<str>,
    page: Arc<str>,
    membership: Arc<str>,
    roster: Arc<str>,
    mute: Arc<str>,
    unmute: Arc<str>,
    memberships: Arc<str>,
    membership_counts: Arc<str>,
    revisions: Arc<str>,
    ever_joined: Arc<str>,
}

impl Sql {
    /// `hold` keeps what was read of a chat from being changed until the end of the statement, where that needs a word.
    pub(crate) fn new(schema: &Schema, hold: &str) -> Self {
        let (first, second) = (id(1), id(2));
        let mute = |until: &str| -> Arc<str> {
            format!(
                "UPDATE {schema}.messenger_members SET muted_until = {until} OUTPUT inserted.user_id
                WHERE chat_id = {first} AND user_id = {second} AND left_at IS NULL"
            )
            .into()
        };
        Self {
            open_direct: procedure(schema, "open_direct"),
            create_group: procedure(schema, "create_group"),
            change_roster: procedure(schema, "change_roster"),
            views: view(schema, hold, &format!("{schema}.messenger_unpack_ids(@P3)"), ("", "@P2")).into(),
            page: page(schema, hold).into(),
            membership: format!(
                "SELECT {CHAT}, {MEMBER} FROM {schema}.messenger_chats AS c {hold}
                JOIN {schema}.messenger_members AS p
                    ON p.chat_id = c.id AND p.user_id = {second} AND p.left_at IS NULL
                WHERE c.id = {first}
                OPTION (LOOP JOIN, FORCE ORDER)"
            )
            .into(),
            // The chat with each of its members, or with nulls if it has none.
            roster: format!(
                "SELECT {CHAT}, CAST(CASE WHEN p.user_id IS NULL THEN 0 ELSE 1 END AS bit), {MEMBER}
                FROM {schema}.messenger_chats AS c {hold}
                LEFT JOIN {schema}.messenger_members AS p ON p.chat_id = c.id AND p.left_at IS NULL
                WHERE c.id = {first} ORDER BY p.join_order
                OPTION (LOOP JOIN, FORCE ORDER)"
            )
            .into(),
            mute: mute("@P3"),
            unmute: mute("NULL"),
            // How often the person was added and how far the commits are, with each of their chats, also those that they
            // left after a commit, or with nulls if there are none. The order matters: what is settled or counted must
            // not be later than the list.
            memberships: format!(
                "DECLARE @history bigint, @settled bigint;
                EXEC {schema}.messenger_settled @history OUTPUT, @settled OUTPUT;
                SELECT u.memberships, @history, @settled, c.id, c.revision, {PEER}, CAST(c.commit_no AS bigint),
                    CAST(CASE WHEN p.left_at IS NULL THEN 0 ELSE 1 END AS bit)
                FROM {schema}.messenger_users AS u
                LEFT JOIN {schema}.messenger_members AS p
                    ON p.user_id = u.id AND (p.left_at IS NULL OR p.left_commit > @P2)
                LEFT JOIN {schema}.messenger_chats AS c ON c.id = p.chat_id
                WHERE u.id = {first}
                OPTION (LOOP JOIN, FORCE ORDER)"
            )
            .into(),
            membership_counts: format!(
                "SELECT u.id, u.memberships FROM {schema}.messenger_unpack_ids(@P1) AS a
                JOIN {schema}.messenger_users AS u ON u.id = a.id"
            )
            .into(),
            revisions: format!(
                "SELECT c.id, c.revision FROM {schema}.messenger_unpack_ids(@P1) AS a
                JOIN {schema}.messenger_chats AS c ON c.id = a.id"
            )
            .into(),
            ever_joined: format!("SELECT chat_id FROM {schema}.messenger_members WHERE user_id = {first}")
                .into(),
        }
    }
}

/// Those of the chats `a` that have the person `@P1` as a member, as the person sees them, in this order, and with so many
/// bytes of the last message's body.
fn view(schema: &Schema, hold: &str, chats: &str, (order, preview): (&str, &str)) -> String {
    let last_message = last_message("DATALENGTH", "SUBSTRING", preview);
    format!(
        "SELECT {CHAT}, {MEMBER}, {USER}, {last_message} FROM {chats} AS a
        JOIN {schema}.messenger_chats AS c {hold} ON c.id = a.id
        JOIN {schema}.messenger_members AS p ON p.chat_id = c.id AND p.user_id = {} AND p.left_at IS NULL
        LEFT JOIN {schema}.messenger_users AS u ON u.id = {PEER}
        LEFT JOIN {schema}.messenger_messages AS m ON m.chat_id = c.id AND m.seq = c.last_seq
        {order} OPTION (LOOP JOIN, FORCE ORDER)",
        id(1)
    )
}

/// `@P2` and `@P3` are the place to begin after. Only the chats of the page are joined with all that is shown.
fn page(schema: &Schema, hold: &str) -> String {
    let (person, after) = (id(1), id(3));
    let chats = format!(
        "(
            SELECT TOP (@P4) d.id, d.activity_at FROM {schema}.messenger_members AS q
            JOIN {schema}.messenger_chats AS d ON d.id = q.chat_id
            WHERE q.user_id = {person} AND q.left_at IS NULL
                AND (d.activity_at < @P2 OR d.activity_at = @P2 AND d.id < {after})
            ORDER BY d.activity_at DESC, d.id DESC
        )"
    );
    view(schema, hold, &chats, ("ORDER BY c.activity_at DESC, c.id DESC", "@P5"))
}

#[async_trait]
impl ChatStore for MssqlStore {
    async fn open_direct(&self, chat: DirectChat) -> StoreResult<Opened> {
        let [first, second] = chat.users;
        let call = Call::procedure(Arc::clone(&self.sql().chats.open_direct))
            .id("@id", chat.id)
            .id("@low", first.min(second))
            .id("@high", first.max(second))
            .id("@first", first)
            .time("@at", chat.created_at);
        let opened = self.one(call, |columns| {
            Ok(Opened { chat: columns.id()?, created: columns.flag()?, same_request: true })
        });
        opened.await?.ok_or_else(|| StoreErrorKind::Other.into())
    }

    async fn create_group(&self, group: NewGroup) -> StoreResult<Opened> {
        let (name, fingerprint) =
            group.client_id.as_ref().map(|(name, fingerprint)| (name.as_str(), fingerprint.0)).unzip();
        let users: Vec<_> = std::iter::once(group.creator).chain(group.members).collect();
        fits(users.len())?;
        let role_of = |user: &UserId| if *user == group.creator { Role::Owner } else { Role::Member };
        let members = people(users.iter().map(|user| (*user, ADDED, role_of(user))));
        let call = Call::procedure(Arc::clone(&self.sql().chats.create_group))
            .id("@id", group.id)
            .id("@creator", group.creator)
            .text("@title", group.title.as_str())
            .time("@at", group.created_at)
            .optional_bytes("@client_id", name)
            .optional_bytes("@fingerprint", fingerprint)
            .bytes("@members", members)
            .bytes("@locked", list(&distinct(&users)))
            .id("@message", group.message.id)
            .id("@sender", group.message.sender)
            .bytes("@note", group.message.note.0)
            .time("@message_at", group.message.at);
        let opened = self.one(call, move |columns| {
            let (chat, created) = (columns.id()?, columns.flag()?);
            let same_request = columns.fingerprint()?.map(|stored| stored.0) == fingerprint;
            Ok(Opened { chat, created, same_request })
        });
        opened.await?.ok_or_else(|| StoreErrorKind::Other.into())
    }

    async fn chat_views(&self, user: UserId, chats: &[ChatId], preview: usize) -> StoreResult<Vec<ChatView>> {
        let call = Call::statement(Arc::clone(&self.sql().chats.views))
            .id("@P1", user)
            .number("@P2", cut_at(preview).into());
        self.listed(call, &distinct(chats), |columns| columns.chat_view()).await
    }

    async fn list_chats(
        &self,
        user: UserId,
        after: Option<Activity>,
        limit: usize,
        preview: usize,
    ) -> StoreResult<Vec<ChatView>> {
        let after = after.unwrap_or(Activity { at: i64::MAX, chat: ChatId::from_bytes([0xff; 16]) });
        let call = Call::statement(Arc::clone(&self.sql().chats.page))
            .id("@P1", user)
            .number("@P2", after.at)
            .id("@P3", after.chat)
            .number("@P4", rows(limit))
            .number("@P5", cut_at(preview).into());
        self.all(call, |columns| columns.chat_view()).await
    }

    async fn membership(&self, chat: ChatId, user: UserId) -> StoreResult<Membership> {
        let call = Call::statement(Arc::clone(&self.sql().chats.membership)).id("@P1", chat).id("@P2", user);
        let found =
            self.one(call, |columns| Ok(Membership { chat: columns.chat()?, member: columns.member()? }));
        found.await?.ok_or_else(|| StoreErrorKind::NotMember.into())
    }

    async fn roster(&self, chat: ChatId) -> StoreResult<Roster> {
        let call = Call::statement(Arc::clone(&self.sql().chats.roster)).id("@P1", chat);
        let rows = self.all(call, |columns| {
            let chat = columns.chat()?;
            let member = if columns.flag()? { Some(columns.member()?) } else { None };
            Ok((chat, member))
        });
        let (mut chats, members): (Vec<ChatRecord>, Vec<Option<MemberRecord>>) =
            rows.await?.into_iter().unzip();
        let chat = chats.pop().ok_or(StoreErrorKind::NotFound)?;
        Ok(Roster { chat, members: members.into_iter().flatten().collect() })
    }

    async fn change_roster(&self, change: RosterChange) -> StoreResult<RosterChanged> {
        let (Some(first), Some(last)) = (change.messages.first(), change.messages.last()) else {
            return Err(StoreErrorKind::Other.into());
        };
        let added = change.add.iter().map(|user| (*user, ADDED, Role::Member));
        let removed = change.remove.iter().map(|user| (*user, REMOVED, Role::Member));
        let given = change.roles.iter().map(|(user, role)| (*user, GIVEN_A_ROLE, *role));
        let changed: Vec<_> = added.chain(removed).chain(given).collect();
        let touched: Vec<_> = changed.iter().map(|(user, ..)| *user).collect();
        fits(changed.len().max(change.messages.len()))?;
        let (mut notes, mut bytes) = (vec![], Bytes::default());
        for message in &change.messages {
            notes.extend_from_slice(message.id.as_bytes());
            notes.extend_from_slice(message.sender.as_bytes());
            notes.extend_from_slice(&message.at.as_micros().to_be_bytes());
            notes.extend_from_slice(&int(bytes.push(&message.note.0)));
            notes.extend_from_slice(&int(message.note.0.len()));
        }
        let call = Call::procedure(Arc::clone(&self.sql().chats.change_roster))
            .id("@chat", change.chat)
            .number("@expected", integer(change.expected))
            .time("@at", first.at)
            .optional_text("@title", change.title.as_ref().map(|title| title.as_str()))
            .bytes("@people", people(changed))
            .bytes("@added", list(&distinct(&change.add)))
            .bytes("@touched", list(&distinct(&touched)))
            .bytes("@notes", notes)
            .bytes("@bytes", bytes.into_bytes())
            .time("@noted_at", last.at);
        let chat = self.one(call, |columns| columns.chat()).await?.ok_or(StoreErrorKind::Other)?;
        // The messages have the numbers that the chat was given last.
        let mut numbered = ChatRecord { ..chat.clone() };
        let before = |number: u64| number.saturating_sub(change.messages.len() as u64);
        numbered.revision = Revision::new(before(chat.revision.get()));
        numbered.last_seq = messenger_core::Seq::new(before(chat.last_seq.get()));
        let messages =
            change.messages.into_iter().map(|message| system_message(&mut numbered, message)).collect();
        Ok(RosterChanged { chat, messages })
    }

    async fn set_mute(&self, chat: ChatId, user: UserId, until: Option<Timestamp>) -> StoreResult<()> {
        let sql = &self.sql().chats;
        let call = Call::statement(Arc::clone(if until.is_some() { &sql.mute } else { &sql.unmute }));
        let call = call.id("@P1", chat).id("@P2", user);
        let call = match until {
            Some(until) => call.time("@P3", until),
            None => call,
        };
        let muted = self.one(call, |columns| columns.id::<()>()).await?;
        muted.map(drop).ok_or_else(|| StoreErrorKind::NotMember.into())
    }

    async fn memberships(&self, user: UserId, left_after: Option<u64>) -> StoreResult<Memberships> {
        let call = Call::statement(Arc::clone(&self.sql().chats.memberships))
            .id("@P1", user)
            .number("@P2", memberships::left_after(left_after));
        Ok(memberships::memberships(self.all(call, Listed::read).await?))
    }

    async fn membership_counts(&self, users: &[UserId]) -> StoreResult<Vec<(UserId, u64)>> {
        let call = Call::statement(Arc::clone(&self.sql().chats.membership_counts));
        self.listed(call, &distinct(users), |columns| Ok((columns.id()?, columns.number()?))).await
    }

    async fn revisions(&self, chats: &[ChatId]) -> StoreResult<Vec<(ChatId, Revision)>> {
        let call = Call::statement(Arc::clone(&self.sql().chats.revisions));
        self.listed(call, &distinct(chats), |columns| Ok((columns.id()?, columns.revision()?))).await
    }

    async fn chats_ever_joined(&self, user: UserId) -> StoreResult<Vec<ChatId>> {
        let call = Call::statement(Arc::clone(&self.sql().chats.ever_joined)).id("@P1", user);
        self.all(call, |columns| columns.id()).await
    }
}

const ADDED: u8 = 0;
const REMOVED: u8 = 1;
const GIVEN_A_ROLE: u8 = 2;

/// People whose place in a chat changes, as `messenger_unpack_people` takes them.
fn people(people: impl IntoIterator<Item = (UserId, u8, Role)>) -> Vec<u8> {
    let mut list = vec![];
    for (user, change, given) in people {
        list.extend_from_slice(user.as_bytes());
        list.extend_from_slice(&[change, u8::try_from(role(given)).unwrap_or(u8::MAX)]);
    }
    list
}

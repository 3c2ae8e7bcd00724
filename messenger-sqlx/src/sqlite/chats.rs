use std::sync::LazyLock;

use async_trait::async_trait;
use messenger_core::{
    ChatId, ChatKind, ClientId, MessageId, NotifyLevel, Revision, Role, Timestamp, UserId,
    ports::{
        Activity, ChangedChat, ChatRecord, ChatStore, ChatView, Content, DirectChat, Fingerprint,
        MemberRecord, Membership, Memberships, MessageRecord, NewGroup, NewSystemMessage, Opened, Roster,
        RosterChange, RosterChanged, StoreErrorKind, StoreResult,
    },
};
use messenger_sql::{
    columns::{CHAT, MEMBER, USER, chat_kind, cut_at, last_message, role, rows},
    memberships::{self, Listed},
    records::new_chat,
    unread::stored_level,
};
use sqlx::SqliteConnection;

use super::{
    accounts, messages,
    sql::{self, Bind as _, json_ids, json_pairs},
    store::SqliteStore,
    writer::{self, NEXT_COMMIT, THIS_COMMIT},
};

/// The peer in a direct chat `c`, as seen by its member `p`; null in a group.
const PEER: &str =
    "CASE substr(c.pair, 1, 16) WHEN p.user_id THEN substr(c.pair, 17) ELSE substr(c.pair, 1, 16) END";

pub(super) static BY_ID: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {CHAT} FROM messenger_chats AS c WHERE c.id = $1"));

pub(super) static BY_IDS: LazyLock<String> =
    LazyLock::new(|| view("SELECT unhex(value) FROM json_each($2)", "", "$3"));

/// `$2` and `$3` are the place to begin after. Only the chats of the page are joined with the data of the view.
pub(super) static PAGE: LazyLock<String> = LazyLock::new(|| {
    view(
        "SELECT c.id FROM messenger_members AS p CROSS JOIN messenger_chats AS c ON c.id = p.chat_id
        WHERE p.user_id = $1 AND p.left_at IS NULL AND (c.activity_at, c.id) < ($2, $3)
        ORDER BY c.activity_at DESC, c.id DESC LIMIT $4",
        "ORDER BY c.activity_at DESC, c.id DESC",
        "$5",
    )
});

/// Those of the chats that the person `$1` is a member of, as the person sees them, with the given number of bytes of
/// the last message's body.
fn view(chats: &str, order: &str, preview: &str) -> String {
    let last_message = last_message("length", "substr", preview);
    format!(
        "SELECT {CHAT}, c.retention_secs, {MEMBER}, {USER}, {last_message}
        FROM messenger_chats AS c
        CROSS JOIN messenger_members AS p ON p.chat_id = c.id AND p.user_id = $1 AND p.left_at IS NULL
        LEFT JOIN messenger_users AS u ON u.id = {PEER}
        LEFT JOIN messenger_messages AS m ON m.chat_id = c.id AND m.seq = c.last_seq
        WHERE c.id IN ({chats}) {order}"
    )
}

pub(super) static MEMBERSHIP: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {CHAT}, {MEMBER} FROM messenger_members AS p CROSS JOIN messenger_chats AS c ON c.id = p.chat_id
        WHERE p.chat_id = $1 AND p.user_id = $2 AND p.left_at IS NULL"
    )
});

/// The chat with each of its members, or with nulls if it has none.
pub(super) static ROSTER: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {CHAT}, p.user_id IS NOT NULL, {MEMBER} FROM messenger_chats AS c
        LEFT JOIN messenger_members AS p ON p.chat_id = c.id AND p.left_at IS NULL
        WHERE c.id = $1 ORDER BY p.join_order"
    )
});

static INSERT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO messenger_chats (id, kind, title, created_at, activity_at, revision, last_seq, texts,
            member_count, roster_version, pair, creator_id, client_id, fingerprint, commit_no)
        VALUES ($1, $2, $3, $4, $4, 0, 0, 0, $5, $6, $7, $8, $9, $10, {THIS_COMMIT})"
    )
});

static UPDATE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE messenger_chats SET title = $2, revision = $3, last_seq = $4, texts = $5,
            member_count = $6, roster_version = $7, activity_at = coalesce($8, activity_at),
            commit_no = {THIS_COMMIT}
        WHERE id = $1"
    )
});

static REMOVE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE messenger_members SET left_at = $2, left_commit = {THIS_COMMIT}
        WHERE chat_id = $1 AND left_at IS NULL AND user_id IN (SELECT unhex(value) FROM json_each($3))"
    )
});

/// The person's count of memberships and the last commit, with each of their chats, including those that they left
/// after a commit, or with nulls if there are none.
pub(super) static MEMBERSHIPS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT u.memberships, k.history, k.last, c.id, c.revision, {PEER}, c.commit_no, p.left_at IS NOT NULL
        FROM messenger_users AS u CROSS JOIN messenger_commits AS k ON k.only = 1
        LEFT JOIN messenger_members AS p ON p.user_id = u.id AND (p.left_at IS NULL OR p.left_commit > $2)
        LEFT JOIN messenger_chats AS c ON c.id = p.chat_id
        WHERE u.id = $1"
    )
});

pub(super) const GIVE_ROLES: &str = "UPDATE messenger_members AS p SET role = given.role
    FROM (SELECT unhex(value ->> 0) AS user_id, value ->> 1 AS role FROM json_each($2)) AS given
    WHERE p.chat_id = $1 AND p.user_id = +given.user_id AND p.left_at IS NULL";

/// $1 is the least id that a message may have to be listed as new, $2 the time since which it was edited or deleted.
pub(super) const CHANGED_SINCE: &str = "
    SELECT chat_id, max(revision), max(joined) FROM (
        SELECT chat_id, revision, kind = 1 OR seq = 1 AS joined FROM messenger_messages WHERE id >= $1
        UNION ALL SELECT chat_id, revision, 0 FROM messenger_messages WHERE edited_at >= $2
        UNION ALL SELECT chat_id, revision, 0 FROM messenger_messages WHERE deleted_at >= $2
    ) GROUP BY chat_id LIMIT $3";

#[async_trait]
impl ChatStore for SqliteStore {
    async fn open_direct(&self, chat: DirectChat) -> StoreResult<Opened> {
        self.writer
            .transaction(move |conn| {
                Box::pin(async move {
                    accounts::check_live(conn, &chat.users).await?;
                    let by_pair = sqlx::query("SELECT id FROM messenger_chats WHERE pair = $1");
                    let by_pair = by_pair.bytes(&chat.pair_key());
                    if let Some(chat) = sql::one(conn, by_pair, |columns| columns.id()).await? {
                        return Ok(Opened::existing(chat, None, None));
                    }
                    insert_direct(conn, &chat).await?;
                    Ok(Opened::new(chat.id))
                })
            })
            .await
    }

    async fn create_group(&self, group: NewGroup) -> StoreResult<Opened> {
        self.writer
            .transaction(move |conn| {
                Box::pin(async move {
                    if let Some((name, asked)) = &group.client_id
                        && let Some((chat, stored)) = named(conn, group.creator, name).await?
                    {
                        return Ok(Opened::existing(chat, stored, Some(*asked)));
                    }
                    let chat = group.id;
                    insert_group(conn, group).await?;
                    Ok(Opened::new(chat))
                })
            })
            .await
    }

    async fn chat_views(&self, user: UserId, chats: &[ChatId], preview: usize) -> StoreResult<Vec<ChatView>> {
        let query = sqlx::query(BY_IDS.as_str()).id(user).bind(json_ids(chats)).bind(cut_at(preview));
        self.all(query, |columns| columns.chat_view()).await
    }

    async fn list_chats(
        &self,
        user: UserId,
        after: Option<Activity>,
        limit: usize,
        preview: usize,
    ) -> StoreResult<Vec<ChatView>> {
        let after = after.unwrap_or(Activity { at: i64::MAX, chat: ChatId::from_bytes([0xff; 16]) });
        let query = sqlx::query(PAGE.as_str()).id(user).bind(after.at).id(after.chat);
        self.all(query.bind(rows(limit)).bind(cut_at(preview)), |columns| columns.chat_view()).await
    }

    async fn membership(&self, chat: ChatId, user: UserId) -> StoreResult<Membership> {
        let query = sqlx::query(MEMBERSHIP.as_str()).id(chat).id(user);
        let found =
            self.one(query, |columns| Ok(Membership { chat: columns.chat()?, member: columns.member()? }));
        found.await?.ok_or_else(|| StoreErrorKind::NotMember.into())
    }

    async fn roster(&self, chat: ChatId) -> StoreResult<Roster> {
        let rows = self.all(sqlx::query(ROSTER.as_str()).id(chat), |columns| {
            let chat = columns.chat()?;
            let member = if columns.integer()? == 0 { None } else { Some(columns.member()?) };
            Ok((chat, member))
        });
        let (mut chats, members): (Vec<ChatRecord>, Vec<Option<MemberRecord>>) =
            rows.await?.into_iter().unzip();
        let chat = chats.pop().ok_or(StoreErrorKind::NotFound)?;
        Ok(Roster { chat, members: members.into_iter().flatten().collect() })
    }

    async fn change_roster(&self, change: RosterChange) -> StoreResult<RosterChanged> {
        self.writer.transaction(move |conn| Box::pin(apply(conn, change))).await
    }

    async fn set_mute(&self, chat: ChatId, user: UserId, until: Option<Timestamp>) -> StoreResult<()> {
        self.writer
            .transaction(move |conn| {
                Box::pin(async move {
                    let mute = "UPDATE messenger_members SET muted_until = $3
                        WHERE chat_id = $1 AND user_id = $2 AND left_at IS NULL";
                    let mute = sqlx::query(mute).id(chat).id(user).bind(until.map(Timestamp::as_micros));
                    let muted = sql::run(conn, mute).await?;
                    if muted == 0 { Err(StoreErrorKind::NotMember.into()) } else { Ok(()) }
                })
            })
            .await
    }

    async fn set_notify_level(&self, chat: ChatId, user: UserId, level: NotifyLevel) -> StoreResult<()> {
        let set = "UPDATE messenger_members SET notify_level = $3
            WHERE chat_id = $1 AND user_id = $2 AND left_at IS NULL";
        let set = sqlx::query(set).id(chat).id(user).bind(stored_level(level));
        let set = self.writer.transaction(move |conn| Box::pin(async move { sql::run(conn, set).await }));
        if set.await? == 0 { Err(StoreErrorKind::NotMember.into()) } else { Ok(()) }
    }

    async fn memberships(&self, user: UserId, left_after: Option<u64>) -> StoreResult<Memberships> {
        let query = sqlx::query(MEMBERSHIPS.as_str()).id(user).bind(memberships::left_after(left_after));
        Ok(memberships::memberships(self.all(query, Listed::read).await?))
    }

    async fn membership_counts(&self, users: &[UserId]) -> StoreResult<Vec<(UserId, u64)>> {
        let query = "SELECT id, memberships FROM messenger_users
            WHERE id IN (SELECT unhex(value) FROM json_each($1))";
        let query = sqlx::query(query).bind(json_ids(users));
        self.all(query, |columns| Ok((columns.id()?, columns.number()?))).await
    }

    async fn revisions(&self, chats: &[ChatId]) -> StoreResult<Vec<(ChatId, Revision)>> {
        let query = "SELECT id, revision FROM messenger_chats
            WHERE id IN (SELECT unhex(value) FROM json_each($1))";
        let query = sqlx::query(query).bind(json_ids(chats));
        self.all(query, |columns| Ok((columns.id()?, columns.revision()?))).await
    }

    async fn changed_since(&self, since: Timestamp, limit: usize) -> StoreResult<Vec<ChangedChat>> {
        let query = sqlx::query(CHANGED_SINCE).id(MessageId::least_at(since)).time(since).bind(rows(limit));
        self.all(query, |columns| columns.changed_chat()).await
    }

    async fn chats_ever_joined(&self, user: UserId) -> StoreResult<Vec<ChatId>> {
        let query = sqlx::query("SELECT chat_id FROM messenger_members WHERE user_id = $1").id(user);
        self.all(query, |columns| columns.id()).await
    }
}

async fn insert_direct(conn: &mut SqliteConnection, direct: &DirectChat) -> StoreResult<()> {
    let chat = new_chat(direct.id, ChatKind::Direct, None, direct.created_at);
    insert(conn, &chat, Origin::Direct(direct)).await?;
    let members = direct.users.map(|user| (user, Role::Member));
    admit(conn, &chat, &members, direct.created_at).await
}

async fn insert_group(conn: &mut SqliteConnection, group: NewGroup) -> StoreResult<()> {
    let mut users = vec![group.creator];
    users.extend(&group.members);
    accounts::check_live(conn, &users).await?;

    let mut chat = new_chat(group.id, ChatKind::Group, Some(group.title), group.created_at);
    insert(conn, &chat, Origin::Group(group.creator, group.client_id.as_ref())).await?;
    let role_of = |user| if user == group.creator { Role::Owner } else { Role::Member };
    let members: Vec<_> = users.into_iter().map(|user| (user, role_of(user))).collect();
    admit(conn, &chat, &members, group.created_at).await?;
    chat.member_count = u32::try_from(members.len()).unwrap_or(u32::MAX);
    let at = group.message.at;
    messages::append_system(conn, &mut chat, group.message).await?;
    update(conn, &chat, Some(at)).await
}

/// Finds the group that this person created with this client id.
async fn named(
    conn: &mut SqliteConnection,
    creator: UserId,
    name: &ClientId,
) -> StoreResult<Option<(ChatId, Option<Fingerprint>)>> {
    let query = "SELECT id, fingerprint FROM messenger_chats WHERE creator_id = $1 AND client_id = $2";
    let query = sqlx::query(query).id(creator).bind(name.as_str());
    sql::one(conn, query, |columns| Ok((columns.id()?, columns.fingerprint()?))).await
}

/// How an existing chat is found when it is to be created a second time.
enum Origin<'o> {
    Direct(&'o DirectChat),
    Group(UserId, Option<&'o (ClientId, Fingerprint)>),
}

async fn insert(conn: &mut SqliteConnection, chat: &ChatRecord, origin: Origin<'_>) -> StoreResult<()> {
    writer::execute(conn, NEXT_COMMIT).await?;
    let insert = sqlx::query(INSERT.as_str())
        .id(chat.id)
        .bind(chat_kind(chat.kind))
        .bind(chat.title.as_ref().map(Content::to_text).transpose()?)
        .time(chat.created_at);
    let insert = match origin {
        Origin::Direct(direct) => {
            insert.number(2).number(chat.roster_version).bytes(&direct.pair_key()).nulls(3)
        }
        Origin::Group(creator, name) => insert
            .number(0)
            .number(chat.roster_version)
            .nulls(1)
            .id(creator)
            .bind(name.map(|(name, _)| name.as_str()))
            .bind(name.map(|(_, fingerprint)| fingerprint.0.as_slice())),
    };
    sql::run(conn, insert).await.map(drop)
}

/// Makes people members of the chat in its state before the change.
async fn admit(
    conn: &mut SqliteConnection,
    chat: &ChatRecord,
    members: &[(UserId, Role)],
    joined_at: Timestamp,
) -> StoreResult<()> {
    // `WHERE true` keeps the parser from taking `ON` for a part of the `FROM` clause.
    let admit = "INSERT INTO messenger_members
            (chat_id, user_id, role, joined_at, join_order, read_seq, read_texts, delivered_seq)
        SELECT $1, unhex(value ->> 0), value ->> 1, $2, key + 1 + (
                SELECT coalesce(max(join_order), 0) FROM messenger_members WHERE chat_id = $1
            ), $3, $4, $3
        FROM json_each($5) WHERE true
        ON CONFLICT (chat_id, user_id) DO UPDATE SET
            role = excluded.role, joined_at = excluded.joined_at, join_order = excluded.join_order,
            left_at = NULL, left_commit = NULL, muted_until = NULL, notify_level = NULL, read_seq = max(read_seq, excluded.read_seq),
            read_texts = max(read_texts, excluded.read_texts),
            delivered_seq = max(delivered_seq, excluded.delivered_seq)";
    let list = json_pairs(members.iter().map(|(user, given)| (user, role(*given))));
    let admit = sqlx::query(admit).id(chat.id).time(joined_at).number(chat.last_seq.get());
    sql::run(conn, admit.number(chat.texts).bind(list)).await?;
    let users: Vec<_> = members.iter().map(|(user, _)| *user).collect();
    accounts::count_memberships(conn, &users).await
}

async fn apply(conn: &mut SqliteConnection, change: RosterChange) -> StoreResult<RosterChanged> {
    let query = sqlx::query(BY_ID.as_str()).id(change.chat);
    let chat = sql::one(conn, query, |columns| columns.chat()).await?;
    let mut chat = chat.ok_or(StoreErrorKind::NotFound)?;
    if chat.roster_version != change.expected {
        return Err(StoreErrorKind::Conflict.into());
    }
    accounts::check_live(conn, &change.add).await?;
    writer::execute(conn, NEXT_COMMIT).await?;
    let at = change.messages.first().map_or(chat.created_at, |message| message.at);
    let added: Vec<_> = change.add.iter().map(|user| (*user, Role::Member)).collect();
    admit(conn, &chat, &added, at).await?;
    let removed = remove(conn, chat.id, &change.remove, at).await?;
    give_roles(conn, chat.id, &change.roles).await?;

    let count = u64::from(chat.member_count) + added.len() as u64 - removed;
    chat.member_count = u32::try_from(count).unwrap_or(u32::MAX);
    chat.roster_version += 1;
    chat.title = change.title.or(chat.title);
    let messages = append_all(conn, &mut chat, change.messages).await?;
    update(conn, &chat, messages.last().map(|message| message.created_at)).await?;
    Ok(RosterChanged { chat, messages })
}

async fn remove(
    conn: &mut SqliteConnection,
    chat: ChatId,
    users: &[UserId],
    at: Timestamp,
) -> StoreResult<u64> {
    sql::run(conn, sqlx::query(REMOVE.as_str()).id(chat).time(at).bind(json_ids(users))).await
}

async fn give_roles(conn: &mut SqliteConnection, chat: ChatId, roles: &[(UserId, Role)]) -> StoreResult<()> {
    let list = json_pairs(roles.iter().map(|(user, given)| (user, role(*given))));
    sql::run(conn, sqlx::query(GIVE_ROLES).id(chat).bind(list)).await.map(drop)
}

async fn append_all(
    conn: &mut SqliteConnection,
    chat: &mut ChatRecord,
    new: Vec<NewSystemMessage>,
) -> StoreResult<Vec<MessageRecord>> {
    let mut messages = Vec::with_capacity(new.len());
    for message in new {
        messages.push(messages::append_system(conn, chat, message).await?);
    }
    Ok(messages)
}

/// Stores everything that changes in the chat.
pub(super) async fn update(
    conn: &mut SqliteConnection,
    chat: &ChatRecord,
    last_message_at: Option<Timestamp>,
) -> StoreResult<()> {
    let update = sqlx::query(UPDATE.as_str())
        .id(chat.id)
        .bind(chat.title.as_ref().map(Content::to_text).transpose()?)
        .number(chat.revision.get())
        .number(chat.last_seq.get())
        .number(chat.texts)
        .number(chat.member_count.into())
        .number(chat.roster_version)
        .bind(last_message_at.map(Timestamp::as_micros));
    sql::run(conn, update).await.map(drop)
}

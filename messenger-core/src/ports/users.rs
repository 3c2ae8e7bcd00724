use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Content, NewSession, StoreResult};
use crate::domain::{DisplayName, SessionId, Timestamp, UserId, Username};

/// Accounts.
///
/// An erased account is read by its id; what would change it, log it in or add it to a chat is `NotFound`.
#[async_trait]
pub trait UserStore: Send + Sync + 'static {
    /// Stores an account and, in the same step, its first session.
    ///
    /// # Behavior
    /// - `create_user_stores_account_and_session`
    /// - `create_user_refuses_a_taken_username`: `AlreadyExists(Username)`, and nothing is stored.
    /// - `create_user_refuses_a_taken_address`: `AlreadyExists(Email)` by the address's key; the username, if
    ///   taken too, is named first.
    /// - `create_user_lets_one_of_many_racers_win`
    /// - `create_user_refuses_a_known_id`: `AlreadyExists(Id)`, if neither name nor address is taken.
    async fn create_user(&self, user: NewUser, session: NewSession) -> StoreResult<()>;

    /// The account.
    ///
    /// # Behavior
    /// - `user_of_unknown_id_is_not_found`
    /// - `user_reads_back_what_was_stored`
    async fn user(&self, user: UserId) -> StoreResult<UserRecord>;

    /// Those of the accounts that exist, in no particular order, each once.
    ///
    /// # Behavior
    /// - `users_skips_unknown_ids`
    async fn users(&self, users: &[UserId]) -> StoreResult<Vec<UserRecord>>;

    /// The account that logs in with this.
    ///
    /// # Behavior
    /// - `user_by_login_finds_by_username_and_by_address`
    /// - `user_by_login_does_not_find_the_erased`
    async fn user_by_login(&self, login: LoginKey<'_>) -> StoreResult<UserRecord>;

    /// At most `limit` names that begin with `prefix` (which is folded), with their accounts: usernames and the
    /// [keys](StoredName::key) of display names, by name and then username in the order of bytes, beginning after `after`. Erased accounts are not
    /// found.
    ///
    /// What is read goes by `limit`, and not by how many names begin like this: nothing is collected to be sorted, and
    /// nobody is passed over. So it is for the caller to see that an account is found by each of its names.
    ///
    /// # Behavior
    /// - `find_users_matches_prefixes_of_both_names`: an account is found twice if both of its names begin with the
    ///   prefix, but once if they are the same.
    /// - `find_users_finds_by_username_alone_where_the_key_is_empty`: an empty key begins with no prefix, nor with the
    ///   empty one.
    /// - `find_users_pages_by_name`: also among those who have the same name.
    /// - `find_users_takes_the_prefix_literally`: `%`, `_`, `*` and the like are no wildcards.
    async fn find_users(
        &self,
        prefix: &str,
        after: Option<&NamePlace>,
        limit: usize,
    ) -> StoreResult<Vec<FoundUser>>;

    /// Changes the fields that are given, and answers with the account as it is then.
    ///
    /// # Behavior
    /// - `update_user_of_unknown_or_erased_user_is_not_found`
    /// - `update_user_changes_only_what_is_given`
    /// - `update_user_conflicts_with_an_older_version`
    /// - `update_user_refuses_a_taken_address`
    async fn update_user(&self, update: UpdateUser) -> StoreResult<UserRecord>;

    /// Replaces the password hash, ends all sessions but `keep`, and answers with those that ended.
    ///
    /// # Behavior
    /// - `change_password_ends_all_other_sessions`
    /// - `change_password_of_unknown_or_erased_user_is_not_found`
    /// - `change_password_conflicts_with_an_older_version`
    async fn change_password(
        &self,
        user: UserId,
        expected: u64,
        hash: &str,
        keep: Option<SessionId>,
    ) -> StoreResult<Vec<SessionId>>;

    /// Takes the address, the names, the password and the moment it was last seen from the account, wants no
    /// mail for it any more, and ends its sessions. The id stays, with the username `username` and the display
    /// name `display_name`. Answers with the sessions that ended.
    ///
    /// # Behavior
    /// - `erase_user_leaves_only_the_id`: the old username and address can be registered again.
    /// - `erase_user_of_unknown_or_erased_user_is_not_found`
    /// - `erase_user_conflicts_with_an_older_version`
    async fn erase_user(
        &self,
        user: UserId,
        expected: u64,
        username: &Username,
        display_name: &Content,
        at: Timestamp,
    ) -> StoreResult<Vec<SessionId>>;

    /// Remembers when people were last seen; an earlier moment than the one stored is ignored, and unknown or
    /// erased people are passed over.
    ///
    /// # Behavior
    /// - `set_last_seen_only_moves_forward`
    /// - `set_last_seen_passes_over_the_unknown_and_the_erased`
    async fn set_last_seen(&self, seen: &[(UserId, Timestamp)]) -> StoreResult<()>;
}

/// An account to be stored.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Its id.
    pub id: UserId,
    /// The name it logs in with.
    pub username: Username,
    /// The name that others see.
    pub display_name: StoredName,
    /// Its mail address.
    pub email: StoredAddress,
    /// A PHC string of the password's hash.
    pub password_hash: String,
    /// The moment of registration.
    pub created_at: Timestamp,
}

/// A mail address as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAddress {
    /// The address: plain, or sealed by a wrapper.
    pub content: Content,
    /// What it is found by: the folded address, or a keyed hash of it made by a wrapper. At most 320 bytes.
    pub key: Vec<u8>,
}

/// A display name as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredName {
    /// The name: plain, or sealed as text by a wrapper. At most 800 UTF-16 code units.
    pub content: Content,
    /// What it is found by: the folded name. A wrapper that seals names makes it empty, and says so in
    /// [`Capabilities`](super::Capabilities::display_names_are_found): then the account is found by its username alone.
    pub key: String,
}

impl From<&DisplayName> for StoredName {
    /// The plain name.
    fn from(name: &DisplayName) -> Self {
        Self { content: Content::from(name.as_str()), key: name.folded() }
    }
}

/// What a person logs in with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum LoginKey<'a> {
    /// A username.
    Username(&'a Username),
    /// The [key](StoredAddress::key) of an address.
    Email(&'a [u8]),
}

/// An account as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// Its id.
    pub id: UserId,
    /// The name it logs in with.
    pub username: Username,
    /// The name that others see, as [`StoredName::content`].
    pub display_name: Content,
    /// Its mail address; `None` once erased.
    pub email: Option<StoredAddress>,
    /// A PHC string of the password's hash; `None` once erased.
    pub password_hash: Option<String>,
    /// Whether it wants mail for what stays unread; true for a new account.
    pub notify_email: bool,
    /// The moment of registration.
    pub created_at: Timestamp,
    /// When it was last seen going offline.
    pub last_seen_at: Option<Timestamp>,
    /// When it was erased.
    pub erased_at: Option<Timestamp>,
    /// Rises by one with every change of names, address, notifications or password; begins with 1.
    pub version: u64,
    /// Rises whenever the person is added to a chat; begins with 0.
    pub memberships: u64,
}

/// An account, by one of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundUser {
    /// The username or the key of the display name. A store may cut what is longer than 800 bytes.
    pub name: String,
    /// The account.
    pub user: UserRecord,
}

impl FoundUser {
    /// Where it stands among all that can be found.
    pub fn place(&self) -> NamePlace {
        NamePlace { name: self.name.clone(), username: self.user.username.clone() }
    }
}

/// A place among all names that accounts can be found by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NamePlace {
    /// A username or the key of a display name.
    pub name: String,
    /// Whose.
    pub username: Username,
}

/// A change of an account; `None` leaves a field as it is.
#[derive(Debug, Clone)]
pub struct UpdateUser {
    /// The account.
    pub id: UserId,
    /// The version that the change was decided on.
    pub expected: u64,
    /// A new display name.
    pub display_name: Option<StoredName>,
    /// A new mail address.
    pub email: Option<StoredAddress>,
    /// Whether mail is wanted from now on.
    pub notify_email: Option<bool>,
}

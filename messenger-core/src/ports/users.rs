use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::told::MailState;
use super::{Content, NewJob, NewSession, StoreResult};
use crate::domain::{DisplayName, Language, QuietHours, SessionId, TimeZone, Timestamp, UserId, Username};

/// Accounts.
///
/// An erased account can still be read by its id; any method that would change it, log it in or add it to a chat is
/// `NotFound`, and any that would write as it `NotMember`. That holds from the moment at which
/// [`erase_user`](UserStore::erase_user) has been committed, also for what was begun before.

#[async_trait]
pub trait UserStore: Send + Sync + 'static {
    /// Stores an account together with its first session.
    ///
    /// # Behavior
    /// - `create_user_stores_account_and_session`
    /// - `create_user_refuses_a_taken_username`: `AlreadyExists(Username)`, and nothing is stored.
    /// - `create_user_refuses_a_taken_address`: `AlreadyExists(Email)`, compared by the address's key; if the username
    ///   is taken, too, that is reported first.
    /// - `create_user_lets_one_of_many_racers_win`
    /// - `create_user_refuses_a_known_id`: `AlreadyExists(Id)`, if neither username nor address is taken.
    async fn create_user(&self, user: NewUser, session: NewSession) -> StoreResult<()>;

    /// Reads the account.
    ///
    /// # Behavior
    /// - `user_of_unknown_id_is_not_found`
    /// - `user_reads_back_what_was_stored`
    async fn user(&self, user: UserId) -> StoreResult<UserRecord>;

    /// Reads those of the accounts that exist, in no particular order, each once.
    ///
    /// # Behavior
    /// - `users_skips_unknown_ids`
    async fn users(&self, users: &[UserId]) -> StoreResult<Vec<UserRecord>>;

    /// Finds the account by what its owner logs in with.
    ///
    /// # Behavior
    /// - `user_by_login_finds_by_username_and_by_address`
    /// - `user_by_login_does_not_find_the_erased`
    async fn user_by_login(&self, login: LoginKey<'_>) -> StoreResult<UserRecord>;

    /// Finds at most `limit` names that begin with `prefix` (which is case-folded), with their accounts: usernames and
    /// the [keys](StoredName::key) of display names, ordered bytewise by name and then username, beginning after
    /// `after`. Erased accounts are not found.
    ///
    /// The cost depends on `limit`, and not on how many names have this prefix: the store neither collects names to
    /// sort them nor skips an account that it has already returned. So the caller has to handle an account that is
    /// found by both of its names.
    ///
    /// # Behavior
    /// - `find_users_matches_prefixes_of_both_names`: an account is found twice if both of its names begin with the
    ///   prefix, but once if they are the same.
    /// - `find_users_finds_by_username_alone_where_the_key_is_empty`: an empty key matches no prefix, not even the
    ///   empty one.
    /// - `find_users_pages_by_name`: also among accounts that have the same name.
    /// - `find_users_takes_the_prefix_literally`: `%`, `_`, `*` and the like are not wildcards.
    async fn find_users(
        &self,
        prefix: &str,
        after: Option<&NamePlace>,
        limit: usize,
    ) -> StoreResult<Vec<FoundUser>>;

    /// Changes the given fields, and returns the account after the change. With the address, what is known of mail to it
    /// begins anew, even if it is the same address; one with another key is not confirmed.
    ///
    /// # Behavior
    /// - `update_user_of_unknown_or_erased_user_is_not_found`
    /// - `update_user_changes_only_what_is_given`
    /// - `update_user_replaces_preferences`
    /// - `update_user_with_an_address_forgets_refusals`
    /// - `update_user_with_another_address_is_not_confirmed`: nor when the former one is given again later.
    /// - `update_user_conflicts_with_an_older_version`
    /// - `update_user_refuses_a_taken_address`
    async fn update_user(&self, update: UpdateUser) -> StoreResult<UserRecord>;

    /// Replaces the password hash, ends all sessions except `keep`, and returns the ended ones.
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

    /// Replaces the hash `former` by another one of the same password, and tells whether it was still the account's. Neither
    /// the version nor any session changes: whoever read the account before still knows it.
    ///
    /// # Behavior
    /// - `upgrade_password_changes_the_hash_alone`
    /// - `upgrade_password_of_another_hash_is_nothing`: so is that of unknown and erased people.
    async fn upgrade_password(&self, user: UserId, former: &str, hash: &str) -> StoreResult<bool>;

    /// Removes the address, the names, the password, the preferences and the last-seen time from the account, disables its
    /// mail notifications, and ends its sessions. The id stays, with the username and the display name that are given.
    /// Enqueues the jobs, both or nothing: one that [`enqueue_jobs`](super::JobStore::enqueue_jobs) would pass over is
    /// passed over. Returns the ended sessions.
    ///
    /// This only marks the account: what it wrote and the groups that it is in are left to the caller.
    ///
    /// # Behavior
    /// - `erase_user_leaves_only_the_id`: the old username and address can be registered again.
    /// - `erase_user_of_unknown_or_erased_user_is_not_found`
    /// - `erase_user_conflicts_with_an_older_version`
    /// - `erase_user_enqueues_its_jobs`: and none where it is refused.
    /// - `erase_user_lets_nobody_in_who_came_before_it`: whoever is logged in, or added to a chat, at the same time is
    ///   refused, or is in what is read afterwards.
    async fn erase_user(&self, erase: &EraseUser) -> StoreResult<Vec<SessionId>>;

    /// Stores when people were last seen; a time earlier than the stored one is ignored, and so are unknown or erased
    /// people.
    ///
    /// # Behavior
    /// - `set_last_seen_only_moves_forward`
    /// - `set_last_seen_passes_over_the_unknown_and_the_erased`
    async fn set_last_seen(&self, seen: &[(UserId, Timestamp)]) -> StoreResult<()>;

    /// Records what became of a mail to the address with this [key](StoredAddress::key), if it is still the person's
    /// address; otherwise does nothing.
    ///
    /// # Behavior
    /// - `note_mail_counts_refusals_until_one_is_accepted`
    /// - `note_mail_suppresses_an_address_after_so_many_refusals`
    /// - `note_mail_of_another_address_is_nothing`
    async fn note_mail(&self, user: UserId, key: &[u8], outcome: MailOutcome) -> StoreResult<()>;

    /// Records that the address with this [key](StoredAddress::key) was confirmed, if it is the person's, and tells whether
    /// it is. The time of the first confirmation stays.
    ///
    /// # Behavior
    /// - `confirm_email_keeps_the_first_time`: and the version.
    /// - `confirm_email_of_another_address_is_nothing`: so is that of unknown and erased people.
    async fn confirm_email(&self, user: UserId, key: &[u8], at: Timestamp) -> StoreResult<bool>;
}

/// An account to store.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Its id.
    pub id: UserId,
    /// The username, which the person logs in with.
    pub username: Username,
    /// The name that others see.
    pub display_name: StoredName,
    /// Its mail address.
    pub email: StoredAddress,
    /// The hash of the password, as a PHC string.
    pub password_hash: String,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// A mail address in its stored form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAddress {
    /// The address: plain, or sealed by a wrapper.
    pub content: Content,
    /// The lookup key: the case-folded address, or a keyed hash of it made by a wrapper. At most 320 bytes.
    pub key: Vec<u8>,
}

/// A display name in its stored form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredName {
    /// The name: plain, or sealed as text by a wrapper. At most 800 UTF-16 code units.
    pub content: Content,
    /// The lookup key: the case-folded name. A wrapper that seals names leaves it empty, and reports that in
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
    /// The username, which the person logs in with.
    pub username: Username,
    /// The name that others see, as in [`StoredName::content`].
    pub display_name: Content,
    /// Its mail address; `None` once erased.
    pub email: Option<StoredAddress>,
    /// When the address was confirmed; `None` if it was not.
    pub email_confirmed_at: Option<Timestamp>,
    /// The hash of the password, as a PHC string; `None` once erased.
    pub password_hash: Option<String>,
    /// Whether the person wants mail about unread messages; true for a new account.
    pub notify_email: bool,
    /// How the person wants to be spoken to.
    pub preferences: Preferences,
    /// What is known of mail to the person.
    pub mail: MailState,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When the person last went offline.
    pub last_seen_at: Option<Timestamp>,
    /// When it was erased.
    pub erased_at: Option<Timestamp>,
    /// Rises by one with every change of names, address, preferences, notifications or password; begins with 1.
    pub version: u64,
    /// Rises whenever the person is added to a chat; begins with 0.
    pub memberships: u64,
}

/// How a person wants to be spoken to; empty for a new account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Preferences {
    /// The language that they read.
    pub language: Option<Language>,
    /// The time zone that they live in.
    pub time_zone: Option<TimeZone>,
    /// When they don't want to be told of anything.
    pub quiet_hours: Option<QuietHours>,
}

/// What became of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailOutcome {
    /// It was accepted: what was refused before does not count.
    Accepted,
    /// The address was refused for good.
    Refused {
        /// When.
        at: Timestamp,
        /// With this many refusals in a row, at least 1, the address gets no more mail.
        most: u32,
    },
}

/// An account, found by one of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundUser {
    /// The username or the key of the display name. A store may cut it after 800 bytes.
    pub name: String,
    /// The account.
    pub user: UserRecord,
}

impl FoundUser {
    /// Its position among all names that can be found.
    pub fn place(&self) -> NamePlace {
        NamePlace { name: self.name.clone(), username: self.user.username.clone() }
    }
}

/// A position among all names that accounts can be found by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NamePlace {
    /// A username or the key of a display name.
    pub name: String,
    /// The username of the account.
    pub username: Username,
}

/// An account to erase.
#[derive(Debug, Clone)]
pub struct EraseUser {
    /// The account.
    pub id: UserId,
    /// The account version that it was decided on.
    pub expected: u64,
    /// The username that it has from now on: one that nobody can register.
    pub username: Username,
    /// The name that others see from now on, as [`StoredName::content`]. Nobody is found by it.
    pub display_name: Content,
    /// When it is erased.
    pub at: Timestamp,
    /// The jobs that do the rest.
    pub jobs: Vec<NewJob>,
}

/// A change of an account; fields that are `None` stay unchanged.
#[derive(Debug, Clone)]
pub struct UpdateUser {
    /// The account.
    pub id: UserId,
    /// The account version that the change was decided on.
    pub expected: u64,
    /// A new display name.
    pub display_name: Option<StoredName>,
    /// A new mail address.
    pub email: Option<StoredAddress>,
    /// Whether mail is wanted from now on.
    pub notify_email: Option<bool>,
    /// The preferences from now on, all of them.
    pub preferences: Option<Preferences>,
}

impl UpdateUser {
    /// A change of this account that changes nothing but its version.
    pub const fn of(id: UserId, expected: u64) -> Self {
        Self { id, expected, display_name: None, email: None, notify_email: None, preferences: None }
    }
}

//! What the domain requires from outside: a store, presence, and a bus between nodes.
//!
//! Every method is an *intent*: it succeeds or fails as a whole. The `# Behavior` list of a method is its
//! contract, and each point has a case in the conformance kit (feature `testkit`). No method has a default
//! body, so that a wrapper can't forget one.

mod bus;
mod chats;
mod content;
mod contents;
mod error;
mod inbox;
mod jobs;
mod keys;
mod markers;
mod message;
mod messages;
mod notifier;
mod presence;
mod rates;
mod retention;
mod schedules;
mod sessions;
mod store;
mod told;
mod unread;
mod users;

pub use bus::{Bus, BusError, BusEvent, BusMessage, Hint, NodeId, Subscription, Topic};
pub use chats::{
    Activity, ChangedChat, ChatHead, ChatRecord, ChatStore, ChatView, DirectChat, MemberChat, MemberRecord,
    Membership, Memberships, NewGroup, NewSystemMessage, Opened, Roster, RosterChange, RosterChanged,
};
pub use content::Content;
pub use contents::{
    AskContents, ContentField, ContentPage, ContentPlace, ContentStore, ReplaceContent, RowId, StoredContent,
};
pub use error::{StoreError, StoreErrorKind, StoreResult, Unique};
pub use inbox::Inbox;
pub use jobs::{
    ClaimJobs, ClaimedJob, Enqueued, FinishedJob, InvalidJobKind, JobChange, JobClaim, JobCounts, JobFilter,
    JobKind, JobOutcome, JobPriority, JobRecord, JobState, JobStore, NewJob, UniqueJob,
};
pub use keys::{KeyId, KeyStore, Rewrap, StoredKey, WrappedKey};
pub use markers::{MarkerMoved, MarkerStore, MoveMarker};
pub use message::{Budget, Fingerprint, MessageRecord};
pub use messages::{
    Anchor, Appended, Changes, DeleteMessage, EditMessage, HistoryRange, MessageStore, NewMessage,
};
pub use notifier::{
    AddressChanged, AddressConfirmation, ChatName, Claim, ClaimId, Notice, Notification, Notifier,
    NotifyError, PasswordReset, Recipient, Refusal, Refused, UnreadChat, UnreadDigest, UnreadLine,
};
pub use presence::{Lease, PresenceError, PresenceState, PresenceStore, WentOffline};
pub use rates::{Quota, RateLimiter, RateLimiterError};
pub use retention::{
    AskOverdue, Hold, HoldReason, HoldSubject, InvalidHoldReason, OverdueChat, Purge, PurgeId, PurgeRecord,
    Purged, RetentionChange, RetentionStore,
};
pub use schedules::{InvalidScheduleName, MoveSchedule, ScheduleName, ScheduleRecord, ScheduleStore};
pub use sessions::{NewSession, SessionRecord, SessionStore};
pub use store::{Capabilities, Store};
pub use told::{MailState, Told};
pub use unread::{
    AskUnread, ClaimUnread, ClaimedChat, Notified, PendingChat, PendingMember, SeenPlace, UnreadRange,
    UnreadStore,
};
pub use users::{
    EraseUser, FoundUser, LoginKey, MailOutcome, NamePlace, NewUser, Preferences, StoredAddress, StoredName,
    UpdateUser, UserRecord, UserStore,
};

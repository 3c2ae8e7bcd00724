//! The domain types of a chat: what commands and queries take and return, and what goes over the wire.
//!
//! Everything here serialises as the wire contract specifies: camelCase, ids as UUID strings, times as RFC 3339 with
//! milliseconds, missing values absent instead of `null`.

mod account_tokens;
mod chat;
mod event;
mod id;
mod limits;
mod link;
mod link_keys;
mod message;
mod notify;
mod number;
mod page;
mod position;
mod presence;
mod retention;
mod session;
mod text;
mod time;
mod unsubscribe;
mod user;

pub use account_tokens::LinkToken;
pub(crate) use account_tokens::{AccountLink, AccountToken, Fingerprint};
pub use chat::{Chat, ChatKind, Member, MyMembership, Role};
pub use event::{ChatUpdate, Event, MarkMove, MessageChange, Payload, Typing};
pub use id::{BackgroundJob, ChatId, ConnectionId, Id, JobId, LiveConnection, MessageId, SessionId, UserId};
pub use limits::{Limits, PageLimits};
pub use link::{ChatLink, InvalidLink, Link, PublicUrl};
pub use link_keys::{LinkKeys, WeakKey};
pub use message::{Message, MessageKind, SystemEvent, SystemNote};
pub use notify::{
    DailyHours, InvalidQuietHours, InvalidTimeZone, NotifyLevel, QuietHours, TimeZone, minute_of_day,
};
pub use number::{Revision, Seq};
pub use page::{Cursor, Page};
pub(crate) use position::Checkpoint;
pub use position::{Position, Since};
pub use presence::Presence;
pub use retention::{InvalidRetention, RetentionPeriod};
pub use session::{Authenticated, Session, Token, TokenHash};
pub use text::{
    ClientId, Device, DisplayName, EmailAddress, Language, MessageBody, Password, Text, TextKind, Title,
    Username, kind,
};
pub use time::{InvalidTimestamp, Timestamp};
pub use unsubscribe::{InvalidUnsubscribeToken, Unsubscribe, UnsubscribeScope};
pub use user::{ChangeNotifications, Me, Notifications, User};

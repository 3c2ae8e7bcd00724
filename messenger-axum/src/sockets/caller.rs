//! The client of a socket of either kind: calls operations by name, and receives events.

use std::collections::HashMap;

use futures::future::BoxFuture;
use messenger_core::{Begun, ChatId, Connection, Error, Page, Result, Revision, Since, UserId, hub::Resumed};
use messenger_socket::{Placed, StartAfter};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::rpc::procedure;
use crate::{door::Door, encoding::Encoding, fields::Fields, operation::Answer};

/// A connection to the hub, and the door through which it came.
pub(crate) struct Caller {
    pub(crate) door: Door,
    pub(crate) connection: Connection,
}

/// The result of a call.
pub(crate) enum Called {
    /// It is done.
    Done(Result<Answer>),
    /// Work to begin.
    Work(Work, StartAfter),
    /// There is no method of this name.
    NoSuchMethod,
    /// The person makes too many requests.
    TooOften(Error),
}

/// The work of a call, which resolves as soon as the next call of the connection may begin.
pub(crate) type Work = BoxFuture<'static, Placed<Result<Answer>>>;

impl Caller {
    /// Starts the method with this name, in any case. `json` is an object with the fields, or empty.
    pub(crate) async fn call(&mut self, method: &str, json: &[u8], encoding: Encoding) -> Called {
        if let Err(error) = self.admit() {
            return Called::TooOften(error);
        }
        if let Some(own) = Own::named(method) {
            let limit = self.door.timeout();
            let done = timeout(limit, self.own(own, json, encoding)).await;
            return Called::Done(done.unwrap_or_else(|late| Err(Error::Unavailable(Some(late.into())))));
        }
        self.connection.go_live();
        let Some(procedure) = procedure(method) else { return Called::NoSuchMethod };
        let work = procedure.call(&self.door, *self.connection.actor(), json, encoding);
        let limit = self.door.timeout();
        let work = async move {
            // A call that blocks those behind it is given up in time.
            match timeout(limit, work).await {
                Ok(Begun::Done(answer)) => Placed::Done(answer),
                Ok(Begun::UnderWay(work)) => Placed::UnderWay(work),
                Err(_) => Placed::Done(Err(Error::unavailable())),
            }
        };
        Called::Work(Box::pin(work), procedure.starts_after())
    }

    /// Counts a request of the person; fails if there were too many.
    pub(crate) fn admit(&self) -> Result<()> {
        self.door.limits.person(self.connection.actor().user()?)
    }

    async fn resume(&mut self, params: ResumeParams) -> Result<ResumeAnswer> {
        let ResumeParams { chats, more, position } = params;
        let resumed = match (position, more.unwrap_or(false)) {
            (Since::Unsaid, true) => {
                self.connection.resume_part(chats.unwrap_or_default())?;
                Resumed::Begun
            }
            (Since::Unsaid, false) => {
                self.connection.resume(chats).await?;
                Resumed::Begun
            }
            (since, false) => {
                self.connection.resume_since(since.position(), chats.unwrap_or_default()).await?
            }
            (_, true) => return Err(Error::invalid("position", "goes with the last part")),
        };
        Ok(match resumed {
            Resumed::Begun => ResumeAnswer::default(),
            Resumed::NeedsRevisions(changed) => ResumeAnswer { changed, ..ResumeAnswer::default() },
            Resumed::UnknownPosition => ResumeAnswer { unknown_position: true, ..ResumeAnswer::default() },
        })
    }

    /// Runs a method of the connection itself.
    async fn own(&mut self, method: Own, json: &[u8], encoding: Encoding) -> Result<Answer> {
        let fields = Fields::of_json(&[], json);
        if method == Own::Resume {
            return Answer::ok(&self.resume(fields.read()?).await?, encoding);
        }
        self.connection.go_live();
        let page = match method {
            Own::Ping => {
                let Nothing {} = fields.read()?;
                return Answer::ok(&Nothing {}, encoding);
            }
            Own::WatchPresence => self.connection.watch(&fields.read::<WatchParams>()?.user_ids).await?,
            Own::UnwatchPresence | Own::Resume => {
                self.connection.unwatch(&fields.read::<WatchParams>()?.user_ids).await?
            }
        };
        Answer::ok(&Page::whole(page), encoding)
    }
}

/// Methods of the connection itself, which are not commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    Resume,
    WatchPresence,
    UnwatchPresence,
    Ping,
}

/// Whether a connection has a method of this name, its own or an operation.
#[cfg(feature = "signalr")]
pub(crate) fn has_method(name: &str) -> bool {
    Own::named(name).is_some() || procedure(name).is_some()
}

impl Own {
    fn named(method: &str) -> Option<Self> {
        [
            ("Resume", Self::Resume),
            ("WatchPresence", Self::WatchPresence),
            ("UnwatchPresence", Self::UnwatchPresence),
            ("Ping", Self::Ping),
        ]
        .into_iter()
        .find_map(|(name, own)| name.eq_ignore_ascii_case(method).then_some(own))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResumeParams {
    chats: Option<HashMap<ChatId, Revision>>,
    more: Option<bool>,
    #[serde(default)]
    position: Since,
}

/// Empty if the missed events follow, or more parts.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ResumeAnswer {
    /// Chats whose revisions the client must state.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed: Vec<ChatId>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unknown_position: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WatchParams {
    user_ids: Vec<UserId>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

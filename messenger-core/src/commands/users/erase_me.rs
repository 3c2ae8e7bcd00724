use serde::Deserialize;

use crate::{
    commands::{ATTEMPTS, auth::tell_ended, chats::leave},
    convert,
    domain::{ChatId, ChatKind, Password, UserId, Username},
    error::{Error, Result},
    messenger::{Command, Cx},
    ports::{StoreErrorKind, Topic},
};

/// Erases one's own account: its messages become tombstones, it leaves its groups, and name, address, password and
/// sessions are gone. What was begun and broken off goes on when it is asked for again.
///
/// Errors: `invalidCredentials`.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EraseMe {
    /// The password, once more.
    pub password: Password,
}

/// Messages erased in one transaction.
const MESSAGES_AT_ONCE: usize = 200;

impl Command for EraseMe {
    type Output = ();
    const NAME: &'static str = "EraseMe";

    async fn run(self, cx: &mut Cx) -> Result<()> {
        let user = cx.actor().user()?;
        let account = cx.store().user(user).await?;
        let hash = account.password_hash.as_deref();
        if !cx.messenger().passwords().verify(self.password, hash).await? {
            return Err(Error::InvalidCredentials);
        }
        for chat in cx.store().chats_ever_joined(user).await? {
            erase_messages(cx, chat, user).await?;
            leave_group(cx, chat, user).await?;
        }
        erase_account(cx, user).await
    }
}

async fn erase_messages(cx: &mut Cx, chat: ChatId, user: UserId) -> Result<()> {
    loop {
        let at = cx.context().now();
        cx.writes([Topic::Chat(chat)]);
        let erased = cx.store().erase_messages(chat, user, at, MESSAGES_AT_ONCE).await?;
        if erased.is_empty() {
            return Ok(());
        }
        let head = cx.store().roster(chat).await?.chat;
        cx.tell_changes(&head, erased)?;
        // At once: a long history would be much to remember until the end.
        cx.tell_others().await;
    }
}

async fn leave_group(cx: &mut Cx, chat: ChatId, user: UserId) -> Result<()> {
    match cx.store().membership(chat, user).await {
        Err(error) if error.kind() == StoreErrorKind::NotMember => Ok(()),
        Ok(membership) if membership.chat.kind == ChatKind::Direct => Ok(()),
        found => {
            found?;
            leave(cx, chat, user).await
        }
    }
}

async fn erase_account(cx: &mut Cx, user: UserId) -> Result<()> {
    // Nobody can register it: it is longer than a username may be, and has a character that none may have.
    let username = Username::trusted(format!("deleted:{user}"));
    for _ in 0..ATTEMPTS {
        let version = cx.store().user(user).await?.version;
        let (name, now) = (convert::erased_display_name(), cx.context().now());
        cx.writes([Topic::User(user)]);
        match cx.store().erase_user(user, version, &username, &name, now).await {
            Err(error) if error.kind() == StoreErrorKind::Conflict => {}
            erased => {
                let ended = erased?;
                tell_ended(cx, user, ended);
                return Ok(());
            }
        }
    }
    Err(Error::Conflict)
}

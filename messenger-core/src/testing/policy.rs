use std::sync::Mutex;

use async_trait::async_trait;

use crate::{
    Actor, Policy,
    domain::{ChatId, MessageBody, UserId},
    error::{Error, Result},
};

/// A host that allows every operation, refuses a text with `damn` in it, and signs every other one.
#[derive(Default)]
pub(crate) struct HostPolicy {
    asked: Mutex<Vec<(UserId, ChatId, String)>>,
}

impl HostPolicy {
    /// What is stored in place of `body`.
    pub(crate) fn signed(body: &str) -> String {
        format!("{body} (seen by the host)")
    }

    /// Whose texts it was asked about, for which chats, since the last look.
    pub(crate) fn asked(&self) -> Vec<(UserId, ChatId, String)> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

#[async_trait]
impl Policy for HostPolicy {
    async fn allow(&self, _: &Actor, _: &'static str) -> Result<()> {
        Ok(())
    }

    async fn text(&self, actor: &Actor, chat: ChatId, body: MessageBody) -> Result<MessageBody> {
        self.asked.lock().unwrap().push((actor.user()?, chat, body.as_str().to_owned()));
        if body.as_str().contains("damn") {
            return Err(Error::Forbidden("Not in these words."));
        }
        Ok(MessageBody::trusted(Self::signed(body.as_str())))
    }
}

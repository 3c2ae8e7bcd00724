use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;

use crate::{
    Actor, Policy,
    domain::{ChatId, MessageBody, UserId},
    error::{Error, Result},
};

/// The host's error for a text that it refuses.
pub(crate) const REFUSED_TEXT: &str = "Not in these words.";

/// A host policy that allows every operation, refuses a text with `damn` in it, and numbers every other one.
#[derive(Default)]
pub(crate) struct HostPolicy {
    asked: Mutex<Vec<(UserId, ChatId, String)>>,
    texts: AtomicUsize,
}

impl HostPolicy {
    /// The text stored in place of `body` if it is the n-th text that the policy was asked about.
    pub(crate) fn numbered(body: &str, n: usize) -> String {
        format!("{body} (no. {n})")
    }

    /// The texts that the policy was asked about since the last call, with their senders and chats.
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
            return Err(Error::Forbidden(REFUSED_TEXT));
        }
        let n = self.texts.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(MessageBody::trusted(Self::numbered(body.as_str(), n)))
    }
}

use std::collections::{BTreeMap, HashMap};

use crate::{
    domain::{ChatId, Revision, Seq},
    ports::{Budget, Changes, MessageRecord, Store},
};

/// The state of a reader that follows each chat page by page of its changes.
#[derive(Debug, Default)]
pub(super) struct Replica {
    chats: HashMap<ChatId, Copy>,
}

#[derive(Debug, Default)]
struct Copy {
    /// All changes up to here have been read.
    revision: Revision,
    messages: BTreeMap<Seq, MessageRecord>,
}

impl Replica {
    /// Reads one page of the changes of each chat; returns whether there are more.
    pub(super) async fn sync(&mut self, store: &dyn Store, chats: &[ChatId], limit: usize) -> bool {
        let since: Vec<_> = chats.iter().map(|chat| (*chat, self.revision(*chat))).collect();
        // Large enough for some messages, and too small for others.
        let budget = Budget { messages: limit, bytes: 600 * limit };
        let pages = store.changes(&since, budget).await.unwrap();
        assert_eq!(pages.len(), chats.len(), "each chat is there once");
        let more = pages.iter().any(|page| page.truncated);
        for page in pages {
            self.chats.entry(page.chat.id).or_default().apply(page, limit);
        }
        more
    }

    /// The messages of a chat in the order of their seqs.
    pub(super) fn messages(&self, chat: ChatId) -> Vec<MessageRecord> {
        self.chats.get(&chat).map(|copy| copy.messages.values().cloned().collect()).unwrap_or_default()
    }

    fn revision(&self, chat: ChatId) -> Revision {
        self.chats.get(&chat).map_or(Revision::ZERO, |copy| copy.revision)
    }
}

impl Copy {
    fn apply(&mut self, page: Changes, limit: usize) {
        assert!(page.messages.len() <= limit);
        for message in page.messages {
            assert!(message.revision > self.revision, "no change comes twice, and none out of order");
            self.revision = message.revision;
            self.messages.insert(message.seq, message);
        }
        if !page.truncated {
            assert_eq!(self.revision, page.chat.revision, "the last change is the chat's revision");
        }
    }
}

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

use super::{PlainValues, SealedStore, place::Place, sealer::Sealer};
use crate::{
    domain::Event,
    ports::{Bus, BusError, BusEvent, BusMessage, Content, Hint, NodeId, Subscription, Topic},
};

/// Wraps a bus and seals what is said in chats before it gets there: whoever listens to Redis or PostgreSQL learns which
/// chats and people a message is about, and how far they have read, and no more. Nodes that have other keys, or none, find out from the store.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::sync::Arc;
/// use messenger_core::{
///     Messenger,
///     encryption::{KeyRing, SealSettings, SealedBus, SealedStore},
///     memory::{MemoryBus, MemoryPresence, MemoryStore},
///     context::SystemClock,
/// };
///
/// let keys = KeyRing::new(&[7; 32]);
/// let store = SealedStore::open(Arc::new(MemoryStore::new()), Arc::new(keys), SealSettings::default()).await?;
/// let bus = SealedBus::new(Arc::new(MemoryBus::new()), &store);
/// let messenger = Messenger::builder(Arc::new(store))
///     .bus(Arc::new(bus))
///     .presence(Arc::new(MemoryPresence::new(Arc::new(SystemClock))))
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub struct SealedBus {
    inner: Arc<dyn Bus>,
    sealer: Arc<Sealer>,
}

impl SealedBus {
    /// Wraps this bus; it seals with a key of this store.
    pub fn new(inner: Arc<dyn Bus>, store: &SealedStore) -> Self {
        Self { inner, sealer: store.sealer() }
    }
}

impl fmt::Debug for SealedBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedBus").finish_non_exhaustive()
    }
}

/// Whether it says what people wrote; everything else is ids, numbers and times.
const fn has_content(hint: &Hint) -> bool {
    !matches!(
        hint,
        Hint::Event(
            Event::ReadMoved(_) | Event::DeliveredMoved(_) | Event::Typing(_) | Event::PresenceChanged(_)
        ) | Hint::Added { .. }
            | Hint::SessionsEnded { .. }
            | Hint::Sealed(_)
            | Hint::Invalidate {}
    )
}

fn seal(sealer: &Sealer, message: &BusMessage) -> BusMessage {
    if !has_content(&message.hint) {
        return message.clone();
    }
    let plain = Content(message.to_bytes());
    let hint = match sealer.seal_shared(&Place::Bus, &plain) {
        Ok(sealed) => Hint::Sealed(STANDARD_NO_PAD.encode(sealed.0)),
        Err(_) => Hint::Invalidate {},
    };
    BusMessage { topics: message.topics.clone(), hint: Arc::new(hint) }
}

fn open(sealer: &Sealer, message: BusMessage) -> BusMessage {
    match &*message.hint {
        Hint::Sealed(sealed) => {
            let opened = opened(sealer, sealed).filter(|opened| opened.topics == message.topics);
            opened.unwrap_or_else(|| invalidate(message.topics))
        }
        // Of a node that does not seal, or of somebody else.
        hint if has_content(hint) && sealer.settings.plain == PlainValues::Refused => {
            invalidate(message.topics)
        }
        _ => message,
    }
}

fn opened(sealer: &Sealer, sealed: &str) -> Option<BusMessage> {
    let mut content = Content(STANDARD_NO_PAD.decode(sealed).ok()?);
    sealer.open_in_place(&sealer.shared_key(), &Place::Bus, &mut content).ok()?;
    BusMessage::from_bytes(&content.0).ok()
}

fn invalidate(topics: Vec<Topic>) -> BusMessage {
    BusMessage { topics, hint: Arc::new(Hint::Invalidate {}) }
}

#[async_trait]
impl Bus for SealedBus {
    async fn join(&self, node: NodeId) -> Result<Box<dyn Subscription>, BusError> {
        let inner = self.inner.join(node).await?;
        Ok(Box::new(SealedSubscription { inner, sealer: Arc::clone(&self.sealer) }))
    }

    async fn publish(&self, from: NodeId, messages: &[BusMessage]) -> Result<(), BusError> {
        let sealed: Vec<_> = messages.iter().map(|message| seal(&self.sealer, message)).collect();
        self.inner.publish(from, &sealed).await
    }

    async fn subscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError> {
        self.inner.subscribe(node, topics).await
    }

    async fn unsubscribe(&self, node: NodeId, topics: &[Topic]) -> Result<(), BusError> {
        self.inner.unsubscribe(node, topics).await
    }
}

struct SealedSubscription {
    inner: Box<dyn Subscription>,
    sealer: Arc<Sealer>,
}

#[async_trait]
impl Subscription for SealedSubscription {
    async fn next(&mut self) -> Option<BusEvent> {
        match self.inner.next().await? {
            BusEvent::Message(message) => Some(BusEvent::Message(open(&self.sealer, message))),
            event => Some(event),
        }
    }
}

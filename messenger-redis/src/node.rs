use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::{join_all, select_ok};
use messenger_core::ports::{NodeId, Subscription, Topic};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    layout::Layout,
    link::{Change, Link, LinkState},
    listener::Listener,
    server::ServerError,
    topology::Topology,
};

/// The subscribing connections of a node: one to each server.
pub(crate) struct Node {
    listener: Arc<Listener>,
    links: Arc<Links>,
    /// The layout by which there are links.
    layouts: watch::Receiver<Option<Arc<Layout>>>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Links(Mutex<HashMap<Arc<str>, Link>>);

impl Links {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Link>> {
        // No holder leaves it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Must be called within a Tokio runtime.
    pub(crate) fn start(id: NodeId, topology: Arc<Topology>) -> Self {
        let listener = Arc::new(Listener::new(id, topology));
        let links = Arc::new(Links::default());
        let (followed, layouts) = watch::channel(None);
        let task = tokio::spawn(follow(Arc::clone(&listener), Arc::clone(&links), followed));
        Self { listener, links, layouts, _task: AbortOnDropHandle::new(task) }
    }

    /// Begins a new subscription, and ends the former one.
    pub(crate) fn begin(&self) -> Box<dyn Subscription> {
        self.listener.begin()
    }

    /// Waits until the connections are subscribed to all topics, within a time limit: those to servers that can be reached.
    /// What the others bring follows a gap of their own.
    pub(crate) async fn is_up(&self) -> Result<(), ServerError> {
        let up = async {
            self.layout().await?;
            let mut links = self.states();
            for link in &mut links {
                // A link that is gone is none that is waited for.
                let _ = link.wait_for(|state| *state != LinkState::Trying).await;
            }
            if links.iter().any(|link| *link.borrow() == LinkState::Unusable) {
                return Err(ServerError::Away);
            }
            let first = links.iter_mut().map(|link| Box::pin(link.wait_for(|state| *state == LinkState::Up)));
            if first.len() > 0 {
                let _ = select_ok(first).await;
            }
            Ok(())
        };
        match timeout(self.patience(), up).await {
            Ok(Err(error)) => Err(error),
            _ if self.is_one_up() => Ok(()),
            _ => Err(ServerError::Away),
        }
    }

    fn states(&self) -> Vec<watch::Receiver<LinkState>> {
        self.links.lock().values().map(|link| link.state.clone()).collect()
    }

    /// Adds or removes topics, and waits for the servers' confirmation, within a time limit. The change is remembered even if
    /// the servers can't be reached. Where some can be, those that can't are not waited for: they are subscribed to what is
    /// remembered when they are there again, and a gap follows.
    pub(crate) async fn change(&self, topics: &[Topic], wanted: bool) -> Result<(), ServerError> {
        self.listener.remember(topics, wanted);
        let changed = async {
            let layout = &self.layout().await?;
            let mut parts: HashMap<Option<Arc<str>>, Vec<Topic>> = HashMap::new();
            for topic in topics {
                let member = layout.of(&self.listener.channel(topic));
                parts.entry(member.map(|member| Arc::clone(&member.address))).or_default().push(*topic);
            }
            let parts = parts.into_iter().map(|(address, topics)| async move {
                let link = address.and_then(|address| {
                    let links = self.links.lock();
                    let link = links.get(&address)?;
                    Some((link.changes.clone(), *link.state.borrow() == LinkState::Away))
                });
                let (link, is_away) = link.ok_or(ServerError::Slot)?;
                if is_away && self.is_one_up() {
                    // Another server may have the topics by now, and it may not have known of them when it took them over.
                    return if self.is_known(layout) { Ok(()) } else { Err(ServerError::Slot) };
                }
                make(link, topics).await
            });
            join_all(parts).await.into_iter().collect()
        };
        timeout(self.patience(), changed).await.unwrap_or(Err(ServerError::Late))
    }

    /// The layout by which there are links.
    async fn layout(&self) -> Result<Arc<Layout>, ServerError> {
        let known = self.listener.topology.layout().await?;
        let followed = self.layouts.clone().wait_for(Option::is_some).await.map(|layout| layout.clone());
        Ok(followed.ok().flatten().unwrap_or(known))
    }

    fn is_one_up(&self) -> bool {
        self.states().iter().any(|state| *state.borrow() == LinkState::Up)
    }

    /// Whether no later layout is known.
    fn is_known(&self, layout: &Arc<Layout>) -> bool {
        let layouts = self.listener.topology.layouts();
        layouts.borrow().layout().is_some_and(|known| Arc::ptr_eq(known, layout))
    }

    /// Time to connect and to get an answer.
    fn patience(&self) -> Duration {
        self.listener.topology.server.timeout * 2 + Duration::from_secs(1)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.listener.inbox().end();
    }
}

async fn make(link: mpsc::Sender<Change>, topics: Vec<Topic>) -> Result<(), ServerError> {
    let (done, is_done) = oneshot::channel();
    link.send(Change { topics, done }).await.map_err(|_| ServerError::Away)?;
    is_done.await.map_err(|_| ServerError::Away)
}

/// Keeps a link to each server, for ever.
async fn follow(listener: Arc<Listener>, links: Arc<Links>, followed: watch::Sender<Option<Arc<Layout>>>) {
    let mut layouts = listener.topology.layouts();
    loop {
        let known = layouts.borrow_and_update().layout().cloned();
        if let Some(layout) = known {
            {
                let mut links = links.lock();
                for member in layout.members() {
                    links.entry(Arc::clone(&member.address)).or_insert_with(|| {
                        Link::start(member.clone(), Arc::clone(&listener), Arc::clone(&layout))
                    });
                }
                links.retain(|address, _| layout.members().iter().any(|member| member.address == *address));
            }
            followed.send_replace(Some(layout));
        }
        if layouts.changed().await.is_err() {
            return;
        }
    }
}

use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    layout::{Layout, Member},
    server::{Server, ServerError},
    sources::Source,
};

/// How often it is asked which server has what, in case nobody notices a change: without need, and while there is doubt.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_millis(200)];

/// Which server has what, at any time.
pub(crate) struct Topology {
    pub(crate) server: Arc<Server>,
    /// What the URL names.
    hosts: String,
    seen: Arc<Seen>,
    /// None for a single server, which has everything at any time.
    source: Option<Arc<Source>>,
    /// Begun with the first use, because there may be no runtime before.
    task: Mutex<Option<AbortOnDropHandle<()>>>,
}

struct Seen {
    layout: watch::Sender<Known>,
    doubts: Notify,
}

#[derive(Clone)]
pub(crate) enum Known {
    /// Nobody has been asked yet.
    NotYet,
    /// Nobody has ever answered, for this reason.
    Never(Arc<ServerError>),
    As(Arc<Layout>),
}

impl Known {
    pub(crate) const fn layout(&self) -> Option<&Arc<Layout>> {
        if let Self::As(layout) = self { Some(layout) } else { None }
    }

    fn found(&self) -> Result<Arc<Layout>, ServerError> {
        match self {
            Self::NotYet => Err(ServerError::Away),
            Self::Never(reason) => Err(ServerError::Nowhere(Arc::clone(reason))),
            Self::As(layout) => Ok(Arc::clone(layout)),
        }
    }
}

impl Topology {
    pub(crate) fn of_one(server: Arc<Server>, member: Member) -> Self {
        let hosts = member.address.to_string();
        Self::new(server, hosts, None, Known::As(Arc::new(Layout::of_one(member))))
    }

    pub(crate) fn from(server: Arc<Server>, hosts: String, source: Source) -> Self {
        Self::new(server, hosts, Some(Arc::new(source)), Known::NotYet)
    }

    fn new(server: Arc<Server>, hosts: String, source: Option<Arc<Source>>, known: Known) -> Self {
        let seen = Seen { layout: watch::Sender::new(known), doubts: Notify::new() };
        Self { server, hosts, seen: Arc::new(seen), source, task: Mutex::default() }
    }

    /// Host and port of the servers that the URL names.
    pub(crate) fn address(&self) -> &str {
        &self.hosts
    }

    /// Must be called within a Tokio runtime.
    pub(crate) fn layouts(&self) -> watch::Receiver<Known> {
        if let Some(source) = &self.source {
            let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
            // The runtime of the first use may have ended.
            if task.as_ref().is_none_or(AbortOnDropHandle::is_finished) {
                let (server, seen) = (Arc::clone(&self.server), Arc::clone(&self.seen));
                let work = keep_up(server, Arc::clone(source), seen, self.hosts.clone());
                *task = Some(AbortOnDropHandle::new(tokio::spawn(work)));
            }
        }
        self.seen.layout.subscribe()
    }

    /// The layout as it was last seen. While nobody has ever been reached it fails at once.
    pub(crate) async fn layout(&self) -> Result<Arc<Layout>, ServerError> {
        let mut layouts = self.layouts();
        let known = layouts.wait_for(|known| !matches!(known, Known::NotYet));
        let known = timeout(self.server.timeout * 3, known).await.map_err(|_| ServerError::Late)?;
        known.map_err(|_| ServerError::Away)?.found()
    }

    /// Asks soon, because a server was not reached or does not have what it should.
    pub(crate) fn doubt(&self) {
        self.seen.doubts.notify_one();
    }

    /// Another layout than this one, if one is found within a moment.
    pub(crate) async fn after(&self, layout: &Arc<Layout>) -> Result<Arc<Layout>, ServerError> {
        self.doubt();
        let mut layouts = self.layouts();
        let is_other = |known: &Known| known.layout().is_some_and(|other| !Arc::ptr_eq(other, layout));
        let other = timeout(self.server.timeout, layouts.wait_for(is_other)).await;
        other.map_err(|_| ServerError::Late)?.map_err(|_| ServerError::Away)?.found()
    }
}

/// Asks for ever, and tells of each change.
async fn keep_up(server: Arc<Server>, source: Arc<Source>, seen: Arc<Seen>, hosts: String) {
    let (mut last, mut is_silent) = (None, false);
    loop {
        let known = seen.layout.borrow().layout().cloned();
        match source.ask(&server, known.as_deref(), &mut last).await {
            Ok(layout) => {
                is_silent = false;
                if known.is_none_or(|known| !known.is_same_as(&layout)) {
                    seen.layout.send_replace(Known::As(Arc::new(layout)));
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut is_silent, true) {
                    let error = &error as &dyn Error;
                    tracing::warn!(address = hosts, error, "nobody says where Redis is");
                }
                if known.is_none() {
                    seen.layout.send_replace(Known::Never(Arc::new(error)));
                }
            }
        }
        let [rest, doubt] = PAUSES;
        sleep(doubt).await;
        let is_known = seen.layout.borrow().layout().is_some();
        tokio::select! {
            () = seen.doubts.notified() => {}
            () = sleep(if is_known { rest } else { doubt }) => {}
        }
    }
}

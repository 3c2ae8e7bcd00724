//! What all clones of a [`Messenger`](crate::Messenger) share, and its background tasks.

mod dispatch;
mod lanes;
mod recurring;
mod work;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use self::dispatch::Dispatcher;
pub(crate) use self::work::Work;
use crate::{
    announcements::SentMessage,
    context::Context,
    domain::{ChatId, Limits},
    error::Result,
    hub::{Hub, HubParts},
    jobs::Jobs,
    lanes::{LaneLimits, Lanes},
    meters::Meters,
    notify::{Desk, Notifications},
    passwords::Passwords,
    policy::PolicyGate,
    ports::{Bus, BusMessage, MarkerMoved, MoveMarker, NewMessage, NodeId, PresenceStore, Store},
    settings::Settings,
    tasks::TaskGroup,
};

/// The shared parts of a service.
pub(crate) struct Service {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) policy: PolicyGate,
    pub(crate) context: Context,
    pub(crate) limits: Limits,
    pub(crate) settings: Settings,
    pub(crate) passwords: Passwords,
    pub(crate) sends: Lanes<NewMessage, SentMessage>,
    pub(crate) marks: Lanes<MoveMarker, MarkerMoved>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) meters: Meters,
    pub(crate) jobs: Jobs,
    pub(crate) notifications: Option<Arc<Notifications>>,
    /// The work of the notifications.
    pub(crate) desk: Option<Desk>,
    pub(crate) tasks: Tasks,
    dispatcher: Dispatcher,
}

/// The components of a service.
pub(crate) struct Parts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) presence: Arc<dyn PresenceStore>,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) policy: PolicyGate,
    pub(crate) context: Context,
    pub(crate) limits: Limits,
    pub(crate) settings: Settings,
    pub(crate) notifications: Option<Arc<Notifications>>,
}

/// The tasks, in the order in which they are ended.
#[derive(Default)]
pub(crate) struct Tasks {
    /// Cancelled when new connections are refused and the open ones are ended.
    pub(crate) draining: CancellationToken,
    /// Workers of background jobs, which run commands.
    jobs: TaskGroup,
    /// Commands that run in tasks of their own.
    pub(crate) commands: TaskGroup,
    /// Tasks that commit batches.
    lanes: TaskGroup,
    /// Tasks that pass what was stored to the hub.
    dispatch: TaskGroup,
    /// Live connections, the bus, presence, and recurring work.
    hub: TaskGroup,
}

impl Drop for Tasks {
    /// A service that was not closed ends with its last clone, and releases its store.
    fn drop(&mut self) {
        self.draining.cancel();
        for group in [&self.jobs, &self.lanes, &self.dispatch, &self.hub] {
            group.stop();
        }
    }
}

impl Service {
    /// Starts the tasks, on the current tokio runtime.
    pub(crate) fn start(parts: Parts) -> Result<Self> {
        let Parts { store, presence, bus, policy, context, limits, settings, notifications } = parts;
        let passwords = Passwords::new(settings.password_cost, settings.password_peppers.clone())?;
        let tasks = Tasks::default();

        let (hub, outgoing) = Hub::new(HubParts {
            node: NodeId(u64::from_be_bytes(context.random())),
            store: Arc::clone(&store),
            presence: Arc::clone(&presence),
            bus,
            policy: policy.clone(),
            context: context.clone(),
            limits: limits.clone(),
            settings: settings.hub.clone(),
            session_lifetime: settings.session_lifetime,
        });
        let hub = Arc::new(hub);
        hub.start(outgoing, &tasks.hub);

        let lane_limits = LaneLimits {
            lanes: store.capabilities().append_lanes,
            batch: settings.batch.max(1),
            queue: settings.queue.max(1),
            wait: settings.commit_wait,
        };
        let dispatcher = Dispatcher::start(lane_limits.lanes, &hub, &tasks.dispatch);
        let sends = lanes::start_sends(lane_limits, &store, &dispatcher, &tasks.lanes);
        let ephemeral_members = limits.ephemeral_members;
        let marks = lanes::start_marks(lane_limits, ephemeral_members, &store, &dispatcher, &tasks.lanes);
        let jobs = Jobs::new(Arc::clone(&store), context.clone(), &settings.jobs, lane_limits, &tasks.lanes);
        let desk = notifications.as_ref().map(|all| Desk::new(all, &store, &presence, &context, &jobs));
        Ok(Self {
            store,
            policy,
            context,
            limits,
            settings,
            passwords,
            sends,
            marks,
            hub,
            meters: Meters::new("messenger_operation_duration_seconds"),
            jobs,
            notifications,
            desk,
            tasks,
            dispatcher,
        })
    }

    /// Starts the workers of background jobs.
    pub(crate) fn begin_work(&self, work: Work) -> Result<()> {
        let tasks = (&self.tasks.jobs, &self.tasks.draining);
        work.start(&self.jobs, &self.store, &self.context, &self.settings.jobs, self.desk.as_ref(), tasks)
    }

    /// Passes an announcement to the connections; one about a chat in the order of the chat's other events.
    pub(crate) async fn dispatch(&self, chat: Option<ChatId>, message: BusMessage) {
        self.dispatcher.dispatch(chat, message).await;
    }

    /// Refuses new connections, and tells the open ones to go to another node.
    pub(crate) fn drain(&self) {
        self.tasks.draining.cancel();
        self.hub.end_all();
    }

    /// Drains, finishes running work, and closes the store.
    pub(crate) async fn close(&self) {
        self.drain();
        let Tasks { jobs, commands, lanes, dispatch, hub, .. } = &self.tasks;
        for group in [jobs, commands, lanes, dispatch, hub] {
            group.end().await;
        }
        if let Err(error) = self.hub.depart().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "presence was not given back");
        }
        self.store.close().await;
    }
}

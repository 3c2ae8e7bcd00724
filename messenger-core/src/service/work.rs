//! The background jobs of a service: its own, and those of its host.

use std::{collections::BTreeSet, sync::Arc};

use tokio_util::sync::CancellationToken;

use super::recurring;
use crate::{
    context::Context,
    error::{Error, Result},
    jobs::{self, JobSettings, Jobs, Recurring, Registration},
    notify::{self, Desk},
    ports::Store,
    tasks::TaskGroup,
};

/// What a host wants done.
pub(crate) struct Work {
    /// Whether this node does any.
    pub(crate) on: bool,
    pub(crate) jobs: Vec<Registration>,
    pub(crate) recurring: Vec<Recurring>,
}

impl Work {
    /// Starts the workers in this group, if this node is to have any; they begin nothing more once it drains.
    pub(super) fn start(
        self,
        jobs: &Jobs,
        store: &Arc<dyn Store>,
        context: &Context,
        settings: &JobSettings,
        desk: Option<&Desk>,
        tasks: (&TaskGroup, &CancellationToken),
    ) -> Result<()> {
        let (tasks, draining) = tasks;
        let Self { on, jobs: mut registrations, recurring: mut schedules } = self;
        for (registration, recurring) in recurring::all(store, context, settings) {
            registrations.push(registration);
            schedules.push(recurring);
        }
        if let Some(desk) = desk {
            registrations.extend(notify::registrations(desk)?);
        }
        refuse_doubles("kind of jobs", registrations.iter().map(|registration| registration.kind.as_str()))?;
        refuse_doubles("schedule", schedules.iter().map(|recurring| recurring.name.as_str()))?;
        if on {
            let parts = jobs::Parts {
                store: Arc::clone(store),
                context: context.clone(),
                settings: settings.clone(),
                registrations,
                recurring: schedules,
                wake: jobs.wake(),
                held: jobs.held(),
                draining: draining.clone(),
            };
            jobs::start(parts, tasks);
            if let Some(desk) = desk {
                notify::start(desk.clone(), tasks, draining);
            }
        }
        Ok(())
    }
}

fn refuse_doubles<'n>(what: &str, names: impl Iterator<Item = &'n str>) -> Result<()> {
    let mut known = BTreeSet::new();
    for name in names {
        if !known.insert(name) {
            return Err(Error::internal(format!("there are two of the {what} `{name}`")));
        }
    }
    Ok(())
}

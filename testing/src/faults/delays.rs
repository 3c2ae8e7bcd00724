//! How long what was acknowledged took to come to clients that were connected.

use std::{collections::HashMap, time::Duration};

use super::{
    record::{Diary, Entry, Evidence, Id, Noted, Told},
    script::Step,
};

/// A fault counts for so long after it has ended: until nodes have found each other again.
const AFTERMATH: Duration = Duration::from_secs(3);

/// How long things took.
#[derive(Debug, Clone, Default)]
pub(super) struct Delays {
    /// Rising.
    all: Vec<Duration>,
    /// The longest, and what it was.
    longest: Option<(Duration, Longest)>,
}

#[derive(Debug, Clone)]
struct Longest {
    client: String,
    node: usize,
    acknowledged: Duration,
}

impl Delays {
    pub(super) fn of(evidence: &Evidence) -> Self {
        let mut delays = Self::default();
        for diary in &evidence.diaries {
            let told = Journal::of(diary);
            for acknowledged in &evidence.acknowledged {
                let key = (&acknowledged.chat, acknowledged.message.revision);
                let Some((at, since, node)) = told.by_change.get(&key) else { continue };
                // Who came later has caught up.
                if *since <= acknowledged.at {
                    let delay = at.saturating_sub(acknowledged.at);
                    delays.add(delay, || Longest {
                        client: diary.client.clone(),
                        node: *node,
                        acknowledged: acknowledged.at,
                    });
                }
            }
        }
        delays.all.sort_unstable();
        delays
    }

    fn add(&mut self, delay: Duration, longest: impl FnOnce() -> Longest) {
        self.all.push(delay);
        if self.longest.as_ref().is_none_or(|(known, _)| *known < delay) {
            self.longest = Some((delay, longest()));
        }
    }

    /// The one that so many thousandths of all do not exceed.
    pub(super) fn at(&self, thousandths: usize) -> Duration {
        let index = (self.all.len() * thousandths / 1000).min(self.all.len().saturating_sub(1));
        self.all.get(index).copied().unwrap_or_default()
    }

    pub(super) fn longest(&self) -> Duration {
        self.all.last().copied().unwrap_or_default()
    }

    /// Where the longest was, and what went wrong meanwhile or shortly before.
    pub(super) fn where_longest(&self, script: &[Step]) -> String {
        let Some((delay, longest)) = &self.longest else { return "-".to_owned() };
        let (from, until) = (longest.acknowledged, longest.acknowledged + *delay);
        let meanwhile = script.iter().filter(|step| step.from <= until && step.until + AFTERMATH >= from);
        let meanwhile: Vec<_> = meanwhile.map(|step| step.fault.to_string()).collect();
        format!(
            "{} on node {} at {:.1} s, during or soon after: {}",
            longest.client,
            longest.node,
            from.as_secs_f64(),
            if meanwhile.is_empty() { "nothing".to_owned() } else { meanwhile.join(", ") }
        )
    }
}

/// When a client was told what, since when it was live, and on which node.
struct Journal<'e> {
    by_change: HashMap<(&'e Id, u64), (Duration, Duration, usize)>,
}

impl<'e> Journal<'e> {
    fn of(diary: &'e Diary) -> Self {
        let mut by_change = HashMap::new();
        let (mut live, mut on) = (None, 0);
        for Noted { at, entry } in &diary.entries {
            match entry {
                Entry::Opened { node } => on = *node,
                Entry::Told(Told::CaughtUp) => live = Some(*at),
                Entry::Lost => live = None,
                Entry::Told(Told::Changed { chat, message, .. }) => {
                    if let Some(since) = live {
                        by_change.entry((chat, message.revision)).or_insert((*at, since, on));
                    }
                }
                _ => {}
            }
        }
        Self { by_change }
    }
}

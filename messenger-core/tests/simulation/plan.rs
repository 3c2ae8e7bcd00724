//! What happens in a run: drawn from the seed, and before anything happens, so that steps can be left out.

use std::time::Duration;

use crate::{promise::Promise, rng::Rng};

/// How a run is set up.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) nodes: usize,
    pub(crate) people: usize,
    pub(crate) devices: usize,
    /// Events that may wait for a connection.
    pub(crate) mailbox: usize,
    /// Changes of one chat in a catch-up.
    pub(crate) catch_up: usize,
    pub(crate) ephemeral_members: usize,
    pub(crate) trouble: Trouble,
    pub(crate) promise: Promise,
    /// The node of which everything is asked; a random one each time if it is none.
    pub(crate) asked: Option<usize>,
    /// Whether what people write is sealed.
    pub(crate) sealed: bool,
}

/// What may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    Nothing,
    /// What the bus does, within what it promises.
    Bus,
    All,
}

#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// After the step before.
    pub(crate) after: Duration,
    pub(crate) action: Action,
}

/// Numbers name people, devices and nodes; `chat` is counted around those that there are when it comes to it.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    Group { by: usize, with: Vec<usize> },
    Direct { by: usize, with: usize },
    Send { by: usize, chat: usize, times: usize },
    Edit { by: usize, chat: usize },
    Delete { by: usize, chat: usize },
    Add { by: usize, chat: usize, whom: Vec<usize> },
    Remove { by: usize, chat: usize, whom: usize },
    Leave { by: usize, chat: usize },
    Rename { by: usize, chat: usize },
    Type { by: usize, chat: usize },
    Mark { by: usize, chat: usize, read: bool },
    Connect { device: usize, node: usize, how: How },
    Resume { device: usize, how: How },
    Watch { device: usize, whom: usize },
    Stall { device: usize, time: Duration },
    Vanish { device: usize },
    CutBus { node: usize, time: Duration },
    LoseOnBus { node: usize, messages: usize },
    MuteBus { node: usize, time: Duration },
    DelayBus { node: usize, time: Duration },
    EndBus { node: usize },
    CutPresence { node: usize, time: Duration },
    LoseAnswers { node: usize, writes: usize },
    RefuseWrites { node: usize, writes: usize },
    FailReads { node: usize, time: Duration },
    SlowStore { node: usize, time: Duration },
    Crash { node: usize },
    Stop { node: usize },
    Nothing,
}

/// What a client says that it has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum How {
    /// What it has.
    All,
    /// The same, chat by chat.
    InParts,
    /// The same, by the position that it is at and what it was told since.
    Since,
    /// An earlier state of that.
    Less,
    /// Nothing: it begins anew.
    Nothing,
    /// More than there is.
    Ahead,
    /// It does not ask for anything that was missed.
    Live,
    /// It does not even say so.
    Silent,
    /// It has yet to say something.
    Later,
}

impl Setup {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x5e70_0000);
        Self {
            nodes: 1 + rng.below(3),
            people: 3 + rng.below(2),
            devices: 5 + rng.below(3),
            mailbox: if rng.chance(20) { 8 } else { 512 },
            catch_up: if rng.chance(30) { 5 } else { 200 },
            ephemeral_members: if rng.chance(20) { 2 } else { 100 },
            trouble: match rng.below(10) {
                0..=1 => Trouble::Nothing,
                2..=4 => Trouble::Bus,
                _ => Trouble::All,
            },
            promise: match rng.below(20) {
                0..=4 => Promise::Hint,
                5 => Promise::Memory,
                6..=11 => Promise::Redis,
                12..=17 => Promise::Postgres,
                _ => Promise::None,
            },
            asked: None,
            sealed: rng.chance(30),
        }
    }
}

/// The steps of a seed.
pub(crate) fn steps(seed: u64, setup: &Setup) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    let mut steps = vec![
        soon(Action::Group { by: 0, with: vec![1] }),
        soon(Action::Direct { by: 0, with: 1 }),
        soon(Action::Group { by: 1, with: (0..setup.people).filter(|n| *n != 1).collect() }),
    ];
    for device in 0..setup.devices {
        let (node, how) = (rng.below(setup.nodes), how(&mut rng));
        steps.push(soon(Action::Connect { device, node, how }));
    }
    let mix = Mix {
        faults: if setup.trouble == Trouble::Nothing { 0 } else { 10 + rng.below(30) },
        churn: if rng.chance(50) { 60 } else { 0 },
    };
    for _ in 0..20 + rng.below(80) {
        let after = match rng.below(10) {
            0..=4 => rng.millis(0, 6),
            5..=7 => rng.millis(0, 60),
            8 => rng.millis(0, 1500),
            _ => rng.millis(0, 9000),
        };
        steps.push(Step { after, action: action(&mut rng, setup, &mix) });
    }
    steps
}

/// What a run has much of, in percent.
struct Mix {
    faults: usize,
    /// The owner of one group brings people in, takes them out and writes.
    churn: usize,
}

fn soon(action: Action) -> Step {
    Step { after: Duration::from_millis(30), action }
}

fn how(rng: &mut Rng) -> How {
    match rng.below(10) {
        0..=1 => How::All,
        2..=3 => How::Since,
        4 => How::InParts,
        5 => How::Less,
        6 => How::Nothing,
        7 => How::Ahead,
        8 => How::Live,
        _ => How::Silent,
    }
}

fn action(rng: &mut Rng, setup: &Setup, mix: &Mix) -> Action {
    let Setup { nodes, people, devices, .. } = *setup;
    let (by, whom, chat) = (rng.below(people), rng.below(people), rng.below(8));
    let (device, node) = (rng.below(devices), rng.below(nodes));
    if rng.chance(mix.faults) {
        return fault(rng, node, setup.trouble);
    }
    if rng.chance(mix.churn) {
        return churn(rng, setup);
    }
    match rng.below(100) {
        0..=2 => Action::Group { by, with: vec![whom] },
        3..=4 => Action::Direct { by, with: whom },
        5..=34 => Action::Send { by, chat, times: 1 + rng.below(4) },
        35..=41 => Action::Edit { by, chat },
        42..=44 => Action::Delete { by, chat },
        45..=56 => Action::Add { by, chat, whom: (0..1 + rng.below(2)).map(|_| rng.below(people)).collect() },
        57..=66 => Action::Remove { by, chat, whom },
        67..=68 => Action::Leave { by, chat },
        69..=70 => Action::Rename { by, chat },
        71..=73 => Action::Type { by, chat },
        74..=76 => Action::Mark { by, chat, read: rng.chance(50) },
        77..=87 => Action::Connect { device, node, how: how(rng) },
        88..=90 => Action::Resume { device, how: how(rng) },
        91..=92 => Action::Watch { device, whom },
        93..=95 => Action::Stall { device, time: rng.millis(1, 4000) },
        _ => Action::Vanish { device },
    }
}

fn churn(rng: &mut Rng, setup: &Setup) -> Action {
    let (by, chat, whom) = (0, 0, 1 + rng.below(setup.people - 1));
    match rng.below(20) {
        0..=3 => Action::Add { by, chat, whom: vec![whom] },
        4..=6 => Action::Remove { by, chat, whom },
        7..=9 => Action::Send { by, chat, times: 1 },
        10..=12 => Action::Edit { by, chat },
        13 => Action::Delete { by, chat },
        14..=15 => Action::Type { by, chat },
        16 => Action::Mark { by, chat, read: rng.chance(50) },
        // One of the person's devices goes from node to node.
        _ => Action::Connect { device: whom, node: rng.below(setup.nodes), how: How::All },
    }
}

fn fault(rng: &mut Rng, node: usize, trouble: Trouble) -> Action {
    let time = rng.millis(1, 8000);
    match rng.below(if trouble == Trouble::Bus { 50 } else { 100 }) {
        0..=13 => Action::CutBus { node, time },
        14..=20 => Action::MuteBus { node, time },
        21..=30 => Action::LoseOnBus { node, messages: [1, 1, 2, 5, 20, 1000][rng.below(6)] },
        31..=41 => Action::DelayBus { node, time },
        42..=49 => Action::EndBus { node },
        50..=54 => Action::CutPresence { node, time },
        55..=71 => Action::LoseAnswers { node, writes: 1 + rng.below(3) },
        72..=76 => Action::RefuseWrites { node, writes: 1 + rng.below(2) },
        77..=83 => Action::FailReads { node, time },
        84..=91 => Action::SlowStore { node, time },
        92..=96 => Action::Crash { node },
        _ => Action::Stop { node },
    }
}

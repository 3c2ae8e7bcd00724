//! The server and the floor, measured in turn.

use crate::{
    Plan, Result,
    crowd::{Kind, Load, Round, Side},
    process::Process,
    report::Series,
    world::{Person, World},
};

/// The server under test and, unless it was not wanted, the floor beside it.
pub(crate) struct Sides {
    pub(crate) server: Side,
    pub(crate) floor: Option<Side>,
}

/// The rounds of both.
#[derive(Default)]
pub(crate) struct Rounds {
    server: Vec<Round>,
    floor: Vec<Round>,
}

impl Sides {
    /// Starts both.
    pub(crate) fn start(plan: &Plan, world: &World) -> Result<Self> {
        let server = Side::new(Kind::Server, Process::server(&world.copy()?)?);
        let floor = plan.with_floor.then(Process::floor).transpose()?;
        Ok(Self { server, floor: floor.map(|floor| Side::new(Kind::Floor, floor)) })
    }

    /// Connects these people, each to their room of the floor, and lets them say what clients say first.
    pub(crate) async fn connect(&mut self, people: &[(&Person, usize)]) -> Result {
        for side in self.each() {
            side.connect(people.iter().copied()).await?;
            side.resume().await?;
        }
        Ok(())
    }

    /// Several rounds, in turn, after one that does not count.
    pub(crate) async fn rounds(&mut self, rounds: usize, load: &Load) -> Result<Rounds> {
        let mut done = Rounds::default();
        for number in 0..=rounds {
            for side in self.each() {
                let round = side.round(load).await?;
                if number > 0 {
                    done.of(side.kind).push(round);
                }
            }
        }
        Ok(done)
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Side> {
        std::iter::once(&mut self.server).chain(&mut self.floor)
    }
}

impl Rounds {
    pub(crate) fn series(&self, figure: impl Fn(&Round) -> f64) -> Series {
        let of = |rounds: &[Round]| rounds.iter().map(&figure).collect();
        Series { measured: of(&self.server), floor: of(&self.floor) }
    }

    fn of(&mut self, kind: Kind) -> &mut Vec<Round> {
        match kind {
            Kind::Server => &mut self.server,
            Kind::Floor => &mut self.floor,
        }
    }
}

//! The server and the floor, measured in turn.

use std::path::{Path, PathBuf};

use crate::{
    Plan, Result,
    crowd::{Load, Round, Side},
    process::{Pages, Process},
    report::Series,
    wire::Wire,
    world::{Person, World},
};

/// What is measured beside the server.
#[derive(Debug, Clone)]
pub(crate) enum Floor {
    None,
    Bare,
    /// Another build of the server.
    Other(PathBuf),
}

/// The server under test and what is beside it.
pub(crate) struct Sides {
    pub(crate) server: Side,
    pub(crate) floor: Option<Side>,
}

/// The server alone, or in its place another build of it, for what has no floor.
pub(crate) async fn serve_alone(plan: &Plan, world: &World) -> Result<Side> {
    let other = match &plan.floor {
        Floor::Other(binary) => Some(binary.as_path()),
        Floor::None | Floor::Bare => None,
    };
    serve(world, "server", Pages::Any, other, Wire::WebSocket).await
}

/// The rounds of both.
#[derive(Default)]
pub(crate) struct Rounds {
    server: Vec<Round>,
    floor: Vec<Round>,
}

impl Sides {
    /// Starts both.
    pub(crate) async fn start(plan: &Plan, world: &World, pages: Pages) -> Result<Self> {
        let server = serve(world, "server", pages, None, Wire::WebSocket).await?;
        let floor = match &plan.floor {
            Floor::None => None,
            Floor::Bare => Some(Side::bare(Process::floor(pages)?, Wire::Floor)),
            Floor::Other(binary) => Some(serve(world, "other", pages, Some(binary), Wire::WebSocket).await?),
        };
        Ok(Self { server, floor })
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
            for (place, side) in self.each().enumerate() {
                let round = side.round(load).await?;
                if number > 0 {
                    [&mut done.server, &mut done.floor][place].push(round);
                }
            }
        }
        Ok(done)
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Side> {
        std::iter::once(&mut self.server).chain(&mut self.floor)
    }
}

/// A server with a copy of the world of its own.
pub(crate) async fn serve(
    world: &World,
    copy: &str,
    pages: Pages,
    other: Option<&Path>,
    wire: Wire,
) -> Result<Side> {
    let data = world.store.copy(copy).await?;
    let binary = other.unwrap_or(Path::new(env!("CARGO_BIN_EXE_messenger-server")));
    let process = Process::server(binary, &["--store-url", &data.url], pages)?;
    Ok(Side::server(process, data.cpu, wire))
}

impl Rounds {
    pub(crate) fn series(&self, figure: impl Fn(&Round) -> f64) -> Series {
        let of = |rounds: &[Round]| rounds.iter().map(&figure).collect();
        Series { measured: of(&self.server), floor: of(&self.floor) }
    }

    /// For what only a server with a store has.
    pub(crate) fn series_of_store(&self, figure: impl Fn(&Round) -> f64) -> Series {
        let of = |rounds: &[Round]| rounds.iter().filter(|round| round.has_store()).map(&figure).collect();
        Series { measured: of(&self.server), floor: of(&self.floor) }
    }
}

//! `messenger-server keys seal-existing`.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use messenger_core::{
    encryption::{SealedSoFar, Sealing},
    ports::{Store, StoreErrorKind, StoreResult},
};
use tokio::time::{Instant, sleep};

use super::{Opened, Vacuum, progress::Progress, seal};
use crate::{
    config::Config,
    error::ServerError,
    store::{self, Vacuumed},
};

/// How many times in a row the store may be out of reach.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);
/// The longest rest after a step.
const LONGEST_REST: Duration = Duration::from_millis(200);

/// Answers what is to be printed. The data has keys.
pub(super) async fn seal_existing(
    config: &Config,
    store: Arc<dyn Store>,
    vacuum: Vacuum,
) -> Result<String, ServerError> {
    let Opened { store, sealed } = seal(store, &config.encryption, false).await?;
    let Some(sealed) = sealed else {
        return Err(ServerError::NotEncrypted(config.encryption.keys.to_string()));
    };
    let mut sealing = Sealing::of(sealed);
    let mut progress = Progress::begin("values encrypted");
    let ended = seal_all(&mut sealing, &mut progress).await;
    progress.end();
    store.close().await;
    let refused = |error: Box<dyn std::error::Error + Send + Sync>| ServerError::Sealing(error);
    ended.map_err(|error| refused(error.into()))?;
    let mut said = told(sealing.so_far(), progress.elapsed());
    let vacuumed = store::vacuum(&config.store, vacuum).await?;
    let _ = writeln!(said, "{}", after(vacuumed));
    Ok(said)
}

async fn seal_all(sealing: &mut Sealing, progress: &mut Progress) -> StoreResult<()> {
    let mut attempt = 1;
    loop {
        let (begun, before) = (Instant::now(), sealing.so_far());
        match sealing.step().await {
            Ok(false) => return Ok(()),
            Ok(true) => attempt = 1,
            // Servers are writing, or the key service is away for a moment.
            Err(error) if error.kind() == StoreErrorKind::Unavailable && attempt < ATTEMPTS => {
                attempt += 1;
                sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
        progress.at(sealing.so_far().sealed);
        if sealing.so_far() != before {
            // Half of the time is for those who write, and wait for their turn.
            sleep(begun.elapsed().min(LONGEST_REST)).await;
        }
    }
}

fn told(so_far: SealedSoFar, took: Duration) -> String {
    let SealedSoFar { sealed, left } = so_far;
    let mut said = match sealed {
        0 => "Nothing was left to encrypt.\n".to_owned(),
        sealed => format!("{sealed} values were encrypted in {:.1} s.\n", took.as_secs_f64()),
    };
    if left > 0 {
        let _ = writeln!(
            said,
            "{left} could not be: servers were changing them, their person was erased, or an address belongs to two \
             accounts. Call this again; if some are left then, too, see docs/operations.md."
        );
    }
    said
}

/// What is still to be done.
const fn after(vacuumed: Vacuumed) -> &'static str {
    match vacuumed {
        Vacuumed::Everything => {
            "Nothing of the former rows is left in the database. Old backups and archived logs still have them."
        }
        Vacuumed::ButTheLog => {
            "The file was rewritten; its log is emptied when nobody reads from it any more. Old backups still have the \
             former rows."
        }
        Vacuumed::Space => {
            "The space of the former rows can be used again; their bytes stay in the files until it is. `keys \
             seal-existing --full` rewrites the tables at a quiet time. Old backups and archived logs still have them."
        }
        Vacuumed::Nothing => {
            "The database may still have the former rows in free space; docs/security.md says how they are removed. So \
             may old backups and logs."
        }
    }
}

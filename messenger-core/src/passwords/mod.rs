mod hashing;
mod peppers;

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use self::hashing::Fit;
use self::hashing::Hashing;
pub use self::peppers::Peppers;
use crate::{
    domain::Password,
    error::{Error, Result},
};

/// The cost of one password hash: Argon2id (RFC 9106).
///
/// The default is OWASP's recommendation: 19 MiB, two passes, one lane. Where memory × passes rises, a password is hashed anew when its
/// person next logs in; where it falls, hashes stay as they are.
///
/// ```
/// use messenger_core::PasswordCost;
///
/// let quick_for_tests = PasswordCost { memory_kib: 8, passes: 1, ..PasswordCost::default() };
/// # let _ = quick_for_tests;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordCost {
    /// Memory in KiB, at least 8.
    pub memory_kib: u32,
    /// Passes over the memory, at least 1.
    pub passes: u32,
    /// Hashes computed at the same time, at least 1. Each holds its memory and a thread while it runs.
    pub parallel: usize,
    /// How long a request waits for its turn before it is answered that the service is busy.
    pub wait: Duration,
    /// How many requests may wait for a turn; a further one is refused at once.
    pub waiting: usize,
}

impl Default for PasswordCost {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            memory_kib: 19 * 1024,
            passes: 2,
            parallel: cores,
            wait: Duration::from_secs(10),
            waiting: 256,
        }
    }
}

/// Hashes and verifies passwords outside the async threads, a limited number at a time.
#[derive(Debug)]
pub(crate) struct Passwords {
    hashing: Hashing,
    /// Places for requests that hash and requests that wait.
    places: Semaphore,
    turns: Arc<Semaphore>,
    wait: Duration,
    /// Verified against when there is no such account, so that the answer takes the same time.
    nobody: Arc<str>,
}

impl Passwords {
    pub(crate) fn new(cost: PasswordCost, peppers: Option<Peppers>) -> Result<Self> {
        let hashing = Hashing::new(cost.memory_kib.max(8), cost.passes.max(1), peppers)?;
        let nobody = hashing.hash(&Password::new("nobody"), &[0; 16])?;
        let parallel = cost.parallel.clamp(1, Semaphore::MAX_PERMITS / 2);
        let places = Semaphore::new(parallel + cost.waiting.min(Semaphore::MAX_PERMITS / 2));
        let turns = Arc::new(Semaphore::new(parallel));
        Ok(Self { hashing, places, turns, wait: cost.wait, nobody: nobody.into() })
    }

    /// Returns the hash of a password as a PHC string.
    pub(crate) async fn hash(&self, password: Password, salt: [u8; 16]) -> Result<String> {
        let hashing = self.hashing.clone();
        self.in_turn(move || hashing.hash(&password, &salt)).await
    }

    /// The same if a turn is free at once: for what may as well be done another time.
    pub(crate) async fn hash_if_idle(&self, password: Password, salt: [u8; 16]) -> Option<Result<String>> {
        let (hashing, turn) = (self.hashing.clone(), Arc::clone(&self.turns).try_acquire_owned().ok()?);
        Some(run(turn, move || hashing.hash(&password, &salt)).await)
    }

    /// Whether the password matches this hash; without a hash it does not, after the same time.
    pub(crate) async fn verify(&self, password: Password, hash: Option<&str>) -> Result<bool> {
        Ok(self.fit(password, hash).await? != Fit::Wrong)
    }

    /// The same, and whether the hash is one of today.
    pub(crate) async fn fit(&self, password: Password, hash: Option<&str>) -> Result<Fit> {
        let is_known = hash.is_some();
        let (hashing, hash) = (self.hashing.clone(), hash.unwrap_or(&self.nobody).to_owned());
        let fit = self.in_turn(move || hashing.verify(&password, &hash)).await?;
        Ok(if is_known { fit } else { Fit::Wrong })
    }

    /// Takes all turns, so that no password is hashed while this is held.
    #[cfg(test)]
    pub(crate) fn take_all_turns(&self) -> OwnedSemaphorePermit {
        let turns = u32::try_from(self.turns.available_permits()).unwrap();
        Arc::clone(&self.turns).try_acquire_many_owned(turns).unwrap()
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        // Never closed, so an error always means that no place is free.
        let _place = self.places.try_acquire().map_err(|_| Error::unavailable())?;
        let turn = tokio::time::timeout(self.wait, Arc::clone(&self.turns).acquire_owned())
            .await
            .map_err(|late| Error::Unavailable(Some(late.into())))?
            .map_err(Error::internal)?;
        run(turn, work).await
    }
}

/// The turn lasts as long as the work, also when nobody waits for it any more.
async fn run<T: Send + 'static>(
    turn: OwnedSemaphorePermit,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(move || {
        let done = work();
        drop(turn);
        done
    })
    .await
    .map_err(Error::internal)?
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn only_the_right_password_fits() {
        let cost = PasswordCost { memory_kib: 8, passes: 1, ..PasswordCost::default() };
        let passwords = Passwords::new(cost, None).unwrap();
        let hash = passwords.hash("correct horse".to_owned().into(), [7; 16]).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
        assert!(passwords.verify(Password::new("correct horse"), Some(&hash)).await.unwrap());
        assert!(!passwords.verify(Password::new("wrong horse"), Some(&hash)).await.unwrap());
        assert!(!passwords.verify(Password::new("nobody"), None).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_wait_and_one_more_is_told_at_once() {
        let cost =
            PasswordCost { memory_kib: 8, passes: 1, parallel: 1, waiting: 1, ..PasswordCost::default() };
        let passwords = Passwords::new(cost, None).unwrap();
        let turns = passwords.take_all_turns();
        let hash = || passwords.hash(Password::new("correct horse"), [7; 16]);
        let mut begun = [Box::pin(hash()), Box::pin(hash())];
        for hash in &mut begun {
            assert!(hash.now_or_never().is_none());
        }
        for hash in [None, Some("$argon2id$")] {
            let tried = passwords.verify(Password::new("correct horse"), hash);
            assert!(matches!(tried.now_or_never(), Some(Err(Error::Unavailable(None)))));
        }
        assert!(passwords.hash_if_idle(Password::new("correct horse"), [7; 16]).await.is_none());
        drop(turns);
        for hash in begun {
            assert!(hash.await.is_ok());
        }
        assert!(hash().await.is_ok());
        assert!(passwords.hash_if_idle(Password::new("correct horse"), [7; 16]).await.unwrap().is_ok());
    }
}

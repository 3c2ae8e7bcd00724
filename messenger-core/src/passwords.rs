use std::{sync::Arc, time::Duration};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::sync::Semaphore;

use crate::{
    domain::Password,
    error::{Error, Result},
};

/// The cost of one password hash: Argon2id (RFC 9106).
///
/// The default is OWASP's recommendation: 19 MiB, two passes, one lane.
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
    argon2: Argon2<'static>,
    /// Places for requests that hash and requests that wait.
    places: Semaphore,
    turns: Arc<Semaphore>,
    wait: Duration,
    /// Verified against when there is no such account, so that the answer takes the same time.
    nobody: Arc<str>,
}

impl Passwords {
    pub(crate) fn new(cost: PasswordCost) -> Result<Self> {
        let params =
            Params::new(cost.memory_kib.max(8), cost.passes.max(1), 1, None).map_err(Error::internal)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let nobody = argon2.hash_password_with_salt(b"nobody", &[0; 16]).map_err(Error::internal)?;
        let parallel = cost.parallel.clamp(1, Semaphore::MAX_PERMITS / 2);
        let places = Semaphore::new(parallel + cost.waiting.min(Semaphore::MAX_PERMITS / 2));
        let turns = Arc::new(Semaphore::new(parallel));
        Ok(Self { argon2, places, turns, wait: cost.wait, nobody: nobody.to_string().into() })
    }

    /// Returns the hash of a password as a PHC string.
    pub(crate) async fn hash(&self, password: Password, salt: [u8; 16]) -> Result<String> {
        let argon2 = self.argon2.clone();
        self.in_turn(move || {
            let hash = argon2.hash_password_with_salt(password.expose(), &salt).map_err(Error::internal)?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Whether the password matches this hash; without a hash it does not, after the same time.
    pub(crate) async fn verify(&self, password: Password, hash: Option<&str>) -> Result<bool> {
        let known = hash.is_some();
        let (argon2, hash) = (self.argon2.clone(), hash.unwrap_or(&self.nobody).to_owned());
        self.in_turn(move || {
            let hash = PasswordHash::new(&hash).map_err(Error::internal)?;
            Ok(argon2.verify_password(password.expose(), &hash).is_ok() && known)
        })
        .await
    }

    /// Takes all turns, so that no password is hashed while this is held.
    #[cfg(test)]
    pub(crate) fn take_all_turns(&self) -> tokio::sync::OwnedSemaphorePermit {
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
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        })
        .await
        .map_err(Error::internal)?
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn only_the_right_password_fits() {
        let cost = PasswordCost { memory_kib: 8, passes: 1, ..PasswordCost::default() };
        let passwords = Passwords::new(cost).unwrap();
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
        let passwords = Passwords::new(cost).unwrap();
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
        drop(turns);
        for hash in begun {
            assert!(hash.await.is_ok());
        }
        assert!(hash().await.is_ok());
    }
}

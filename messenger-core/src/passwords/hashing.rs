use std::sync::Once;

use argon2::{
    Algorithm, Argon2, KeyId, Params, ParamsBuilder, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use unicode_normalization::{UnicodeNormalization as _, is_nfc};
use zeroize::Zeroizing;

use super::peppers::{Pepper, Peppers};
use crate::{
    domain::Password,
    error::{Error, Result},
};

/// How passwords are hashed, and tried against hashes of before: Argon2id in PHC strings.
#[derive(Debug, Clone)]
pub(super) struct Hashing {
    params: Params,
    peppers: Option<Peppers>,
}

/// Whether a password is that of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    Wrong,
    Right,
    /// It is, and its hash costs less than one of today, has another pepper, or is not of the composed form.
    Outdated,
}

impl Hashing {
    pub(super) fn new(memory_kib: u32, passes: u32, peppers: Option<Peppers>) -> Result<Self> {
        let mut params = ParamsBuilder::new();
        params.m_cost(memory_kib).t_cost(passes).p_cost(1);
        if let Some(pepper) = peppers.as_ref().and_then(Peppers::newest) {
            params.keyid(KeyId::new(&pepper.id).map_err(Error::internal)?);
        }
        Ok(Self { params: params.build().map_err(Error::internal)?, peppers })
    }

    /// The hash of the composed form (NFC, UAX #15), which is the same wherever the password is typed.
    pub(super) fn hash(&self, password: &Password, salt: &[u8]) -> Result<String> {
        let argon2 = argon2(self.params.clone(), self.peppers.as_ref().and_then(Peppers::newest))?;
        let composed = composed(password);
        let bytes = composed.as_ref().map_or(password.expose(), |composed| composed.as_bytes());
        Ok(argon2.hash_password_with_salt(bytes, salt).map_err(Error::internal)?.to_string())
    }

    /// Tries the composed form, and if that is not it the form as it was typed, which was hashed before.
    pub(super) fn verify(&self, password: &Password, hash: &str) -> Result<Fit> {
        let hash = PasswordHash::new(hash).map_err(Error::internal)?;
        let params = Params::try_from(&hash).map_err(Error::internal)?;
        let pepper = match params.keyid() {
            [] => None,
            id => match self.peppers.as_ref().and_then(|peppers| peppers.with_id(id)) {
                None => return self.without_pepper(password, &params),
                known => known,
            },
        };
        let argon2 = argon2(params.clone(), pepper)?;
        let fits = |password: &[u8]| argon2.verify_password(password, &hash).is_ok();
        let composed = composed(password);
        if fits(composed.as_ref().map_or(password.expose(), |composed| composed.as_bytes())) {
            let is_of_today = hash.algorithm == Algorithm::Argon2id.ident()
                && hash.version == Some(Version::V0x13.into())
                && params.keyid() == self.params.keyid()
                && work(&params) >= work(&self.params);
            return Ok(if is_of_today { Fit::Right } else { Fit::Outdated });
        }
        if composed.is_some() && fits(password.expose()) {
            return Ok(Fit::Outdated);
        }
        self.make_up(password, &params)?;
        Ok(Fit::Wrong)
    }

    /// Nobody can tell whether the password is right, so it is not; after the time that it takes to try one.
    fn without_pepper(&self, password: &Password, params: &Params) -> Result<Fit> {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            tracing::error!(
                "a password was hashed with a pepper that this node does not have, and counts as wrong: give that pepper as a former one, \
                 or have its person set a new password"
            );
        });
        let argon2 = argon2(params.clone(), None)?;
        argon2.hash_password_with_salt(password.expose(), &[0; 16]).map_err(Error::internal)?;
        self.make_up(password, params)?;
        Ok(Fit::Wrong)
    }

    /// Works as long as a hash of today takes more than this one: else a quick answer would tell of an account with an old one.
    fn make_up(&self, password: &Password, done: &Params) -> Result<()> {
        let passes = self.params.t_cost();
        let missing = work(&self.params).saturating_sub(work(done)) / u64::from(passes);
        if let Ok(memory) = u32::try_from(missing)
            && memory >= 8
        {
            let params = Params::new(memory, passes, 1, None).map_err(Error::internal)?;
            argon2(params, None)?
                .hash_password_with_salt(password.expose(), &[0; 16])
                .map_err(Error::internal)?;
        }
        Ok(())
    }
}

fn argon2(params: Params, pepper: Option<&Pepper>) -> Result<Argon2<'_>> {
    let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
    match pepper {
        Some(pepper) => {
            Argon2::new_with_secret(&pepper.key, algorithm, version, params).map_err(Error::internal)
        }
        None => Ok(Argon2::new(algorithm, version, params)),
    }
}

/// What a hash takes, in KiB that are written: memory may be exchanged for passes.
fn work(params: &Params) -> u64 {
    u64::from(params.m_cost()) * u64::from(params.t_cost())
}

/// The composed form of a password, if it is another one.
fn composed(password: &Password) -> Option<Zeroizing<String>> {
    let typed = password.text();
    if is_nfc(typed) {
        return None;
    }
    // NFC is at most three times as long (UAX #15): what grew would leave pieces behind that are not wiped.
    let mut composed = Zeroizing::new(String::with_capacity(typed.len() * 3));
    composed.extend(typed.nfc());
    Some(composed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPED: &str = "Zoe\u{308} und ein Pfe\u{301}rd";
    const COMPOSED: &str = "Zo\u{eb} und ein Pf\u{e9}rd";

    fn hashing(memory: u32, passes: u32, peppers: Option<Peppers>) -> Hashing {
        Hashing::new(memory, passes, peppers).unwrap()
    }

    fn peppers<const N: usize>(keys: [u8; N]) -> Option<Peppers> {
        let mut keys = keys.into_iter().map(|byte| [byte; 32]);
        let first = Peppers::new(&keys.next().unwrap()).unwrap();
        Some(keys.fold(first, |peppers, key| peppers.with_former(&key).unwrap()))
    }

    fn hash(hashing: &Hashing, password: &str) -> String {
        hashing.hash(&Password::new(password), &[7; 16]).unwrap()
    }

    fn fit(hashing: &Hashing, password: &str, hash: &str) -> Fit {
        hashing.verify(&Password::new(password), hash).unwrap()
    }

    /// As it was done before: as it was typed.
    fn plain(password: &str) -> String {
        let argon2 = argon2(Params::new(8, 1, 1, None).unwrap(), None).unwrap();
        argon2.hash_password_with_salt(password.as_bytes(), &[7; 16]).unwrap().to_string()
    }

    #[test]
    fn a_password_is_the_same_however_its_letters_are_put_together() {
        let hashing = hashing(8, 1, None);
        assert_eq!(hash(&hashing, TYPED), hash(&hashing, COMPOSED));
        for password in [TYPED, COMPOSED] {
            assert_eq!(fit(&hashing, password, &hash(&hashing, TYPED)), Fit::Right, "{password}");
        }
        assert_eq!(fit(&hashing, "Zoe und ein Pferd", &hash(&hashing, TYPED)), Fit::Wrong);
        // Letters that look alike stay apart: NFC, and not NFKC.
        assert_eq!(fit(&hashing, "ﬁsh and chips", &hash(&hashing, "fish and chips")), Fit::Wrong);
    }

    #[test]
    fn hashes_of_before_fit() {
        let hashing = hashing(8, 1, None);
        assert_eq!(fit(&hashing, COMPOSED, &plain(COMPOSED)), Fit::Right);
        assert_eq!(fit(&hashing, "correct horse", &plain("correct horse")), Fit::Right);
        assert_eq!(fit(&hashing, TYPED, &plain(TYPED)), Fit::Outdated);
        // It was typed in another way when it was set, and there is no telling in which.
        assert_eq!(fit(&hashing, COMPOSED, &plain(TYPED)), Fit::Wrong);
        // Other forms of Argon2, which somebody may have brought along.
        for (algorithm, version) in
            [(Algorithm::Argon2i, Version::V0x13), (Algorithm::Argon2id, Version::V0x10)]
        {
            let other = Argon2::new(algorithm, version, Params::new(8, 1, 1, None).unwrap());
            let hash = other.hash_password_with_salt(b"correct horse", &[7; 16]).unwrap().to_string();
            assert_eq!(fit(&hashing, "correct horse", &hash), Fit::Outdated, "{hash}");
            assert_eq!(fit(&hashing, "wrong horse", &hash), Fit::Wrong, "{hash}");
        }
    }

    #[test]
    fn a_hash_that_costs_less_than_one_of_today_is_outdated() {
        let today = hashing(16, 2, None);
        for (memory, passes, expected) in [
            (16, 2, Fit::Right),
            (15, 2, Fit::Outdated),
            (16, 1, Fit::Outdated),
            // As dear, or dearer: two nodes with different settings don't change it back and forth.
            (32, 1, Fit::Right),
            (8, 4, Fit::Right),
            (64, 1, Fit::Right),
        ] {
            let hash = hash(&hashing(memory, passes, None), "correct horse");
            assert_eq!(fit(&today, "correct horse", &hash), expected, "{memory}, {passes}");
            assert_eq!(fit(&today, "wrong horse", &hash), Fit::Wrong);
        }
    }

    #[test]
    fn a_pepper_is_in_the_hash_by_its_id_alone() {
        let [none, old, new] = [None, peppers([1]), peppers([2, 1])].map(|peppers| hashing(8, 1, peppers));
        let [by_none, by_old, by_new] = [&none, &old, &new].map(|hashing| hash(hashing, "correct horse"));
        assert!(by_old.contains(",keyid=") && !by_none.contains("keyid"), "{by_old}");
        for (hashing, hash, expected) in [
            (&new, &by_new, Fit::Right),
            (&new, &by_old, Fit::Outdated),
            (&new, &by_none, Fit::Outdated),
            (&old, &by_old, Fit::Right),
            // Its pepper is missing.
            (&old, &by_new, Fit::Wrong),
            (&none, &by_old, Fit::Wrong),
            (&none, &by_none, Fit::Right),
        ] {
            assert_eq!(fit(hashing, "correct horse", hash), expected, "{hash}");
            assert_eq!(fit(hashing, "wrong horse", hash), Fit::Wrong, "{hash}");
        }
        // The hash is another one, not only its name.
        let renamed =
            by_none.replace("p=1$", &by_old[by_old.find("p=1").unwrap()..=by_old.rfind("$BwcH").unwrap()]);
        assert!(renamed.contains("keyid"), "{renamed}");
        assert_eq!(fit(&old, "correct horse", &renamed), Fit::Wrong);
    }
}

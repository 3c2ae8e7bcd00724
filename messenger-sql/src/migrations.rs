//! Steps that bring a database to the tables that this version of a backend works with.

use sha2::{Digest as _, Sha256};

/// One step. Once released, its text never changes.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// 1, 2, 3 …
    pub version: i64,
    /// What it is for, in a word.
    pub name: &'static str,
    /// The statements.
    pub sql: &'static str,
}

impl Migration {
    /// Tells whether a database was brought here by the same text.
    pub fn checksum(&self) -> [u8; 32] {
        Sha256::digest(self.sql.as_bytes()).into()
    }
}

/// A step that a database has behind it.
#[derive(Debug)]
pub struct Applied {
    /// Which one it was.
    pub version: i64,
    /// The [`checksum`](Migration::checksum) of its text.
    pub checksum: Vec<u8>,
}

/// Why a database can't be brought up to date.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has a step behind it that this version of the backend doesn't know.
    Newer {
        /// The last step behind it.
        found: i64,
        /// The last step that is known.
        known: i64,
    },
    /// It has a step behind it whose text was another one.
    Changed {
        /// Which one it was.
        version: i64,
    },
}

/// The steps that are still to be done.
pub fn pending<'m>(known: &'m [Migration], applied: &[Applied]) -> Result<&'m [Migration], Refusal> {
    let latest = known.last().map_or(0, |migration| migration.version);
    if let Some(found) = applied.iter().map(|step| step.version).max().filter(|found| *found > latest) {
        return Err(Refusal::Newer { found, known: latest });
    }
    let mut done = 0;
    for (migration, step) in known.iter().zip(applied) {
        if step.version != migration.version || step.checksum != migration.checksum() {
            return Err(Refusal::Changed { version: migration.version });
        }
        done += 1;
    }
    Ok(&known[done..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Migration; 2] = [
        Migration { version: 1, name: "one", sql: "SELECT 1" },
        Migration { version: 2, name: "two", sql: "SELECT 2" },
    ];

    fn applied(migrations: &[Migration]) -> Vec<Applied> {
        let step = |m: &Migration| Applied { version: m.version, checksum: m.checksum().to_vec() };
        migrations.iter().map(step).collect()
    }

    #[test]
    fn what_is_not_applied_is_pending() {
        for done in 0..=2 {
            assert_eq!(pending(&KNOWN, &applied(&KNOWN[..done])).unwrap().len(), 2 - done);
        }
    }

    #[test]
    fn a_newer_database_is_refused() {
        assert_eq!(
            pending(&KNOWN[..1], &applied(&KNOWN)).unwrap_err(),
            Refusal::Newer { found: 2, known: 1 }
        );
    }

    #[test]
    fn a_step_of_another_text_is_refused() {
        let mut steps = applied(&KNOWN);
        steps[0].checksum[0] ^= 1;
        assert_eq!(pending(&KNOWN, &steps).unwrap_err(), Refusal::Changed { version: 1 });
        assert_eq!(pending(&KNOWN, &applied(&KNOWN[1..])).unwrap_err(), Refusal::Changed { version: 1 });
    }

    /// Databases have stored these.
    #[test]
    fn a_checksum_is_the_sha_256_of_the_text() {
        let wanted = [
            0xe0, 0x04, 0xeb, 0xd5, 0xb5, 0x53, 0x2a, 0x4b, 0x85, 0x98, 0x4a, 0x62, 0xf8, 0xad, 0x48, 0xa8,
            0x1a, 0xa3, 0x46, 0x0c, 0x1c, 0xa0, 0x77, 0x01, 0xf3, 0x86, 0x13, 0x5d, 0x72, 0xcd, 0xec, 0xf5,
        ];
        assert_eq!(KNOWN[0].checksum(), wanted);
    }
}

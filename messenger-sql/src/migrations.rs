//! How a database is migrated to the tables and routines of this version of a backend, while nodes of the previous
//! version still use it.
//!
//! Tables change in numbered steps, each applied once. Functions and procedures, which can be replaced at any time, are
//! one text that is run again whenever it has changed.

use sha2::{Digest as _, Sha256};

/// The migrations of a backend.
#[derive(Debug, Clone, Copy)]
pub struct Migrations {
    /// Ordered by version: 1, 2, 3 …
    pub steps: &'static [Migration],
    /// Run after the steps.
    pub routines: Option<Routines>,
}

/// One step. Once released, its text never changes.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// 1, 2, 3 …
    pub version: i64,
    /// Its purpose, in one word.
    pub name: &'static str,
    /// Whether nodes that don't know it can continue.
    pub phase: Phase,
    /// The statements.
    pub sql: &'static str,
}

/// What a step means for nodes of a version that does not know it ([expand and contract]).
///
/// [expand and contract]: https://martinfowler.com/bliki/ParallelChange.html
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It only adds what those nodes don't need: they continue, and may be restarted.
    Expand,
    /// It removes something that those nodes may need, or requires more of what is written. They are refused.
    Contract,
}

impl Phase {
    /// Its name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expand => "expand",
            Self::Contract => "contract",
        }
    }

    /// Parses the name. An unknown phase is treated as harmful.
    pub fn parse(word: &str) -> Self {
        if word == Self::Expand.as_str() { Self::Expand } else { Self::Contract }
    }
}

/// The functions and procedures, as statements that create or replace each of them.
#[derive(Debug, Clone, Copy)]
pub struct Routines {
    /// Rises with every released change of the text. A database keeps the routines of the latest release that has
    /// migrated it, so a restarted node of an earlier release does not put its own back.
    pub release: i64,
    /// The statements. They can be run repeatedly, and drop nothing: a routine that is no longer called is dropped by a
    /// later [contracting](Phase::Contract) step.
    pub sql: &'static str,
}

impl Migration {
    /// Identifies the text, to check whether a database was migrated by the same one.
    pub fn checksum(&self) -> [u8; 32] {
        checksum(self.sql)
    }
}

impl Routines {
    /// Identifies the text, to check whether a database has the same one.
    pub fn checksum(&self) -> [u8; 32] {
        checksum(self.sql)
    }
}

fn checksum(sql: &str) -> [u8; 32] {
    Sha256::digest(sql.as_bytes()).into()
}

/// A checksum in hexadecimal digits, as in an SQL literal.
pub fn hex(checksum: &[u8]) -> String {
    checksum.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A step that was applied to a database.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The version of the step.
    pub version: i64,
    /// The [`checksum`](Migration::checksum) of its text.
    pub checksum: Vec<u8>,
    /// What it means for versions that don't know it.
    pub phase: Phase,
}

/// The routines in a database.
#[derive(Debug, Clone)]
pub struct AppliedRoutines {
    /// Their release.
    pub release: i64,
    /// The [`checksum`](Routines::checksum) of their text.
    pub checksum: Vec<u8>,
}

/// The migrations still to be applied.
#[derive(Debug, Clone, Copy)]
pub struct Pending {
    /// The steps, in order.
    pub steps: &'static [Migration],
    /// The routines, after the steps.
    pub routines: Option<Routines>,
}

impl Pending {
    /// Whether the database is up to date.
    pub const fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.routines.is_none()
    }
}

/// Why a database can't be migrated.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has an applied step that this version of the backend doesn't know and can't work with.
    Newer {
        /// The last such step.
        found: i64,
        /// The last step that this version knows.
        known: i64,
    },
    /// It has an applied step whose text was different.
    Changed {
        /// The version of the step.
        version: i64,
    },
    /// Its routines have the same release number, but another text.
    ChangedRoutines {
        /// The release.
        release: i64,
    },
}

impl Migrations {
    /// Determines what is still to be applied to a database that has `applied`, in the order of versions, and
    /// `routines`.
    ///
    /// # Errors
    /// [`Refusal`] if the database was changed by another program, or by a later version in a way that this one can't
    /// work with.
    pub fn pending(
        &self,
        applied: &[Applied],
        routines: Option<&AppliedRoutines>,
    ) -> Result<Pending, Refusal> {
        for (migration, step) in self.steps.iter().zip(applied) {
            if step.version != migration.version || step.checksum != migration.checksum() {
                return Err(Refusal::Changed { version: migration.version });
            }
        }
        let unknown = applied.get(self.steps.len()..).unwrap_or_default();
        if let Some(step) = unknown.iter().rfind(|step| step.phase == Phase::Contract) {
            let known = self.steps.last().map_or(0, |migration| migration.version);
            return Err(Refusal::Newer { found: step.version, known });
        }
        Ok(Pending {
            steps: self.steps.get(applied.len()..).unwrap_or_default(),
            routines: self.pending_routines(routines)?,
        })
    }

    fn pending_routines(&self, applied: Option<&AppliedRoutines>) -> Result<Option<Routines>, Refusal> {
        let Some(routines) = self.routines else { return Ok(None) };
        match applied {
            Some(found) if found.release > routines.release => Ok(None),
            Some(found) if found.release < routines.release => Ok(Some(routines)),
            Some(found) if found.checksum == routines.checksum() => Ok(None),
            Some(found) => Err(Refusal::ChangedRoutines { release: found.release }),
            None => Ok(Some(routines)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static STEPS: [Migration; 3] = [
        Migration { version: 1, name: "one", phase: Phase::Contract, sql: "SELECT 1" },
        Migration { version: 2, name: "two", phase: Phase::Expand, sql: "SELECT 2" },
        Migration { version: 3, name: "three", phase: Phase::Contract, sql: "SELECT 3" },
    ];

    /// The migrations of a version that knows this many steps.
    fn known(steps: usize) -> Migrations {
        Migrations { steps: &STEPS[..steps], routines: None }
    }

    fn routines(release: i64, sql: &'static str) -> Migrations {
        Migrations { steps: &STEPS, routines: Some(Routines { release, sql }) }
    }

    fn applied(steps: &[Migration]) -> Vec<Applied> {
        let step =
            |m: &Migration| Applied { version: m.version, checksum: m.checksum().to_vec(), phase: m.phase };
        steps.iter().map(step).collect()
    }

    fn found(migrations: &Migrations) -> AppliedRoutines {
        let routines = migrations.routines.unwrap();
        AppliedRoutines { release: routines.release, checksum: routines.checksum().to_vec() }
    }

    #[test]
    fn what_is_not_applied_is_pending() {
        for done in 0..=3 {
            let pending = known(3).pending(&applied(&STEPS[..done]), None).unwrap();
            assert_eq!(pending.steps.len(), 3 - done);
            assert_eq!(pending.is_empty(), done == 3);
        }
    }

    #[test]
    fn a_database_that_was_only_expanded_since_is_opened() {
        assert!(known(1).pending(&applied(&STEPS[..2]), None).unwrap().is_empty());
    }

    #[test]
    fn a_database_that_was_contracted_since_is_refused() {
        for version in [1, 2] {
            assert_eq!(
                known(version).pending(&applied(&STEPS), None).unwrap_err(),
                Refusal::Newer { found: 3, known: i64::try_from(version).unwrap() }
            );
        }
    }

    #[test]
    fn a_step_of_another_text_is_refused() {
        let mut steps = applied(&STEPS);
        steps[0].checksum[0] ^= 1;
        assert_eq!(known(3).pending(&steps, None).unwrap_err(), Refusal::Changed { version: 1 });
        assert_eq!(
            known(3).pending(&applied(&STEPS[1..]), None).unwrap_err(),
            Refusal::Changed { version: 1 }
        );
    }

    #[test]
    fn routines_are_replaced_by_those_of_a_later_release_only() {
        let (first, second) = (routines(1, "SELECT 1"), routines(2, "SELECT 2"));
        let release = |migrations: &Migrations, found: Option<&AppliedRoutines>| {
            let pending = migrations.pending(&applied(&STEPS), found).unwrap();
            pending.routines.map(|routines| routines.release)
        };
        assert_eq!(release(&first, None), Some(1));
        assert_eq!(release(&first, Some(&found(&first))), None);
        assert_eq!(release(&second, Some(&found(&first))), Some(2));
        assert_eq!(release(&first, Some(&found(&second))), None, "an earlier one does not put its own back");
    }

    #[test]
    fn routines_of_the_same_release_and_another_text_are_refused() {
        let (ours, others) = (routines(1, "SELECT 1"), routines(1, "SELECT 2"));
        assert_eq!(
            ours.pending(&applied(&STEPS), Some(&found(&others))).unwrap_err(),
            Refusal::ChangedRoutines { release: 1 }
        );
    }

    #[test]
    fn a_phase_is_known_by_its_word() {
        for phase in [Phase::Expand, Phase::Contract] {
            assert_eq!(Phase::parse(phase.as_str()), phase);
        }
        assert_eq!(Phase::parse("whatever comes later"), Phase::Contract);
    }

    /// Databases have stored these checksums.
    #[test]
    fn a_checksum_is_the_sha_256_of_the_text() {
        let wanted = [
            0xe0, 0x04, 0xeb, 0xd5, 0xb5, 0x53, 0x2a, 0x4b, 0x85, 0x98, 0x4a, 0x62, 0xf8, 0xad, 0x48, 0xa8,
            0x1a, 0xa3, 0x46, 0x0c, 0x1c, 0xa0, 0x77, 0x01, 0xf3, 0x86, 0x13, 0x5d, 0x72, 0xcd, 0xec, 0xf5,
        ];
        assert_eq!(STEPS[0].checksum(), wanted);
        assert!(hex(&wanted).starts_with("e004ebd5"));
    }
}

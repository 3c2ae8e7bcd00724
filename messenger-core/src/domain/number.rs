use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// The largest integer that every client represents exactly (2^53 - 1, as in JavaScript).
const MAX: u64 = (1 << 53) - 1;

/// The place of a message in its chat: 1, 2, 3 … without gaps. 0 is before the first message.
///
/// ```
/// use messenger_core::Seq;
///
/// assert_eq!(Seq::new(7).next(), Seq::new(8));
/// assert!(Seq::ZERO < Seq::new(1));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = u64, maximum = 9007199254740991_u64))]
#[serde(transparent)]
pub struct Seq(u64);

/// The number of a change of a chat: 1, 2, 3 … without gaps. 0 is before the first change.
///
/// A message carries the revision of its last change, so "what changed since revision R" is one range.
///
/// ```
/// use messenger_core::Revision;
///
/// assert_eq!(Revision::ZERO.next().get(), 1);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = u64, maximum = 9007199254740991_u64))]
#[serde(transparent)]
pub struct Revision(u64);

impl Seq {
    /// Before the first message.
    pub const ZERO: Self = Self(0);
    /// The greatest place.
    pub const MAX: Self = Self(MAX);

    /// The place `n`, or [`Seq::MAX`] if that is smaller.
    pub const fn new(n: u64) -> Self {
        Self(if n > MAX { MAX } else { n })
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The next place.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::new(self.0 + 1)
    }
}

impl Revision {
    /// Before the first change.
    pub const ZERO: Self = Self(0);

    /// The revision `n`, or the greatest one (2^53 - 1) if that is smaller.
    pub const fn new(n: u64) -> Self {
        Self(if n > MAX { MAX } else { n })
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The next revision.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::new(self.0 + 1)
    }
}

impl fmt::Debug for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}
impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}
impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Seq {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bounded(deserializer).map(Self)
    }
}
impl<'de> Deserialize<'de> for Revision {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bounded(deserializer).map(Self)
    }
}

fn bounded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let n = u64::deserialize(deserializer)?;
    if n > MAX {
        return Err(D::Error::custom("a number from 0 to 9007199254740991 is expected"));
    }
    Ok(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_what_every_client_reads_exactly() {
        assert_eq!(MAX, 9_007_199_254_740_991);
        for (n, kept) in [(0, 0), (1, 1), (7, 7), (MAX, MAX), (MAX + 1, MAX), (u64::MAX, MAX)] {
            assert_eq!((Seq::new(n).get(), Revision::new(n).get()), (kept, kept));
        }
        assert_eq!((Seq::ZERO.get(), Seq::MAX.get(), Revision::ZERO.get()), (0, MAX, 0));
    }

    #[test]
    fn the_next_one_is_one_more_up_to_the_greatest() {
        for (n, next) in [(0, 1), (1, 2), (7, 8), (MAX - 1, MAX), (MAX, MAX)] {
            assert_eq!((Seq::new(n).next().get(), Revision::new(n).next().get()), (next, next));
        }
    }

    #[test]
    fn a_number_out_of_range_is_refused_on_the_wire() {
        for n in [0, 1, 7, MAX] {
            let json = n.to_string();
            assert_eq!(serde_json::from_str::<Seq>(&json).unwrap(), Seq::new(n));
            assert_eq!(serde_json::from_str::<Revision>(&json).unwrap(), Revision::new(n));
            assert_eq!(serde_json::to_string(&Seq::new(n)).unwrap(), json);
            assert_eq!(serde_json::to_string(&Revision::new(n)).unwrap(), json);
        }
        for bad in ["9007199254740992", "-1", "1.5", "\"7\"", "null"] {
            assert!(serde_json::from_str::<Seq>(bad).is_err(), "{bad}");
            assert!(serde_json::from_str::<Revision>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn places_and_revisions_are_told_apart_in_a_log() {
        assert_eq!((Seq::new(7).to_string(), format!("{:?}", Seq::new(7))), ("7".into(), "#7".into()));
        assert_eq!(
            (Revision::new(7).to_string(), format!("{:?}", Revision::new(7))),
            ("7".into(), "r7".into())
        );
    }
}

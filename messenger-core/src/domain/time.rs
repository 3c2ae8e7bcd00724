use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A point in time: microseconds since 1970-01-01T00:00:00Z, as every backend stores it.
///
/// On the wire it is RFC 3339 in UTC with milliseconds.
///
/// ```
/// use messenger_core::Timestamp;
///
/// let moment: Timestamp = "2026-11-22T03:18:41.123Z".parse()?;
/// assert_eq!(moment.to_string(), "2026-11-22T03:18:41.123Z");
/// # Ok::<(), messenger_core::InvalidTimestamp>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A text that is not an RFC 3339 time between the years 1970 and 9999.
#[derive(Debug, thiserror::Error)]
#[error("a time such as 2026-11-22T03:18:41.123Z is expected")]
pub struct InvalidTimestamp;

impl Timestamp {
    /// 9999-12-31T23:59:59.999999Z: the latest time that RFC 3339 can represent.
    const MAX: i64 = 253_402_300_799_999_999;

    /// The time this many microseconds after 1970, clamped to the years 1970 to 9999.
    pub const fn from_micros(micros: i64) -> Self {
        Self(if micros < 0 {
            0
        } else if micros > Self::MAX {
            Self::MAX
        } else {
            micros
        })
    }

    /// Microseconds since 1970.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The time `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self::from_micros(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The time `duration` earlier.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self::from_micros(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The time elapsed since `earlier`; zero if `earlier` is later than `self`.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, micros) = (self.0.div_euclid(86_400_000_000), self.0.rem_euclid(86_400_000_000));
        let (year, month, day) = civil(days);
        let millis = micros / 1000;
        let (hour, minute) = (millis / 3_600_000, millis / 60_000 % 60);
        let (second, milli) = (millis / 1000 % 60, millis % 1000);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

/// Converts days since 1970-01-01 to year, month and day of the proleptic Gregorian calendar (Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
const fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + (month <= 2) as i64, month, day)
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl std::str::FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| InvalidTimestamp)?;
        let micros = i64::try_from(moment.unix_timestamp_nanos() / 1000).map_err(|_| InvalidTimestamp)?;
        if (0..=Self::MAX).contains(&micros) { Ok(Self(micros)) } else { Err(InvalidTimestamp) }
    }
}
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Timestamp {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .into()
    }
}
#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Timestamp {}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_hand_written_calendar_agrees_with_the_library() {
        // Twice the 400 years after which the calendar repeats.
        let mut date = time::Date::from_ordinal_date(1970, 1).unwrap();
        for days in 0..2 * 146_097 {
            let theirs = (date.year().into(), u8::from(date.month()).into(), date.day().into());
            assert_eq!(civil(days), theirs);
            date = date.next_day().unwrap();
        }
    }

    #[test]
    fn a_moment_is_written_in_utc_with_milliseconds() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (999, "1970-01-01T00:00:00.000Z"),
            (1000, "1970-01-01T00:00:00.001Z"),
            (86_399_999_999, "1970-01-01T23:59:59.999Z"),
            (86_400_000_000, "1970-01-02T00:00:00.000Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000Z"),
            (1_795_317_521_123_456, "2026-11-22T03:18:41.123Z"),
            (Timestamp::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            let moment = Timestamp::from_micros(micros);
            assert_eq!(moment.to_string(), text);
            assert_eq!(format!("{moment:?}"), text);
            assert_eq!(serde_json::to_value(moment).unwrap(), text);
            let read: Timestamp = serde_json::from_value(text.into()).unwrap();
            assert_eq!(read.as_micros(), micros / 1000 * 1000);
        }
    }

    #[test]
    fn a_moment_is_read_with_any_offset_and_kept_in_microseconds() {
        for (text, micros) in [
            ("2026-11-22T03:18:41+02:00", 1_795_310_321_000_000),
            ("2026-11-22T01:18:41.123456789Z", 1_795_310_321_123_456),
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59-00:01", 59_000_000),
            ("9999-12-31T23:59:59.999999999Z", Timestamp::MAX),
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().as_micros(), micros, "{text}");
        }
    }

    #[test]
    fn text_that_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-11-22",
            "2026-13-01T00:00:00Z",
            "2026-11-22T03:18:41",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
            assert!(serde_json::from_value::<Timestamp>(text.into()).is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Timestamp>("7").is_err());
    }

    #[test]
    fn moments_stay_within_the_years_1970_to_9999() {
        for (micros, kept) in [
            (i64::MIN, 0),
            (-1, 0),
            (0, 0),
            (1, 1),
            (Timestamp::MAX, Timestamp::MAX),
            (Timestamp::MAX + 1, Timestamp::MAX),
            (i64::MAX, Timestamp::MAX),
        ] {
            assert_eq!(Timestamp::from_micros(micros).as_micros(), kept);
        }
        let [first, last] = [0, Timestamp::MAX].map(Timestamp::from_micros);
        assert_eq!((first.before(SECOND), last.after(SECOND)), (first, last));
        assert_eq!((last.before(Duration::MAX), first.after(Duration::MAX)), (first, last));
    }

    #[test]
    fn later_and_earlier_are_so_many_microseconds_away() {
        let moment = Timestamp::from_micros(5_000_000);
        assert_eq!(moment.after(SECOND), Timestamp::from_micros(6_000_000));
        assert_eq!(moment.before(SECOND), Timestamp::from_micros(4_000_000));
        assert_eq!(moment.since(moment.before(SECOND)), SECOND);
        assert_eq!(moment.since(moment), Duration::ZERO);
        assert_eq!(moment.since(moment.after(SECOND)), Duration::ZERO, "it is not before");
    }
}

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// About which messages of a chat a member wants to be told outside of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub enum NotifyLevel {
    /// All of them.
    #[default]
    All,
    /// Those that mention the member.
    Mentions,
    /// None.
    None,
}

/// The name of a time zone in the IANA database, such as `Europe/Berlin`: 1 to 64 of the letters `a` to `z` in either case,
/// digits, `/`, `_`, `+` and `-`. Whether there is such a zone is not said by its name.
///
/// ```
/// use messenger_core::TimeZone;
///
/// assert_eq!("Europe/Berlin".parse::<TimeZone>()?.as_str(), "Europe/Berlin");
/// assert!("half past nine".parse::<TimeZone>().is_err());
/// # Ok::<(), messenger_core::InvalidTimeZone>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct TimeZone(Box<str>);

impl TimeZone {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TimeZone {
    /// The zone of this name, in whatever case it is written, if there is such a zone in the database of this release.
    ///
    /// ```
    /// use messenger_core::TimeZone;
    ///
    /// assert_eq!(TimeZone::known("europe/berlin").unwrap().as_str(), "Europe/Berlin");
    /// assert!(TimeZone::known("Europe/Atlantis").is_err());
    /// ```
    ///
    /// # Errors
    /// [`InvalidTimeZone`] if there is none.
    pub fn known(name: &str) -> Result<Self, InvalidTimeZone> {
        let named: Self = name.parse()?;
        // That of the machine has other names on each.
        let zone = jiff::tz::TimeZoneDatabase::bundled().get(named.as_str()).map_err(|_| InvalidTimeZone)?;
        zone.iana_name().ok_or(InvalidTimeZone)?.parse()
    }
}

impl FromStr for TimeZone {
    type Err = InvalidTimeZone;

    fn from_str(name: &str) -> Result<Self, InvalidTimeZone> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte);
        let is_name = (1..=64).contains(&name.len()) && name.bytes().all(is_plain);
        if is_name { Ok(Self(name.into())) } else { Err(InvalidTimeZone) }
    }
}

impl<'de> Deserialize<'de> for TimeZone {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that can't be the name of a time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a time zone such as Europe/Berlin")]
pub struct InvalidTimeZone;

/// The hours of each day in which a person does not want to be told of anything, in minutes of their day, 0 to 1439: from
/// the first minute up to the second one, over midnight if that one is smaller.
///
/// ```
/// use messenger_core::QuietHours;
///
/// let night = QuietHours::new(22 * 60, 7 * 60)?;
/// assert!(night.contains(23 * 60) && night.contains(0) && !night.contains(7 * 60));
/// assert!(QuietHours::new(60, 60).is_err() && QuietHours::new(0, 1440).is_err());
/// # Ok::<(), messenger_core::InvalidQuietHours>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "DailyHours", try_from = "DailyHours")]
pub struct QuietHours {
    from: u16,
    to: u16,
}

impl QuietHours {
    /// From one minute of the day up to another one.
    ///
    /// # Errors
    /// If they are the same, or a day has no such minute.
    pub const fn new(from: u16, to: u16) -> Result<Self, InvalidQuietHours> {
        if from < 1440 && to < 1440 && from != to { Ok(Self { from, to }) } else { Err(InvalidQuietHours) }
    }

    /// The first minute.
    pub const fn from(self) -> u16 {
        self.from
    }

    /// The minute after the last one.
    pub const fn to(self) -> u16 {
        self.to
    }

    /// Whether this minute of the day is one of them.
    pub const fn contains(self, minute: u16) -> bool {
        if self.from < self.to {
            self.from <= minute && minute < self.to
        } else {
            self.from <= minute || minute < self.to
        }
    }
}

/// Two minutes that are not the bounds of quiet hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be from one minute of the day, 0 to 1439, to another one")]
pub struct InvalidQuietHours;

/// Hours of each day, as a clock with 24 hours shows their bounds: over midnight if the second is earlier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = QuietHours))]
#[serde(deny_unknown_fields)]
pub struct DailyHours {
    /// The first minute, such as `22:00`.
    #[cfg_attr(feature = "openapi", schema(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$", example = "22:00"))]
    pub from: String,
    /// The minute after the last one, such as `07:00`.
    #[cfg_attr(feature = "openapi", schema(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$", example = "07:00"))]
    pub to: String,
}

/// The minute of the day at which a clock shows this, such as `22:00`.
///
/// ```
/// assert_eq!(messenger_core::minute_of_day("22:00"), Some(22 * 60));
/// assert_eq!(messenger_core::minute_of_day("7:00"), None);
/// ```
pub fn minute_of_day(clock: &str) -> Option<u16> {
    let number = |digits: &str| -> Option<u16> {
        (digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| digits.parse().ok())?
    };
    let (hour, minute) = clock.split_once(':')?;
    let (hour, minute) = (number(hour)?, number(minute)?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

impl From<QuietHours> for DailyHours {
    fn from(hours: QuietHours) -> Self {
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        Self { from: clock(hours.from), to: clock(hours.to) }
    }
}

impl TryFrom<DailyHours> for QuietHours {
    type Error = InvalidQuietHours;

    fn try_from(hours: DailyHours) -> Result<Self, InvalidQuietHours> {
        let minute = |clock: &str| minute_of_day(clock).ok_or(InvalidQuietHours);
        Self::new(minute(&hours.from)?, minute(&hours.to)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_zone_is_a_plain_name() {
        for good in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+12", &"x".repeat(64)]
        {
            assert_eq!(good.parse::<TimeZone>().unwrap().to_string(), good);
        }
        for bad in ["", "Europe Berlin", "Europe/Bérlin", "a\n", &"x".repeat(65)] {
            assert_eq!(bad.parse::<TimeZone>(), Err(InvalidTimeZone), "{bad:?}");
        }
    }

    #[test]
    fn quiet_hours_go_over_midnight_if_they_end_before_they_begin() {
        let (day, night) = (QuietHours::new(540, 1020).unwrap(), QuietHours::new(1020, 540).unwrap());
        for (minute, of_day) in
            [(539, false), (540, true), (1019, true), (1020, false), (0, false), (1439, false)]
        {
            assert_eq!((day.contains(minute), night.contains(minute)), (of_day, !of_day), "{minute}");
        }
        assert_eq!((night.from(), night.to()), (1020, 540));
        for (from, to) in [(5, 5), (1440, 5), (5, 1440)] {
            assert_eq!(QuietHours::new(from, to), Err(InvalidQuietHours));
        }
    }

    #[test]
    fn a_zone_that_is_known_has_the_name_of_the_database() {
        for (name, known) in
            [("utc", "UTC"), ("AMERICA/new_york", "America/New_York"), ("Asia/Calcutta", "Asia/Calcutta")]
        {
            assert_eq!(TimeZone::known(name).unwrap().as_str(), known);
        }
        for name in ["", "Europe/Atlantis", "EST5EDT,M3.2.0,M11.1.0", "localtime", "../../etc/passwd"] {
            assert_eq!(TimeZone::known(name), Err(InvalidTimeZone), "{name}");
        }
    }

    #[test]
    fn hours_are_written_as_a_clock_shows_them() {
        let hours = QuietHours::new(22 * 60, 7 * 60 + 5).unwrap();
        let text = r#"{"from":"22:00","to":"07:05"}"#;
        assert_eq!(serde_json::to_string(&hours).unwrap(), text);
        assert_eq!(serde_json::from_str::<QuietHours>(text).unwrap(), hours);
        assert_eq!((minute_of_day("00:00"), minute_of_day("23:59")), (Some(0), Some(1439)));
        for bad in ["", "24:00", "07:60", "7:00", "07:0", "+7:00", "07-00", "07:00:00", " 7:00", "٠٧:٠٠"]
        {
            assert_eq!(minute_of_day(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_level_has_a_name_on_the_wire() {
        let names = [NotifyLevel::All, NotifyLevel::Mentions, NotifyLevel::None];
        assert_eq!(serde_json::to_string(&names).unwrap(), r#"["all","mentions","none"]"#);
    }
}

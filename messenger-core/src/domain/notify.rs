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

impl FromStr for TimeZone {
    type Err = InvalidTimeZone;

    fn from_str(name: &str) -> Result<Self, InvalidTimeZone> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte);
        let is_name = (1..=64).contains(&name.len()) && name.bytes().all(is_plain);
        if is_name { Ok(Self(name.into())) } else { Err(InvalidTimeZone) }
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
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
    fn a_level_has_a_name_on_the_wire() {
        let names = [NotifyLevel::All, NotifyLevel::Mentions, NotifyLevel::None];
        assert_eq!(serde_json::to_string(&names).unwrap(), r#"["all","mentions","none"]"#);
    }
}

//! The hours in which a person is not told of anything, where they live.

use jiff::{Timestamp as Moment, Zoned, civil::Time, tz::TimeZone as Zone};

use crate::domain::{QuietHours, TimeZone, Timestamp};

/// When quiet hours end, if it is one of them now. A zone that is not known is taken for UTC.
pub(super) fn end(hours: QuietHours, zone: Option<&TimeZone>, now: Timestamp) -> Option<Timestamp> {
    let zone = zone.and_then(|zone| Zone::get(zone.as_str()).ok()).unwrap_or(Zone::UTC);
    let there = Moment::from_microsecond(now.as_micros()).ok()?.to_zoned(zone);
    let minute = there.hour().unsigned_abs() as u16 * 60 + there.minute().unsigned_abs() as u16;
    if !hours.contains(minute) {
        return None;
    }
    // Where clocks are changed, what is left out is as much later.
    let today = at(&there, hours.to())?;
    let end = if today > there { today } else { at(&there.tomorrow().ok()?, hours.to())? };
    Some(Timestamp::from_micros(end.timestamp().as_microsecond()))
}

/// The same day at this minute.
fn at(day: &Zoned, minute: u16) -> Option<Zoned> {
    let part = |n: u16| i8::try_from(n).ok();
    let time = Time::new(part(minute / 60)?, part(minute % 60)?, 0, 0).ok()?;
    day.with().time(time).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_of(hours: (u16, u16), zone: Option<&str>, now: &str) -> Option<String> {
        let zone = zone.map(|name| name.parse().unwrap());
        let now = Timestamp::from_micros(now.parse::<Moment>().unwrap().as_microsecond());
        let end = end(QuietHours::new(hours.0, hours.1).unwrap(), zone.as_ref(), now)?;
        Some(Moment::from_microsecond(end.as_micros()).unwrap().to_string())
    }

    const NIGHT: (u16, u16) = (22 * 60, 7 * 60 + 30);

    #[test]
    fn a_night_ends_in_the_morning_of_where_the_person_lives() {
        for (zone, now, expected) in [
            (None, "2026-03-10T22:00:00Z", Some("2026-03-11T07:30:00Z")),
            (None, "2026-03-10T21:59:59Z", None),
            (None, "2026-03-11T00:00:00Z", Some("2026-03-11T07:30:00Z")),
            (None, "2026-03-11T07:29:59Z", Some("2026-03-11T07:30:00Z")),
            (None, "2026-03-11T07:30:00Z", None),
            (Some("Asia/Kolkata"), "2026-03-10T16:30:00Z", Some("2026-03-11T02:00:00Z")),
            (Some("Asia/Kolkata"), "2026-03-10T22:00:00Z", Some("2026-03-11T02:00:00Z")),
            (Some("Asia/Kolkata"), "2026-03-11T03:00:00Z", None),
            (Some("Nowhere/Atlantis"), "2026-03-10T22:00:00Z", Some("2026-03-11T07:30:00Z")),
        ] {
            assert_eq!(end_of(NIGHT, zone, now).as_deref(), expected, "{zone:?} {now}");
        }
    }

    #[test]
    fn hours_of_the_day_end_on_the_same_day() {
        assert_eq!(end_of((540, 720), None, "2026-03-10T09:00:00Z").as_deref(), Some("2026-03-10T12:00:00Z"));
        assert_eq!(end_of((540, 720), None, "2026-03-10T08:59:59Z"), None);
        assert_eq!(end_of((540, 720), None, "2026-03-10T12:00:00Z"), None);
    }

    #[test]
    fn a_night_in_which_clocks_are_changed_ends_by_the_clock_on_the_wall() {
        let berlin = Some("Europe/Berlin");
        // One hour shorter, one hour longer, and an end that is left out.
        assert_eq!(end_of(NIGHT, berlin, "2026-03-28T22:00:00Z").as_deref(), Some("2026-03-29T05:30:00Z"));
        assert_eq!(end_of(NIGHT, berlin, "2026-10-24T22:00:00Z").as_deref(), Some("2026-10-25T06:30:00Z"));
        assert_eq!(
            end_of((1320, 150), berlin, "2026-03-29T00:00:00Z").as_deref(),
            Some("2026-03-29T01:30:00Z")
        );
    }
}

use std::{fmt, time::Duration};

use cronexpr::{Crontab, MakeTimestamp};
use jiff::{Timestamp as Moment, tz::TimeZone};

use crate::domain::Timestamp;

/// When a job recurs: by a cron expression in a time zone, or at a fixed interval.
///
/// Over all nodes each of its times is taken once, and times that were missed while no node was there are made up for
/// by one job.
///
/// A cron expression has five fields: minute, hour, day of the month, month, day of the week (0 to 7 or names; 0 and 7
/// are Sunday), each a `*`, a number, a list `1,15`, a range `1-5` or steps `*/15`. Days also know `L` (the last), `15W`
/// (the working day nearest to the 15th), `FRI#2` (the second Friday) and `5L` (the last Friday). Where both days are
/// given and neither begins with `*`, one of them is enough.
///
/// When clocks are changed, one with hours that are named goes by the clock on the wall: a time that is left out is
/// taken as much later as the clock is put forward, and one that comes twice is taken the first time. One whose hours
/// have a `*` goes by time that passes.
///
/// ```
/// use messenger_core::jobs::Schedule;
///
/// let nightly = Schedule::cron("30 2 * * *", "Europe/Berlin")?;
/// let next = nightly.next_after("2026-01-01T12:00:00Z".parse()?);
/// assert_eq!(next, Some("2026-01-02T01:30:00Z".parse()?));
/// assert!(Schedule::cron("30 25 * * *", "Europe/Berlin").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Schedule {
    rule: String,
    times: Times,
}

#[derive(Debug, Clone)]
enum Times {
    /// Whatever the clocks do.
    Every(Duration),
    /// By time that passes; the expression has its time zone in it.
    Passing(Box<Crontab>),
    /// By the clock on the wall in this zone; the expression has UTC in it, which stands for that clock.
    OnTheWall(Box<Crontab>, TimeZone),
}

/// No schedule can be made of this; says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSchedule(String);

impl Schedule {
    /// By a cron expression of five fields, in a time zone by its IANA name, such as `Europe/Berlin` or `UTC`.
    ///
    /// # Errors
    /// [`InvalidSchedule`] if the expression or the zone is none, or if it has no time in the next four years.
    pub fn cron(expression: &str, zone: &str) -> Result<Self, InvalidSchedule> {
        let fields: Vec<&str> = expression.split_ascii_whitespace().collect();
        let [_, hours, ..] = fields[..] else { return Err(invalid(expression, "it has no hours")) };
        if fields.len() != 5 {
            return Err(invalid(expression, "it must have five fields"));
        }
        let fields = fields.join(" ");
        let zone =
            TimeZone::get(zone).map_err(|_| InvalidSchedule(format!("there is no time zone `{zone}`")))?;
        let name = zone.iana_name().unwrap_or("UTC").to_owned();
        let parse = |zone: &str| {
            let parsed = cronexpr::parse_crontab(&format!("{fields} {zone}"));
            parsed.map(Box::new).map_err(|error| invalid(expression, error))
        };
        let times = if hours.contains('*') {
            Times::Passing(parse(&name)?)
        } else {
            Times::OnTheWall(parse("UTC")?, zone)
        };
        let schedule = Self { rule: format!("{fields} {name}"), times };
        // Of the year 2026, so that whether it is valid does not depend on when it is asked.
        match schedule.next_after(Timestamp::from_micros(1_767_225_600_000_000)) {
            Some(_) if schedule.rule.len() <= 200 => Ok(schedule),
            Some(_) => Err(invalid(expression, "it is too long")),
            None => Err(invalid(expression, "it has no time in four years")),
        }
    }

    /// At every multiple of this time since 1970; at least one second.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use messenger_core::jobs::Schedule;
    /// let often = Schedule::every(Duration::from_secs(600));
    /// let next = often.next_after("2026-01-01T12:03:00Z".parse()?);
    /// assert_eq!(next, Some("2026-01-01T12:10:00Z".parse()?));
    /// # Ok::<(), messenger_core::InvalidTimestamp>(())
    /// ```
    #[must_use]
    pub fn every(interval: Duration) -> Self {
        let interval = interval.max(Duration::from_secs(1));
        Self { rule: format!("every {} s", interval.as_secs_f64()), times: Times::Every(interval) }
    }

    /// Its first time after this one; `None` if there is none in four years.
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        match &self.times {
            Times::Every(interval) => {
                let interval = i64::try_from(interval.as_micros()).ok()?;
                let next = (time.as_micros() / interval + 1).checked_mul(interval)?;
                Some(Timestamp::from_micros(next))
            }
            Times::Passing(crontab) => {
                let next = crontab.find_next(MakeTimestamp(moment(time)?)).ok()?;
                Some(Timestamp::from_micros(next.timestamp().as_microsecond()))
            }
            Times::OnTheWall(crontab, zone) => next_on_the_wall(crontab, zone, time),
        }
    }

    /// The rule in words: the expression with its time zone, or `every 600 s`.
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

fn next_on_the_wall(crontab: &Crontab, zone: &TimeZone, time: Timestamp) -> Option<Timestamp> {
    let after = moment(time)?;
    let mut wall = TimeZone::UTC.to_timestamp(zone.to_datetime(after)).ok()?;
    // What the clock shows twice is before `time` when it is shown for the second time; that lasts for an hour or so.
    for _ in 0..200 {
        let next = crontab.find_next(MakeTimestamp(wall)).ok()?;
        // Of a time that comes twice the first, and one that is left out as much later.
        let moment = zone.to_timestamp(next.datetime()).ok()?;
        if moment > after {
            return Some(Timestamp::from_micros(moment.as_microsecond()));
        }
        wall = next.timestamp();
    }
    None
}

fn moment(time: Timestamp) -> Option<Moment> {
    Moment::from_microsecond(time.as_micros()).ok()
}

fn invalid(expression: &str, why: impl fmt::Display) -> InvalidSchedule {
    InvalidSchedule(format!("`{expression}` is no cron expression: {why}"))
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first times after one.
    fn times<const N: usize>(expression: &str, zone: &str, after: &str) -> [String; N] {
        let schedule = Schedule::cron(expression, zone).unwrap();
        let mut time = after.parse().unwrap();
        std::array::from_fn(|_| {
            time = schedule.next_after(time).unwrap();
            time.to_string().replace(":00.000Z", "Z")
        })
    }

    #[test]
    fn times_are_those_of_the_clock_in_the_zone() {
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", "2026-01-01T01:30:00Z"),
            ["2026-01-02T01:30Z", "2026-01-03T01:30Z"]
        );
        assert_eq!(
            times("0 9 * * MON-FRI", "America/New_York", "2026-07-03T12:59:59Z"),
            ["2026-07-03T13:00Z", "2026-07-06T13:00Z"]
        );
        assert_eq!(times("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z"), ["2028-02-29T00:00Z"]);
        assert_eq!(
            times("*/20 * * * *", "Asia/Kolkata", "2026-01-01T00:00:00Z"),
            ["2026-01-01T00:10Z", "2026-01-01T00:30Z", "2026-01-01T00:50Z"]
        );
        assert_eq!(
            times("0 0 L * *", "UTC", "2026-02-01T00:00:00Z"),
            ["2026-02-28T00:00Z", "2026-03-31T00:00Z"]
        );
    }

    #[test]
    fn a_time_that_is_left_out_is_made_up_for_and_one_that_comes_twice_is_taken_once() {
        // On 2026-03-29 the clock in Berlin goes from 2:00 to 3:00, and on 2026-10-25 from 3:00 back to 2:00.
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z"),
            ["2026-03-29T01:30Z", "2026-03-30T00:30Z"]
        );
        assert_eq!(
            times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z"),
            ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]
        );
        // From within the hour that comes for the second time.
        for after in ["2026-10-25T01:10:00Z", "2026-10-25T01:59:59Z"] {
            assert_eq!(
                times("0,30 2 * * *", "Europe/Berlin", after),
                ["2026-10-26T01:00Z", "2026-10-26T01:30Z"]
            );
            assert_eq!(times("* 2 * * *", "Europe/Berlin", after), ["2026-10-26T01:00Z"]);
        }
        // Where each hour is meant, time that passes counts.
        assert_eq!(
            times("30 * * * *", "Europe/Berlin", "2026-10-24T23:45:00Z"),
            ["2026-10-25T00:30Z", "2026-10-25T01:30Z", "2026-10-25T02:30Z"]
        );
        assert_eq!(
            times("30 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z"),
            ["2026-03-29T00:30Z", "2026-03-29T01:30Z"]
        );
    }

    #[test]
    fn an_interval_is_counted_from_1970_on_every_node() {
        let schedule = Schedule::every(Duration::from_secs(7));
        let mut time = Timestamp::from_micros(0);
        for expected in [7, 14, 21] {
            time = schedule.next_after(time).unwrap();
            assert_eq!(time, Timestamp::from_micros(expected * 1_000_000));
        }
        assert_eq!(Schedule::every(Duration::ZERO).rule(), "every 1 s");
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_a_reason() {
        for (expression, zone, why) in [
            ("61 * * * *", "UTC", "is no cron expression"),
            ("* * * *", "UTC", "it must have five fields"),
            ("* * * * * UTC", "UTC", "it must have five fields"),
            ("*", "UTC", "it has no hours"),
            ("", "UTC", "it has no hours"),
            ("0 0 30 2 *", "UTC", "no time in four years"),
            ("0 0 * * *", "Mars/Olympus", "there is no time zone `Mars/Olympus`"),
            ("0 0 * * *", "", "there is no time zone ``"),
        ] {
            let error = Schedule::cron(expression, zone).unwrap_err().to_string();
            assert!(error.contains(why), "{expression} {zone}: {error}");
        }
        let schedule = Schedule::cron(" 5  4 * * sun ", "utc").unwrap();
        assert_eq!(schedule.to_string(), "5 4 * * sun UTC");
    }
}

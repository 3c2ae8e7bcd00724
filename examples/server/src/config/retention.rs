use messenger_core::RetentionPeriod;

/// How long messages are kept: a time such as `365d`, or `off` for good.
pub(super) fn retention(text: &str) -> Result<Option<RetentionPeriod>, String> {
    const WRONG: &str =
        "is neither `off` nor a time such as `365d`, `72h` or `30m`, from a minute to a hundred years";
    if text == "off" {
        return Ok(None);
    }
    let split = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds_per_unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => 0,
    };
    let number: u32 = number.parse().map_err(|_| WRONG)?;
    RetentionPeriod::from_secs(u64::from(number) * seconds_per_unit).map(Some).map_err(|_| WRONG.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_kept_for_a_time_or_for_good() {
        assert_eq!(retention("off"), Ok(None));
        for (text, seconds) in [("60s", 60), ("1m", 60), ("72h", 259_200), ("365d", 31_536_000)] {
            assert_eq!(retention(text).unwrap().map(RetentionPeriod::as_secs), Some(seconds), "{text}");
        }
        for bad in ["", "on", "59s", "0d", "d", "10", "1y", "36526d", "-1d", "99999999999d"] {
            assert!(retention(bad).is_err(), "{bad}");
        }
    }
}

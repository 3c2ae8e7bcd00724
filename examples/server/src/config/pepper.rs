use messenger_core::Peppers;

use super::{error::ConfigError, secret::KEY, values::Values};

/// What is hashed with passwords, from the setting or from the file.
pub(super) fn peppers(values: &Values<'_>) -> Result<Option<Peppers>, ConfigError> {
    let in_file = values.read("password-pepper-file", |path| match path {
        "" => Ok(None),
        path => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("can't be read: {error}"))?;
            of_lines(&text).map(Some).ok_or_else(|| format!("holds no key, which {KEY}"))
        }
    })?;
    values.read("password-pepper", |text| match (text, in_file) {
        ("", in_file) => Ok(in_file),
        (_, Some(_)) => Err("is there beside --password-pepper-file; give one of them".to_owned()),
        (text, None) => of_lines(text).map(Some).ok_or_else(|| format!("is no key, which {KEY}")),
    })
}

/// The keys, one a line: passwords are hashed with the first, and the others are those of before.
fn of_lines(text: &str) -> Option<Peppers> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::as_bytes);
    let first = Peppers::new(lines.next()?).ok()?;
    lines.try_fold(first, Peppers::with_former).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_key_a_line() {
        let (new, old) = ("n".repeat(32), "o".repeat(32));
        let both = of_lines(&format!("\n{new}\n  {old}\r\n\n")).unwrap();
        assert_eq!(format!("{both:?}"), "Peppers(2)");
        for none in ["", "\n", "short", &format!("{new}\nshort")] {
            assert!(of_lines(none).is_none(), "{none}");
        }
    }
}

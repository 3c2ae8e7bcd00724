use std::{env, time::Duration};

use super::Result;

/// What a benchmark is asked for on the command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    quick: bool,
    parts: Vec<String>,
    numbers: Vec<(String, usize)>,
}

impl Options {
    /// Reads the arguments of this process: any of these parts, `--quick`, and any of these names with a number behind it.
    /// `None` if nothing is to be measured: after `--help`, which is answered, and under `cargo test`.
    ///
    /// # Errors
    /// If there is another argument.
    pub fn read(help: &str, parts: &[&str], numbers: &[&str]) -> Result<Option<Self>> {
        let arguments: Vec<String> = env::args().skip(1).collect();
        let has = |name: &str| arguments.iter().any(|argument| argument == name);
        if has("--help") {
            println!("{help}");
            return Ok(None);
        }
        // `cargo test --benches` starts it without `--bench`; there is nothing to test here.
        if !has("--bench") || has("--test") {
            return Ok(None);
        }
        Self::of(arguments, parts, numbers).map(Some)
    }

    fn of(arguments: Vec<String>, parts: &[&str], numbers: &[&str]) -> Result<Self> {
        let mut options = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => {}
                "--quick" => options.quick = true,
                part if parts.contains(&part) => options.parts.push(argument),
                name if numbers.contains(&name) => {
                    let number = arguments.next().and_then(|number| number.parse().ok());
                    let number = number.ok_or_else(|| format!("{argument} wants a number"))?;
                    options.numbers.push((argument, number));
                }
                _ => return Err(format!("there is no {argument}; see --help").into()),
            }
        }
        Ok(options)
    }

    /// Whether this part is to be measured: if it was named, or none was.
    pub fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }

    /// The number behind this name.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.numbers.iter().find(|(of, _)| of == name).map(|(_, number)| *number)
    }

    /// How many rounds are measured.
    pub fn rounds(&self) -> usize {
        if self.quick { 3 } else { 5 }
    }

    /// The first if it is to be quick, else the second.
    pub fn length(&self, quick: Duration, full: Duration) -> Duration {
        if self.quick { quick } else { full }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &str) -> Result<Options> {
        let arguments = arguments.split(' ').map(str::to_owned).collect();
        Options::of(arguments, &["sends", "history"], &["--lanes", "--senders"])
    }

    #[test]
    fn arguments_are_read_in_any_order() {
        let read = options("--lanes 2 --quick sends --bench").unwrap();
        assert_eq!((read.number("--lanes"), read.number("--senders")), (Some(2), None));
        assert_eq!((read.wants("sends"), read.wants("history"), read.rounds()), (true, false, 3));
        assert!(options("--bench").unwrap().wants("history"));
    }

    #[test]
    fn an_unknown_argument_is_refused() {
        for (arguments, wanted) in [
            ("--bench --slow", "there is no --slow; see --help"),
            ("--bench --lanes", "--lanes wants a number"),
            ("--lanes sends", "--lanes wants a number"),
        ] {
            assert_eq!(options(arguments).unwrap_err().to_string(), wanted);
        }
    }
}

/// The form of a noun beside a number, by the names of CLDR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plural {
    Zero,
    One,
    Two,
    Few,
    Many,
    Other,
}

impl Plural {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Zero => "zero",
            Self::One => "one",
            Self::Two => "two",
            Self::Few => "few",
            Self::Many => "many",
            Self::Other => "other",
        }
    }

    /// The form for `n` things in a language, after the cardinal rules of CLDR for whole numbers below a million. A language that is not
    /// named here has `one` for 1 and `other` for the rest.
    pub(crate) fn of(language: &str, n: u64) -> Self {
        let (last, last_two) = (n % 10, n % 100);
        let teens = (11..=14).contains(&last_two);
        match language.split('-').next().unwrap_or_default() {
            "ru" | "uk" | "be" => match last {
                1 if last_two != 11 => Self::One,
                2..=4 if !teens => Self::Few,
                _ => Self::Many,
            },
            "sr" | "hr" | "bs" => match last {
                1 if last_two != 11 => Self::One,
                2..=4 if !teens => Self::Few,
                _ => Self::Other,
            },
            "pl" => match last {
                _ if n == 1 => Self::One,
                2..=4 if !teens => Self::Few,
                _ => Self::Many,
            },
            "cs" | "sk" => match n {
                1 => Self::One,
                2..=4 => Self::Few,
                _ => Self::Other,
            },
            "ar" => match (n, last_two) {
                (0, _) => Self::Zero,
                (1, _) => Self::One,
                (2, _) => Self::Two,
                (_, 3..=10) => Self::Few,
                (_, 11..=99) => Self::Many,
                _ => Self::Other,
            },
            "fr" | "pt" | "hi" | "fa" | "bn" if n <= 1 => Self::One,
            "ja" | "zh" | "ko" | "vi" | "th" | "id" | "ms" => Self::Other,
            _ if n == 1 => Self::One,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(language: &str, form: Plural, numbers: impl IntoIterator<Item = u64>) {
        for n in numbers {
            assert_eq!(Plural::of(language, n), form, "{language} {n}");
        }
    }

    #[test]
    fn english_has_one_and_others() {
        for language in ["en", "en-gb", "de", "sv", "tlh"] {
            numbers(language, Plural::One, [1]);
            numbers(language, Plural::Other, [0, 2, 11, 21, 101]);
        }
    }

    #[test]
    fn russian_goes_by_the_last_digits() {
        for language in ["ru", "ru-ru", "uk", "be"] {
            numbers(language, Plural::One, [1, 21, 31, 101, 1001, 121]);
            numbers(language, Plural::Few, [2, 3, 4, 22, 24, 102, 1003]);
            numbers(language, Plural::Many, (5..=20).chain([0, 25, 100, 111, 112, 114, 1011, 1000]));
        }
    }

    #[test]
    fn some_that_a_host_may_add() {
        numbers("pl", Plural::One, [1]);
        numbers("pl", Plural::Few, [2, 22, 104]);
        numbers("pl", Plural::Many, [0, 5, 12, 21, 101]);
        numbers("cs", Plural::Few, [2, 3, 4]);
        numbers("cs", Plural::Other, [0, 5, 22]);
        numbers("hr", Plural::One, [1, 21]);
        numbers("hr", Plural::Other, [5, 11, 12]);
        numbers("fr", Plural::One, [0, 1]);
        numbers("fr", Plural::Other, [2, 21]);
        numbers("ja", Plural::Other, [0, 1, 2]);
        numbers("ar", Plural::Zero, [0]);
        numbers("ar", Plural::Two, [2]);
        numbers("ar", Plural::Few, [3, 10, 103]);
        numbers("ar", Plural::Many, [11, 99, 111]);
        numbers("ar", Plural::Other, [100, 102]);
    }
}

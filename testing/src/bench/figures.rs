/// What came out of several rounds.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// The lowest.
    pub lowest: f64,
    /// The one in the middle.
    pub median: f64,
    /// The highest.
    pub highest: f64,
}

impl Figures {
    /// Of these; not numbers if there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Self { lowest: at(0), median: at(values.len() / 2), highest: at(values.len().saturating_sub(1)) }
    }
}

/// The word for an aim.
pub fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "MISSED" }
}

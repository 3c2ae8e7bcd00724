//! Fewer steps that show the same: after Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input"
//! (2002).

use crate::plan::Step;

/// Leaves out what is not needed for `fails`, in at most so many attempts. The time that a step waited is waited by
/// the next one.
pub(crate) fn shrink(
    mut steps: Vec<Step>,
    attempts: usize,
    mut fails: impl FnMut(&[Step]) -> bool,
) -> Vec<Step> {
    let mut left = attempts;
    let mut size = steps.len() / 2;
    while size > 0 {
        let (mut at, before) = (0, steps.len());
        while at < steps.len() {
            if left == 0 {
                return steps;
            }
            left -= 1;
            let fewer = without(&steps, at, size);
            if fails(&fewer) {
                steps = fewer;
            } else {
                at += size;
            }
        }
        if size > 1 || steps.len() == before {
            size /= 2;
        }
    }
    steps
}

fn without(steps: &[Step], at: usize, size: usize) -> Vec<Step> {
    let end = (at + size).min(steps.len());
    let waited: std::time::Duration = steps[at..end].iter().map(|step| step.after).sum();
    let mut fewer = steps.to_vec();
    fewer.drain(at..end);
    if let Some(next) = fewer.get_mut(at) {
        next.after += waited;
    }
    fewer
}

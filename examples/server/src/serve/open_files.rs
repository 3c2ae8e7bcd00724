/// Lets the process open as many files as the system grants it, since every connection is one, and says how
/// many that is. Shells commonly begin with 1,024 of a far higher limit.
#[cfg(unix)]
pub(super) fn raise_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// Elsewhere open files are not limited in this way.
#[cfg(not(unix))]
pub(super) fn raise_limit() -> Option<u64> {
    None
}

use std::{
    fmt,
    panic::{self, PanicHookInfo},
    thread,
};

/// Has panics say on standard error where they were, and what only if the program's text says it: a message put together may quote
/// anything.
pub(crate) fn say_where_threads_panic() {
    panic::set_hook(Box::new(|panic| eprintln!("{}", Said(panic))));
}

struct Said<'a, 'b>(&'a PanicHookInfo<'b>);

impl fmt::Display for Said<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let thread = thread::current();
        write!(f, "messenger-server: the thread `{}` panicked", thread.name().unwrap_or_default())?;
        if let Some(place) = self.0.location() {
            write!(f, " at {place}")?;
        }
        match self.0.payload().downcast_ref::<&'static str>() {
            Some(text) => write!(f, ": {}", text.escape_debug()),
            None => f.write_str(", with a message that is not shown, for it may quote what people have sent"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_panic_tells_its_place_and_no_message_that_was_put_together() {
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| heard.lock().unwrap().push(Said(panic).to_string())));
        let secret = "hunter2";
        let _ = panic::catch_unwind(|| panic!("a plain text"));
        let _ = panic::catch_unwind(|| panic!("a {secret}"));
        let _ = panic::catch_unwind(|| secret.parse::<u8>().unwrap());
        panic::set_hook(before);
        let said = said.lock().unwrap();
        assert!(said.iter().all(|line| line.contains("panics.rs:")), "{said:?}");
        assert!(said[0].ends_with(": a plain text"), "{said:?}");
        assert!(
            said[1..].iter().all(|line| line.contains("is not shown") && !line.contains(secret)),
            "{said:?}"
        );
    }
}

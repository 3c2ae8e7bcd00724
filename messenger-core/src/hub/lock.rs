use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, even if the mutex is poisoned: nothing in the hub panics while it holds a lock.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The REST door from outside: requests in, answers out, on the in-memory backend.

mod doors;
mod support;

//! The REST door from outside: requests in, answers out, on the in-memory backend.

mod bodies;
mod doors;
mod every_route;
mod limits;
mod openapi;
mod support;

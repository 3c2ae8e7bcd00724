//! Who is told of what, when, and how often, on the store in memory and by a clock that is moved by hand.

mod faults;
mod often;
mod scene;
mod table;
mod what;

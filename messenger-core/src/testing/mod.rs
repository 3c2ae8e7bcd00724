//! Setup for the tests of commands and queries: a service in memory with people in every relation to a group, a store
//! that fails on request, and a record of what the others are told.

mod bus;
mod mail;
mod policy;
mod scene;
mod store;

pub(crate) use self::{
    bus::Told,
    mail::{MailScene, RuntimeClock},
    policy::{HostPolicy, REFUSED_TEXT},
    scene::{LINK_KEY, Scene, Setup, State, Update, Who, change, code, link_keys, pointers},
    store::TestStore,
};

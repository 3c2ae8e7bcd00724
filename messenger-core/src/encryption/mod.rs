//! Encryption at rest: a wrapper around any [`Store`](crate::ports::Store), so that a stolen database, its log, its backup
//! or its bus tells nobody what people wrote.
//!
//! [`SealedStore`] seals the texts of messages, what system messages say, titles, mail addresses, names of devices, the
//! payloads of jobs, and display names if wanted; [`SealedBus`] seals what goes between nodes. A person's values are
//! sealed with a data key of that person, the others with a shared one; data keys lie in the store, wrapped by a
//! key-encryption key that only a [`KeyService`] has, such as a [`KeyRing`].

mod bus;
mod data_key;
mod data_keys;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod key_ring;
mod key_service;
mod place;
mod rotation;
mod seal;
mod sealer;
mod sealing;
mod store;
#[cfg(test)]
mod tests;

pub use self::{
    bus::SealedBus,
    data_key::DataKey,
    key_ring::{InvalidKeyRing, KeyRing},
    key_service::{KeyService, KeyServiceError},
    rotation::{KeyCounts, Rotated, RotationError, count_keys, rotate_keys},
    sealer::{EncryptionError, PlainValues, SealSettings},
    sealing::{SealedSoFar, Sealing},
    store::SealedStore,
};

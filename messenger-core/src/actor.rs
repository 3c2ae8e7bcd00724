use std::fmt;

use crate::{
    domain::{SessionId, Timestamp, UserId},
    error::{Error, Result},
};

/// The caller of an operation.
///
/// An actor is an argument of every command and never one of its fields: a deserialised body can't forge the caller.
///
/// ```
/// use messenger_core::{Actor, UserId};
///
/// assert!(Actor::anonymous().user().is_err());
/// let ada: UserId = "0193a5c1-7e2b-7c3d-8e4f-5a6b7c8d9e0f".parse().unwrap();
/// assert_eq!(Actor::on_behalf_of(ada).user().unwrap(), ada);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Actor {
    user: Option<UserId>,
    session: Option<(SessionId, Timestamp)>,
}

impl Actor {
    /// An unauthenticated caller: may register and log in.
    pub const fn anonymous() -> Self {
        Self { user: None, session: None }
    }

    /// A person whom the host has authenticated by its own means.
    pub const fn on_behalf_of(user: UserId) -> Self {
        Self { user: Some(user), session: None }
    }

    pub(crate) const fn in_session(user: UserId, session: SessionId, expires_at: Timestamp) -> Self {
        Self { user: Some(user), session: Some((session, expires_at)) }
    }

    /// The person.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] if the caller is anonymous.
    pub const fn user(&self) -> Result<UserId> {
        match self.user {
            Some(user) => Ok(user),
            None => Err(Error::Unauthenticated),
        }
    }

    /// The session that authenticated the person, if one did.
    pub fn session(&self) -> Option<SessionId> {
        self.session.map(|(session, _)| session)
    }

    /// When that session expires if it is not used.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.session.map(|(_, expires_at)| expires_at)
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.user {
            Some(user) => write!(f, "Actor({user})"),
            None => f.write_str("Actor(anonymous)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_came_with_a_session_has_one() {
        let (user, session) = (UserId::from_bytes([1; 16]), SessionId::from_bytes([2; 16]));
        let expires_at = Timestamp::from_micros(7);
        for (actor, who, asks_in) in [
            (Actor::anonymous(), None, None),
            (Actor::on_behalf_of(user), Some(user), None),
            (Actor::in_session(user, session, expires_at), Some(user), Some((session, expires_at))),
        ] {
            assert_eq!(actor.user().ok(), who);
            assert_eq!((actor.session(), actor.expires_at()), asks_in.unzip());
        }
    }

    #[test]
    fn a_log_names_the_person_and_not_the_session() {
        let (user, session) = (UserId::from_bytes([1; 16]), SessionId::from_bytes([2; 16]));
        let actor = Actor::in_session(user, session, Timestamp::from_micros(7));
        assert_eq!(format!("{actor:?}"), format!("Actor({user})"));
        assert_eq!(format!("{:?}", Actor::anonymous()), "Actor(anonymous)");
    }
}

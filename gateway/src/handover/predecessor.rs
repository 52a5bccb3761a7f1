//! The new process's side: what it takes over, from whom.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
};

use rustix::net::{AddressFamily, SocketType, sockopt};

use super::{HandoverError, Legacy, Message, PROTOCOL, Role, channel};

/// The running process, which waits for this one. It ends this one where that takes too long, so
/// nothing here has a deadline of its own.
#[derive(Debug)]
pub(crate) struct Predecessor {
    pub(super) channel: OwnedFd,
}

impl Predecessor {
    /// The process that started this one with a channel as its standard input.
    pub(crate) fn meet() -> Result<Self, HandoverError> {
        let channel = io::stdin().as_fd().try_clone_to_owned()?;
        let is_channel = sockopt::socket_domain(&channel) == Ok(AddressFamily::UNIX)
            && sockopt::socket_type(&channel) == Ok(SocketType::SEQPACKET);
        if is_channel {
            Ok(Self { channel })
        } else {
            Err(HandoverError::NotInvited)
        }
    }

    /// Says that everything is built, and receives every descriptor.
    pub(crate) fn inherit(&self) -> Result<Inherited, HandoverError> {
        let ready = Message::Ready { protocol: PROTOCOL };
        channel::send(&self.channel, &ready, &[])?;
        let mut inherited = Inherited::default();
        loop {
            let (message, descriptors) = channel::receive(&self.channel)?;
            let Message::Sockets { roles, last } = message else {
                return Err(HandoverError::Unexpected(format!("{message:?}")));
            };
            if roles.len() != descriptors.len() {
                let what = format!("{} descriptors for {roles:?}", descriptors.len());
                return Err(HandoverError::Unexpected(what));
            }
            inherited.0.extend(roles.into_iter().zip(descriptors));
            if last {
                return Ok(inherited);
            }
        }
    }

    /// Asks for what only one process may hold. From its return on, it is ours.
    pub(crate) fn release(&self) -> Result<Legacy, HandoverError> {
        channel::send(&self.channel, &Message::Release, &[])?;
        match channel::receive(&self.channel)?.0 {
            Message::Released { legacy } => Ok(legacy),
            other => Err(HandoverError::Unexpected(format!("{other:?}"))),
        }
    }

    /// Says that every listener is served: the running process stops accepting.
    pub(crate) fn serving(&self) -> Result<(), HandoverError> {
        channel::send(&self.channel, &Message::Serving, &[])
    }

    /// Says why this process cannot take over. Where the predecessor is gone, no one has to know.
    pub(crate) fn fail(&self, why: &str) {
        let why = why.chars().take(MOST_CHARS).collect();
        let _ = channel::send(&self.channel, &Message::Failed { why }, &[]);
    }
}

/// Enough for some fifty mistakes in a configuration, and fits a packet however it is escaped.
const MOST_CHARS: usize = 8000;

/// Descriptors of the running process that are still to be taken.
#[derive(Debug, Default)]
pub(crate) struct Inherited(Vec<(Role, OwnedFd)>);

impl Inherited {
    /// The operator's listener, if it has this address.
    pub(crate) fn admin(&mut self, address: &str) -> Option<std::net::TcpListener> {
        let is_it = |role: &Role| matches!(role, Role::Admin(had) if is_same(had, address));
        self.take(is_it).map(Into::into)
    }

    /// The listener of the command.
    pub(crate) fn control(&mut self) -> Option<std::os::unix::net::UnixListener> {
        self.take(|role| *role == Role::Control).map(Into::into)
    }

    /// The lock of the data folder.
    pub(crate) fn lock(&mut self) -> Result<std::fs::File, HandoverError> {
        let lock = self.take(|role| *role == Role::Lock).map(Into::into);
        lock.ok_or_else(|| HandoverError::Unexpected("no lock".to_owned()))
    }

    /// The public listener with this address.
    pub(crate) fn public(&mut self, address: &str) -> Option<std::net::TcpListener> {
        let is_it = |role: &Role| matches!(role, Role::Public(had) if is_same(had, address));
        self.take(is_it).map(Into::into)
    }

    fn take(&mut self, is_it: impl Fn(&Role) -> bool) -> Option<OwnedFd> {
        let at = self.0.iter().position(|(role, _)| is_it(role))?;
        Some(self.0.swap_remove(at).1)
    }
}

/// Addresses can be written in more than one way.
fn is_same(one: &str, other: &str) -> bool {
    let parsed = |text: &str| text.parse::<SocketAddr>().ok();
    parsed(one).is_some() && parsed(one) == parsed(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_found_by_what_their_address_means() {
        let socket = || OwnedFd::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let mut inherited = Inherited(vec![
            (Role::Admin("127.0.0.1:1".to_owned()), socket()),
            (Role::Public("[0:0::1]:80".to_owned()), socket()),
            (Role::Public("127.0.0.1:1".to_owned()), socket()),
        ]);
        assert!(inherited.public("127.0.0.1:2").is_none());
        assert!(inherited.public("[::1]:80").is_some());
        assert!(inherited.public("[::1]:80").is_none(), "taken");
        assert!(inherited.public("127.0.0.1:1").is_some());
        assert!(inherited.public("127.0.0.1:1").is_none(), "admin's");
        assert!(inherited.admin("127.0.0.1:1").is_some());
        assert!(inherited.control().is_none() && inherited.lock().is_err());
    }
}

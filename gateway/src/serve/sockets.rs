//! Everything that is listened on.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};

use super::ServeError;
use crate::{
    generation::Cold,
    handover::{Inherited, Role},
};

/// Pending connections that the system keeps for a listener; it caps the number itself.
const BACKLOG: u32 = 65_535;

/// Bytes of an answer that the system holds for a connection without having sent them: a client that
/// takes in nothing costs it no 4 MiB. What is under way to a client does not count, so that nobody is
/// slower for it.
const UNSENT: u32 = 128 << 10;

/// Everything that is listened on, there before anything is served.
pub(crate) struct Sockets {
    /// Public sockets and their addresses as configured, in the order of the file.
    pub public: Vec<(String, std::net::TcpListener)>,
    /// The operator's socket.
    pub admin: TcpListener,
}

impl Sockets {
    /// Takes over what a predecessor had, and binds the rest. A taken address is an error at once.
    /// Needs a runtime.
    pub(crate) fn open(cold: &Cold, inherited: &mut Inherited) -> Result<Self, ServeError> {
        let mut public = Vec::with_capacity(cold.listeners.len());
        for (address, _) in &cold.listeners {
            let socket = match inherited.public(address) {
                Some(socket) => socket,
                None => bind(address)?,
            };
            SockRef::from(&socket)
                .set_tcp_notsent_lowat(UNSENT)
                .map_err(ServeError::io(address.clone()))?;
            public.push((address.clone(), socket));
        }
        let admin = match inherited.admin(&cold.admin) {
            Some(socket) => socket,
            None => bind(&cold.admin)?,
        };
        let admin = TcpListener::from_std(admin).map_err(ServeError::io(cold.admin.clone()))?;
        Ok(Self { public, admin })
    }

    /// Copies for a successor: the operator's socket, and the public ones in the order of the file.
    pub(crate) fn share(&self, cold: &Cold) -> io::Result<Vec<(Role, OwnedFd)>> {
        let admin = self.admin.as_fd().try_clone_to_owned()?;
        let mut shared = vec![(Role::Admin(cold.admin.clone()), admin)];
        for (address, socket) in &self.public {
            let socket = socket.as_fd().try_clone_to_owned()?;
            shared.push((Role::Public(address.clone()), socket));
        }
        Ok(shared)
    }

    /// Where the public sockets and the operator's really are.
    pub(crate) fn addresses(&self) -> io::Result<(Vec<SocketAddr>, SocketAddr)> {
        let public = self.public.iter().map(|(_, socket)| socket.local_addr());
        Ok((public.collect::<io::Result<_>>()?, self.admin.local_addr()?))
    }
}

fn bind(address: &str) -> Result<std::net::TcpListener, ServeError> {
    let bound = address
        .parse::<SocketAddr>()
        .map_err(io::Error::other)
        .and_then(listen_on);
    bound.map_err(|error| ServeError::Bind(address.to_owned(), error))
}

fn listen_on(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit what is set on the listening socket (socket(7), tcp(7)).
    socket.set_keepalive(true)?;
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

//! Everything that is listened on.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

use super::ServeError;
use crate::generation::Cold;

/// Pending connections that the system keeps for a listener; it caps the number itself.
const BACKLOG: u32 = 65_535;

/// Everything that is listened on, there before anything is served.
pub struct Sockets {
    /// Public sockets and their addresses as configured, in the order of the file.
    pub public: Vec<(String, std::net::TcpListener)>,
    /// The operator's socket.
    pub admin: TcpListener,
}

impl Sockets {
    /// Binds every address. A taken one is an error at once. Needs a runtime.
    pub fn bind(cold: &Cold) -> Result<Self, ServeError> {
        let mut public = Vec::with_capacity(cold.listeners.len());
        for (address, _) in &cold.listeners {
            let socket = listen(address)?.into_std();
            let socket = socket.map_err(ServeError::io(address.clone()))?;
            public.push((address.clone(), socket));
        }
        Ok(Self {
            public,
            admin: listen(&cold.admin)?,
        })
    }
}

fn listen(address: &str) -> Result<TcpListener, ServeError> {
    let bound = address
        .parse::<SocketAddr>()
        .map_err(io::Error::other)
        .and_then(listen_on);
    bound.map_err(|error| ServeError::Bind(address.to_owned(), error))
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit what is set on the listening socket (socket(7), tcp(7)).
    socket.set_keepalive(true)?;
    socket.set_nodelay(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

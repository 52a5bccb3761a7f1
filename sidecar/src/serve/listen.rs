//! Where callers arrive: an address of the network, in clear text or over TLS, or a socket of the file
//! system.

use std::{fs, io, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, UnixListener},
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    ServeError,
    caller_limits::{CallerLimits, Connection, Duplex},
};
use crate::identity::Identity;

/// Longest TLS handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// Callers that wait to be served.
const MOST_ARRIVING: usize = 64;

/// A socket that callers connect to.
pub(crate) enum Listener {
    /// An address of the network, with TLS or without.
    Tcp(TcpListener, Option<Identity>),
    /// A socket of the file system.
    Unix(UnixListener),
}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Duplex>> {
        match self {
            Self::Tcp(listener, _) => {
                let (stream, _) = listener.accept().await?;
                // Answers are small, and none may wait until the next one fills a packet.
                let _ = stream.set_nodelay(true);
                Ok(Box::new(stream))
            }
            Self::Unix(listener) => Ok(Box::new(listener.accept().await?.0)),
        }
    }

    /// The TLS acceptor with the certificates as they are now, where the listener speaks TLS.
    fn acceptor(&self) -> Option<TlsAcceptor> {
        match self {
            Self::Tcp(_, identity) => {
                let identity = identity.as_ref()?.load_full();
                Some(TlsAcceptor::from(identity))
            }
            Self::Unix(_) => None,
        }
    }
}

/// Callers as they come, within the limit of unauthenticated ones. No caller waits for another's handshake, and a
/// certificate that is replaced is shown from the next one on.
pub(crate) fn arriving(
    listener: Listener,
    limits: Arc<CallerLimits>,
) -> ReceiverStream<io::Result<Connection>> {
    let (arrived, arriving) = mpsc::channel(MOST_ARRIVING);
    tokio::spawn(async move {
        loop {
            let caller = tokio::select! {
                caller = listener.accept() => caller,
                () = arrived.closed() => return,
            };
            let Ok(stream) = caller else {
                // Out of files, most likely: others have to leave first.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let Some(permit) = limits.unauthenticated() else {
                continue;
            };
            let (arrived, acceptor) = (arrived.clone(), listener.acceptor());
            tokio::spawn(async move {
                if let Some(stream) = handshaken(stream, acceptor).await {
                    // The server may have stopped.
                    let _ = arrived.send(Ok(Connection::new(stream, permit))).await;
                }
            });
        }
    });
    ReceiverStream::new(arriving)
}

/// A connection after its handshake, where it needs one.
async fn handshaken(
    stream: Box<dyn Duplex>,
    acceptor: Option<TlsAcceptor>,
) -> Option<Box<dyn Duplex>> {
    let Some(acceptor) = acceptor else {
        return Some(stream);
    };
    match timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => Some(Box::new(stream)),
        Ok(Err(error)) => {
            log::debug!("no handshake; error={error}");
            None
        }
        Err(_) => {
            log::debug!("no handshake in time");
            None
        }
    }
}

/// A socket that its owner and group reach; one without a listener is replaced.
pub(crate) fn bind_unix(path: &Path) -> Result<UnixListener, ServeError> {
    let failed = |error| ServeError::Bind(path.display().to_string(), error);
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(failed(io::ErrorKind::AddrInUse.into()));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
    Ok(listener)
}

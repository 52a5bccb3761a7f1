//! The socket in the data folder through which the command `upgrade` asks.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream as BlockingStream,
    },
    path::{Path, PathBuf},
    process,
    sync::Arc,
    time::Duration,
};

use rustix::{
    fs::{Mode, fchmod},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader as AsyncBufReader},
    net::{UnixListener, UnixStream},
    sync::{oneshot, watch},
    time::{sleep, timeout},
};

use super::{HandedOver, Inherited, Role, successor::Handover, supervisor};
use crate::data_dir::DataDir;

/// What the command asks for: one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// A new process is to take the place of this one.
    Upgrade {
        /// Configuration of the new process, as an absolute path.
        config: PathBuf,
        /// Longest time until it serves.
        timeout_secs: u64,
    },
}

/// Reply to the command: one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// Everything is as it was.
    Refused { why: String },
    /// The new process serves, and the old one drains.
    Upgraded {
        /// The old one's id.
        from: u32,
        /// The new one's id.
        to: u32,
    },
}

/// Longest request or reply.
const MOST_BYTES: u64 = 64 << 10;

/// Longest wait for a request, from a command that is there already.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest time that a new process may ask for.
const MOST_PATIENCE_SECS: u64 = 3600;

/// While connections cannot be accepted, for want of descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Commands that may wait while another one is served.
const BACKLOG: i32 = 16;

/// Where the socket of a data folder is.
pub(crate) fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("control.sock")
}

/// Asks the process that holds this data folder, and waits for its answer for at most `patience`.
pub(crate) fn ask(data_dir: &Path, request: &Request, patience: Duration) -> io::Result<Reply> {
    let mut stream = BlockingStream::connect(socket_path(data_dir))?;
    stream.set_read_timeout(Some(patience))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut reply = String::new();
    BufReader::new(stream.take(MOST_BYTES)).read_line(&mut reply)?;
    if reply.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&reply)?)
}

/// The socket, and all that a successor gets.
pub(crate) struct Control {
    listener: UnixListener,
    path: PathBuf,
    handover: Handover,
}

impl Control {
    /// Takes the predecessor's listener, or makes one that its owner alone can connect to. A successor gets
    /// `sockets` too. Needs a runtime.
    pub(crate) fn open(
        data_dir: &DataDir,
        sockets: Vec<(Role, OwnedFd)>,
        inherited: &mut Inherited,
        handed_over: Vec<Arc<dyn HandedOver>>,
    ) -> io::Result<Self> {
        let path = socket_path(data_dir.folder());
        let listener = match inherited.control() {
            Some(listener) => listener,
            None => bind_anew(&path)?,
        };
        listener.set_nonblocking(true)?;
        let share = |descriptor: &dyn AsFd| descriptor.as_fd().try_clone_to_owned();
        let mut descriptors: Vec<(Role, OwnedFd)> = vec![
            (Role::Lock, share(data_dir.lock())?),
            (Role::Control, share(&listener)?),
        ];
        descriptors.extend(sockets);
        Ok(Self {
            listener: UnixListener::from_std(listener)?,
            path,
            handover: Handover {
                descriptors,
                handed_over,
                supervisor: supervisor::of_this_process(),
            },
        })
    }

    /// Serves one command at a time until the process is to stop, or until a successor serves,
    /// whose id is sent. Task `control`.
    pub(crate) async fn serve(
        self,
        mut shutdown: watch::Receiver<bool>,
        successor: oneshot::Sender<u32>,
    ) {
        let mut stopping = shutdown.clone();
        // An error means that the sender is gone, which is a stop too.
        let stopped = async {
            let _ = shutdown.wait_for(|stop| *stop).await;
        };
        tokio::select! {
            biased;
            // A new process that is on its way ends with the future that waits for it.
            () = stopped => {
                let _ = fs::remove_file(&self.path);
            }
            (stream, pid) = self.replaced() => {
                // The old process stops accepting before the command gets its reply.
                let _ = successor.send(pid);
                let _ = stopping.wait_for(|stop| *stop).await;
                reply(stream, &Reply::Upgraded { from: process::id(), to: pid }).await;
            }
        }
    }

    async fn replaced(&self) -> (UnixStream, u32) {
        loop {
            let mut stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    log::error!("control socket cannot accept; error={error}");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match self.obey(&mut stream).await {
                Ok(pid) => return (stream, pid),
                Err(why) => {
                    log::error!("not upgraded, this process goes on: {why}");
                    reply(stream, &Reply::Refused { why }).await;
                }
            }
        }
    }

    async fn obey(&self, stream: &mut UnixStream) -> Result<u32, String> {
        let mut line = String::new();
        let mut reader = AsyncBufReader::new(stream.take(MOST_BYTES));
        match timeout(REQUEST_TIMEOUT, reader.read_line(&mut line)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(format!("no request: {error}")),
            Err(_) => return Err("no request came".to_owned()),
        }
        let request = serde_json::from_str(&line);
        let Request::Upgrade {
            config,
            timeout_secs,
        } = request.map_err(|error| format!("no request: {error}"))?;
        log::info!("upgrading; config={}", config.display());
        let patience = Duration::from_secs(timeout_secs.min(MOST_PATIENCE_SECS));
        let handed = self.handover.hand_over(&config, patience).await;
        handed.map_err(|error| error.to_string())
    }
}

async fn reply(mut stream: UnixStream, reply: &Reply) {
    let mut line = serde_json::to_vec(reply).unwrap_or_default();
    line.push(b'\n');
    // The command that asked may have gone.
    let _ = timeout(REQUEST_TIMEOUT, stream.write_all(&line)).await;
}

/// No other process has the lock of the folder, so what is there was left by a crash.
fn bind_anew(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let address = SocketAddrUnix::new(path).map_err(|_| {
        let what = "the path is too long for a socket; choose a shorter server.data_dir";
        io::Error::new(io::ErrorKind::InvalidInput, what)
    })?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Before it has a name: no client can connect in between.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_no_socket_can_have_says_what_to_do() {
        let long = Path::new("/tmp").join("x".repeat(120));
        let error = bind_anew(&long).unwrap_err().to_string();
        assert!(
            error.contains("choose a shorter server.data_dir"),
            "{error}"
        );
    }
}

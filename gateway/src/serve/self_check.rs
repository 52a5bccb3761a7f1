//! Whether every listener is served: the gateway connects to itself before it says that it is ready.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process,
    sync::Arc,
    time::Duration,
};

use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::Notify,
    time::{sleep, timeout},
};

use crate::{admin::PROCESS, arrivals::Arrivals};

/// A listener that is bound but not served.
#[derive(Debug, Error)]
#[error("listener {address} is not served: {why}; see whether a local firewall refuses it")]
pub(crate) struct NotServed {
    address: SocketAddr,
    why: String,
}

/// Longest wait for one listener, on a machine that is busy with other things.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Retry interval of the self-check: a predecessor that shares the listener may still have accepted
/// this connection. A late accept still counts.
const ARRIVAL_TIMEOUT: Duration = Duration::from_millis(50);

/// Longest wait for an answer of the operator's listener, before it is asked again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest answer to `/live`.
const MOST_BYTES: u64 = 1024;

/// After what fails at once.
const RETRY_EVERY: Duration = Duration::from_millis(20);

/// Connects to each listener until its accept loop has had a connection, and asks the operator's
/// listener for `/live`.
pub(super) async fn check(
    public: &[SocketAddr],
    admin: SocketAddr,
    arrivals: &Arrivals,
    patience: Duration,
) -> Result<(), NotServed> {
    let checked = async {
        for address in public {
            let arrived = Arc::new(Notify::new());
            let attempt = || arrives(reachable(*address), arrivals, &arrived);
            persist(*address, patience, ARRIVAL_TIMEOUT, attempt).await?;
        }
        let attempt = || is_live(reachable(admin));
        persist(admin, patience, ANSWER_TIMEOUT, attempt).await
    };
    let checked = checked.await;
    arrivals.finish();
    checked
}

/// Tries until it works or the time is over.
async fn persist<F>(
    address: SocketAddr,
    patience: Duration,
    each: Duration,
    attempt: impl Fn() -> F,
) -> Result<(), NotServed>
where
    F: Future<Output = io::Result<()>>,
{
    let mut why = String::new();
    let tries = async {
        loop {
            match timeout(each, attempt()).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => {
                    why = error.to_string();
                    sleep(RETRY_EVERY).await;
                }
                Err(_) => "nothing accepts or answers".clone_into(&mut why),
            }
        }
    };
    let served = timeout(patience, tries).await;
    served.map_err(|_| NotServed { address, why })
}

/// An address that a listener on every address can be reached by.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        _ => return address,
    };
    SocketAddr::new(ip, address.port())
}

async fn arrives(
    address: SocketAddr,
    arrivals: &Arrivals,
    arrived: &Arc<Notify>,
) -> io::Result<()> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // The accept loop knows it by the address that it comes from.
    let mut from = address;
    from.set_port(0);
    socket.bind(from)?;
    arrivals.expect(socket.local_addr()?, arrived);
    let _connection = socket.connect(address).await?;
    arrived.notified().await;
    Ok(())
}

/// Whether it is this process that answers: a predecessor shares the listener.
async fn is_live(address: SocketAddr) -> io::Result<()> {
    let connection = TcpStream::connect(address).await?;
    let (reader, mut writer) = connection.into_split();
    let request = b"GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    writer.write_all(request).await?;
    let mut answer = String::new();
    reader.take(MOST_BYTES).read_to_string(&mut answer).await?;
    let mut lines = answer.lines();
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(format!("/live answers {status:?}")));
    }
    let own = format!("{PROCESS}: {}", process::id());
    if lines.any(|line| line.eq_ignore_ascii_case(&own)) {
        Ok(())
    } else {
        Err(io::Error::other("another process answers"))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn bound() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// Accepts as an accept loop does; `share` of them are another process's.
    fn accept(listener: TcpListener, arrivals: &Arc<Arrivals>, share: usize) {
        let arrivals = Arc::clone(arrivals);
        tokio::spawn(async move {
            for turn in 1.. {
                let (_stream, peer) = listener.accept().await.unwrap();
                if turn > share {
                    assert!(arrivals.is_own(peer));
                }
            }
        });
    }

    /// Answers as the operator's listener does; the first `share` of answers are another process's.
    async fn live(share: usize) -> SocketAddr {
        let (listener, address) = bound().await;
        tokio::spawn(async move {
            let mut turn = 0;
            while let Ok((mut stream, _)) = listener.accept().await {
                turn += 1;
                let pid = process::id() + u32::from(turn <= share);
                let _ = stream.read(&mut [0; 1024]).await;
                let answer = format!("HTTP/1.1 200 OK\r\n{PROCESS}: {pid}\r\n\r\nlive\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn a_predecessors_answer_does_not_count() {
        let arrivals = Arrivals::default();
        let check = async |share, millis| {
            let patience = Duration::from_millis(millis);
            check(&[], live(share).await, &arrivals, patience).await
        };
        assert!(check(3, 20_000).await.is_ok());
        let failed = check(usize::MAX, 200).await.unwrap_err().to_string();
        assert!(failed.contains("another process answers"), "{failed}");
    }

    #[tokio::test]
    async fn a_listener_is_served_once_its_loop_had_a_connection() {
        let arrivals = Arc::new(Arrivals::default());
        let ((one, first), (other, second)) = (bound().await, bound().await);
        accept(one, &arrivals, 0);
        accept(other, &arrivals, 3);
        let patience = Duration::from_secs(20);
        let checked = check(&[first, second], live(0).await, &arrivals, patience).await;
        assert!(checked.is_ok(), "{checked:?}");
        assert!(!arrivals.is_own(first));
        assert!(arrivals.is_empty());
    }

    #[tokio::test]
    async fn a_full_backlog_is_not_served() {
        let arrivals = Arrivals::default();
        // The system completes the connection, and no process accepts it.
        let (_nobody, deaf) = bound().await;
        let patience = Duration::from_millis(200);
        let failed = check(&[deaf], live(0).await, &arrivals, patience).await;
        let error = failed.unwrap_err().to_string();
        assert!(error.contains(&deaf.to_string()), "{error}");
        let failed = check(&[], deaf, &arrivals, patience).await;
        assert!(failed.is_err());
    }

    #[test]
    fn every_address_is_reached_through_loopback() {
        let reached = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(reached("[::]:80"), "[::1]:80");
        assert_eq!(reached("192.0.2.1:80"), "192.0.2.1:80");
    }
}

//! From an accepted socket to a connection that speaks HTTP: PROXY header, ClientHello, handshake.

use std::sync::Arc;

use bytes::BytesMut;
use jiff::Timestamp;
use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt;
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use super::{
    Edge,
    client_hello::{self, Hello},
    eviction::Cap,
    proxy_protocol::{self, Read},
    socket::Socket,
    transport::Transport,
    watch::Phase,
};
use crate::{
    ending::Ending, limits::ListenerFacts, quota::Permit, refusal::raw, request_id::RequestId,
    state::State, tls::UNRECOGNIZED_NAME,
};

/// A connection that is ready for HTTP.
pub(super) struct Opened {
    pub(super) transport: Transport,
    pub(super) http2: bool,
    /// Permit of the connection among those of its client.
    pub(super) client_permit: Option<Permit>,
}

/// Does what comes before HTTP. `Err` is why the connection ends here.
pub(super) async fn open(
    edge: &Edge,
    listener: ListenerFacts,
    mut socket: Socket,
) -> Result<Opened, Option<Ending>> {
    let connection = Arc::clone(socket.connection());
    if listener.proxy_protocol {
        read_proxy_header(edge, &mut socket).await?;
    }
    let generation = edge.state.generation.load_full();
    let make_room = || edge.make_room(&generation, &connection, Cap::OfClient);
    let client_permit = edge
        .admission
        .identify(connection.client(), &edge.state, &generation, make_room)
        .map_err(Some)?;
    if !listener.tls {
        return Ok(Opened {
            transport: Transport::Plain(socket),
            http2: false,
            client_permit,
        });
    }
    connection.enter(Phase::Handshake);
    let stream = shake_hands(edge, socket).await?;
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok(Opened {
        transport: Transport::Tls(Box::new(stream)),
        http2,
        client_permit,
    })
}

/// Room for a PROXY header and what comes right behind it.
const OPENING_BUFFER: usize = 2048;

async fn read_proxy_header(edge: &Edge, socket: &mut Socket) -> Result<(), Option<Ending>> {
    let connection = Arc::clone(socket.connection());
    let trusted = State::trusts(&edge.state.generation.load(), connection.peer());
    if !trusted {
        return Err(Some(Ending::ProxyStranger));
    }
    let mut buffer = BytesMut::with_capacity(OPENING_BUFFER);
    loop {
        more(socket, &mut buffer).await?;
        match proxy_protocol::read(&buffer) {
            Ok(Read::Partial) => {}
            Ok(Read::Complete { length, source }) => {
                match source {
                    Some(source) => connection.name_client(source.ip()),
                    None => connection.name_nobody(),
                }
                let rest = buffer.split_off(length).freeze();
                socket.unread(rest);
                return Ok(());
            }
            Err(invalid) => {
                log::debug!(
                    "PROXY header refused; peer={} error={invalid}",
                    connection.peer()
                );
                return Err(Some(Ending::ProxyInvalid));
            }
        }
    }
}

/// Waits for more bytes. A client that leaves, or is ended by the watch, needs no further answer.
async fn more(socket: &mut Socket, buffer: &mut BytesMut) -> Result<(), Option<Ending>> {
    buffer.reserve(OPENING_BUFFER);
    match socket.read_more(buffer).await {
        Ok(0) | Err(_) => Err(None),
        Ok(_) => Ok(()),
    }
}

async fn shake_hands(edge: &Edge, mut socket: Socket) -> Result<TlsStream<Socket>, Option<Ending>> {
    let connection = Arc::clone(socket.connection());
    let hello = read_client_hello(&mut socket).await?;
    connection.set_client_hello(hello);
    let failed = |error: std::io::Error| {
        log::debug!(
            "TLS handshake failed; client={} error={error}",
            connection.client()
        );
        // What the watch ended is counted by the watch.
        (connection.watch.ending().is_none()).then_some(Ending::TlsHandshake)
    };
    let start = LazyConfigAcceptor::new(Acceptor::default(), socket)
        .await
        .map_err(failed)?;
    let generation = edge.state.generation.load_full();
    let chosen = generation
        .tls
        .server_config(start.client_hello().server_name());
    let Some(chosen) = chosen else {
        let mut socket = start.io;
        // The client is answered, or it has left.
        let _ = socket.write_all(&UNRECOGNIZED_NAME).await;
        return Err(Some(Ending::TlsHandshake));
    };
    let stream = start
        .into_stream(Arc::clone(&chosen.config))
        .await
        .map_err(failed)?;
    connection.set_tls(chosen.facts(stream.get_ref().1));
    Ok(stream)
}

/// The ClientHello as it came; it is read again by the handshake.
async fn read_client_hello(socket: &mut Socket) -> Result<bytes::Bytes, Option<Ending>> {
    let mut buffer = BytesMut::with_capacity(OPENING_BUFFER);
    loop {
        more(socket, &mut buffer).await?;
        match client_hello::read(&buffer) {
            Ok(Hello::Partial) => {}
            Ok(Hello::Complete { length }) => {
                let all = buffer.freeze();
                // A copy, so that it holds no more memory than it needs.
                let hello = bytes::Bytes::copy_from_slice(&all[..length]);
                socket.unread(all);
                return Ok(hello);
            }
            Err(not_tls) => {
                log::debug!("no ClientHello; error={not_tls}");
                explain_tls(socket, &buffer).await;
                return Err(Some(Ending::TlsInvalid));
            }
        }
    }
}

/// Answers a client that speaks HTTP to a TLS port with what is wrong.
async fn explain_tls(socket: &mut Socket, buffer: &[u8]) {
    const METHODS: [&[u8]; 4] = [b"GET ", b"HEAD ", b"POST ", b"OPTIONS "];
    if METHODS.iter().any(|method| buffer.starts_with(method)) {
        let page = raw::refusal(400, &RequestId::fresh(), Timestamp::now(), false);
        // The client reads it, or it has left.
        let _ = socket.write_all(&page).await;
    }
}

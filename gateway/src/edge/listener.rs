//! Taking connections from a public socket.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    select,
    time::sleep,
};

use super::{
    Edge,
    admission::ConnectionPermit,
    connection::Connection,
    eviction::Cap,
    h1,
    h1_stream::H1Stream,
    h2,
    open::{Opened, open},
    socket::Socket,
};
use crate::{ending::Ending, generation::Generation, limits::ListenerFacts, state::State};

/// Pause after the system could not hand over a connection: open files are given back meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Task `listener`: accepts until the process stops, but while a successor proves itself.
pub(crate) async fn listen(edge: Arc<Edge>, socket: TcpListener, facts: ListenerFacts) {
    let mut shutdown = edge.state.shutdown.clone();
    let mut accepting = edge.state.accepting.subscribe();
    let mut failing = false;
    loop {
        let open = *accepting.borrow_and_update();
        let accepted = select! {
            biased;
            _ = shutdown.wait_for(|stop| *stop) => return,
            _ = accepting.changed() => continue,
            accepted = socket.accept(), if open => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => {
                failing = false;
                edge.admission.settle(&edge.limits()).await;
                admit(&edge, tcp, peer, facts).await;
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                edge.metrics.accept_failed();
                if !failing {
                    log::error!("no connection can be accepted; error={error}");
                }
                failing = true;
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A client that left before it was accepted is no failure of ours.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

/// How often, and how long each time, a newcomer waits where all connections have a request: most are
/// done with it in a moment.
const PERMIT_TURNS: u32 = 10;
const PERMIT_PAUSE: Duration = Duration::from_millis(2);

/// A permit for a newcomer.
async fn permit(
    edge: &Edge,
    generation: &Generation,
    connection: &Connection,
) -> Result<ConnectionPermit, Ending> {
    let mut turns = 0;
    loop {
        let make_room = || edge.make_room(generation, connection, Cap::Total);
        let taken = edge.admission.enter(&generation.limits, make_room);
        if taken.is_ok() || turns == PERMIT_TURNS {
            return taken;
        }
        turns += 1;
        sleep(PERMIT_PAUSE).await;
    }
}

/// Gives a connection its task, unless it may not come in.
async fn admit(edge: &Arc<Edge>, tcp: TcpStream, peer: SocketAddr, facts: ListenerFacts) {
    if edge.state.arrivals.is_own(peer) {
        // Our own look at whether this socket is served.
        return;
    }
    edge.metrics.accepted();
    let generation = edge.state.generation.load_full();
    let connection = Arc::new(Connection::new(peer, Arc::clone(&edge.clock)));
    let from = connection.peer();
    if edge.state.shuts_out(&generation, from) {
        return edge.metrics.closed(Ending::Blocklist);
    }
    let permit = match permit(edge, &generation, &connection).await {
        Ok(permit) => permit,
        Err(ending) => return edge.metrics.closed(ending),
    };
    let carriers = |client| State::trusts(&generation, client);
    let registered = edge.registry.enter(&connection, carriers);
    let edge = Arc::clone(edge);
    tokio::spawn(async move {
        let _entered = (permit, registered);
        serve(&edge, Socket::new(tcp, connection), facts).await;
    });
}

/// Task `connection`: from the first byte to the last.
async fn serve(edge: &Arc<Edge>, socket: Socket, facts: ListenerFacts) {
    // Boxed: what comes before HTTP is over before most of a connection's life.
    match Box::pin(open(edge, facts, socket)).await {
        Err(Some(ending)) => edge.metrics.closed(ending),
        Err(None) => {}
        Ok(Opened {
            transport,
            http2,
            client_permit,
        }) => {
            let _client_permit = client_permit;
            if http2 {
                Box::pin(h2::serve(edge, transport)).await;
            } else {
                h1::serve(edge, H1Stream::new(transport)).await;
            }
        }
    }
}

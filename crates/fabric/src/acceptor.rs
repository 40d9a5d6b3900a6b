//! Takes the connections of one stream listener, and outlives what keeps it from taking them.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::connection::Event;

/// Pause after a connection could not be accepted, for want of file descriptors for instance.
const PAUSE: Duration = Duration::from_millis(100);

/// A listener of TCP or TLS.
pub(crate) struct Acceptor {
    socket: TcpListener,
    events: mpsc::Sender<Event>,
    is_failing: bool,
}

impl Acceptor {
    pub(crate) fn new(socket: TcpListener, events: mpsc::Sender<Event>) -> Self {
        Self { socket, events, is_failing: false }
    }

    /// The next connection and its far end; `None` once nobody hears the events any more. That none can be accepted is
    /// counted each time, and logged when it begins and when it is over.
    pub(crate) async fn next(&mut self) -> Option<(TcpStream, SocketAddr)> {
        loop {
            match self.socket.accept().await {
                Ok(accepted) => {
                    if self.is_failing {
                        self.is_failing = false;
                        tracing::info!("connections can be accepted again");
                    }
                    return (!self.events.is_closed()).then_some(accepted);
                }
                // A peer that is gone before it was accepted is no trouble of the hub's.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // Out of file descriptors, for instance: not in a busy loop, and not a log line each time.
                Err(error) => {
                    if !self.is_failing {
                        self.is_failing = true;
                        let listener = self.socket.local_addr().ok();
                        tracing::error!(?listener, %error, "cannot accept connections; trying again until it works");
                    }
                    self.events.send(Event::CannotAccept).await.ok()?;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

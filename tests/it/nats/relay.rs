//! A way to a NATS server that can be held in either direction, as a partition of the network does
//! it: bytes wait, the connection stays, and new ones hang.
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The directions that are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// What an instance says does not arrive.
    pub(crate) up: bool,
    /// What the server says does not arrive.
    pub(crate) down: bool,
}

impl Held {
    /// Neither hears the other.
    pub(crate) const BOTH: Self = Self { up: true, down: true };
    /// The instance can publish, and receives nothing.
    pub(crate) const DEAF: Self = Self { up: false, down: true };
    /// The instance receives, and nothing that it publishes arrives.
    pub(crate) const MUTE: Self = Self { up: true, down: false };
    const NONE: Self = Self { up: false, down: false };
}

/// Listens on an address of its own, and passes everything on in order.
pub(crate) struct Relay {
    address: SocketAddr,
    held: watch::Sender<Held>,
    _tasks: JoinSet<()>,
}

impl Relay {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let held = watch::Sender::new(Held::NONE);
        let mut tasks = JoinSet::new();
        let state = held.subscribe();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client, server, state.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, held, _tasks: tasks }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    pub(crate) fn hold(&self, held: Held) {
        self.held.send_replace(held);
    }

    /// What waits goes on, in order.
    pub(crate) fn release(&self) {
        self.hold(Held::NONE);
    }
}

async fn carry(client: TcpStream, server: SocketAddr, held: watch::Receiver<Held>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let ((client_out, client_in), (server_out, server_in)) =
        (client.into_split(), server.into_split());
    let up = copy(client_out, server_in, held.clone(), |held| held.up);
    let down = copy(server_out, client_in, held, |held| held.down);
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut held: watch::Receiver<Held>,
    this: fn(&Held) -> bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if held.wait_for(|held| !this(held)).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    // An end does not get through either.
    let _ = held.wait_for(|held| !this(held)).await;
}

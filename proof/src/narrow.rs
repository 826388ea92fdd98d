//! A way to the target for a slow reader. It takes the beginning of an answer, and then nothing
//! until it is told to go on. The kernel holds little for it, so that the server itself has to
//! wait.
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::now_us;

/// The bytes of an answer that the kernel may hold on this side.
const BUFFER: u32 = 8 << 10;

/// Packets are as small as on an Ethernet. With loopback's own, of 64 KiB, Linux holds 4 MiB of an
/// answer on the server's side. With these, it holds about 200 KiB.
#[cfg(unix)]
const SEGMENT: u32 = 1460;

/// So much of an answer is read before the pause.
const BEFORE: usize = 16 << 10;

/// The pause, in microseconds as [`now_us`] counts.
#[derive(Clone, Copy, Debug, Default)]
struct Pause {
    from: Option<u64>,
    to: Option<u64>,
    /// The reader may go on.
    over: bool,
}

/// A running relay; it stops when it is dropped.
pub(crate) struct Narrow {
    /// Its own base URL.
    pub(crate) base: String,
    pause: Arc<watch::Sender<Pause>>,
    _tasks: JoinSet<()>,
}

impl Narrow {
    /// Relays to a target over plain http.
    ///
    /// # Errors
    /// The target's address cannot be had, or its scheme is another one.
    pub(crate) async fn start(target: &str) -> Result<Self, String> {
        let text = |error: io::Error| error.to_string();
        let url = reqwest::Url::parse(target).map_err(|error| error.to_string())?;
        if url.scheme() != "http" {
            return Err("a slow reader reads over plain http only".into());
        }
        let to = url.socket_addrs(|| None).map_err(text)?;
        let to = *to.first().ok_or("the target has no address")?;
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(text)?;
        let address = listener.local_addr().map_err(text)?;
        let path = url.path().trim_end_matches('/');
        let base = format!("http://{address}{path}");
        let pause = Arc::new(watch::Sender::new(Pause::default()));
        let of_relay = pause.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((reader, _)) = listener.accept().await {
                let pause = of_relay.clone();
                connections.spawn(async move {
                    let Ok(socket) = narrow(to.is_ipv4()) else { return };
                    let Ok(server) = socket.connect(to).await else { return };
                    let _ = relay(reader, server, &pause).await;
                });
            }
        });
        Ok(Self { base, pause, _tasks: tasks })
    }

    /// Resolves when the reader has read the beginning, and reads no more.
    pub(crate) async fn stopped(&self) {
        let mut pause = self.pause.subscribe();
        // The sender is here: it cannot be gone.
        let _ = pause.wait_for(|pause| pause.from.is_some()).await;
    }

    /// The reader reads on.
    pub(crate) fn go_on(&self) {
        self.pause.send_modify(|pause| {
            pause.over = true;
            pause.to = pause.from.map(|_| now_us());
        });
    }

    /// When nothing was read; none if the answer was too short for a pause.
    pub(crate) fn paused_us(&self) -> Option<(u64, u64)> {
        let pause = *self.pause.borrow();
        pause.from.zip(pause.to)
    }
}

fn narrow(is_ipv4: bool) -> io::Result<TcpSocket> {
    let socket = if is_ipv4 { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_recv_buffer_size(BUFFER)?;
    #[cfg(unix)]
    socket2::SockRef::from(&socket).set_tcp_mss(SEGMENT)?;
    Ok(socket)
}

async fn relay(
    mut reader: TcpStream,
    mut server: TcpStream,
    pause: &watch::Sender<Pause>,
) -> io::Result<()> {
    let (mut from_reader, mut to_reader) = reader.split();
    let (mut from_server, mut to_server) = server.split();
    let requests = tokio::io::copy(&mut from_reader, &mut to_server);
    let answers = async {
        let mut buffer = vec![0; 8 << 10];
        let mut had = 0;
        loop {
            let read = from_server.read(&mut buffer).await?;
            if read == 0 {
                return to_reader.shutdown().await;
            }
            to_reader.write_all(&buffer[..read]).await?;
            had += read;
            if had >= BEFORE {
                stop(pause).await;
            }
        }
    };
    tokio::select! {
        done = answers => done,
        // The reader has left; what comes is for nobody.
        done = requests => done.map(drop),
    }
}

/// Waits until it may go on.
async fn stop(pause: &watch::Sender<Pause>) {
    pause.send_if_modified(|pause| {
        let begins = pause.from.is_none() && !pause.over;
        if begins {
            pause.from = Some(now_us());
        }
        begins
    });
    let _ = pause.subscribe().wait_for(|pause| pause.over).await;
}

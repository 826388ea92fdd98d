//! A way to the target for a slow reader: it takes little at a time, and then nothing for a while,
//! so that the server's own buffers fill up, whatever the kernel would hold.
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::client::now_us;

/// What the kernel is to hold of an answer.
const BUFFER: u32 = 32 << 10;

/// So much of an answer is read before the pause.
const BEFORE: usize = 16 << 10;

/// A running relay; it stops when it is dropped.
pub(crate) struct Narrow {
    /// Its own base URL.
    pub(crate) base: String,
    paused_us: Arc<Mutex<Option<(u64, u64)>>>,
    _tasks: JoinSet<()>,
}

impl Narrow {
    /// Relays to a target over plain http.
    ///
    /// # Errors
    /// The target's address cannot be had, or its scheme is another one.
    pub(crate) async fn start(target: &str, pause: Duration) -> Result<Self, String> {
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
        let paused_us = Arc::new(Mutex::new(None));
        let noted = paused_us.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((reader, _)) = listener.accept().await {
                let noted = noted.clone();
                connections.spawn(async move {
                    let socket =
                        if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
                    let Ok(socket) = socket else { return };
                    let _ = socket.set_recv_buffer_size(BUFFER);
                    let Ok(server) = socket.connect(to).await else { return };
                    let _ = relay(reader, server, pause, &noted).await;
                });
            }
        });
        Ok(Self { base, paused_us, _tasks: tasks })
    }

    /// When nothing was read, as [`now_us`] counts.
    pub(crate) fn paused_us(&self) -> Option<(u64, u64)> {
        *self.paused_us.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn relay(
    mut reader: TcpStream,
    mut server: TcpStream,
    pause: Duration,
    noted: &Mutex<Option<(u64, u64)>>,
) -> io::Result<()> {
    let (mut from_reader, mut to_reader) = reader.split();
    let (mut from_server, mut to_server) = server.split();
    let requests = tokio::io::copy(&mut from_reader, &mut to_server);
    let answers = async {
        let mut buffer = vec![0; 8 << 10];
        let (mut had, mut paused) = (0, false);
        loop {
            let read = from_server.read(&mut buffer).await?;
            if read == 0 {
                return to_reader.shutdown().await;
            }
            to_reader.write_all(&buffer[..read]).await?;
            had += read;
            if !paused && had >= BEFORE {
                paused = true;
                let from = now_us();
                tokio::time::sleep(pause).await;
                *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some((from, now_us()));
            }
        }
    };
    tokio::select! {
        done = answers => done,
        // The reader has left; what comes is for nobody.
        done = requests => done.map(drop),
    }
}

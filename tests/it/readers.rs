//! Many readers, and bad ones.
use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use lastword::app::App;
use socket2::SockRef;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::client::{PATIENCE, assert_whole};
use crate::database::TestDatabase;
use crate::harness::{TestApp, config};
use crate::process::{Server, command, resident};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_readers_get_the_same_bytes() {
    let app = TestApp::start().await;
    let id = app.client.start_prompt("/demo tokens=200 tps=50 ttft_ms=0 unicode seed=9").await;
    app.client.events(&id, 0).await.take(8).await;
    let (client, id) = (&app.client, id.as_str());
    // They come with different cursors, some at a time: a connection without a head for 5 s is closed.
    let opened: Vec<_> = stream::iter(0..1000u64)
        .map(|n| async move { (n % 7, client.events(id, n % 7).await) })
        .buffered(50)
        .collect()
        .await;
    let rest = opened.into_iter().map(|(n, mut reader)| async move { (n, reader.rest().await) });
    let all = join_all(rest).await;
    let whole = client.all(id, 0).await;
    assert_whole(&whole);
    for (after, events) in all {
        let expected = &whole[usize::try_from(after).unwrap()..];
        assert!(events == expected, "the reader behind {after} got something else");
    }
    app.stop().await;
}

/// Asks for the events and never reads them.
fn stuck_reader(address: SocketAddr, id: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).unwrap();
    SockRef::from(&socket).set_recv_buffer_size(4096).unwrap();
    write!(socket, "GET /v1/generations/{id}/events HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    socket
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_never_read_hold_little_and_delay_nobody() {
    let dir = TempDir::new().unwrap();
    let server = Server::start(command(dir.path())).await;
    let warm = server.client.start_prompt("/demo tokens=20000 tps=0 seed=1").await;
    server.client.all(&warm, 0).await;
    let id = server.client.start_prompt("/demo tokens=60000 tps=15000 ttft_ms=0 seed=1").await;
    let before = resident(server.pid());
    let stuck: Vec<_> = (0..50).map(|_| stuck_reader(server.address, &id)).collect();
    let seen = server.client.all(&id, 0).await;
    assert_whole(&seen);
    let grown = resident(server.pid()).saturating_sub(before);
    drop(stuck);
    // The log of this generation has about 5 MB: fifty copies of it would be 250 MB.
    assert!(grown < 50 * 1024, "fifty stuck readers took {grown} KiB");
    println!("fifty stuck readers: {grown} KiB");
    assert!(server.terminate().await.success());
}

/// Without room, the kernel tries a connection again a second later, and later still.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_comes_before_it_is_let_in_has_room_to_wait() {
    let mut config = config(&TestDatabase::create().await);
    let dir = TempDir::new().unwrap();
    config.data_dir = dir.path().into();
    // It listens, and accepts nobody yet.
    let app = App::build(&config).await.unwrap();
    let address = app.address().unwrap();
    let mut waiting = Vec::new();
    for n in 0..1000 {
        let connected = timeout(PATIENCE, tokio::net::TcpStream::connect(address)).await;
        waiting.push(connected.unwrap_or_else(|_| panic!("{n} wait, and the next finds no room")));
    }
    assert!(waiting.iter().all(Result::is_ok));
}

//! A log whose writes take as long as a busy disk makes them take.
use std::sync::Mutex;

use async_trait::async_trait;
use tokio::time::sleep;

use crate::engine::readers::request_reads::attach::*;
use crate::ports::{LogError, ReadEnd};

const HASH: &[u8] = b"the same request";

/// The result of a look at the log.
struct Reads(Mutex<Attachment>);

#[async_trait]
impl RequestReads for Reads {
    async fn attach(&self, sought: Sought<'_>, _: Duration) -> Result<Attachment, LogError> {
        let found = *self.0.lock().unwrap();
        Ok(if found == Attachment::Read && !sought.is_retry { Attachment::None } else { found })
    }

    async fn note(&self, _: &[(GenerationId, ReadEnd)]) -> Result<(), LogError> {
        Ok(())
    }
}

/// The find of a repeat that comes while the log still says `before`. A write of its request takes
/// another three seconds.
async fn found(before: Attachment, is_retry: bool, is_cut: bool) -> Option<GenerationId> {
    let (reads, unsettled) = (Reads(Mutex::new(before)), UnsettledReads::default());
    let write = unsettled.begin(HASH, is_cut);
    let settle = async {
        sleep(Duration::from_secs(3)).await;
        *reads.0.lock().unwrap() = Attachment::Taken(GenerationId::random());
        drop(write);
    };
    let give_up = Instant::now() + ASKING;
    let cut = Notify::new();
    let seeking = Seeking { reads: &reads, unsettled: &unsettled, cut: &cut, give_up };
    let sought = seeking.sought(Sought { hash: HASH, is_retry, of: None });
    tokio::join!(sought, settle).0
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_for_a_slow_log() {
    assert!(found(Attachment::Read, true, false).await.is_some(), "the end of the first try");
    assert!(found(Attachment::None, true, false).await.is_some(), "the start of the first try");
}

#[tokio::test(start_paused = true)]
async fn a_repeat_without_a_sign_waits_where_the_server_cut() {
    assert!(found(Attachment::Read, false, true).await.is_some());
    assert!(found(Attachment::Read, false, false).await.is_none(), "who closed asks anew");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_read_is_not_waited_for_long() {
    let (reads, unsettled) = (Reads(Mutex::new(Attachment::Read)), UnsettledReads::default());
    let begun = Instant::now();
    let (cut, give_up) = (Notify::new(), begun + ASKING);
    let seeking = Seeking { reads: &reads, unsettled: &unsettled, cut: &cut, give_up };
    assert!(seeking.sought(Sought { hash: HASH, is_retry: true, of: None }).await.is_none());
    assert!(begun.elapsed() < Duration::from_secs(2));
}

/// Its end comes to another instance, which says so.
#[tokio::test(start_paused = true)]
async fn a_hint_ends_the_wait_for_a_reader_elsewhere() {
    let (reads, unsettled) = (Reads(Mutex::new(Attachment::Read)), UnsettledReads::default());
    let (cut, begun) = (Notify::new(), Instant::now());
    let seeking =
        Seeking { reads: &reads, unsettled: &unsettled, cut: &cut, give_up: begun + ASKING };
    let sought = seeking.sought(Sought { hash: HASH, is_retry: true, of: None });
    let hints = async {
        // In the middle of the longest pause, which begins after 620 ms. Others' hints cost none.
        for at in [630, 640, 650, 800] {
            sleep(Duration::from_millis(at).saturating_sub(begun.elapsed())).await;
            cut.notify_waiters();
        }
        *reads.0.lock().unwrap() = Attachment::Taken(GenerationId::random());
        cut.notify_waiters();
    };
    let (found, ()) = tokio::join!(sought, hints);
    assert!(found.is_some());
    assert_eq!(begun.elapsed(), Duration::from_millis(800), "not at the end of the pause");
}

//! The faults: one a second, chosen by dice. Some last; a member that suffers one is left alone.
use std::sync::Arc;
use std::time::Duration;

use lastword_postgres::Embedded;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::Connection;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::args::Dice;
use crate::balancer::Balancer;
use crate::database::TestDatabase;
use crate::fleet::Member;
use crate::nats_relay::{Held, Relay};
use crate::nats_server::NatsServer;
use crate::report::Report;

/// Between two faults.
const EVERY: Duration = Duration::from_secs(1);
/// Between two checks whether Postgres has stopped.
const LOOK: Duration = Duration::from_millis(10);

/// Everything that can be broken.
pub(crate) struct Victims {
    pub(crate) members: Vec<Arc<Mutex<Member>>>,
    pub(crate) balancer: Arc<Balancer>,
    pub(crate) server: Arc<Mutex<Embedded>>,
    pub(crate) database: TestDatabase,
    pub(crate) nats: Option<Arc<Mutex<NatsServer>>>,
    /// The instances' ways to it; none without NATS.
    pub(crate) relays: Vec<Arc<Mutex<Relay>>>,
}

const LISTENERS: &str = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
    where application_name = 'lastword listener' and datname = current_database()";
const BACKENDS: &str = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
    where pid <> pg_backend_pid() and datname = current_database()";

/// Breaks something every second until `over`, and mends everything in the end.
pub(crate) async fn storm(
    victims: Victims,
    seed: u64,
    report: Arc<Report>,
    over: CancellationToken,
) {
    let mut dice = Dice::new(seed, 0);
    let mut ticks = interval(EVERY);
    let mut lasting = JoinSet::new();
    while over.run_until_cancelled(ticks.tick()).await.is_some() {
        while let Some(ended) = lasting.try_join_next() {
            let () = ended.unwrap();
        }
        let n = dice.pick(victims.members.len());
        let member = victims.members[n].clone().try_lock_owned().ok();
        if let Some(name) = strike(&victims, member, &mut dice, &mut lasting).await {
            report.fault(name);
        }
    }
    while let Some(ended) = lasting.join_next().await {
        let () = ended.unwrap();
    }
}

/// One fault; `None` if its victim already suffers one.
async fn strike(
    victims: &Victims,
    member: Option<OwnedMutexGuard<Member>>,
    dice: &mut Dice,
    lasting: &mut JoinSet<()>,
) -> Option<&'static str> {
    let time = Duration::from_millis(300 + dice.roll(3500));
    let faults = if victims.nats.is_some() { 18 } else { 12 };
    Some(match dice.roll(faults) {
        0 | 1 => {
            let mut member = member?;
            member.kill().await;
            lasting.spawn(async move {
                sleep(time).await;
                member.boot().await;
            });
            "instance killed"
        }
        2 | 3 => {
            let member = member?;
            member.pause();
            lasting.spawn(async move {
                sleep(time).await;
                member.wake();
            });
            "instance paused"
        }
        4 => {
            let mut member = member?;
            lasting.spawn(async move {
                member.terminate().await;
                member.boot().await;
            });
            "instance deployed anew"
        }
        5 => {
            member?.proxy.lose(1 + dice.pick(3));
            "replies of commits lost"
        }
        6 => {
            member?.proxy.black_hole();
            "instance cut off without a word"
        }
        7 => {
            victims.balancer.cut();
            "all clients cut"
        }
        8 => restart(victims, Signal::SIGINT, lasting)?,
        9 => restart(victims, Signal::SIGQUIT, lasting)?,
        10 => {
            let (all, name) = match dice.roll(3) {
                0 => (BACKENDS, "all backends thrown out"),
                _ => (LISTENERS, "listeners thrown out"),
            };
            let mut admin = admin(victims).await?;
            sqlx::query(all).execute(&mut admin).await.ok()?;
            name
        }
        kind @ 12.. => break_nats(victims, (kind, time), dice, lasting)?,
        _ => {
            let mut admin = admin(victims).await?;
            lasting.spawn(async move {
                // A restart of Postgres may end it early.
                let Ok(mut lock) = admin.begin().await else { return };
                let table = "lock table generations in exclusive mode";
                if sqlx::query(table).execute(&mut *lock).await.is_ok() {
                    sleep(time).await;
                }
            });
            "pool used up behind a lock"
        }
    })
}

/// A fault of NATS; some last for longer than it takes to notice them.
fn break_nats(
    victims: &Victims,
    (kind, time): (u64, Duration),
    dice: &mut Dice,
    lasting: &mut JoinSet<()>,
) -> Option<&'static str> {
    let (held, name) = match kind {
        12 => {
            let mut nats = victims.nats.clone()?.try_lock_owned().ok()?;
            nats.kill();
            lasting.spawn(async move {
                sleep(time).await;
                nats.again().await;
            });
            return Some("NATS killed");
        }
        13 => {
            let nats = victims.nats.clone()?.try_lock_owned().ok()?;
            nats.suspend();
            lasting.spawn(async move {
                sleep(time * 5).await;
                nats.resume();
            });
            return Some("NATS suspended");
        }
        14 | 15 => (Held::BOTH, "NATS partitioned from an instance"),
        16 => (Held::DEAF, "an instance hears nothing of NATS"),
        _ => (Held::MUTE, "NATS hears nothing of an instance"),
    };
    let relay = victims.relays[dice.pick(victims.relays.len())].clone().try_lock_owned().ok()?;
    relay.hold(held);
    lasting.spawn(async move {
        sleep(time * 5).await;
        relay.release();
    });
    Some(name)
}

async fn admin(victims: &Victims) -> Option<sqlx::PgConnection> {
    sqlx::PgConnection::connect_with(&victims.database.options).await.ok()
}

fn restart(victims: &Victims, how: Signal, lasting: &mut JoinSet<()>) -> Option<&'static str> {
    let mut server = victims.server.clone().try_lock_owned().ok()?;
    kill(Pid::from_raw(server.pid().try_into().unwrap()), how).unwrap();
    lasting.spawn(async move {
        let mut looks = interval(LOOK);
        while !server.revive().await.unwrap() {
            looks.tick().await;
        }
    });
    Some(if how == Signal::SIGINT {
        "Postgres restarted fast"
    } else {
        "Postgres restarted at once"
    })
}

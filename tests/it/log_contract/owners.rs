//! Generations that lose their owner: cancels beside a take-over, disowned generations, and
//! draining instances.
use super::*;

#[tokio::test]
async fn a_cancel_and_a_take_over_at_once_never_miss_each_other() {
    let bench = bench().await;
    bench.log.leases.release(bench.owner).await.unwrap();
    for _ in 0..30 {
        let at = bench.generation().await;
        let claim = claim(&at, bench.owner, 2, 2);
        let (claimed, told) = tokio::join!(
            bench.log.ownership.take_over(&claim),
            bench.log.generations.request_cancel(&at)
        );
        match (claimed.unwrap(), told.unwrap()) {
            (Claimed::Ours { cancel_requested: true }, Some(_)) => {}
            (Claimed::Ours { cancel_requested: false }, Some(owner)) => {
                assert_eq!(owner, claim.owner, "whoever asks later learns the new owner");
            }
            (claimed, told) => panic!("{claimed:?}, {told:?}"),
        }
    }
}

#[tokio::test]
async fn what_is_given_up_is_anybodys_and_not_what_was_lost_or_has_ended() {
    let bench = bench().await;
    let (at, ended) = (bench.generation().await, bench.generation().await);
    append(bench.log.events.writer(bench.owner).as_mut(), &ending(&ended, 1, 2)).await.unwrap();
    bench.log.ownership.give_up(&at, bench.owner, Epoch(2)).await.unwrap();
    bench.log.ownership.give_up(&at, InstanceId::random(), Epoch(1)).await.unwrap();
    bench.log.ownership.give_up(&ended, bench.owner, Epoch(1)).await.unwrap();
    assert!(bench.orphans(&Orphans::LeaseExpired).await.is_empty());
    assert!(
        bench
            .log
            .ownership
            .owned_elsewhere(bench.owner, &[at.id, ended.id])
            .await
            .unwrap()
            .is_empty()
    );
    bench.log.ownership.give_up(&at, bench.owner, Epoch(1)).await.unwrap();
    assert_eq!(bench.orphans(&Orphans::LeaseExpired).await, [at.id]);
    let gone = GenerationId::random();
    assert_eq!(
        bench.log.ownership.owned_elsewhere(bench.owner, &[at.id, gone]).await.unwrap(),
        [at.id, gone]
    );
    let claimed =
        bench.log.ownership.take_over(&claim(&at, InstanceId::NOBODY, 2, 2)).await.unwrap();
    assert_eq!(claimed, Claimed::Ours { cancel_requested: false });
    let late = bench.log.ownership.orphan((at.id, Epoch(1))).await.unwrap();
    assert!(late.is_none(), "whoever listed it before comes too late");
    let told = bench.log.generations.request_cancel(&ended).await.unwrap();
    assert_eq!(told, None, "nobody is to be told of a cancel that comes too late");
}

#[tokio::test]
async fn of_two_that_leave_the_second_finds_nobody_to_hand_over_to() {
    let bench = bench().await;
    assert!(!bench.log.leases.mark_draining(bench.owner).await.unwrap(), "it is alone");
    let other = InstanceId::random();
    bench.log.leases.acquire_lease(bench.owner, LEASE).await.unwrap();
    bench.log.leases.acquire_lease(other, LEASE).await.unwrap();
    assert!(bench.log.leases.mark_draining(bench.owner).await.unwrap());
    bench.log.leases.heartbeat(bench.owner, LEASE).await.unwrap();
    assert!(
        !bench.log.leases.mark_draining(other).await.unwrap(),
        "the other one takes nothing any more"
    );
    bench.log.leases.acquire_lease(bench.owner, LEASE).await.unwrap();
    assert!(bench.log.leases.mark_draining(other).await.unwrap(), "it has come back");
}

//! Several NATS servers, and ways to them that are broken in the middle.
use futures_util::future::join_all;
use lastword::config::NatsConfig;

use super::Node;
use super::relay::{Held, Relay};
use super::server::NatsServer;
use crate::client::assert_whole;
use crate::database::TestDatabase;
use crate::harness::{TestApp, config};

/// Two servers of one cluster.
async fn pair() -> [NatsServer; 2] {
    let lines = |routes: &str| {
        format!("cluster {{ name: test, listen: \"127.0.0.1:-1\", routes: [{routes}] }}")
    };
    let first = NatsServer::configured(&lines("")).await;
    let second = NatsServer::configured(&lines(&format!("\"{}\"", first.routes()))).await;
    [first, second]
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_servers_dies_and_its_instances_go_to_the_other() {
    let [mut first, second] = pair().await;
    let mut one = Node::start(&format!("{},{}", first.url(), second.url())).await;
    // The other is told only of one server, and learns of the rest from it.
    let mut two = Node::start(&first.url()).await;
    let mut three = Node::start(&second.url()).await;
    one.until_heard(&mut two).await;
    two.until_heard(&mut three).await;
    three.until_heard(&mut one).await;
    first.kill();
    one.until_heard(&mut two).await;
    two.until_heard(&mut three).await;
    three.until_heard(&mut one).await;
    for node in [one, two, three] {
        node.stop().await;
    }
}

/// Instances on one database with a way each; what a reader on each sees is the same.
async fn all_see_the_same(ways: Vec<String>, during: impl AsyncFnOnce(&[TestApp], &str)) {
    let database = TestDatabase::create().await;
    let starts = ways.iter().map(|way| {
        let mut config = config(&database);
        config.nats = Some(NatsConfig::of(way));
        TestApp::on(database.clone(), config)
    });
    let apps = join_all(starts).await;
    let ids = join_all(apps.iter().enumerate().map(async |(seed, app)| {
        let prompt = format!("/demo tokens=80 tps=40 ttft_ms=0 unicode seed={seed}");
        app.client.start_prompt(&prompt).await
    }));
    let ids = ids.await;
    let reading = async {
        for id in &ids {
            let seen = join_all(apps.iter().map(|app| app.client.all(id, 0))).await;
            assert_whole(&seen[0]);
            assert!(seen.iter().all(|events| *events == seen[0]), "byte for byte");
        }
    };
    tokio::join!(reading, during(&apps, &ids[0]));
    // A cancel's answer comes, whether or not its hint arrives.
    let id = apps[0].client.start_prompt("/demo tokens=100000 tps=50 ttft_ms=0").await;
    apps[0].client.events(&id, 0).await.take(3).await;
    assert_eq!(apps[1].client.cancel(&id).await["status"], "cancelled");
    join_all(apps.into_iter().map(TestApp::stop)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_do_not_hear_each_other_only_make_it_slower() {
    // Each instance's own messages come back: none knows that it is alone.
    let servers = [NatsServer::start().await, NatsServer::start().await];
    let ways = servers.iter().map(NatsServer::url).collect();
    all_see_the_same(ways, async |_, _| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_in_one_direction_or_both_only_makes_it_slower() {
    for held in [Held::BOTH, Held::DEAF, Held::MUTE] {
        let server = NatsServer::start().await;
        let relay = Relay::to(server.address()).await;
        let ways = vec![relay.url(), server.url()];
        all_see_the_same(ways, async |apps, id| {
            apps[1].client.events(id, 0).await.take(10).await;
            relay.hold(held);
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_noticed_in_either_direction_and_so_is_its_end() {
    let server = NatsServer::start().await;
    let relay = Relay::to(server.address()).await;
    let mut cut = Node::wary(&relay.url()).await;
    let mut other = Node::start(&server.url()).await;
    for held in [Held::BOTH, Held::DEAF, Held::MUTE] {
        relay.hold(held);
        cut.until_it_works(false).await;
        // The other still hears itself.
        other.until_it_works(true).await;
        relay.release();
        cut.gap().await;
        cut.until_it_works(true).await;
        cut.until_heard(&mut other).await;
        other.until_heard(&mut cut).await;
    }
    cut.stop().await;
    other.stop().await;
}

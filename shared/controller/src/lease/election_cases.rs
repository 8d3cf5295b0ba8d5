//! Candidates against an API server that is slow, frozen, or away; the clock is paused.

use std::time::Duration;

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{Candidate, Fence, HeldLease, LeaseLost, fake_server::Server, record};
use crate::Readiness;

const SECOND: Duration = Duration::from_secs(1);

fn candidate(server: &Server, identity: &str) -> (Candidate, Fence) {
    let fence = Fence::closed();
    let client = server.client();
    let candidate = Candidate::new(client, "kubeci-system", "kubeci-x", identity, fence.clone());
    (candidate, fence)
}

/// A leader that keeps its lease.
async fn leader(server: &Server, identity: &str) -> (JoinHandle<LeaseLost>, Fence) {
    let (candidate, fence) = candidate(server, identity);
    let mut held = candidate.acquire(&Readiness::default()).await;
    (tokio::spawn(async move { held.keep().await }), fence)
}

fn standby(server: &Server) -> JoinHandle<HeldLease> {
    let (candidate, _) = candidate(server, "b");
    tokio::spawn(async move { candidate.acquire(&Readiness::default()).await })
}

#[tokio::test(start_paused = true)]
async fn idle_replicas_send_few_requests() {
    let server = Server::new();
    let (_leader, fence) = leader(&server, "a").await;
    let _standby = standby(&server);
    sleep(SECOND).await;
    let before = server.requests();
    sleep(SECOND * 600).await;
    let a_minute = f64::from(server.requests() - before) / 10.0;
    assert!((10.0..11.0).contains(&a_minute), "{a_minute}");
    assert!(fence.is_open());
}

#[tokio::test(start_paused = true)]
async fn leader_keeps_its_lease_with_a_slow_server() {
    for latency in 1..=9 {
        let server = Server::new();
        let (leader, fence) = leader(&server, "a").await;
        let standby = standby(&server);
        server.latency(SECOND * latency);
        for _ in 0..300 {
            sleep(SECOND).await;
            // Two renewals take longer than the lease allows from there on.
            assert!(fence.is_open() || latency > 6, "{latency}");
        }
        assert!(!leader.is_finished() && !standby.is_finished(), "{latency}");
    }
}

#[tokio::test(start_paused = true)]
async fn leader_keeps_its_lease_over_frozen_moments() {
    let server = Server::new();
    let (leader, fence) = leader(&server, "a").await;
    let standby = standby(&server);
    for seconds in 1..=120 {
        sleep(SECOND + Duration::from_millis(u64::from(seconds) * 37)).await;
        server.freeze(SECOND * seconds);
        sleep(SECOND * seconds + SECOND * 3).await;
        assert!(!leader.is_finished() && !standby.is_finished(), "{seconds}");
        assert!(fence.is_open(), "{seconds}");
    }
}

#[tokio::test(start_paused = true)]
async fn fence_closes_before_another_may_lead() {
    let server = Server::new();
    let (leader, fence) = leader(&server, "a").await;
    server.away(true);
    sleep(SECOND * 14).await;
    assert!(!fence.is_open());
    sleep(SECOND * 120).await;
    assert!(!leader.is_finished());
    server.away(false);
    timeout(SECOND * 3, fence.open()).await.unwrap();
    assert_eq!(server.holder().as_deref(), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn renewal_with_a_lost_answer_counts() {
    let server = Server::new();
    let (leader, fence) = leader(&server, "a").await;
    for _ in 0..10 {
        server.unanswering(true);
        sleep(SECOND * 7).await;
        server.unanswering(false);
        sleep(SECOND * 5).await;
        assert!(!leader.is_finished() && fence.is_open());
    }
}

#[tokio::test(start_paused = true)]
async fn standby_leads_once_the_lease_has_expired() {
    let server = Server::new();
    let (leader, _) = leader(&server, "a").await;
    let standby = standby(&server);
    sleep(SECOND * 60).await;
    leader.abort();
    let begun = Instant::now();
    standby.await.unwrap();
    assert!((9..16).contains(&begun.elapsed().as_secs()));
    assert_eq!(server.holder().as_deref(), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn standby_leads_once_the_lease_is_released() {
    let server = Server::new();
    let (candidate, _) = candidate(&server, "a");
    let held = candidate.acquire(&Readiness::default()).await;
    let standby = standby(&server);
    sleep(SECOND * 3).await;
    let begun = Instant::now();
    held.release().await;
    standby.await.unwrap();
    assert!(begun.elapsed() < SECOND / 10, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn replaced_leader_loses_its_lease() {
    let server = Server::new();
    let (leader, fence) = leader(&server, "a").await;
    let other = record::acquired(server.lease().unwrap(), "b", crate::now());
    server.put(&other);
    let lost = leader.await.unwrap();
    assert_eq!(lost.to_string(), "b holds the Lease");
    sleep(SECOND * 13).await;
    assert!(!fence.is_open());
}

#[tokio::test(start_paused = true)]
async fn standby_leads_despite_a_slow_server() {
    let server = Server::new();
    let (leader, _) = leader(&server, "a").await;
    let standby = standby(&server);
    sleep(SECOND).await;
    server.latency(SECOND * 8);
    leader.abort();
    timeout(SECOND * 45, standby).await.unwrap().unwrap();
}

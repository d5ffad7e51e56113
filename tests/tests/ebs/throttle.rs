//! Many callers against an endpoint that takes few requests a second: they share one back-off.

use crate::rig::{Kind, Rig, TURN, at_once};
use bulkhead_ec2::{Bucket, Settings};
use bulkhead_tests::client::{Use, create_request};
use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

const GIB: i64 = 1 << 30;
const CALLERS: usize = 500;
/// Requests a second that the endpoint takes: a fraction of what is sent without a limit, or nothing would be throttled.
const RATE: f64 = 50.0;

/// Creates so many volumes at once: requests sent, and how long it took.
fn creates(throttle: Option<Bucket>) -> Option<(u64, Duration)> {
    let mut settings = Settings { throttle, ..at_once() };
    settings.rules.creating_ms = 1000;
    let limits = "callTimeout: 120s\nconcurrency: 64";
    let rig = Rig::new(Kind { settings, limits, alone: true, ..Kind::default() })?;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let start = Instant::now();
    runtime.block_on(async {
        let client = rig.client().await;
        rig.proxy.reset_stats();
        let mut tasks = tokio::task::JoinSet::new();
        for index in 0..CALLERS {
            let client = client.clone();
            tasks.spawn(async move {
                let mut request = tonic::Request::new(create_request(&format!("pvc-{index}"), GIB, Use::Block, &[]));
                request.set_timeout(Duration::from_secs(120));
                client.controller.clone().create_volume(request).await.map(drop)
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap().unwrap();
        }
    });
    let took = start.elapsed();
    assert_eq!(rig.made().0, CALLERS);
    rig.assert_sound();
    Some((rig.proxy.stats().requests(), took))
}

#[test]
fn five_hundred_creates_share_one_back_off() {
    let _alone = TURN.write().unwrap_or_else(PoisonError::into_inner);
    let Some((free, took_free)) = creates(None) else { return };
    let Some((throttled, took)) = creates(Some(Bucket { rate: RATE, burst: RATE })) else { return };
    let ideal = throttled as f64 / RATE;
    println!(
        "unthrottled: {free} requests, {took_free:?}; throttled: {throttled} requests, {took:?}, at best {ideal:.1} s"
    );
    assert!(throttled < 2 * free, "{throttled} requests, {free} without throttling");
    assert!(took.as_secs_f64() < 1.5 * ideal, "{took:?}, at best {ideal:.1} s");
}

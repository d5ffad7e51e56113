//! Many at once.

use crate::ground::Ground;
use bulkhead_ec2::{Fault, Rules, Settings, direct::doubled};
use serde_json::{Value, json};
use std::time::Instant;

fn volume(ground: &Ground, n: usize) -> Value {
    let tags = json!([{ "Key": "test", "Value": ground.name }, { "Key": "name", "Value": format!("pvc-{n}") }]);
    let tags = json!([{ "ResourceType": "volume", "Tags": tags }]);
    ground.volume(json!({ "ClientToken": format!("{}-{n}", ground.name), "TagSpecifications": tags }))
}

#[test]
fn five_hundred_at_once_are_queued_for_moto() {
    let Some(mut ground) = Ground::new("many", Settings { rules: Rules::at_once(), ..Settings::default() }) else {
        return;
    };
    let calls: Vec<_> = (0..500).map(|n| ("create_volume", volume(&ground, n))).collect();
    let begun = Instant::now();
    let all = ground.boto.parallel(&calls, 500);
    let failed: Vec<_> = all.iter().filter(|one| one.is_err()).take(3).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let (stats, took) = (ground.proxy.stats(), begun.elapsed());
    println!("500 at once: {took:?}, at most {} at once, {:?} each second", stats.most, stats.seconds);
    assert_eq!((ground.count(), stats.with("ok"), stats.unverified), (500, 500, 0));
    assert!(stats.most > 50, "not at once: {}", stats.most);
}

#[test]
fn repeated_until_they_succeed_creates_with_tokens_leak_nothing() {
    let faults =
        [(Fault::LostReply, 0.1), (Fault::Throttle, 0.1), (Fault::ErrorAfter, 0.025), (Fault::ErrorBefore, 0.025)];
    let settings = Settings { rules: Rules::at_once(), ..Settings::default() }.with_faults(&faults);
    let Some(mut ground) = Ground::new("converge", settings) else { return };
    let mut left: Vec<_> = (0..300).map(|n| ("create_volume", volume(&ground, n))).collect();
    let mut rounds = 0;
    while !left.is_empty() {
        let all = ground.boto.parallel(&left, 50);
        left = left.into_iter().zip(all).filter(|(_, one)| one.is_err()).map(|(call, _)| call).collect();
        rounds += 1;
        assert!(rounds < 30);
    }
    let there = ground.moto.direct().volumes_with("test", "converge").unwrap();
    assert_eq!(doubled(there.iter().map(|volume| volume.tags.as_slice()), "name"), Vec::<String>::new());
    assert_eq!(there.len(), 300);
    let stats = ground.proxy.stats();
    assert!(rounds > 1 && stats.met(Fault::LostReply) > 0 && stats.met(Fault::ErrorAfter) > 0, "{stats:?}");
}

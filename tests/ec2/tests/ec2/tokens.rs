//! CreateVolume's client token and its limit.

use crate::ground::{Ground, LONG};
use bulkhead_ec2::{Fault, Rules, Settings};
use serde_json::json;

fn ground(name: &'static str) -> Option<Ground> {
    Ground::new(name, Settings { rules: Rules::at_once(), ..Settings::default() })
}

#[test]
fn the_same_token_gives_the_same_volume_and_other_parameters_are_refused() {
    let Some(mut ground) = ground("token") else { return };
    let args = ground.volume(json!({ "ClientToken": "token-1" }));
    let first = ground.boto.ok("create_volume", &args);
    let again = ground.boto.ok("create_volume", &args);
    assert_eq!(first["VolumeId"], again["VolumeId"]);
    assert_eq!(first["Tags"], again["Tags"]);
    let other = ground.volume(json!({ "ClientToken": "token-1", "Size": 9 }));
    assert_eq!(ground.boto.refused("create_volume", &other), "IdempotentParameterMismatch");
    let next = ground.volume(json!({ "ClientToken": "token-2" }));
    assert_ne!(ground.boto.ok("create_volume", &next)["VolumeId"], first["VolumeId"]);
    assert_eq!(ground.count(), 2);
    // The volume as it is now; and once it is gone, as it was.
    ground.boto.ok("delete_volume", &json!({ "VolumeId": first["VolumeId"] }));
    assert_eq!(ground.boto.ok("create_volume", &args)["VolumeId"], first["VolumeId"]);
    assert_eq!(ground.count(), 1);
    let long = ground.volume(json!({ "ClientToken": "x".repeat(65) }));
    assert_eq!(ground.boto.refused("create_volume", &long), "InvalidParameterValue");
}

#[test]
fn a_repeated_create_tells_the_state_of_now() {
    let rules = Rules { creating_ms: LONG, ..Rules::at_once() };
    let Some(mut ground) = Ground::new("repeated", Settings { rules, ..Settings::default() }) else { return };
    let args = ground.volume(json!({ "ClientToken": "state" }));
    let first = ground.boto.ok("create_volume", &args);
    assert_eq!(first["State"], "creating");
    assert_eq!(ground.boto.ok("create_volume", &args)["State"], "creating");
    ground.proxy.set(|settings| settings.rules.creating_ms = 0);
    assert_eq!(ground.boto.ok("create_volume", &args)["State"], "available");
}

#[test]
fn fifty_at_once_with_one_token_make_one_volume() {
    let Some(mut ground) = ground("race") else { return };
    let args = ground.volume(json!({ "ClientToken": "race" }));
    let all = ground.boto.parallel(&vec![("create_volume", args); 50], 50);
    let ids: std::collections::BTreeSet<_> =
        all.into_iter().map(|one| one.unwrap()["VolumeId"].as_str().unwrap().to_owned()).collect();
    assert_eq!((ids.len(), ground.count()), (1, 1));
}

#[test]
fn a_lost_reply_and_a_repeated_request_make_one_volume_with_a_token_and_two_without() {
    let Some(mut ground) = ground("lost") else { return };
    for (token, volumes) in [(json!({ "ClientToken": "lost" }), 1), (json!({}), 3)] {
        let args = ground.volume(token.clone());
        ground.proxy.plan("CreateVolume", Fault::LostReply);
        let lost = ground.boto.call("create_volume", &args);
        assert!(matches!(&lost, Err((_, 0))), "{lost:?}");
        let again = ground.volume(token);
        // boto3 makes up a token where none is given: one more volume.
        ground.boto.ok("create_volume", &again);
        assert_eq!(ground.count(), volumes);
    }
}

#[test]
fn a_refused_create_uses_up_no_token() {
    let Some(mut ground) = ground("unused") else { return };
    let nowhere = ground.volume(json!({ "ClientToken": "unused", "AvailabilityZone": "nowhere-1a" }));
    assert_eq!(ground.boto.refused("create_volume", &nowhere), "InvalidZone.NotFound");
    let args = ground.volume(json!({ "ClientToken": "unused" }));
    ground.boto.ok("create_volume", &args);
}

#[test]
fn at_the_limit_even_a_repeated_request_is_refused() {
    let Some(mut ground) = ground("limit") else { return };
    ground.proxy.set(|settings| settings.rules.volume_limit = Some(3));
    let calls: Vec<_> =
        (0..20).map(|n| ("create_volume", ground.volume(json!({ "ClientToken": format!("limit-{n}") })))).collect();
    let all = ground.boto.parallel(&calls, 20);
    let refused = |one: &Result<_, (String, u64)>| *one == Err(("VolumeLimitExceeded".into(), 400));
    assert_eq!((all.iter().filter(|one| one.is_ok()).count(), ground.count()), (3, 3));
    assert_eq!(all.iter().filter(|one| refused(one)).count(), 17);
    let made = all.iter().position(Result::is_ok).unwrap();
    assert_eq!(ground.boto.refused("create_volume", &calls[made].1), "VolumeLimitExceeded");
    let id = all[made].as_ref().unwrap()["VolumeId"].clone();
    ground.boto.ok("delete_volume", &json!({ "VolumeId": id }));
    let next = ground.volume(json!({ "ClientToken": "limit-next" }));
    ground.boto.ok("create_volume", &next);
}

//! Who may ask: moto judges keys and bodies, the proxy the clock.

use crate::ground::Ground;
use bulkhead_ec2::{Boto, Credentials, Form, Rules, Settings};
use serde_json::json;
use std::time::Duration;

fn ground(name: &'static str) -> Option<Ground> {
    Ground::new(name, Settings { rules: Rules::at_once(), ..Settings::default() })
}

fn describe() -> Form {
    Form::action("DescribeVolumes", &[])
}

#[test]
fn right_signatures_are_taken_and_meet_the_rules() {
    let Some(mut ground) = ground("right") else { return };
    ground.boto.ok("describe_availability_zones", &json!({}));
    let id = ground.made();
    assert_eq!(ground.raw("driver").send(&describe()).unwrap().status, 200);
    ground.boto.ok("delete_volume", &json!({ "VolumeId": id }));
    assert_eq!((ground.count(), ground.proxy.stats().unverified), (0, 0));
}

#[test]
fn moto_refuses_a_wrong_key_and_an_unknown_one() {
    let Some(ground) = ground("keys") else { return };
    let right = ground.moto.key("driver");
    let wrong = Credentials { secret: "x".repeat(40), ..right.clone() };
    let unknown = Credentials { id: "AKIAUNKNOWNUNKNOWN00".into(), ..right };
    for key in [wrong, unknown] {
        let mut boto = Boto::new(&ground.proxy.url(), &ground.moto.facts.region, &key);
        let refused = boto.call("create_volume", &ground.volume(json!({})));
        assert_eq!(refused, Err(("AuthFailure".into(), 401)));
    }
    assert_eq!((ground.count(), ground.proxy.stats().unverified), (0, 0));
}

#[test]
fn moto_refuses_another_body_than_was_signed() {
    let Some(ground) = ground("body") else { return };
    let zone = &ground.moto.facts.zones[0];
    let make = |size| {
        let tag = [("TagSpecification.1.Tag.1.Key", "test"), ("TagSpecification.1.Tag.1.Value", ground.name)];
        let what = [("AvailabilityZone", zone.as_str()), ("Size", size), ("TagSpecification.1.ResourceType", "volume")];
        Form::action("CreateVolume", &[&what[..], &tag[..]].concat()).encode()
    };
    let client = ground.raw("driver");
    let refused = client.send_other(make("8").as_bytes(), make("9").as_bytes()).unwrap();
    assert_eq!((refused.status, refused.code().as_str(), ground.count()), (401, "AuthFailure", 0));
    assert_eq!(client.send_other(make("8").as_bytes(), make("8").as_bytes()).unwrap().status, 200);
    assert_eq!((ground.count(), ground.proxy.stats().unverified), (1, 0));
}

#[test]
fn a_wrong_clock_is_refused() {
    let Some(ground) = ground("clock") else { return };
    let mut client = ground.raw("driver");
    for (seconds, ahead, expected) in [
        (0, true, (200, "")),
        (290, true, (200, "")),
        (290, false, (200, "")),
        (320, false, (400, "RequestExpired")),
        (320, true, (401, "AuthFailure")),
    ] {
        client.skew = (Duration::from_secs(seconds), ahead);
        let answer = client.send(&describe()).unwrap();
        assert_eq!((answer.status, answer.code().as_str()), expected, "{seconds} s, ahead: {ahead}");
        // moto by itself doesn't look at it: that is why the proxy does.
        let mut past = ground.moto.direct();
        past.skew = client.skew;
        assert_eq!(past.send(&describe()).unwrap().status, 200);
    }
}

#[test]
fn the_proxys_clock_can_be_wrong_instead() {
    let Some(mut ground) = ground("offset") else { return };
    ground.proxy.set(|settings| settings.rules.clock_offset_s = 3_600);
    assert_eq!(ground.boto.refused("describe_volumes", &json!({})), "RequestExpired");
    let answer = ground.raw("driver").send(&describe()).unwrap();
    let date = answer.head.lines().find_map(|line| line.strip_prefix("date: ")).unwrap().to_owned();
    ground.proxy.set(|settings| settings.rules.clock_offset_s = 0);
    let now = ground.raw("driver").send(&describe()).unwrap().head;
    assert!(!now.contains(&date), "the Date header tells the proxy's time: {date}, {now}");
    ground.boto.ok("describe_volumes", &json!({}));
}

#[test]
fn an_assumed_role_is_taken_with_its_session_token_only() {
    let Some(ground) = ground("role") else { return };
    let (url, region) = (ground.proxy.url(), &ground.moto.facts.region);
    // Through the proxy, which so learns the key.
    let mut sts = Boto::with(&url, region, &ground.moto.key("driver"), &json!({ "service": "sts" }));
    let role = json!({ "RoleArn": ground.moto.facts.roles["driver"], "RoleSessionName": "tests" });
    let got = sts.ok("assume_role", &role);
    let text = |name: &str| got["Credentials"][name].as_str().unwrap().to_owned();
    let (id, secret) = (text("AccessKeyId"), text("SecretAccessKey"));
    let key = |token: Option<String>| Credentials { id: id.clone(), secret: secret.clone(), token };
    let with = |token: Option<String>| Boto::new(&url, region, &key(token)).call("describe_volumes", &json!({}));
    assert!(with(Some(text("SessionToken"))).is_ok());
    assert_eq!(with(Some("x".repeat(80))), Err(("AuthFailure".into(), 401)));
    assert_eq!(with(None), Err(("AuthFailure".into(), 401)));
    assert_eq!(ground.proxy.stats().unverified, 0);
    let record = std::fs::read_to_string(ground.record.path()).unwrap();
    for secret in [secret.as_str(), &text("SessionToken")] {
        assert!(!record.contains(secret), "the recording has a secret");
    }
    assert!(record.contains(&id) && !record.contains("Signature="), "ids are told, signatures aren't");
    // No other user may assume it.
    let mut other = Boto::with(&url, region, &ground.moto.key("reader"), &json!({ "service": "sts" }));
    assert_eq!(other.refused("assume_role", &role), "AccessDenied");
}

#[test]
fn who_may_only_look_is_not_authorized_and_who_does_not_sign_is_refused() {
    let Some(ground) = ground("reader") else { return };
    let mut reader = Boto::new(&ground.proxy.url(), &ground.moto.facts.region, &ground.moto.key("reader"));
    reader.ok("describe_volumes", &json!({}));
    let refused = reader.call("create_volume", &ground.volume(json!({})));
    assert_eq!(refused, Err(("UnauthorizedOperation".into(), 403)));
    let body = describe().encode();
    let mut headers = http::HeaderMap::new();
    headers.insert("host", "ec2".parse().unwrap());
    headers.insert("connection", "close".parse().unwrap());
    headers.insert("content-length", body.len().to_string().parse().unwrap());
    let unsigned = ground.raw("driver").exchange(&headers, body.as_bytes()).unwrap();
    assert_eq!((unsigned.status, unsigned.code().as_str()), (403, "MissingAuthenticationToken"));
}

#[test]
fn the_host_that_was_signed_is_the_one_that_moto_sees() {
    let Some(ground) = ground("host") else { return };
    // A name that is neither the proxy's nor moto's.
    let body = "Action=DescribeVolumes&Version=2016-11-15";
    let mut headers = http::HeaderMap::new();
    headers.insert("host", "ec2.eu-central-1.example.com".parse().unwrap());
    headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    let signed = bulkhead_ec2::sigv4::Signed { method: "POST", target: "/", body: body.as_bytes() };
    let key = ground.moto.key("driver");
    bulkhead_ec2::sigv4::sign(signed, &mut headers, &key, ("eu-central-1", "ec2"), (Duration::ZERO, true));
    headers.insert("connection", "close".parse().unwrap());
    headers.insert("content-length", body.len().to_string().parse().unwrap());
    assert_eq!(ground.raw("driver").exchange(&headers, body.as_bytes()).unwrap().status, 200);
    headers.insert("host", "ec2.eu-central-1.example.org".parse().unwrap());
    assert_eq!(ground.raw("driver").exchange(&headers, body.as_bytes()).unwrap().status, 401);
}

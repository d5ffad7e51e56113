//! Faults: each seen by a client, and what was done at moto.

use crate::ground::Ground;
use bulkhead_ec2::{Boto, Bucket, Fault, Form, Rules, Settings};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

fn ground(name: &'static str) -> Option<Ground> {
    let rules = Rules::at_once();
    let settings = Settings { rules, hang_ms: 1_500, slow_ms: 1_500, flood_bytes: 3 << 20, ..Settings::default() };
    Ground::new(name, settings)
}

#[test]
fn each_fault_is_what_it_says() {
    let Some(mut ground) = ground("faults") else { return };
    let mut there = 0;
    for fault in Fault::ALL {
        let args = ground.volume(json!({}));
        ground.proxy.plan("CreateVolume", fault);
        let begun = Instant::now();
        let got = ground.boto.call("create_volume", &args);
        there += usize::from(fault.has_effect());
        assert_eq!(ground.count(), there, "{fault:?}: done, if it has an effect");
        assert_eq!(ground.proxy.stats().met(fault), 1, "{fault:?}");
        let (code, status) = match got {
            Ok(_) => ("ok".to_owned(), 200),
            Err(wrong) => wrong,
        };
        let lost = ["ConnectionClosedError", "ConnectionError", "HTTPClientError"];
        let right = match fault {
            Fault::LostReply | Fault::LostRequest | Fault::Hang => lost.contains(&code.as_str()),
            Fault::Throttle => (code.as_str(), status) == ("RequestLimitExceeded", 503),
            Fault::ErrorBefore => (code.as_str(), status) == ("Unavailable", 503),
            Fault::ErrorAfter => (code.as_str(), status) == ("InternalError", 500),
            Fault::SlowBody => code == "ok",
            // moto's judgement of a signature that is not of this body.
            Fault::Tampered => (code.as_str(), status) == ("AuthFailure", 401),
            Fault::Garbage | Fault::Flood => code == "ResponseParserError",
            // What of it came is no whole document.
            Fault::Truncated => ["ResponseParserError", "ResponseStreamingError"].contains(&code.as_str()),
        };
        assert!(right, "{fault:?}: {status} {code}");
        if matches!(fault, Fault::Hang | Fault::SlowBody) {
            assert!(begun.elapsed() > Duration::from_millis(1_400), "{fault:?}: {:?}", begun.elapsed());
        }
    }
    // The next one is well.
    let args = ground.volume(json!({}));
    ground.boto.ok("create_volume", &args);
}

#[test]
fn rates_hold_for_the_actions_they_are_given_for() {
    let Some(mut ground) = ground("rates") else { return };
    ground.proxy.set(|settings| {
        settings.faults = [(Fault::ErrorBefore, 0.3)].into();
        settings.actions.insert("DescribeVolumes".into(), [(Fault::Throttle, 1.0)].into());
        settings.actions.insert("DescribeSnapshots".into(), bulkhead_ec2::Rates::new());
    });
    assert_eq!(ground.boto.refused("describe_volumes", &json!({})), "RequestLimitExceeded");
    let calls = |call: &'static str| vec![(call, json!({})); 200];
    let failed = |all: Vec<Result<Value, _>>| all.iter().filter(|one| one.is_err()).count();
    assert_eq!(failed(ground.boto.parallel(&calls("describe_snapshots"), 8)), 0);
    let failed = failed(ground.boto.parallel(&calls("describe_availability_zones"), 8));
    assert!((35..90).contains(&failed), "{failed} of 200 at a rate of 0.3");
    let stats = ground.proxy.stats();
    assert_eq!((stats.met(Fault::ErrorBefore), stats.of("DescribeAvailabilityZones")), (failed as u64, 200));
    ground.proxy.reset_stats();
    assert_eq!(ground.proxy.stats().requests(), 0);
}

#[test]
fn the_bucket_throttles() {
    let Some(mut ground) = ground("bucket") else { return };
    ground.proxy.set(|settings| settings.throttle = Some(Bucket { rate: 0.01, burst: 10.0 }));
    let all = ground.boto.parallel(&vec![("describe_availability_zones", json!({})); 40], 40);
    let refused = all.iter().filter(|one| **one == Err(("RequestLimitExceeded".into(), 503))).count();
    let passed = all.iter().filter(|one| one.is_ok()).count();
    assert!((10..=11).contains(&passed) && passed + refused == 40, "{passed} passed, {refused} refused");
    assert_eq!(ground.proxy.stats().throttled, refused as u64);
    assert!(ground.proxy.stats().seconds.iter().sum::<u64>() == 40 && ground.proxy.stats().most > 1);
}

#[test]
fn a_client_that_hangs_up_does_not_stop_what_it_began() {
    let Some(ground) = ground("hangup") else { return };
    let tag = [("TagSpecification.1.Tag.1.Key", "test"), ("TagSpecification.1.Tag.1.Value", ground.name)];
    let zone = ground.moto.facts.zones[0].as_str();
    let what = [("AvailabilityZone", zone), ("Size", "8"), ("TagSpecification.1.ResourceType", "volume")];
    let body = Form::action("CreateVolume", &[&what[..], &tag[..]].concat()).encode();
    let mut headers = http::HeaderMap::new();
    headers.insert("host", "ec2".parse().unwrap());
    headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    let signed = bulkhead_ec2::sigv4::Signed { method: "POST", target: "/", body: body.as_bytes() };
    let key = ground.moto.key("driver");
    bulkhead_ec2::sigv4::sign(signed, &mut headers, &key, ("eu-central-1", "ec2"), (Duration::ZERO, true));
    let mut request = format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in &headers {
        request += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    let mut stream = TcpStream::connect(("127.0.0.1", ground.proxy.port())).unwrap();
    stream.write_all(format!("{request}\r\n{body}").as_bytes()).unwrap();
    // Read by the proxy, most likely, and not answered yet.
    while ground.proxy.stats().of("CreateVolume") == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(stream);
    let start = Instant::now();
    while ground.count() == 0 {
        assert!(start.elapsed() < Duration::from_secs(10), "the volume was not made");
    }
    while ground.proxy.stats().running > 0 {
        assert!(start.elapsed() < Duration::from_secs(10), "the request does not end");
    }
    assert_eq!(ground.proxy.stats().with("ok"), 1);
}

#[test]
fn the_admin_port_changes_settings_and_tells_counts() {
    let Some(mut ground) = ground("admin") else { return };
    let admin = ground.proxy.admin();
    let port: u16 = admin.trim_end_matches('/').rsplit(':').next().unwrap().parse().unwrap();
    let ask = |method: &str, path: &str, body: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str::<Value>(body).unwrap())
    };
    let change = r#"{"faults": {"throttle": 1.0}, "rules": {"creating_ms": 7}}"#;
    let (status, settings) = ask("PUT", "/settings", change);
    assert_eq!(
        (status, &settings["rules"]["creating_ms"], &settings["rules"]["attach_limit"]),
        (200, &json!(7), &json!(28))
    );
    assert_eq!(ground.boto.refused("describe_volumes", &json!({})), "RequestLimitExceeded");
    assert_eq!(ask("PUT", "/settings", r#"{"faults": {}}"#).0, 200);
    assert_eq!(ask("POST", "/plan?action=DescribeVolumes&fault=error-before", "").0, 200);
    assert_eq!(ground.boto.refused("describe_volumes", &json!({})), "Unavailable");
    ground.boto.ok("describe_volumes", &json!({}));
    assert_eq!(ask("GET", "/stats", "").1["actions"]["DescribeVolumes"], 3);
    assert_eq!(ask("DELETE", "/stats", "").0, 200);
    assert_eq!(ground.proxy.stats().requests(), 0);
    for (method, path, body) in [
        ("PUT", "/settings", "{"),
        ("PUT", "/settings", r#"{"fautls": {}}"#),
        ("PUT", "/settings", r#"{"faults": {"no-such": 1}}"#),
        ("POST", "/plan?fault=no-such", ""),
        ("GET", "/elsewhere", ""),
    ] {
        let (status, answer) = ask(method, path, body);
        assert!(status >= 400 && !answer["error"].as_str().unwrap().is_empty(), "{method} {path} {body}: {answer}");
    }
    ground.boto.ok("describe_volumes", &json!({}));
}

#[test]
fn a_service_that_is_not_ec2_meets_no_fault() {
    let Some(ground) = ground("sts") else { return };
    ground.proxy.set(|settings| settings.faults = [(Fault::LostRequest, 1.0)].into());
    let service = json!({ "service": "sts" });
    let mut sts = Boto::with(&ground.proxy.url(), "eu-central-1", &ground.moto.key("driver"), &service);
    sts.ok("get_caller_identity", &json!({}));
}

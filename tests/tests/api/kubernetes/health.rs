//! /livez, /readyz and /healthz, over real HTTP.

use super::{EXAMPLE, LOCAL, answers, example};
use crate::sandboxed;
use bulkhead_tests::{
    Driver, HostBuilder, Sandbox,
    http::{ask, free_port, get},
};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

fn builder(sandbox: &Sandbox, drivers: impl IntoIterator<Item = Driver>) -> HostBuilder {
    let mut builder = HostBuilder::new(sandbox, drivers);
    builder.health = Some(free_port());
    builder
}

#[test]
fn it_is_alive_while_it_compiles_and_ready_when_it_serves() {
    sandboxed(async |s| {
        let builder = builder(&s, [Driver::local(&s), example()]);
        let port = builder.health.unwrap();
        let host = builder.spawn();
        answers(&builder, "/livez", 200).await;
        let starting = "starting: its backend is being loaded";
        for path in ["/readyz", "/healthz"] {
            let answer = get(port, path);
            assert_eq!(answer.status, 503, "{answer:?}");
            assert_eq!(answer.body, format!("{LOCAL}: {starting}\n{EXAMPLE}: {starting}\n"));
        }
        assert_eq!(get(port, "/readyz/example.csi.bulkhead.dev").body, format!("{EXAMPLE}: {starting}\n"));
        for path in ["/readyz", "/healthz", "/readyz/local.csi.bulkhead.dev", "/healthz/example.csi.bulkhead.dev"] {
            let answer = answers(&builder, path, 200).await;
            assert!(answer.body.lines().all(|line| line.ends_with(": ok")), "{answer:?}");
            assert!(answer.head.iter().any(|line| line == "content-type: text/plain; charset=utf-8"), "{answer:?}");
        }
        for path in ["/", "/metrics", "/readyz/", "/readyz/other", "/livez/local.csi.bulkhead.dev", "/readyz/../livez"]
        {
            assert_eq!(get(port, path).status, 404, "{path}");
        }
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let refused = ask(port, method, "/readyz");
            assert_eq!(refused.status, 405, "{refused:?}");
            assert!(refused.head.iter().any(|line| line == "allow: GET, HEAD"), "{refused:?}");
        }
        let head = ask(port, "HEAD", "/readyz");
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        assert!(host.stop().success());
        assert_eq!(get(port, "/livez").status, 0, "nobody listens any more");
    });
}

#[test]
fn one_driver_that_is_not_healthy_is_named_and_does_not_kill_the_host() {
    sandboxed(async |s| {
        let sick = Driver { config: "probe: trap".into(), ..Driver::bad(&s) };
        let builder = builder(&s, [sick, example()]);
        let _host = builder.start();
        for path in ["/readyz", "/healthz"] {
            let answer = get(builder.health.unwrap(), path);
            assert_eq!(answer.status, 503, "{answer:?}");
            let lines: Vec<_> = answer.body.lines().collect();
            assert!(lines[0].starts_with("bad.csi.bulkhead.dev: the backend is not healthy: "), "{answer:?}");
            assert_eq!(lines[1..], ["example.csi.bulkhead.dev: ok"]);
        }
        answers(&builder, "/readyz/example.csi.bulkhead.dev", 200).await;
        answers(&builder, "/livez", 200).await;
    });
}

/// The backend's own patience is longer than a probe's.
#[test]
fn a_driver_that_does_not_answer_in_time_fails_the_probe_alone() {
    sandboxed(async |s| {
        let slow = Driver { config: "probe: loop".into(), limits: "callTimeout: 20s".into(), ..Driver::bad(&s) };
        let builder = builder(&s, [slow]);
        let _host = builder.start();
        let start = Instant::now();
        let late = get(builder.health.unwrap(), "/healthz");
        assert_eq!((late.status, late.body.as_str()), (503, "bad.csi.bulkhead.dev: no answer within 1 s\n"));
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
        assert_eq!(
            get(builder.health.unwrap(), "/livez").status,
            200,
            "a guest that spins is no reason to kill the host"
        );
    });
}

#[test]
fn slow_and_endless_clients_are_cut_off() {
    sandboxed(async |s| {
        let builder = builder(&s, [example()]);
        let _host = builder.start();
        let connect = || {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, builder.health.unwrap())).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            stream
        };
        let start = Instant::now();
        let (mut silent, mut half, mut endless) = (connect(), connect(), connect());
        half.write_all(b"GET /livez HTTP/1.1\r\nHost").unwrap();
        // More than is read: the host closes while it is still being sent.
        let _ = endless.write_all(format!("GET /livez HTTP/1.1\r\nX: {}", "x".repeat(1 << 20)).as_bytes());
        for stream in [&mut silent, &mut half, &mut endless] {
            let mut answer = vec![];
            let _ = stream.read_to_end(&mut answer);
            assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        assert_eq!(get(builder.health.unwrap(), "/livez").status, 200);
    });
}

#[test]
fn a_port_that_is_taken_is_an_error_at_its_line() {
    sandboxed(async |s| {
        let builder = builder(&s, [example()]);
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, builder.health.unwrap())).unwrap();
        for args in [&["serve", "--config"][..], &["serve", "--keep-going", "--config"], &["check"]] {
            let (status, _, stderr) = builder.run(args);
            assert_eq!(status.code(), Some(2), "{stderr}");
            let line =
                format!("bulkhead.yaml:6:21: health.endpoint: can't listen on 127.0.0.1:{}", builder.health.unwrap());
            assert!(stderr.contains(&line) && stderr.contains("choose another port"), "{stderr}");
        }
        assert!(!builder.socket(EXAMPLE).exists());
    });
}

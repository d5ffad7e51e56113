//! `serve --keep-going`: one driver of several can't be loaded.

use super::{EXAMPLE, LOCAL, answers, builder, example, registration_socket, until};
use crate::sandboxed;
use bulkhead_proto::v1;
use bulkhead_tests::{
    Client, Driver, HostBuilder, Kubelet,
    client::{Use, capability, create_request},
    host::backend,
};
use std::{
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};
use tonic::Code;

fn keep_going(mut builder: HostBuilder) -> HostBuilder {
    builder.keep_going = true;
    builder
}

async fn client(builder: &HostBuilder, driver: &str) -> Client {
    until("the socket", || UnixStream::connect(builder.socket(driver)).is_ok()).await;
    Client::connect(&builder.socket(driver), &builder.kubelet()).await
}

/// Puts a file in the place of another as one, as a copy that is done well does.
fn replace(path: &Path, bytes: &[u8]) {
    let aside = path.with_extension("new");
    fs::write(&aside, bytes).unwrap();
    fs::rename(&aside, path).unwrap();
}

async fn until_broken(builder: &HostBuilder, driver: &str, why: &str) {
    until("the driver is given up for now", || {
        bulkhead_tests::http::get(builder.health.unwrap(), &format!("/readyz/{driver}")).body.contains(why)
    })
    .await;
}

#[test]
fn a_broken_component_costs_its_own_driver_only_and_can_be_mended() {
    sandboxed(async |s| {
        let source: PathBuf = s.path().join("broken.wasm");
        fs::write(&source, b"\0asm nonsense").unwrap();
        let broken = Driver { source: source.clone(), ..example() };
        let builder = keep_going(builder(&s, [broken, Driver::local(&s)]));
        let host = builder.spawn();
        let mut kubelet = Kubelet::start(&builder.kubelet());
        kubelet.has(&[LOCAL]).await;
        until_broken(&builder, EXAMPLE, "broken.wasm is not a WebAssembly component").await;

        let ready = answers(&builder, "/readyz", 503).await.body;
        let place = "bulkhead.yaml:12:15: drivers[0].backend.source: ";
        let lines: Vec<_> = ready.lines().collect();
        assert!(lines[0].starts_with(EXAMPLE) && lines[0].contains(place), "{ready}");
        assert_eq!(lines[1..], [format!("{LOCAL}: ok")]);
        answers(&builder, "/livez", 200).await;
        answers(&builder, "/readyz/local.csi.bulkhead.dev", 200).await;
        let log = host.log();
        assert!(log.lines().any(|line| line.contains("ERROR") && line.contains(place)), "{log}");
        assert!(!registration_socket(&builder, EXAMPLE).exists());

        let mut client = client(&builder, EXAMPLE).await;
        let probe = client.identity.probe(v1::ProbeRequest {}).await.unwrap_err();
        assert_eq!(probe.code(), Code::FailedPrecondition);
        assert!(probe.message().contains(place), "{probe}");
        for refused in [
            client.identity.get_plugin_info(v1::GetPluginInfoRequest {}).await.map(drop),
            client.delete("v").await,
            client.node.node_get_info(v1::NodeGetInfoRequest {}).await.map(drop),
        ] {
            let refused = refused.unwrap_err();
            assert_eq!(refused.code(), Code::Unavailable);
            assert!(refused.message().contains(place), "{refused}");
        }

        replace(&source, &fs::read(backend("example")).unwrap());
        kubelet.has(&[EXAMPLE, LOCAL]).await;
        answers(&builder, "/readyz", 200).await;
        assert_eq!(client.identity.probe(v1::ProbeRequest {}).await.unwrap().into_inner().ready, Some(true));
        assert_eq!(log.matches("it is tried again").count(), 1, "the same is said once");
        assert!(host.stop().success());
        assert!(!builder.socket(EXAMPLE).exists() && !registration_socket(&builder, EXAMPLE).exists());
    });
}

#[test]
fn a_pool_that_comes_late_is_waited_for() {
    sandboxed(async |s| {
        let pool = s.path().join("late");
        let late = Driver { pools: vec![("fast".into(), pool.clone())], ..Driver::local(&s) };
        let builder = keep_going(builder(&s, [late]));
        let _host = builder.spawn();
        until_broken(&builder, LOCAL, "drivers[0].backend.grants.pools.fast.path: ").await;
        fs::create_dir(&pool).unwrap();
        Kubelet::start(&builder.kubelet()).has(&[LOCAL]).await;
        answers(&builder, "/readyz", 200).await;
        let client = client(&builder, LOCAL).await;
        client.create(create_request("pvc", 1 << 20, Use::Block, &[])).await.unwrap();
    });
}

#[test]
fn volumes_of_a_broken_driver_are_taken_down_from_the_journal() {
    sandboxed(async |s| {
        let source = s.path().join("local.wasm");
        fs::copy(backend("local"), &source).unwrap();
        let builder = keep_going(builder(&s, [Driver { source: source.clone(), ..Driver::local(&s) }]));
        let cap = || capability(Use::Mount("xfs"));
        let host = builder.start();
        let before = host.client().await;
        let volume = before.create(create_request("pvc", 320 << 20, Use::Mount("xfs"), &[])).await.unwrap();
        let id = volume.volume_id.as_str();
        before.stage(&volume, cap()).await.unwrap();
        let target = before.publish(&volume, cap(), "pod", false).await.unwrap();
        fs::write(Path::new(&target).join("file"), "kept").unwrap();
        drop(before);
        assert!(host.stop().success());

        replace(&source, b"\0asm nonsense");
        let _host = builder.spawn();
        until_broken(&builder, LOCAL, "is not a WebAssembly component").await;
        let broken = client(&builder, LOCAL).await;
        assert_eq!(fs::read_to_string(Path::new(&target).join("file")).unwrap(), "kept", "pods go on");
        assert_eq!(broken.stage(&volume, cap()).await.unwrap_err().code(), Code::Unavailable);
        assert_eq!(broken.stats(id, &target).await.unwrap_err().code(), Code::Unavailable);
        assert_eq!(broken.unstage(id).await.unwrap_err().code(), Code::FailedPrecondition, "published");
        broken.unpublish(id, "pod").await.unwrap();
        broken.unpublish(id, "pod").await.unwrap();
        broken.unstage(id).await.unwrap();
        s.assert_clean();
        assert_eq!(s.journal(&builder.state()), Vec::<PathBuf>::new());
        let path = v1::NodeUnstageVolumeRequest { volume_id: id.into(), staging_target_path: String::new() };
        let shapeless = broken.node.clone().node_unstage_volume(path).await.unwrap_err();
        assert_eq!(shapeless.code(), Code::InvalidArgument, "requests are checked as ever: {shapeless}");

        replace(&source, &fs::read(backend("local")).unwrap());
        answers(&builder, "/healthz", 200).await;
        broken.stage(&volume, cap()).await.unwrap();
        let target = broken.publish(&volume, cap(), "pod", true).await.unwrap();
        assert_eq!(fs::read_to_string(Path::new(&target).join("file")).unwrap(), "kept");
        broken.unpublish(id, "pod").await.unwrap();
        broken.unstage(id).await.unwrap();
        broken.delete(id).await.unwrap();
        s.assert_clean();
    });
}

#[test]
fn what_is_about_no_driver_alone_ends_the_host_nevertheless() {
    sandboxed(async |s| {
        let builder = keep_going(builder(&s, [example()]));
        let config = builder.write_config();
        for (from, to) in [("version: 1", "version: 2"), ("drivers:", "divers:"), ("/kubelet", "/no-kubelet")] {
            let text = fs::read_to_string(&config).unwrap().replacen(from, to, 1);
            let wrong = s.path().join("wrong.yaml");
            fs::write(&wrong, text).unwrap();
            let mut serve = std::process::Command::new(bulkhead_tests::host::binary());
            let (status, _, stderr) =
                bulkhead_tests::host::run_with_timeout(serve.args(["serve", "--keep-going", "--config"]).arg(&wrong));
            assert_eq!(status.code(), Some(2), "{stderr}");
            assert!(stderr.contains("wrong.yaml:"), "{stderr}");
        }
    });
}

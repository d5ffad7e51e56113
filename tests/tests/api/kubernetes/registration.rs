//! Kubelet comes, goes, forgets and refuses; a driver is registered whenever it can be.

use super::{EXAMPLE, LOCAL, answers, builder, example, registration_socket, until};
use crate::sandboxed;
use bulkhead_proto::registration::PluginInfo;
use bulkhead_tests::{
    Driver, Kubelet,
    client::{Use, capability, create_request},
};
use rustix::process::Signal;
use std::{
    fs,
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    time::{Duration, Instant},
};

#[test]
fn drivers_are_registered_when_they_are_ready_and_say_goodbye_first() {
    sandboxed(async |s| {
        let hold = s.path().join("hold");
        let builder =
            builder(&s, [Driver::local(&s), example()]).failpoint(format!("stage.mounted=hold:{}", hold.display()));
        let mut kubelet = Kubelet::start(&builder.kubelet());
        let mut host = builder.start();
        let waiting = answers(&builder, "/readyz", 503).await;
        assert!(
            waiting.body.contains("to kubelet") || waiting.body.contains("kubelet has not answered"),
            "{waiting:?}"
        );
        kubelet.has(&[EXAMPLE, LOCAL]).await;
        let info = PluginInfo {
            r#type: "CSIPlugin".into(),
            name: LOCAL.into(),
            endpoint: builder.socket(LOCAL).to_str().unwrap().into(),
            supported_versions: vec!["1.0.0".into()],
        };
        assert_eq!(kubelet.drivers[LOCAL], (info, "node-1".into()));
        let socket = registration_socket(&builder, LOCAL);
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
        let ready = answers(&builder, "/readyz", 200).await;
        assert_eq!(ready.body, format!("{LOCAL}: ok\n{EXAMPLE}: ok\n"));

        let client = host.client_of(LOCAL).await;
        let request = create_request("pvc", 1 << 20, Use::Mount(""), &[("type", "directory")]);
        let volume = client.create(request).await.unwrap();
        let (staging, staged) = (client.clone(), volume.clone());
        let call = tokio::spawn(async move { staging.stage(&staged, capability(Use::Mount(""))).await });
        until("the call is held", || hold.with_extension("reached").exists()).await;
        host.signal(Signal::TERM);
        kubelet.has(&[]).await;
        assert!(host.try_wait().is_none() && !call.is_finished(), "kubelet knows before the call has ended");
        assert!(answers(&builder, "/readyz", 503).await.body.contains("stopping"));
        assert_eq!(answers(&builder, "/livez", 200).await.body, "bulkhead: ok\n", "it is alive until it ends");
        fs::remove_file(&hold).unwrap();
        call.await.unwrap().expect("it ran to its end");
        until("the end", || host.try_wait().is_some()).await;
        assert_eq!(fs::read_dir(socket.parent().unwrap()).unwrap().count(), 0, "no socket is left");

        // The next host does not mind what a killed one leaves.
        drop(UnixListener::bind(&socket).unwrap());
        let next = builder.start();
        let mut kubelet = Kubelet::start(&builder.kubelet());
        kubelet.has(&[EXAMPLE, LOCAL]).await;
        let client = next.client_of(LOCAL).await;
        client.unstage(&volume.volume_id).await.unwrap();
        client.delete(&volume.volume_id).await.unwrap();
        s.assert_clean();
    });
}

#[test]
fn a_kubelet_that_restarts_finds_everything_and_one_whose_directories_were_wiped_too() {
    sandboxed(async |s| {
        let builder = builder(&s, [Driver { name: LOCAL.into(), ..example() }]);
        let host = builder.start();
        let old = host.client().await;
        Kubelet::start(&builder.kubelet()).has(&[LOCAL]).await;
        let mut kubelet = Kubelet::start(&builder.kubelet());
        kubelet.has(&[LOCAL]).await;

        let socket = registration_socket(&builder, LOCAL);
        fs::remove_dir_all(socket.parent().unwrap()).unwrap();
        fs::remove_file(builder.socket(LOCAL)).unwrap();
        kubelet.has(&[]).await;
        until("the CSI socket is back", || UnixStream::connect(builder.socket(LOCAL)).is_ok()).await;
        kubelet.has(&[LOCAL]).await;
        answers(&builder, "/readyz", 200).await;
        assert!(host.log().contains("is gone or was replaced"), "{}", host.log());
        // Who was connected has noticed nothing.
        old.identity.clone().get_plugin_info(bulkhead_proto::v1::GetPluginInfoRequest {}).await.unwrap();
        assert!(host.stop().success());
        assert!(!socket.exists() && !builder.socket(LOCAL).exists());
    });
}

#[test]
fn a_socket_that_was_replaced_is_taken_back_unless_somebody_answers_there() {
    sandboxed(async |s| {
        let builder = builder(&s, [Driver { name: LOCAL.into(), ..example() }]);
        let host = builder.start();
        let mut kubelet = Kubelet::start(&builder.kubelet());
        kubelet.has(&[LOCAL]).await;
        let socket = registration_socket(&builder, LOCAL);
        fs::remove_file(&socket).unwrap();
        drop(UnixListener::bind(&socket).unwrap());
        until("a dead one is replaced", || UnixStream::connect(&socket).is_ok()).await;
        kubelet.until("registration", |kubelet| kubelet.questions == 2).await;

        fs::remove_file(&socket).unwrap();
        let stranger = UnixListener::bind(&socket).unwrap();
        let start = Instant::now();
        while !answers(&builder, "/readyz", 503).await.body.contains("somebody answers on") {
            assert!(start.elapsed() < super::PATIENCE, "nothing is said of the stranger");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(host.log().matches("somebody answers on").count(), 1, "said once");
        drop(stranger);
        kubelet.until("registration", |kubelet| kubelet.questions == 3).await;
        answers(&builder, "/readyz", 200).await;
    });
}

#[test]
fn a_refused_driver_says_so_and_is_offered_again() {
    sandboxed(async |s| {
        let builder = builder(&s, [Driver { name: LOCAL.into(), ..example() }]);
        let host = builder.start();
        let mut kubelet = Kubelet::start(&builder.kubelet());
        kubelet.refuses = Some("node-1 is \u{7}not wanted".into());
        kubelet.until("three refusals", |kubelet| kubelet.questions == 3).await;
        let refused = answers(&builder, "/readyz/local.csi.bulkhead.dev", 503).await;
        let why = "local.csi.bulkhead.dev: not registered: kubelet refused it: node-1 is ";
        assert!(refused.body.starts_with(why) && refused.body.contains("not wanted"), "{refused:?}");
        assert!(host.log().contains("kubelet refused to register the driver: see that it finds the endpoint"));
        assert_eq!(answers(&builder, "/healthz", 200).await.status, 200, "the driver itself is fine");
        kubelet.refuses = None;
        kubelet.has(&[LOCAL]).await;
        answers(&builder, "/readyz", 200).await;
        assert!(host.log().contains("registered with kubelet"));
    });
}

#[test]
fn what_is_not_ready_is_not_offered_and_a_controller_offers_nothing() {
    sandboxed(async |s| {
        let starting = || Driver { config: "probe: starting".into(), ..Driver::bad(&s) };
        let both = builder(&s, [starting(), example()]).apart("both");
        let _host = both.start();
        let mut kubelet = Kubelet::start(&both.kubelet());
        kubelet.has(&[EXAMPLE]).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        kubelet.has(&[EXAMPLE]).await;
        let waiting = answers(&both, "/readyz", 503).await.body;
        assert!(waiting.contains("bad.csi.bulkhead.dev: not ready: the backend is still starting up"), "{waiting}");

        // A node asks no backend whether the storage system can be reached: it has nothing to reach it with.
        let node = builder(&s, [starting(), example()]).mode("node").apart("node");
        let _host = node.start();
        Kubelet::start(&node.kubelet()).has(&["bad.csi.bulkhead.dev", EXAMPLE]).await;

        let controller = builder(&s, [example()]).mode("controller").apart("controller");
        let _host = controller.start();
        answers(&controller, "/readyz", 200).await;
        assert!(!controller.kubelet().join("plugins_registry").exists());
    });
}

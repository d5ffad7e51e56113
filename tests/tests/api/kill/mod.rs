//! The host is killed after every step that it takes, and started again. Then one of three things happens: the same
//! call once more, the opposite call, or DeleteVolume. Whatever it is, the machine looks afterwards as if nothing had
//! been killed, and no data is lost.

mod cases;
mod more;
mod pernode;
mod script;

use crate::sandboxed;
use bulkhead_node::failpoint;
use bulkhead_tests::{Client, Driver, HostBuilder, Places, Sandbox, Snapshot};
use cases::{Case, Op, Start, Variant};
use rustix::process::Signal;
use script::Subject;
use std::{
    os::unix::{fs::FileExt, process::ExitStatusExt},
    time::{Duration, Instant},
};
use tonic::Code;

/// What comes after the kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Repeat,
    Opposite,
    Delete,
}

/// A sandbox and how hosts are made in it.
struct Bench<'a> {
    sandbox: &'a Sandbox,
    places: Places,
    builder: HostBuilder,
}

impl<'a> Bench<'a> {
    fn new(sandbox: &'a Sandbox) -> Self {
        // A hundred hosts that each name every unfinished volume: too much to print when a test fails.
        let builder =
            HostBuilder::new(sandbox, [Driver::local(sandbox)]).env("BULKHEAD_LOG", "warn,bulkhead_node=error");
        Self { sandbox, places: Places::of(sandbox), builder }
    }

    fn snapshot(&self, subject: &Subject) -> Snapshot {
        self.places.snapshot(self.sandbox, &subject.id())
    }

    /// Runs the operation on a host that dies at that failpoint.
    async fn kill_at(&self, subject: &Subject, failpoint: &str) {
        let mut host = self.builder.clone().failpoint(format!("{failpoint}=kill")).start();
        let answer = subject.act(&host.client().await).await;
        assert!(answer.is_err(), "{subject:?} does not come by {failpoint}");
        let status = host.wait();
        assert_eq!(status.signal(), Some(9), "{subject:?} at {failpoint}: {answer:?}");
    }

    /// A host that comes up after the kill repeats the operation, and the rest of the volume's life follows.
    async fn repeat_and_finish(&self, subject: &Subject, sandbox: &Sandbox) {
        let host = self.builder.start();
        let client = host.client().await;
        subject.act(&client).await.unwrap();
        subject.finish(&client, sandbox, &self.places).await;
    }
}

/// How the volume of a case looks if nothing is killed: after the operation, and for `Then::Opposite` after both.
async fn undisturbed(bench: &Bench<'_>, subject: &Subject, then: Then) -> Snapshot {
    // With all the others set to kill, a call that succeeds shows that the table of cases says all.
    let reached = subject.case.failpoints();
    let others = failpoint::ALL.iter().filter(|name| !reached.contains(name));
    let others: Vec<_> = others.map(|name| format!("{name}=kill")).collect();
    let host = bench.builder.clone().failpoint(others.join(";")).start();
    subject.act(&host.client().await).await.unwrap();
    drop(host);
    if then == Then::Opposite {
        let host = bench.builder.start();
        subject.opposite(&host.client().await).await.unwrap();
    }
    comparable(bench.snapshot(subject), subject.case, then)
}

/// An expansion that was cut short and is not repeated may have made the object larger or not.
fn comparable(snapshot: Snapshot, case: Case, then: Then) -> Snapshot {
    if (case.op, then) == (Op::Expand, Then::Opposite) {
        return Snapshot { object: None, image_bytes: None, ..snapshot };
    }
    snapshot
}

async fn matrix(sandbox: &Sandbox, variant: Variant, then: Then) {
    let start = Instant::now();
    let bench = Bench::new(sandbox);
    let cases = variant.cases();
    let killed = |case: &Case| case.failpoints().into_iter().map(|name| (Subject::new(*case, name), name)).collect();
    let killed: Vec<Vec<(Subject, &str)>> = cases.iter().map(killed).collect();
    let references: Vec<_> = cases.iter().map(|case| Subject::new(*case, "undisturbed")).collect();
    let host = bench.builder.start();
    let client = host.client().await;
    for subject in references.iter().chain(killed.iter().flatten().map(|(subject, _)| subject)) {
        subject.prepare(&client).await;
    }
    drop(host);
    for (subject, name) in killed.iter().flatten() {
        bench.kill_at(subject, name).await;
    }
    let mut expected = vec![];
    for reference in &references {
        expected.push(undisturbed(&bench, reference, then).await);
    }
    let host = bench.builder.start();
    let client = host.client().await;
    for ((killed, reference), expected) in killed.iter().zip(&references).zip(&expected) {
        for (subject, name) in killed {
            println!("{:?} killed at {name}, then {then:?}", subject.case);
            if then == Then::Delete {
                deletion(&bench, &client, subject, name).await;
                continue;
            }
            // Twice: what is done stays done.
            for _ in 0..2 {
                match then {
                    Then::Repeat => subject.act(&client).await.unwrap(),
                    _ => subject.opposite(&client).await.unwrap(),
                }
                assert_eq!(comparable(bench.snapshot(subject), subject.case, then), *expected);
            }
            subject.finish(&client, sandbox, &bench.places).await;
        }
        reference.finish(&client, sandbox, &bench.places).await;
    }
    bench.places.assert_empty(sandbox);
    let kills: usize = killed.iter().map(Vec::len).sum();
    println!("{variant:?}, {then:?}: {kills} kills in {:?}", start.elapsed());
}

/// Nobody repeats or undoes anything: the volume is deleted if no node uses it, and refused with its data intact if one does.
async fn deletion(bench: &Bench<'_>, client: &Client, subject: &Subject, name: &str) {
    let in_use = subject.case.in_use_after(name);
    let found = bench.snapshot(subject);
    assert_eq!(found.object.is_some(), in_use.is_some(), "{found:#?}");
    assert_eq!(!found.users.is_empty(), in_use == Some(true), "{found:#?}");
    match client.delete(&subject.id()).await {
        Ok(()) => {
            assert_ne!(in_use, Some(true), "deleted while in use");
            // A record of it may be left; the node is asked to forget it.
            client.unpublish(&subject.id(), "pod").await.unwrap();
            client.unstage(&subject.id()).await.unwrap();
            let left = bench.snapshot(subject);
            assert!(left.is_empty(), "{left:#?}");
        }
        Err(e) => {
            assert_eq!((e.code(), in_use), (Code::FailedPrecondition, Some(true)), "{e}");
            assert_eq!(bench.snapshot(subject), found, "a refused call changes nothing");
            subject.finish(client, bench.sandbox, &bench.places).await;
        }
    }
}

macro_rules! matrix {
    ($($name:ident: $variant:ident, $then:ident;)*) => {
        $(#[test]
        fn $name() {
            sandboxed(async |s| matrix(&s, Variant::$variant, Then::$then).await);
        })*
    };
}

matrix! {
    an_ext4_volume_survives_and_the_call_is_repeated: Ext4, Repeat;
    an_xfs_volume_survives_and_the_call_is_repeated: Xfs, Repeat;
    a_raw_block_volume_survives_and_the_call_is_repeated: Block, Repeat;
    a_directory_volume_survives_and_the_call_is_repeated: Directory, Repeat;
    an_ext4_volume_survives_and_the_opposite_is_called: Ext4, Opposite;
    an_xfs_volume_survives_and_the_opposite_is_called: Xfs, Opposite;
    a_raw_block_volume_survives_and_the_opposite_is_called: Block, Opposite;
    a_directory_volume_survives_and_the_opposite_is_called: Directory, Opposite;
    an_ext4_volume_survives_and_is_deleted_only_if_unused: Ext4, Delete;
    an_xfs_volume_survives_and_is_deleted_only_if_unused: Xfs, Delete;
    a_raw_block_volume_survives_and_is_deleted_only_if_unused: Block, Delete;
    a_directory_volume_survives_and_is_deleted_only_if_unused: Directory, Delete;
}

/// Undoing what was cut short is killed too, at each of its steps in turn.
#[test]
fn a_host_that_is_killed_again_while_it_recovers_loses_nothing() {
    sandboxed(async |s| {
        for variant in Variant::ALL {
            let bench = Bench::new(&s);
            let case = Case { variant, op: Op::Stage, start: Start::Data };
            let subject = Subject::new(case, "again");
            subject.prepare(&bench.builder.start().client().await).await;
            let steps = failpoint::ALL.iter().filter(|name| name.starts_with("unstage.") && **name != "unstage.done");
            let steps = steps.filter(|name| !cases::ELSEWHERE.contains(name));
            for name in [&"stage.marked"].into_iter().chain(steps) {
                bench.kill_at(&subject, name).await;
            }
            bench.repeat_and_finish(&subject, &s).await;
            bench.places.assert_empty(&s);
        }
    });
}

/// Between two steps too: a mkfs that was cut short is not taken for somebody's data, nor for a file system.
#[test]
fn a_host_that_is_killed_at_any_moment_of_a_stage_stages_again() {
    sandboxed(async |s| {
        let bench = Bench::new(&s);
        for variant in [Variant::Ext4, Variant::Xfs] {
            for milliseconds in (0..60).step_by(4) {
                let case = Case { variant, op: Op::Stage, start: Start::Empty };
                let subject = Subject::new(case, "moment");
                let mut host = bench.builder.start();
                let client = host.client().await;
                subject.prepare(&client).await;
                let answer = async { subject.act(&client).await };
                // Whether it has ended by then makes no difference.
                let _ = tokio::time::timeout(Duration::from_millis(milliseconds), answer).await;
                host.signal(Signal::KILL);
                host.wait();
                bench.repeat_and_finish(&subject, &s).await;
            }
        }
        bench.places.assert_empty(&s);
    });
}

/// What lies on a new image when the host comes back is mkfs's own only if its record says that mkfs had begun.
#[test]
fn what_a_mkfs_that_was_cut_short_has_written_is_blanked_and_what_others_have_written_is_kept() {
    sandboxed(async |s| {
        let bench = Bench::new(&s);
        for variant in [Variant::Ext4, Variant::Xfs] {
            for (name, begun) in [("stage.attached", false), ("stage.format-intent", true)] {
                for then in [Then::Repeat, Then::Opposite] {
                    let subject = Subject::new(Case { variant, op: Op::Stage, start: Start::Empty }, name);
                    subject.prepare(&bench.builder.start().client().await).await;
                    bench.kill_at(&subject, name).await;
                    let image = subject.image(&bench.places);
                    image.write_all_at(&[0xab; 8192], 1 << 20).unwrap();
                    let found = || {
                        let mut found = [0; 8192];
                        image.read_exact_at(&mut found, 1 << 20).unwrap();
                        found
                    };
                    let host = bench.builder.start();
                    let client = host.client().await;
                    if then == Then::Opposite {
                        subject.opposite(&client).await.unwrap();
                        assert_eq!(found() == [0; 8192], begun, "{variant:?} {name}");
                        assert!(bench.snapshot(&subject).is_idle());
                    }
                    let answer = subject.act(&client).await.map_err(|e| e.code());
                    assert_eq!(
                        answer,
                        if begun { Ok(()) } else { Err(Code::FailedPrecondition) },
                        "{variant:?} {name}"
                    );
                    if !begun {
                        assert_eq!(found(), [0xab; 8192], "somebody's data");
                        assert!(bench.snapshot(&subject).is_idle());
                        image.write_all_at(&[0; 8192], 1 << 20).unwrap();
                    }
                    subject.finish(&client, &s, &bench.places).await;
                }
            }
        }
        bench.places.assert_empty(&s);
    });
}

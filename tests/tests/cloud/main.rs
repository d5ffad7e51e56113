//! Tier "cloud", in the VM: the backend for Amazon EBS whole. A controller and a node in two processes that share nothing but the node
//! directory, moto's EC2 behind our proxy, and behind what moto says real disks: the kernel's own NVMe target and initiator.
//!
//! All tests use one moto, one controller and one node, which take longer to start in an emulated machine than a test does; each
//! test leaves nothing behind, and the first that fails ends the program. Arguments: parts of test names.
#![allow(missing_docs, clippy::unwrap_used)]

mod devices;
mod disks;
mod kills;
mod life;
mod rig;
mod steps;

use bulkhead_tests::{Sandbox, client::Use};
use rig::Rig;
use std::{future::Future, pin::Pin, time::Instant};

type Test = for<'r> fn(&'r mut Rig) -> Pin<Box<dyn Future<Output = ()> + 'r>>;

const TESTS: &[(&str, Test)] = &[
    ("life::ext4", |rig| Box::pin(life::whole(rig, "ext4", Use::Mount("ext4")))),
    ("life::xfs", |rig| Box::pin(life::whole(rig, "xfs", Use::Mount("xfs")))),
    ("life::block", |rig| Box::pin(life::whole(rig, "block", Use::Block))),
    ("devices::another_volume_under_the_name_is_left_alone", |rig| Box::pin(devices::another_under_the_name(rig))),
    ("devices::a_volume_that_is_detached_while_staged_comes_down_and_comes_back", |rig| {
        Box::pin(devices::detached_while_staged(rig))
    }),
    ("kills::a_controller_that_is_killed_while_attaching_and_detaching_goes_on", |rig| {
        Box::pin(kills::controller_in_mid_attach(rig))
    }),
    ("kills::a_node_that_is_killed_makes_itself_known_again_and_goes_on", |rig| {
        Box::pin(kills::node_between_calls(rig))
    }),
];

fn main() {
    if !bulkhead_vm::machine::inside() {
        println!(
            "0 passed; 0 failed: the tests of the EBS backend with real disks run in the test VM, by `make test-vm`"
        );
        return;
    }
    let filters: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let sandbox = Sandbox::enter();
    // Threads of the runtime answer while a test waits for a host: they are in the sandbox's namespace, being started after it.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut rig = Rig::start(sandbox, &runtime);
    let mut passed = 0;
    for (name, test) in TESTS {
        if !filters.is_empty() && !filters.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        println!("test {name} ...");
        let begun = Instant::now();
        runtime.block_on(test(&mut rig));
        rig.assert_nothing_left();
        println!("test {name} ... ok ({:.0?})", begun.elapsed());
        passed += 1;
    }
    println!("{passed} passed; 0 failed");
}

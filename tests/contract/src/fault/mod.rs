//! Is the suite any good? A proxy between the suite and a driver plants one fault at a time; the cases that are named with a fault
//! must find it.
//!
//! ```text
//! suite  ->  Proxy (one Fault)  ->  driver
//! ```
//!
//! [`all`] has the faults, [`controls`] disturbances that a driver is allowed and no case may mind. To add one: a [`Fault`] in
//! the list of its subject's file, with a function that sets hooks for the RPCs that it bends. A hook gets the [`Call`], by which
//! it asks the driver (or doesn't, or asks for something else), and the request; what it gives is the answer. Without a hook an
//! RPC goes through unchanged. Hooks keep what they must remember in [`Call::with`], a memory that lives as long as the proxy.

mod attach;
pub mod cli;
mod create;
mod every_call;
mod groups;
mod hooks;
mod identity;
mod lists;
mod metadata;
mod node;
mod proxy;
mod served;
mod snapshots;
mod source;
mod volumes;

pub use hooks::{Call, Hooks, Stream};
pub use proxy::Proxy;

use tonic::{Code, Status};

/// One fault: a bug that drivers have had, or might.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// What `--fault` calls it; unique.
    pub name: &'static str,
    /// What the driver then does wrong.
    pub about: &'static str,
    /// Names or patterns of cases. Each that can be tried with the driver should fail; at least one must.
    pub cases: &'static [&'static str],
    /// Sets the hooks.
    pub plant: fn(&mut Hooks),
}

impl Fault {
    /// Whether the case of that name is one of [`Fault::cases`].
    pub fn names(&self, case: &str) -> bool {
        self.cases.iter().any(|glob| crate::run::matches(glob, case))
    }
}

const fn fault(
    name: &'static str,
    about: &'static str,
    cases: &'static [&'static str],
    plant: fn(&mut Hooks),
) -> Fault {
    Fault { name, about, cases, plant }
}

/// Every fault.
pub fn all() -> Vec<Fault> {
    [
        every_call::FAULTS,
        identity::FAULTS,
        create::FAULTS,
        source::FAULTS,
        volumes::FAULTS,
        attach::FAULTS,
        lists::FAULTS,
        snapshots::FAULTS,
        groups::FAULTS,
        metadata::FAULTS,
        node::FAULTS,
    ]
    .concat()
}

/// What a driver may do: their cases must pass.
pub fn controls() -> Vec<Fault> {
    every_call::CONTROLS.to_vec()
}

/// The fault or control of that name.
pub fn find(name: &str) -> Option<Fault> {
    all().into_iter().chain(controls()).find(|fault| fault.name == name)
}

/// The answer; in place of an error with that code, another answer.
fn unless<T>(answer: Result<T, Status>, code: Code, other: impl FnOnce() -> T) -> Result<T, Status> {
    match answer {
        Err(status) if status.code() == code => Ok(other()),
        answer => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, all, controls};
    use std::collections::BTreeSet;

    fn all_and_controls() -> impl Iterator<Item = Fault> {
        all().into_iter().chain(controls())
    }

    #[test]
    fn names_are_unique_and_plain() {
        let mut names = BTreeSet::new();
        for fault in all_and_controls() {
            let plain = fault.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
            assert!(plain && !fault.name.is_empty(), "{:?}", fault.name);
            assert!(!fault.about.is_empty(), "{} says nothing about itself", fault.name);
            assert!(names.insert(fault.name), "two faults are called {}", fault.name);
        }
        assert!(all().len() >= 30, "only {} faults", all().len());
    }

    #[test]
    fn every_pattern_of_a_fault_fits_a_case() {
        let cases = crate::cases::all();
        let mut wrong = vec![];
        for fault in all_and_controls() {
            let unfit = |glob: &&&str| !cases.iter().any(|case| crate::run::matches(glob, &case.name));
            wrong.extend(fault.cases.iter().filter(unfit).map(|glob| format!("{}: {glob}", fault.name)));
            if fault.cases.is_empty() {
                wrong.push(format!("{}: no case is named", fault.name));
            }
        }
        assert!(wrong.is_empty(), "no case fits:\n{}", wrong.join("\n"));
    }

    #[test]
    fn every_fault_sets_a_hook() {
        for fault in all_and_controls() {
            let mut hooks = super::Hooks::default();
            (fault.plant)(&mut hooks);
            assert!(!hooks.is_empty(), "{} changes nothing", fault.name);
        }
    }
}

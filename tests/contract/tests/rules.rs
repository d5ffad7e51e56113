//! The checklist fits the cases.
#![allow(missing_docs)]

use bulkhead_contract::{Outcome, case, cases, rules};

#[test]
fn every_rule_that_is_ticked_off_has_a_case_and_every_case_has_a_rule() {
    let (rules, cases) = (rules::all(), cases::all());
    assert!(rules.len() > 150, "only {} rules: is rules.md still read right?", rules.len());
    let wrong = rules::mismatches(&rules, &cases);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The test of the test: what does not fit is found.
#[test]
fn mismatches_are_found() {
    let rules = rules::all();
    let good = cases::all();
    let ok = |_| async { Outcome::Ok(()) };
    let found = |cases: &[_], what: &str| rules::mismatches(&rules, cases).iter().any(|line| line.contains(what));
    let with = |extra| [good.clone(), vec![extra]].concat();
    assert!(found(&with(case("a/b", &["no.such-rule"], &[], ok)), "does not have"));
    assert!(found(&with(case("a/b", &[], &[], ok)), "covers no rule"));
    assert!(found(&with(case("identity/probe", &["probe.ready"], &[], ok)), "two cases"));
    assert!(found(&[], "no case covers it"));
}

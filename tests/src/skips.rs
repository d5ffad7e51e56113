//! Which specs of csi-sanity may be left out: exactly those of a list, no more and no fewer.

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

/// How volumes are used in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Mounted file systems.
    Mount,
    /// Raw devices.
    Block,
}

impl Mode {
    /// As csi-sanity and the list call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mount => "mount",
            Self::Block => "block",
        }
    }
}

/// The specs of one mode that are left out, with reasons.
///
/// # Errors
/// A line that is not `SPEC | both, mount or block | REASON`, or a spec that is listed twice for the mode.
pub fn listed(text: &str, mode: Mode) -> Result<BTreeMap<String, String>, String> {
    let mut skipped = BTreeMap::new();
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fields: Vec<_> = line.split(" | ").map(str::trim).collect();
        let [spec, modes, reason] = fields[..] else {
            return Err(format!("line {number} is not `SPEC | MODE | REASON`: {line}"));
        };
        if spec.is_empty() || reason.is_empty() || !["both", "mount", "block"].contains(&modes) {
            return Err(format!("line {number}: a part is missing, or the mode is not both, mount or block: {line}"));
        }
        if modes != "both" && modes != mode.name() {
            continue;
        }
        if skipped.insert(spec.to_owned(), reason.to_owned()).is_some() {
            return Err(format!("line {number} lists a spec once more: {spec}"));
        }
    }
    Ok(skipped)
}

/// The state of every spec of a ginkgo JSON report: `passed`, `skipped`, `pending`, `failed` and others.
///
/// # Errors
/// It is no such report, or names a spec twice.
pub fn states(report: &str) -> Result<BTreeMap<String, String>, String> {
    let suites: Vec<Value> = serde_json::from_str(report).map_err(|e| format!("not a ginkgo report: {e}"))?;
    let mut states = BTreeMap::new();
    for spec in suites.iter().flat_map(|suite| suite["SpecReports"].as_array().into_iter().flatten()) {
        let containers = spec["ContainerHierarchyTexts"].as_array().into_iter().flatten();
        let mut parts: Vec<_> = containers.filter_map(Value::as_str).collect();
        let leaf = spec["LeafNodeText"].as_str().filter(|text| !text.is_empty());
        // What is no spec (a suite's set-up) has only a type.
        parts.extend(leaf.or(spec["LeafNodeType"].as_str()));
        let name = parts.join(" ");
        let state = spec["State"].as_str().ok_or_else(|| format!("a spec without a state: {name}"))?;
        if states.insert(name.clone(), state.to_owned()).is_some() {
            return Err(format!("two specs are called {name:?}"));
        }
    }
    Ok(states)
}

/// Compares what was run with the list.
///
/// # Errors
/// Something failed; nothing passed; a spec was left out and is not listed (`+`), or is listed and was not left out or
/// is unknown (`-`).
pub fn compare(states: &BTreeMap<String, String>, listed: &BTreeMap<String, String>) -> Result<(), String> {
    let mut wrong = String::new();
    let left_out = |state: &str| matches!(state, "skipped" | "pending");
    for (spec, state) in states.iter().filter(|(_, state)| *state != "passed" && !left_out(state)) {
        let _ = writeln!(wrong, "! {spec}: {state}");
    }
    if !states.values().any(|state| state == "passed") {
        wrong.push_str("! nothing has passed\n");
    }
    let skipped: BTreeSet<_> = states.iter().filter(|(_, state)| left_out(state)).map(|(spec, _)| spec).collect();
    for spec in skipped.iter().filter(|spec| !listed.contains_key(**spec)) {
        let _ = writeln!(wrong, "+ {spec}: not run, and not listed");
    }
    for spec in listed.keys().filter(|spec| !skipped.contains(spec)) {
        let why = if states.contains_key(spec) { "listed, but it runs now: take it off the list" } else { "unknown" };
        let _ = writeln!(wrong, "- {spec}: {why}");
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# why\n\nA x | both | later\nB y | block | never mounted\n";

    fn report(states: &[(&str, &str, &str)]) -> String {
        let specs = states.iter().map(|(container, leaf, state)| {
            serde_json::json!({ "ContainerHierarchyTexts": [container], "LeafNodeText": leaf, "State": state })
        });
        serde_json::json!([{ "SpecReports": specs.collect::<Vec<_>>() }]).to_string()
    }

    fn verdict(states_of: &[(&str, &str, &str)], mode: Mode) -> Result<(), String> {
        compare(&states(&report(states_of))?, &listed(LIST, mode)?)
    }

    const RIGHT: [(&str, &str, &str); 4] =
        [("A", "x", "skipped"), ("B", "y", "passed"), ("C", "z", "passed"), ("C", "w", "passed")];

    #[test]
    fn exactly_what_is_listed_may_be_left_out() {
        assert_eq!(verdict(&RIGHT, Mode::Mount), Ok(()));
        let mut block = RIGHT;
        block[1].2 = "pending";
        assert_eq!(verdict(&block, Mode::Block), Ok(()));
    }

    #[test]
    fn one_more_or_one_fewer_is_wrong() {
        let mut more = RIGHT;
        more[3].2 = "skipped";
        assert_eq!(verdict(&more, Mode::Mount).unwrap_err(), "+ C w: not run, and not listed\n");
        let mut fewer = RIGHT;
        fewer[0].2 = "passed";
        let refused = verdict(&fewer, Mode::Mount).unwrap_err();
        assert!(refused.starts_with("- A x: listed, but it runs now"), "{refused}");
        let refused = verdict(&RIGHT, Mode::Block).unwrap_err();
        assert!(refused.starts_with("- B y: listed, but it runs now"), "{refused}");
        let refused = verdict(&RIGHT[1..], Mode::Mount).unwrap_err();
        assert_eq!(refused, "- A x: unknown\n");
    }

    #[test]
    fn what_fails_is_wrong_whatever_is_listed() {
        for state in ["failed", "panicked", "interrupted", "timedout", "aborted", "invalid"] {
            let mut failing = RIGHT;
            failing[2].2 = state;
            assert_eq!(verdict(&failing, Mode::Mount).unwrap_err(), format!("! C z: {state}\n"));
            failing = RIGHT;
            failing[0].2 = state;
            assert!(verdict(&failing, Mode::Mount).unwrap_err().contains(&format!("! A x: {state}\n- A x")));
        }
        assert!(verdict(&RIGHT[..1], Mode::Mount).unwrap_err().contains("nothing has passed"));
        assert!(states("{}").is_err());
        assert!(verdict(&[("C", "z", "passed"), ("C", "z", "passed")], Mode::Mount).is_err());
    }

    #[test]
    fn lists_that_cannot_be_meant_are_refused() {
        for bad in
            ["A x", "A x | later", "A x | sometimes | later", "A x | both | ", " | both | later", "A | both | b | c"]
        {
            assert!(listed(bad, Mode::Mount).is_err(), "{bad}");
        }
        for bad in ["A | both | x\nA | both | x", "A | both | x\nA | mount | y"] {
            assert!(listed(bad, Mode::Mount).unwrap_err().starts_with("line 2"), "{bad}");
        }
        let each = listed("A | block | x\nA | mount | y", Mode::Mount).unwrap();
        assert_eq!(each["A"], "y");
    }
}

//! What came out: a line for each case, totals, JSON.

use crate::{Case, Driver, rules};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt, time::Duration};

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The driver keeps the rules.
    Pass,
    /// It breaks one. What was wrong.
    Fail(String),
    /// It could not be tried. Why.
    Skip(String),
}

/// One case's result.
#[derive(Debug, Clone)]
pub struct Line {
    /// The case, with the use in brackets if it runs for several.
    pub name: String,
    /// Its rules.
    pub rules: Vec<&'static str>,
    /// How it ended.
    pub verdict: Verdict,
    /// The last calls that it made.
    pub calls: String,
    /// How long it took.
    pub took: Duration,
}

/// All results, in the order of the cases.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Name and version of the driver.
    pub driver: String,
    /// One for each case and use.
    pub lines: Vec<Line>,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Pass => write!(f, "pass  {}  {} ms", self.name, self.took.as_millis()),
            Verdict::Skip(why) => write!(f, "skip  {}: {why}", self.name),
            Verdict::Fail(why) => {
                write!(f, "FAIL  {}: {why}\n        rules: {}", self.name, self.rules.join(", "))?;
                write!(f, "\n        calls: {}", self.calls)
            }
        }
    }
}

impl Report {
    pub(crate) fn new(driver: &Driver) -> Self {
        Self { driver: format!("{} {}", driver.info.name, driver.info.vendor_version), lines: vec![] }
    }

    /// Passed, failed, skipped.
    pub fn totals(&self) -> (usize, usize, usize) {
        let count = |is: fn(&Verdict) -> bool| self.lines.iter().filter(|line| is(&line.verdict)).count();
        (
            count(|v| *v == Verdict::Pass),
            count(|v| matches!(v, Verdict::Fail(_))),
            count(|v| matches!(v, Verdict::Skip(_))),
        )
    }

    /// The results that are failures.
    pub fn failures(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| matches!(line.verdict, Verdict::Fail(_)))
    }

    /// Each rule with how it fares: `fail` if one of its cases failed, else `pass` if one passed, else `not tried`.
    pub fn rules(&self) -> BTreeMap<String, &'static str> {
        let fares = |id: &str| {
            let cases = self.lines.iter().filter(|line| line.rules.contains(&id)).map(|line| &line.verdict);
            let worst = cases.clone().any(|verdict| matches!(verdict, Verdict::Fail(_)));
            let passed = cases.clone().any(|verdict| *verdict == Verdict::Pass);
            if worst { "fail" } else { ["not tried", "pass"][usize::from(passed)] }
        };
        rules::all()
            .into_iter()
            .map(|rule| {
                let fares = fares(&rule.id);
                (rule.id, fares)
            })
            .collect()
    }

    /// The whole report.
    pub fn json(&self) -> Value {
        let (passed, failed, skipped) = self.totals();
        let line = |line: &Line| {
            let (outcome, reason) = match &line.verdict {
                Verdict::Pass => ("pass", ""),
                Verdict::Fail(why) => ("fail", why.as_str()),
                Verdict::Skip(why) => ("skip", why.as_str()),
            };
            json!({
                "name": line.name, "outcome": outcome, "reason": reason, "rules": line.rules,
                "calls": line.calls, "milliseconds": u64::try_from(line.took.as_millis()).unwrap_or(u64::MAX),
            })
        };
        let lines: Vec<_> = self.lines.iter().map(line).collect();
        json!({
            "driver": self.driver, "passed": passed, "failed": failed, "skipped": skipped, "cases": lines, "rules": self.rules(),
        })
    }
}

/// `--list`: each case with its rules, then the rules that no case covers.
pub fn list(cases: &[Case]) -> String {
    let mut text = String::new();
    for case in cases {
        text += &format!("{}  ({})\n", case.name, case.rules.join(", "));
    }
    for rule in rules::all().iter().filter(|rule| !rule.covered) {
        text += &format!("no case yet: {}\n", rule.id);
    }
    text
}

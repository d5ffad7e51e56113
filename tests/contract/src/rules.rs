//! The checklist: every rule, in `rules.md`, and the cases that cover it.

use crate::Case;
use std::collections::{BTreeMap, BTreeSet};

const TEXT: &str = include_str!("../rules.md");

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What cases name it by.
    pub id: String,
    /// The heading that it stands under.
    pub group: String,
    /// What a driver must do.
    pub text: String,
    /// Whether `rules.md` says that a case covers it.
    pub covered: bool,
}

/// All rules: lines `- [x] id: text`, or `- [ ]` as long as no case covers them.
pub fn all() -> Vec<Rule> {
    let mut group = String::new();
    let mut rules = vec![];
    for line in TEXT.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.trim().clone_into(&mut group);
        }
        let rest = line.strip_prefix("- [x] ").map(|rest| (true, rest));
        let Some((covered, rest)) = rest.or_else(|| line.strip_prefix("- [ ] ").map(|rest| (false, rest))) else {
            continue;
        };
        let (id, text) = rest.split_once(": ").unwrap_or((rest, ""));
        rules.push(Rule { id: id.trim_matches('`').to_owned(), group: group.clone(), text: text.to_owned(), covered });
    }
    rules
}

/// What does not fit between the list of rules and the cases: one line each.
pub fn mismatches(rules: &[Rule], cases: &[Case]) -> Vec<String> {
    let mut wrong = vec![];
    let mut by_rule: BTreeMap<&str, usize> = BTreeMap::new();
    let mut names = BTreeSet::new();
    for case in cases {
        if case.rules.is_empty() {
            wrong.push(format!("case {} covers no rule", case.name));
        }
        if !names.insert(&case.name) {
            wrong.push(format!("two cases are called {}", case.name));
        }
        for id in &case.rules {
            *by_rule.entry(id).or_default() += 1;
            if !rules.iter().any(|rule| rule.id == *id) {
                wrong.push(format!("case {} names the rule {id}, which rules.md does not have", case.name));
            }
        }
    }
    let mut ids = BTreeSet::new();
    for rule in rules {
        if !ids.insert(&rule.id) {
            wrong.push(format!("two rules are called {}", rule.id));
        }
        if rule.text.is_empty() || rule.group.is_empty() {
            wrong.push(format!("rule {} has no text or stands under no heading", rule.id));
        }
        match (rule.covered, by_rule.contains_key(rule.id.as_str())) {
            (true, false) => wrong.push(format!("rule {} is ticked off and no case covers it", rule.id)),
            (false, true) => wrong.push(format!("rule {} has a case: tick it off in rules.md", rule.id)),
            _ => {}
        }
    }
    wrong
}

//! Runs cases.

use crate::{Case, Cx, Driver, Report, Side, Stop, Usage, Verdict, report::Line};
use bulkhead_proto::v1::{ProbeRequest, identity_client::IdentityClient};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::Instant};

/// Longest a case may take, before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(300);

/// Runs the cases that the options select, several at once, and then one by one those that must be alone. `tell` gets each
/// result as soon as it is there.
pub async fn run(driver: &Arc<Driver>, cases: &[Case], mut tell: impl FnMut(&Line)) -> Report {
    let options = &driver.options;
    let selected = |case: &&Case| {
        let any = |globs: &[String]| globs.iter().any(|glob| matches(glob, &case.name));
        (options.only.is_empty() || any(&options.only)) && !any(&options.except)
    };
    let (mut shared, mut alone) = (VecDeque::new(), VecDeque::new());
    for case in cases.iter().filter(selected) {
        let uses = if case.every_use { options.uses() } else { options.uses().into_iter().take(1).collect() };
        for usage in uses {
            if case.alone { &mut alone } else { &mut shared }.push_back((case.clone(), usage));
        }
    }
    let mut report = Report::new(driver);
    for (mut queue, jobs) in [(shared, jobs(driver)), (alone, 1)] {
        let mut running = JoinSet::new();
        loop {
            while running.len() < jobs
                && let Some((case, usage)) = queue.pop_front()
            {
                running.spawn(one(driver.clone(), case, usage));
            }
            let Some(ended) = running.join_next().await else { break };
            // `one` catches panics of cases itself.
            if let Ok(line) = ended {
                tell(&line);
                report.lines.push(line);
            }
        }
    }
    // What each case made below them is gone; what is not empty stays to be seen.
    for dir in [Some(&options.work_dir), options.second_work_dir.as_ref()].into_iter().flatten() {
        for name in ["staging", "targets"] {
            _ = std::fs::remove_dir(dir.join(name));
        }
    }
    report.lines.sort_by(|a, b| a.name.cmp(&b.name));
    report
}

/// How many cases run at once: those that attach must all find room on the node.
fn jobs(driver: &Driver) -> usize {
    let most = driver.node_info.as_ref().map_or(0, |info| info.max_volumes_per_node);
    let fit = usize::try_from(most).ok().filter(|most| *most > 0).map_or(usize::MAX, |most| most / 2);
    driver.options.jobs.min(fit).max(1)
}

async fn one(driver: Arc<Driver>, case: Case, usage: Usage) -> Line {
    let name = if case.every_use { format!("{}[{}]", case.name, usage.name()) } else { case.name.clone() };
    let start = Instant::now();
    let line = |verdict, calls| Line { name, rules: case.rules.clone(), verdict, calls, took: start.elapsed() };
    if let Some(why) = case.needs.iter().find_map(|need| need.check(&driver, &usage).err()) {
        return line(Verdict::Skip(why), String::new());
    }
    let cx = Cx::new(driver.clone(), usage);
    // In a task of its own, so that a panic or a hang of a case doesn't keep it from being cleaned up.
    let mut task = tokio::spawn((case.run)(cx.clone()));
    let outcome = match tokio::time::timeout(PATIENCE, &mut task).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(e)) => Err(Stop::fail(format!("the case itself broke: {e}"))),
        Err(_) => {
            task.abort();
            Err(Stop::fail(format!("not done after {PATIENCE:?}")))
        }
    };
    let calls = cx.trace();
    if outcome.is_err() {
        revive(&driver).await;
    }
    let mut wrong = vec![];
    // What a case says after it was refused a call says nothing of the driver; what went wrong before has ended it.
    let mut skip = cx.lock().beyond.map(|rpc| format!("--controller-only: it asks {rpc}"));
    match outcome {
        _ if skip.is_some() => {}
        Ok(()) => {}
        Err(Stop::Fail(why)) => wrong.push(why),
        Err(Stop::Skip(why)) => skip = Some(why),
    }
    let left = cx.clean_up().await;
    wrong.extend(std::mem::take(&mut cx.lock().violations));
    wrong.extend(left.into_iter().map(|left| format!("could not be cleaned up: {left}")));
    let verdict = match (wrong.is_empty(), skip) {
        (false, _) => Verdict::Fail(wrong.join("; ")),
        (true, Some(why)) => Verdict::Skip(why),
        (true, None) => Verdict::Pass,
    };
    line(verdict, calls)
}

/// A driver that a case has killed is restarted, so that the next ones can be tried.
async fn revive(driver: &Driver) {
    let Some(control) = &driver.control else { return };
    let probe = IdentityClient::new(driver.channel(Side::Node)).probe(ProbeRequest {}).await;
    // What goes wrong here shows in the next case.
    if probe.is_err() && control.restart().await.is_ok() {
        _ = driver.wait_until_ready().await;
    }
}

/// Whether a name fits a pattern in which `*` is anything.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| matches(after, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, name, fits) in [
            ("a/b", "a/b", true),
            ("a/b", "a/bc", false),
            ("a/*", "a/bc", true),
            ("*/b*", "a/bc", true),
            ("*c", "a/bc", true),
            ("b*", "a/bc", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}

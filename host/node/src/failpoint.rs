//! Places at which a test makes the process die, wait or fail.
//!
//! `BULKHEAD_FAILPOINTS` is read once, at the first [`hit`]: `name=kill;name2=hold:/path;name3=error`.
//!
//! | action | effect |
//! |---|---|
//! | `kill` | SIGKILL to the own process |
//! | `hold:/path` | makes `/path.reached`, makes `/path` unless it is there, and waits until `/path` is removed (asks every 5 ms) |
//! | `error` | the operation fails with an injected error |
//! | `trace:/path` | adds the failpoint's name to `/path`, a line each |
//!
//! The name `*` stands for all failpoints that are not named.
//!
//! Without the variable a hit costs one atomic load.

use bulkhead_domain::{Error, Result};
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

/// The environment variable.
pub const VARIABLE: &str = "BULKHEAD_FAILPOINTS";

/// Stands for every failpoint that has no action of its own.
const ANY: &str = "*";

/// Every failpoint, in the order in which its operation reaches it. The part before the first dot is the operation.
pub const ALL: &[&str] = &[
    "pool-create.made",
    "pool-create.written",
    "pool-create.done",
    "pool-resize.grown",
    "pool-resize.done",
    "pool-thin.noted",
    "pool-thin.punched",
    "pool-delete.moved",
    "pool-delete.done",
    "pool-copy.made",
    "pool-copy.freezing",
    "pool-copy.frozen",
    "pool-copy.cut",
    "pool-copy.thawed",
    "pool-copy.written",
    "pool-copy.committed",
    "pool-copy.placing",
    "pool-copy.placed",
    "pool-copy.done",
    "stage.intent",
    "stage.marked",
    "stage.claimed",
    "stage.opened",
    "stage.attached",
    "stage.format-intent",
    "stage.formatted",
    "stage.format-done",
    "stage.grown-offline",
    "stage.replay-attached",
    "stage.replayed",
    "stage.mounted",
    "stage.grown-online",
    "stage.done",
    "ephemeral.intent",
    "ephemeral.made",
    "ephemeral.noted",
    "ephemeral.marked",
    "ephemeral.target-made",
    "ephemeral.done",
    "publish.intent",
    "publish.target-made",
    "publish.attached",
    "publish.mounted",
    "publish.done",
    "unpublish.intent",
    "unpublish.unmounted",
    "unpublish.detached",
    "unpublish.target-removed",
    "ephemeral.undoing",
    "ephemeral.detached",
    "ephemeral.unmarked",
    "ephemeral.removed",
    "unpublish.done",
    "unstage.intent",
    "unstage.unmounted",
    "unstage.detached",
    "unstage.blanked",
    "unstage.unmarked",
    "unstage.wiped",
    "unstage.flushed",
    "unstage.done",
    "expand.object",
    "expand.capacity",
    "expand.grown",
];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Kill,
    Hold(PathBuf),
    Error,
    Trace(PathBuf),
}

static ACTIONS: OnceLock<Option<HashMap<String, Action>>> = OnceLock::new();

/// Does what the environment asks for at the failpoint `name`, nothing in general.
///
/// # Errors
/// Unavailable, where the action is `error`.
pub fn hit(name: &'static str) -> Result<()> {
    debug_assert!(ALL.contains(&name), "{name} is not listed");
    let actions = ACTIONS.get_or_init(|| std::env::var(VARIABLE).ok().filter(|v| !v.is_empty()).map(|v| parse(&v)));
    match actions {
        None => Ok(()),
        Some(actions) => actions.get(name).or_else(|| actions.get(ANY)).map_or(Ok(()), |action| act(name, action)),
    }
}

fn parse(value: &str) -> HashMap<String, Action> {
    let mut actions = HashMap::new();
    for entry in value.split(';').filter(|entry| !entry.is_empty()) {
        let action = match entry.split_once('=') {
            Some((_, "kill")) => Some(Action::Kill),
            Some((_, "error")) => Some(Action::Error),
            Some((_, at)) => {
                let hold = at.strip_prefix("hold:").map(|path| Action::Hold(path.into()));
                hold.or_else(|| at.strip_prefix("trace:").map(|path| Action::Trace(path.into())))
            }
            None => None,
        };
        let name = entry.split('=').next().unwrap_or_default();
        match action {
            Some(action) if name == ANY || ALL.contains(&name) => {
                actions.insert(name.to_owned(), action);
            }
            _ => tracing::error!(entry, "{VARIABLE}: unknown failpoint or action; it is ignored"),
        }
    }
    actions
}

fn act(name: &str, action: &Action) -> Result<()> {
    match action {
        Action::Kill => {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            // The signal is delivered before the call returns, or very soon after.
            loop {
                std::thread::park();
            }
        }
        Action::Hold(path) => {
            let touch = |path: &PathBuf| OpenOptions::new().create(true).append(true).open(path);
            let mut reached = path.clone().into_os_string();
            reached.push(".reached");
            if let Err(e) = touch(path).and_then(|_| touch(&reached.into())) {
                return Err(Error::unavailable(format_args!("failpoint {name}: {}: {e}", path.display())));
            }
            while path.exists() {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        }
        Action::Trace(path) => {
            let line = |mut file: std::fs::File| std::io::Write::write_all(&mut file, format!("{name}\n").as_bytes());
            OpenOptions::new()
                .create(true)
                .append(true)
                .open(path)
                .and_then(line)
                .map_err(|e| Error::unavailable(format_args!("failpoint {name}: {}: {e}", path.display())))
        }
        Action::Error => Err(Error::unavailable(format_args!("injected error at failpoint {name}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_parsed_and_unknown_ones_ignored() {
        let text =
            "stage.intent=kill;stage.done=hold:/tmp/x;publish.done=error;nonsense=kill;stage.marked=x;*=trace:/t";
        let actions = parse(text);
        assert_eq!(actions.len(), 4);
        assert_eq!(actions["stage.intent"], Action::Kill);
        assert_eq!(actions["stage.done"], Action::Hold("/tmp/x".into()));
        assert_eq!(actions["publish.done"], Action::Error);
        assert_eq!(actions[ANY], Action::Trace("/t".into()));
    }

    fn sources(dir: &std::path::Path, into: &mut String) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, into);
            } else if !path.ends_with("failpoint.rs") {
                into.push_str(&std::fs::read_to_string(&path).unwrap());
            }
        }
    }

    #[test]
    fn the_source_uses_exactly_the_listed_names() {
        let mut text = String::new();
        sources(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut text);
        let mut used: Vec<&str> =
            text.split("failpoint::hit(").skip(1).map(|rest| rest.split('"').nth(1).expect("a literal name")).collect();
        used.sort_unstable();
        used.dedup();
        let mut listed = ALL.to_vec();
        listed.sort_unstable();
        assert_eq!(used, listed);
    }
}

//! Runs the few programs that make, check and grow file systems.

use bulkhead_domain::{Error, Result};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process_group, set_parent_process_death_signal, waitid,
};
use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Where helpers are looked for; PATH is never asked.
const PLACES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
/// Bytes of output that are kept, from the end.
const OUTPUT_MAX: usize = 4096;

/// A helper that ended by itself.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    /// The end of what it wrote, both streams.
    pub(crate) output: String,
}

/// Path of a helper.
///
/// # Errors
/// FailedPrecondition: it isn't installed.
pub(crate) fn find(name: &str) -> Result<PathBuf> {
    PLACES.iter().map(|place| PathBuf::from(place).join(name)).find(|path| path.is_file()).ok_or_else(|| {
        Error::failed_precondition(format_args!("this node has no {name} in {}; install it", PLACES.join(", ")))
    })
}

/// Runs a helper to its end: no shell, an empty environment, nothing on its input, a process group of its own.
///
/// At the deadline the whole group is killed. If this process dies first, however it dies, the kernel kills the helper
/// (PR_SET_PDEATHSIG): one that outlived it would write to a device that a restarted host works on. That signal comes when
/// the *thread* that made the child ends, so the child is made and waited for on one thread.
///
/// # Errors
/// FailedPrecondition: not installed. DeadlineExceeded: it took too long. Unavailable: it can't be run.
pub(crate) fn run<S: AsRef<OsStr>>(name: &str, arguments: &[S], timeout: Duration) -> Result<Finished> {
    run_with(name, arguments, &[], timeout)
}

/// As [`run`]; the helper also has these descriptors, under the same numbers.
pub(crate) fn run_with<S: AsRef<OsStr>>(
    name: &str,
    arguments: &[S],
    descriptors: &[BorrowedFd<'_>],
    timeout: Duration,
) -> Result<Finished> {
    run_program(name, &find(name)?, arguments, descriptors, timeout)
}

/// Runs this program itself as a helper, as [`run_with`].
pub(crate) fn run_self(arguments: &[String], descriptors: &[BorrowedFd<'_>], timeout: Duration) -> Result<Finished> {
    run_program("a helper", Path::new("/proc/self/exe"), arguments, descriptors, timeout)
}

fn run_program<S: AsRef<OsStr>>(
    name: &str,
    program: &Path,
    arguments: &[S],
    descriptors: &[BorrowedFd<'_>],
    timeout: Duration,
) -> Result<Finished> {
    let descriptors: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let deadline = Instant::now() + timeout;
    let parent = rustix::process::getpid();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PLACES.join(":"))
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    // SAFETY: between fork and exec only prctl(2), getppid(2) and fcntl(2) are called, which are async-signal-safe. The
    // descriptors are open: the caller has them borrowed until the child is started, and the child has its own table.
    unsafe {
        command.pre_exec(move || {
            for &descriptor in &descriptors {
                fcntl_setfd(BorrowedFd::borrow_raw(descriptor), FdFlags::empty())?;
            }
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the signal was asked for.
            if rustix::process::getppid() == Some(parent) { Ok(()) } else { Err(rustix::io::Errno::SRCH.into()) }
        });
    }
    let failed = |e: std::io::Error| Error::unavailable(format_args!("cannot run {name}: {e}"));
    let mut child = command.spawn().map_err(failed)?;
    let (sender, output) = mpsc::channel();
    let readers = [
        child.stdout.take().map(|pipe| collect(pipe, sender.clone())),
        child.stderr.take().map(|pipe| collect(pipe, sender)),
    ];
    let status = wait(&mut child, deadline).map_err(failed)?;
    let Some(status) = status else {
        return Err(Error::deadline_exceeded(format_args!("{name} was stopped after {} s", timeout.as_secs())));
    };
    // The pipes are at their end: nothing else has them, as helpers that stay behind were in the group.
    readers.into_iter().flatten().for_each(|reader| drop(reader.join()));
    let output: Vec<String> = output.try_iter().filter(|text: &String| !text.is_empty()).collect();
    Ok(Finished { code: status.code(), output: describe(status, &output.join(" ")) })
}

fn describe(status: ExitStatus, output: &str) -> String {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, signal) => format!("killed by signal {}", signal.unwrap_or(0)),
    };
    let output = output.split_whitespace().collect::<Vec<_>>().join(" ");
    if output.is_empty() { how } else { format!("{how}: {output}") }
}

/// None: the deadline came first; the group is killed and the child gone, unless it hangs in the kernel.
fn wait(child: &mut Child, deadline: Instant) -> std::io::Result<Option<ExitStatus>> {
    let mut pause = Duration::from_micros(500);
    loop {
        if ended(child)? {
            // Not reaped yet, so its number still names this group and no other.
            kill_group(child);
            return child.wait().map(Some);
        }
        if Instant::now() >= deadline {
            kill_group(child);
            // A child in an uninterruptible state can't be waited for; it is the kernel's from here on.
            for _ in 0..100 {
                if child.try_wait()?.is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            return Ok(None);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

fn ended(child: &Child) -> std::io::Result<bool> {
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return Ok(false) };
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(pid), options)?.is_some())
}

fn kill_group(child: &Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn collect(mut pipe: impl Read + Send + 'static, into: mpsc::Sender<String>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(got @ 1..) = pipe.read(&mut buffer) {
            kept.extend_from_slice(&buffer[..got]);
            kept.drain(..kept.len().saturating_sub(OUTPUT_MAX));
        }
        let _ = into.send(String::from_utf8_lossy(&kept).into_owned());
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_domain::ErrorKind;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn output_and_exit_code_are_kept() {
        let done = run("sh", &["-c", "echo out; echo err >&2; exit 3"], LONG).unwrap();
        assert_eq!(done.code, Some(3));
        assert!(done.output.contains("out") && done.output.contains("err"), "{}", done.output);
    }

    #[test]
    fn the_environment_is_empty() {
        let done = run("env", &[] as &[&str], LONG).unwrap();
        assert!(!done.output.contains("CARGO") && !done.output.contains("HOME"), "{}", done.output);
    }

    #[test]
    fn a_slow_one_is_killed_with_its_children() {
        let started = Instant::now();
        let refused = run("sh", &["-c", "sleep 61.7 & sleep 61.7"], Duration::from_millis(200)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::DeadlineExceeded);
        assert!(started.elapsed() < Duration::from_secs(10));
        let left =
            run("sh", &["-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c 'sleep 61[.]7'"], LONG).unwrap();
        assert_eq!(left.code, Some(1), "{}", left.output);
    }

    #[test]
    fn a_missing_one_is_named() {
        let refused = run("mkfs.nothing", &[] as &[&str], LONG).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::FailedPrecondition);
        assert!(refused.message().contains("mkfs.nothing"));
    }

    #[test]
    fn long_output_is_cut() {
        let done = run("sh", &["-c", "i=0; while [ $i -lt 20000 ]; do echo line$i; i=$((i+1)); done"], LONG).unwrap();
        assert!(done.output.len() < 2 * OUTPUT_MAX && done.output.ends_with("line19999"));
    }
}

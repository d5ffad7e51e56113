//! Whether this is the VM, and what else every other module needs.

use std::{
    ffi::OsStr,
    fs, io,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long the kernel may take to make a device appear or go. The VM is emulated, beside builds.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Whether this process runs in the VM.
pub fn inside() -> bool {
    std::env::var("BULKHEAD_VM").as_deref() == Ok("1")
}

/// For tests that need the VM.
///
/// # Panics
/// Outside it.
pub fn require() {
    assert!(inside(), "this acts on the whole machine and runs in the test VM only: `make test-vm`");
}

/// Loads a module of the kernel with `options` as `modprobe` takes them. One that is loaded keeps its options.
///
/// # Panics
/// Outside the VM; without that module: `scripts/setup-vm.sh` lists those that the VM has.
pub fn load(module: &str, options: &[&str]) {
    require();
    run("modprobe", [module].iter().chain(options));
}

/// Unloads a module, waiting while it is in use.
///
/// # Panics
/// It stays in use.
pub fn unload(module: &str) {
    let mut last = String::new();
    let gone = wait(|| {
        let output = Command::new("modprobe").args(["-r", module]).output().expect("modprobe");
        last = String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.success().then_some(())
    });
    assert!(gone.is_some(), "module {module} can't be unloaded: {last}");
}

/// Runs a program to its end and returns what it wrote to its standard output.
///
/// # Panics
/// It is missing, or it fails.
pub fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> String {
    match try_run(program, arguments) {
        Ok(output) => output,
        Err(error) => panic!("{error}"),
    }
}

/// The same where failing is an answer.
///
/// # Errors
/// The program's arguments, exit code and messages.
pub fn try_run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Result<String, String> {
    let mut command = Command::new(program);
    let output = command.args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("{program} can't be run: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("{command:?}: {}\n{out}{err}", output.status))
}

/// Asks again and again for up to [`PATIENCE`].
pub fn wait<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if begun.elapsed() > PATIENCE {
            return None;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Writes an attribute of sysfs, configfs or procfs, without a newline.
///
/// # Panics
/// The kernel refuses.
pub fn set(path: &Path, value: &str) {
    if let Err(error) = try_set(path, value) {
        panic!("{} can't be set to {value:?}: {error}", path.display());
    }
}

/// The same where being refused is an answer.
///
/// # Errors
/// The kernel's.
pub fn try_set(path: &Path, value: &str) -> io::Result<()> {
    // One write(2) and neither truncation nor creation: these are no ordinary files.
    io::Write::write_all(&mut fs::OpenOptions::new().write(true).open(path)?, value.as_bytes())
}

/// An attribute without the white space around it; empty if it isn't there.
pub fn get(path: impl AsRef<Path>) -> String {
    fs::read(path).map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// Names in a directory, sorted; none if it isn't there.
pub fn names(dir: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// configfs, mounted.
pub fn configfs() -> &'static Path {
    let root = Path::new("/sys/kernel/config");
    load("configfs", &[]);
    // The directory itself is configfs's, so it is empty until that is mounted, and then it is not.
    // Of the thread: a test may be in a mount namespace of its own.
    if !get("/proc/thread-self/mountinfo").lines().any(|line| line.contains(" /sys/kernel/config ")) {
        run("mount", ["-t", "configfs", "configfs", "/sys/kernel/config"]);
    }
    root
}

//! The machine: qemu, emulating, so that it runs wherever there is no KVM.

use super::{Job, Report};
use std::{
    fs,
    io::{self, BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long it may take until its first job, in seconds.
const BOOT: u64 = 120;
/// Size of the file system at the machine's /tmp, a sparse file outside.
const DISK: u64 = 8 << 30;

/// Where things are outside.
#[derive(Debug, Clone)]
pub struct Place {
    /// The repository.
    pub top: PathBuf,
    /// Kernel, initrd and tools: what `scripts/setup-vm.sh` prints.
    pub home: PathBuf,
    /// Cargo's target directory, where the test programs are.
    pub target: PathBuf,
    /// A directory of this run's own: jobs, disk and logs.
    pub work: PathBuf,
}

/// A machine that runs. It is off when this is dropped, and when our process dies.
#[derive(Debug)]
pub struct Machine {
    qemu: Child,
    limit: Duration,
}

impl Machine {
    /// Boots a machine that runs these jobs one after the other and then turns itself off.
    ///
    /// # Errors
    /// A file can't be written, mkfs or qemu can't be run.
    pub fn boot(place: &Place, jobs: &[Job]) -> Result<Self, String> {
        let at = |path: &Path| {
            let name = path.display().to_string();
            move |error: io::Error| format!("{name}: {error}")
        };
        let directory = place.work.join("jobs");
        fs::create_dir(&directory).map_err(at(&directory))?;
        for (number, job) in jobs.iter().enumerate() {
            let file = directory.join(format!("job-{number:02}"));
            fs::write(&file, words(job)).map_err(at(&file))?;
        }
        let disk = place.work.join("disk");
        fs::File::create(&disk).and_then(|file| file.set_len(DISK)).map_err(at(&disk))?;
        let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk).status();
        if !made.as_ref().is_ok_and(std::process::ExitStatus::success) {
            return Err(format!("mkfs.ext4 of {}: {made:?}", disk.display()));
        }
        let mut command = Command::new("qemu-system-x86_64");
        command.args(arguments(place)).stdin(Stdio::null()).stdout(Stdio::piped());
        // SAFETY: between fork and exec; prctl(2) is async-signal-safe, and nothing is allocated.
        unsafe {
            command.pre_exec(|| {
                let signal = Some(rustix::process::Signal::KILL);
                rustix::process::set_parent_process_death_signal(signal).map_err(Into::into)
            });
        }
        let qemu = command.spawn().map_err(|e| format!("qemu-system-x86_64: {e}"))?;
        let limit = BOOT + jobs.iter().map(|job| u64::from(job.run.seconds) + 5).sum::<u64>();
        Ok(Self { qemu, limit: Duration::from_secs(limit) })
    }

    /// Hands every line of the machine to `show` until it is off, and says what became of the jobs. A machine that outlives its
    /// time is killed.
    ///
    /// # Errors
    /// The machine's output can't be read.
    pub fn watch(mut self, jobs: usize, mut show: impl FnMut(&str)) -> io::Result<Report> {
        let output = self.qemu.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let over = Arc::new(AtomicBool::new(false));
        let (limit, pid) = (self.limit, rustix::process::Pid::from_child(&self.qemu));
        let watchdog = {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                let begun = Instant::now();
                while !over.load(Ordering::Acquire) && begun.elapsed() < limit {
                    thread::sleep(Duration::from_millis(200));
                }
                if !over.load(Ordering::Acquire) {
                    eprintln!("vm: not done after {limit:?}: killed");
                    // Not yet waited for, so the number is still its own.
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            })
        };
        let mut report = Report::new(jobs);
        let mut lines = BufReader::new(output);
        let mut line = vec![];
        let read = loop {
            line.clear();
            match lines.read_until(b'\n', &mut line) {
                Ok(0) => break Ok(()),
                Ok(_) => {
                    let text = String::from_utf8_lossy(&line);
                    report.line(text.trim_end_matches(['\r', '\n'])).into_iter().for_each(&mut show);
                }
                Err(error) => break Err(error),
            }
        };
        over.store(true, Ordering::Release);
        let _ = watchdog.join();
        read.map(|()| report)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// What guest/run.sh reads: words, each with a zero byte at its end.
fn words(job: &Job) -> Vec<u8> {
    let seconds = job.run.seconds.to_string();
    let paths = [&job.directory, &job.program].map(|path| path.as_os_str().as_encoded_bytes());
    let arguments = job.run.arguments.iter().map(String::as_bytes);
    let all = [seconds.as_bytes()].into_iter().chain(paths).chain(arguments);
    all.flat_map(|word| word.iter().copied().chain([0])).collect()
}

fn arguments(place: &Place) -> Vec<String> {
    let Place { top, home, target, work } = place;
    let path = |path: &Path| path.display().to_string();
    // A local NVMe disk's place in sysfs is below its controller only without multipath. Mitigations cost much when emulated.
    let line = format!(
        "console=ttyS0 quiet panic=-1 mitigations=off nokaslr nvme_core.multipath=N bulkhead.top={} bulkhead.jobs={} \
         bulkhead.target={}",
        path(top),
        path(&work.join("jobs")),
        path(target)
    );
    let share = |tag: &str, dir: &Path| {
        let dir = path(dir).replace(',', ",,");
        format!("local,path={dir},mount_tag={tag},security_model=none,readonly=on,multidevs=remap")
    };
    let mut arguments: Vec<String> =
        "-accel tcg,thread=multi -cpu max,la57=off -m 2G -smp 2 -nodefaults -display none -monitor none \
        -nic none -no-reboot"
            .split_whitespace()
            .map(str::to_owned)
            .collect();
    let options = [
        ("-kernel", path(&home.join("vmlinuz"))),
        ("-initrd", path(&home.join("initrd.gz"))),
        ("-append", line),
        ("-virtfs", share("host", Path::new("/"))),
        ("-virtfs", share("tools", &home.join("tools"))),
        ("-drive", format!("file={},format=raw,if=virtio,cache=unsafe", path(&work.join("disk")).replace(',', ",,"))),
        ("-serial", format!("file:{}", path(&work.join("console.log")))),
        ("-serial", "stdio".to_owned()),
    ];
    arguments.extend(options.into_iter().flat_map(|(option, value)| [option.to_owned(), value]));
    arguments
}

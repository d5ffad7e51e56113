//! What the machine says on its second serial line: the output of test programs, and lines of guest/run.sh.

/// What became of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit code; none if it never ended.
    pub code: Option<i32>,
    /// How many tests it says have passed.
    pub passed: u32,
    /// What it left behind in the machine.
    pub left: Vec<String>,
    /// Lines in which it says that it did not run something.
    pub not_run: Vec<String>,
}

impl Outcome {
    /// What is wrong with it, if anything is. In the machine nothing may be left out, and a run without tests tests nothing.
    pub fn wrong(&self) -> Option<String> {
        match self.code {
            None => return Some("never ended".into()),
            Some(124) => return Some("took too long".into()),
            Some(code) if code != 0 => return Some(format!("failed with exit code {code}")),
            Some(_) => {}
        }
        if self.passed == 0 {
            return Some("has no test that passed".into());
        }
        if let Some(line) = self.not_run.first() {
            return Some(format!("left something out: {line}"));
        }
        (!self.left.is_empty()).then(|| format!("left behind: {}", self.left.join(", ")))
    }
}

/// All that was said so far.
#[derive(Debug, Default)]
pub struct Report {
    /// Seconds from the machine's start to its first job; none if it didn't come so far.
    pub up: Option<String>,
    /// By the number of the job.
    pub outcomes: Vec<Outcome>,
    current: Option<usize>,
}

/// Begins a line of guest/run.sh.
const MARK: char = '\x1e';

impl Report {
    /// For so many jobs.
    pub fn new(jobs: usize) -> Self {
        Self { outcomes: vec![Outcome::default(); jobs], ..Self::default() }
    }

    /// Takes a line, without its end. Returns it if it is for people.
    pub fn line<'a>(&mut self, line: &'a str) -> Option<&'a str> {
        // A test may have written half a line before it ended.
        let Some((before, said)) = line.split_once(MARK) else {
            self.output(line);
            return Some(line);
        };
        self.output(before);
        let mut words = said.splitn(3, ' ');
        let (verb, number, rest) = (words.next(), words.next(), words.next());
        let index = number.and_then(|number| number.parse::<usize>().ok());
        match (verb, index) {
            (Some("up"), _) => self.up = number.map(str::to_owned),
            (Some("begin"), index) => self.current = index,
            (Some("left"), Some(index)) => self.outcome(index, |it| it.left.extend(rest.map(str::to_owned))),
            (Some("end"), Some(index)) => {
                self.outcome(index, |it| it.code = rest.and_then(|code| code.parse().ok()));
                self.current = None;
            }
            _ => {}
        }
        (!before.is_empty()).then_some(before)
    }

    fn outcome(&mut self, index: usize, change: impl FnOnce(&mut Outcome)) {
        if let Some(outcome) = self.outcomes.get_mut(index) {
            change(outcome);
        }
    }

    fn output(&mut self, line: &str) {
        let Some(outcome) = self.current.and_then(|index| self.outcomes.get_mut(index)) else { return };
        // `test result: ok. 5 passed; 0 failed` of libtest, `5 passed; 0 failed []` of the kernel tests.
        if let Some((before, _)) = line.split_once(" passed; ") {
            outcome.passed += before.rsplit(' ').next().and_then(|number| number.parse::<u32>().ok()).unwrap_or(0);
        }
        if line.starts_with("NOT RUN") {
            outcome.not_run.push(line.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lines: &[&str]) -> Report {
        let mut report = Report::new(2);
        for line in lines {
            report.line(line);
        }
        report
    }

    #[test]
    fn jobs_that_pass_are_told_from_others() {
        let passing = report(&[
            "\x1eup 9.5",
            "\x1ebegin 0",
            "test result: ok. 5 passed; 0 failed; 0 ignored",
            "\x1eend 0 0",
            "\x1ebegin 1",
            "12 passed; 0 failed []",
            "\x1eend 1 0",
        ]);
        assert_eq!(passing.up.as_deref(), Some("9.5"));
        assert_eq!(passing.outcomes.iter().map(|it| it.passed).collect::<Vec<_>>(), [5, 12]);
        assert!(passing.outcomes.iter().all(|it| it.wrong().is_none()));
    }

    #[test]
    fn each_way_of_going_wrong_is_named() {
        for (lines, wrong) in [
            (&["\x1ebegin 0", "1 passed; 0 failed"][..], "never ended"),
            (&["\x1ebegin 0", "\x1eend 0 124"], "too long"),
            (&["\x1ebegin 0", "1 passed; 1 failed", "\x1eend 0 101"], "exit code 101"),
            (&["\x1ebegin 0", "test result: ok. 0 passed; 0 failed", "\x1eend 0 0"], "no test that passed"),
            (&["\x1ebegin 0", "NOT RUN: no root", "1 passed; 0 failed", "\x1eend 0 0"], "left something out"),
            (&["\x1ebegin 0", "1 passed; 0 failed", "\x1eleft 0 mount /x", "\x1eend 0 0"], "left behind: mount /x"),
        ] {
            let found = report(lines).outcomes[0].wrong().expect("wrong");
            assert!(found.contains(wrong), "{found}");
        }
        assert_eq!(report(&["1 passed; 0 failed"]).outcomes[1].wrong().as_deref(), Some("never ended"));
    }

    #[test]
    fn half_a_line_before_a_mark_is_not_lost() {
        let mut report = Report::new(1);
        report.line("\x1ebegin 0");
        assert_eq!(report.line("half\x1eend 0 0"), Some("half"));
        assert_eq!(report.outcomes[0].code, Some(0));
        assert_eq!(report.line("\x1eend 7 0"), None);
    }
}

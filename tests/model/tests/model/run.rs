//! One run: steps are made, calls are answered, worlds that don't fit fall away. None left is a divergence.

mod end;

use super::{
    calls::{At, Call, Step},
    client::{Caller, Reply},
    generate::Generator,
    ground::{Executor, Ground},
    seen::Seen,
    world::{Branch, World, add},
};
use bulkhead_tests::Sandbox;
use std::{collections::BTreeMap, path::Path, rc::Rc, time::Duration};
use tonic::{Code, Status};

/// What is run.
#[derive(Clone)]
pub struct Setting {
    pub executor: Executor,
    pub csi_1_13: bool,
    pub lie: Option<&'static str>,
    pub sandbox: Option<Rc<Sandbox>>,
}

/// The host did what no world allows.
#[derive(Debug, Clone)]
pub struct Divergence {
    pub step: usize,
    pub what: String,
    pub expected: Vec<String>,
    pub got: String,
    pub log: String,
}

/// How much was done.
#[derive(Debug, Default, Clone)]
pub struct Figures {
    pub steps: usize,
    pub calls: BTreeMap<String, usize>,
    pub codes: BTreeMap<String, usize>,
    pub restarts: usize,
    /// Calls during which the host died, or whose outcome it did not know.
    pub lost: usize,
    pub most_worlds: usize,
}

struct Run<'a> {
    setting: &'a Setting,
    ground: Ground,
    caller: Option<Caller>,
    worlds: Vec<World>,
    facts: BTreeMap<String, String>,
    figures: &'a mut Figures,
}

/// Where steps come from.
pub enum Steps<'a> {
    New(&'a mut Generator, usize),
    Old(&'a [Step]),
}

/// Most worlds that are kept before everything is looked at.
const WORLDS: usize = 24;

/// Makes all steps, takes everything down and looks whether something is left. `made`: the steps, as far as it came.
pub async fn run(
    base: &Path,
    setting: &Setting,
    steps: Steps<'_>,
    made: &mut Vec<Step>,
    figures: &mut Figures,
) -> Result<(), Divergence> {
    let mut ground = Ground::new(base, setting.executor, setting.csi_1_13, setting.lie);
    ground.start(None);
    let caller = Some(Caller::connect(&ground).await);
    let (kernel, reflinks) = (setting.executor == Executor::Kernel, ground.has_reflinks());
    let worlds = vec![World::new(setting.csi_1_13, kernel, reflinks)];
    let mut run = Run { setting, ground, caller, worlds, facts: BTreeMap::new(), figures };
    let done = run.all(steps, made).await;
    if done.is_err() {
        run.ground.kill();
        setting.sandbox.iter().for_each(|sandbox| sandbox.clear());
    }
    done
}

fn text(reply: &Result<Reply, Status>) -> String {
    match reply {
        Ok(reply) => format!("{reply:?}"),
        Err(status) => format!("{:?}: {}", status.code(), status.message()),
    }
}

impl Run<'_> {
    async fn all(&mut self, steps: Steps<'_>, made: &mut Vec<Step>) -> Result<(), Divergence> {
        match steps {
            Steps::Old(steps) => {
                for step in steps {
                    self.one(step.clone(), made, &mut None).await?;
                }
            }
            Steps::New(generator, count) => {
                for _ in 0..count {
                    let armed = self.ground.failpoint.map(|(name, _)| name);
                    let step = generator.step(&self.worlds[0], armed);
                    self.one(step, made, &mut generator.lost).await?;
                }
            }
        }
        self.tear_down().await.map_err(|divergence| Divergence {
            step: made.len(),
            what: format!("taking everything down: {}", divergence.what),
            ..divergence
        })
    }

    async fn one(&mut self, step: Step, made: &mut Vec<Step>, lost: &mut Option<Call>) -> Result<(), Divergence> {
        made.push(step.clone());
        self.figures.steps += 1;
        let done = self.apply(&step, lost).await;
        self.figures.most_worlds = self.figures.most_worlds.max(self.worlds.len());
        let done = match done {
            Ok(()) if self.worlds.len() > WORLDS => self.look(0).await,
            done => done,
        };
        done.map_err(|divergence| Divergence { step: made.len() - 1, ..divergence })
    }

    async fn apply(&mut self, step: &Step, lost: &mut Option<Call>) -> Result<(), Divergence> {
        match step {
            Step::Look { page } => self.look(*page).await,
            Step::Restart { stop, failpoint } => {
                if *stop {
                    self.ground.stop();
                }
                self.restart(*failpoint).await;
                Ok(())
            }
            Step::Call(call) => self.call(call, None, lost).await,
            Step::Kill(call, micros) => {
                self.call(call, Some(Duration::from_micros(*micros)), lost).await?;
                self.restart(None).await;
                Ok(())
            }
        }
    }

    async fn restart(&mut self, failpoint: Option<(&'static str, &'static str)>) {
        self.caller = None;
        self.ground.kill();
        self.ground.start(failpoint);
        self.caller = Some(Caller::connect(&self.ground).await);
        self.figures.restarts += 1;
    }

    /// The answer; none: the host died.
    async fn ask(&mut self, call: &Call, kill: Option<Duration>) -> Option<Result<Reply, Status>> {
        let caller = self.caller.clone().expect("a connection");
        let answer = match kill {
            None => caller.call(&self.ground, call).await,
            Some(after) => {
                let answer = tokio::time::timeout(after, caller.call(&self.ground, call)).await;
                self.ground.kill();
                answer.ok()?
            }
        };
        let Err(status) = &answer else { return Some(answer) };
        let connection = matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal);
        if connection && (kill.is_some() || self.has_died().await) {
            return None;
        }
        Some(answer)
    }

    /// A process that has killed itself takes a moment to be seen as dead.
    async fn has_died(&mut self) -> bool {
        let patience = if matches!(self.ground.failpoint, Some((_, "kill"))) { 100 } else { 10 };
        for _ in 0..patience {
            if !self.ground.is_alive() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        false
    }

    async fn call(&mut self, call: &Call, kill: Option<Duration>, lost: &mut Option<Call>) -> Result<(), Divergence> {
        if let Call::Write { volume, pod, .. } = call
            && !self.worlds.iter().all(|world| world.is_writable(volume, *pod))
        {
            return Ok(());
        }
        *self.figures.calls.entry(call.kind()).or_default() += 1;
        let may_die = kill.is_some() || matches!(self.ground.failpoint, Some((_, "kill")));
        let may_fail = matches!(self.ground.failpoint, Some((_, "error")));
        let answer = self.ask(call, kill).await;
        let code = answer.as_ref().map_or("died".to_owned(), |answer| match answer {
            Ok(_) => "Ok".to_owned(),
            Err(status) => format!("{:?}", status.code()),
        });
        *self.figures.codes.entry(code).or_default() += 1;
        match answer {
            None if may_die => {
                self.cut(call);
                *lost = Some(call.clone());
                if kill.is_none() {
                    self.restart(None).await;
                }
                Ok(())
            }
            None => Err(self.divergence(call, None)),
            Some(Err(status)) if status.code() == Code::Unavailable && may_fail => {
                self.cut(call);
                *lost = Some(call.clone());
                Ok(())
            }
            Some(answer) => self.settle(call, &answer),
        }
    }

    fn cut(&mut self, call: &Call) {
        self.figures.lost += 1;
        let mut next = vec![];
        for world in &self.worlds {
            world.cut(call).into_iter().for_each(|world| add(&mut next, world));
        }
        self.worlds = next;
    }

    /// Keeps what the answer fits.
    fn settle(&mut self, call: &Call, answer: &Result<Reply, Status>) -> Result<(), Divergence> {
        if let Ok(Reply::Facts(now)) = answer {
            let kind = call.kind();
            if self.facts.entry(kind).or_insert_with(|| now.clone()) != now {
                return Err(self.at(call.kind(), vec!["what it said before".to_owned()], now.clone()));
            }
        }
        let mut next = vec![];
        for branch in self.worlds.iter().flat_map(|world| world.step(call)) {
            if branch.fits(answer).is_ok() {
                add(&mut next, branch.next);
            }
        }
        if next.is_empty() {
            return Err(self.divergence(call, Some(answer)));
        }
        self.worlds = next;
        Ok(())
    }

    fn divergence(&self, call: &Call, answer: Option<&Result<Reply, Status>>) -> Divergence {
        let branches = self.worlds.iter().flat_map(|world| world.step(call));
        let says = |branch: Branch| match answer {
            Some(answer) => branch.fits(answer).err().unwrap_or_default(),
            None => "an answer".to_owned(),
        };
        let mut expected: Vec<_> = branches.map(says).collect();
        expected.sort();
        expected.dedup();
        self.at(format!("{call:?}"), expected, answer.map_or_else(|| "the host has died".to_owned(), text))
    }

    fn at(&self, what: String, expected: Vec<String>, got: String) -> Divergence {
        Divergence { step: 0, what, expected, got, log: self.ground.log() }
    }

    /// All that can be seen.
    async fn look(&mut self, page: i32) -> Result<(), Divergence> {
        let nothing = &mut None;
        let all = Call::ListSnapshots { volume: String::new(), snapshot: String::new(), max: page };
        for call in [Call::ListVolumes { max: page }, all] {
            self.call(&call, None, nothing).await?;
        }
        // What is there in any possible world.
        let mut calls = vec![];
        for world in &self.worlds {
            calls.extend(world.volumes.iter().flat_map(|(id, v)| looks_at_volume(id, v.thick)));
            calls.extend(world.snapshots.keys().map(|id| Call::GetSnapshot { snapshot: id.clone() }));
            let groups = world.snapshots.values().filter_map(|s| s.member.as_ref()).map(|member| &member.group);
            calls.extend(groups.map(|group| Call::GetGroup { group: group.clone(), members: vec![] }));
            for (id, record) in &world.node {
                let pods = record.targets.keys().copied();
                let pods = pods.chain(record.inline.as_ref().map(|(inline, _)| inline.pod)).map(At::Pod);
                let places = pods.chain([At::Staging(0), At::Staging(1)]);
                calls.extend(places.map(|at| Call::Stats { volume: id.clone(), at }));
                calls.push(Call::NodeHealth { volume: id.clone(), at: None });
            }
        }
        let mut asked: Vec<Call> = vec![];
        for call in calls {
            if !asked.contains(&call) {
                self.call(&call, None, nothing).await?;
                asked.push(call);
            }
        }
        self.look_at_disk()
    }

    /// What no call shows.
    fn look_at_disk(&mut self) -> Result<(), Divergence> {
        let seen = Seen::look(&self.ground, self.setting.sandbox.as_deref(), &self.worlds[0]);
        let fits: Vec<_> = self.worlds.iter().map(|world| seen.fits(&self.ground, world)).collect();
        if fits.iter().all(Result::is_err) {
            let mut expected: Vec<_> = fits.into_iter().filter_map(Result::err).collect();
            expected.sort();
            expected.dedup();
            return Err(self.at("a look at disk and mounts".to_owned(), expected, format!("{seen:?}")));
        }
        let mut fits = fits.iter();
        self.worlds.retain(|_| fits.next().is_some_and(Result::is_ok));
        Ok(())
    }
}

/// A volume itself, and its provisioning, which shows in no answer but this.
fn looks_at_volume(id: &str, thick: bool) -> [Call; 2] {
    use super::calls::{Cap, Mode, Use};
    let mutable = if thick { "thick" } else { "thin" };
    let caps = vec![Cap { usage: Use::Mount(""), mode: Mode::SingleNodeWriter }];
    let volume = id.to_owned();
    [Call::GetVolume { volume: volume.clone() }, Call::Validate { volume, caps, pool: "", kind: "", mutable }]
}

//! Whole lives: every call repeated and taken back, with a kill between any two calls or in the midst of one, and with clients
//! that give up.

use super::{
    node::USE,
    steps::{Life, Step},
};
use crate::{Case, Cx, Need, Outcome, Stop, case, ensure};
use std::time::Duration;

pub(super) fn cases() -> Vec<Case> {
    let restart = &[USE[0], USE[1], USE[2], Need::Restart];
    const CRASH: &[&str] = &["calls.restart", "data.survives-restart"];
    vec![
        case("life/every-call-repeated", &["life.repeat", "life.reverse"], USE, repeated).every_use(),
        case("life/many-at-once", &["life.many"], USE, many).every_use(),
        case("life/given-up", &["calls.cancelled"], USE, given_up).every_use(),
        case("life/deadline", &["calls.deadline"], USE, deadline).every_use(),
        case("crash/between-calls", CRASH, restart, between).every_use().alone(),
        case("crash/in-a-call", &["calls.restart-midway"], restart, midway).every_use().alone(),
        case("crash/while-published", &["data.survives-restart"], restart, published).every_use().alone(),
    ]
}

/// Every call of a life twice, taken back twice, and made again; then all of it taken down, each call twice.
async fn walk(cx: &Cx, kill: bool) -> Outcome {
    let steps = Step::all(cx);
    let mut life = Life::new(cx)?;
    let pause = async |cx: &Cx| if kill { cx.restart().await } else { Ok(()) };
    for &step in &steps {
        life.settle(step, "the first time").await?;
        let gave = life.gave(step);
        pause(cx).await?;
        life.settle(step, "the same again").await?;
        life.still_gives(step, &gave)?;
        life.is_done(step).await?;
        if !step.has_reverse() {
            continue;
        }
        life.settle_back(step, "once").await?;
        pause(cx).await?;
        life.settle_back(step, "twice").await?;
        life.is_undone(step)?;
        life.settle(step, "after it was taken back").await?;
        life.is_done(step).await?;
    }
    pause(cx).await?;
    life.copies_hold().await?;
    for &step in steps.iter().rev() {
        life.settle_back(step, "at the end").await?;
        pause(cx).await?;
        life.settle_back(step, "at the end, again").await?;
        life.is_undone(step)?;
    }
    life.is_over()
}

async fn repeated(cx: Cx) -> Outcome {
    walk(&cx, false).await
}

async fn between(cx: Cx) -> Outcome {
    walk(&cx, true).await
}

/// Lives side by side are not in each other's way.
async fn many(cx: Cx) -> Outcome {
    let mut lives = tokio::task::JoinSet::new();
    for seed in 0..8 {
        let cx = cx.clone();
        lives.spawn(async move {
            let volume = cx.create("many").await?;
            for _ in 0..2 {
                let used = cx.put_to_use(&volume).await?;
                cx.is_there(&used.target)?;
                cx.fill(&used.target, seed).await?;
                cx.holds(&used.target, seed, "a volume among many").await?;
                cx.put_away(&used).await?;
                cx.is_gone(&used.target)?;
            }
            let used = cx.put_to_use(&volume).await?;
            cx.holds(&used.target, seed, "a volume among many, used again").await?;
            cx.put_away(&used).await?;
            cx.delete(&volume.volume_id).await
        });
    }
    while let Some(life) = lives.join_next().await {
        life.map_err(Stop::fail)??;
    }
    Ok(())
}

/// After how long a client gives up, or the driver is killed, in milliseconds: from before the call arrives to after its end.
const DELAYS: &[u64] = &[0, 1, 2, 5, 10, 20, 50, 100];
/// Fewer, as a restart takes its time.
const KILLS: &[u64] = &[0, 3, 10, 40];

/// One life, in which each call, and each reverse, is tried first with every disturbance there is.
async fn disturbed(
    cx: &Cx,
    delays: &[u64],
    disturb: impl AsyncFn(&mut Life, Step, bool, Duration) -> Outcome,
) -> Outcome {
    let steps = Step::all(cx);
    let mut life = Life::new(cx)?;
    for &step in &steps {
        for (i, delay) in delays.iter().enumerate() {
            disturb(&mut life, step, true, Duration::from_millis(*delay)).await?;
            life.settle(step, "after a call that did not end").await?;
            life.is_done(step).await?;
            if !step.has_reverse() || i + 1 == delays.len() {
                continue;
            }
            disturb(&mut life, step, false, Duration::from_millis(*delay)).await?;
            life.settle_back(step, "after a call that did not end").await?;
            life.is_undone(step)?;
        }
    }
    life.copies_hold().await?;
    for &step in steps.iter().rev() {
        life.settle_back(step, "at the end").await?;
        life.is_undone(step)?;
    }
    life.is_over()
}

async fn given_up(cx: Cx) -> Outcome {
    disturbed(&cx, DELAYS, async |life, step, forth, delay| {
        let call = async { if forth { life.forth(step).await } else { life.back(step).await } };
        // What it answered in time doesn't count: the same call follows.
        let _ = tokio::time::timeout(delay, call).await;
        Ok(())
    })
    .await
}

async fn deadline(cx: Cx) -> Outcome {
    disturbed(&cx, DELAYS, async |life, step, forth, delay| {
        let whole = life.cx.clone();
        life.cx = whole.within(delay.max(Duration::from_millis(1)));
        let start = tokio::time::Instant::now();
        let _ = if forth { life.forth(step).await } else { life.back(step).await };
        life.cx = whole;
        let took = start.elapsed();
        let longest = life.cx.driver.options.timeout / 2;
        ensure!(took < longest, "{step:?} with a deadline of {delay:?} took {took:?}");
        Ok(())
    })
    .await
}

async fn midway(cx: Cx) -> Outcome {
    disturbed(&cx, KILLS, async |life, step, forth, delay| {
        let cx = life.cx.clone();
        let call = async { if forth { life.forth(step).await } else { life.back(step).await } };
        let kill = async {
            tokio::time::sleep(delay).await;
            cx.restart().await
        };
        let (_, killed) = tokio::join!(call, kill);
        killed
    })
    .await
}

/// A volume that is in use while the driver is killed stays in use.
async fn published(cx: Cx) -> Outcome {
    let volume = cx.create("crash").await?;
    let used = cx.put_to_use(&volume).await?;
    for seed in 0..3 {
        cx.fill(&used.target, seed).await?;
        cx.restart().await?;
        cx.is_there(&used.target)?;
        cx.holds(&used.target, seed, "a volume that was in use when the driver was killed").await?;
        ensure!(cx.writable(&used.target)?, "the volume can't be written to after a restart");
    }
    cx.put_away(&used).await?;
    cx.is_gone(&used.target)?;
    let used = cx.put_to_use(&volume).await?;
    cx.holds(&used.target, 2, "the volume, used again").await
}

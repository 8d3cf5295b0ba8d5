use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use kubeci_plan::{NamedEdge, Readiness, readiness};
use rustix::process::{Pid, kill_process};

use crate::arguments::Run;
use crate::clock::Clock;
use crate::command;
use crate::dependency::{self, Until};
use crate::exit_code;
use crate::record::{End, Exit, Stage};
use crate::relay::Relay;
use crate::report::Report;
use crate::signals::{self, Signals};
use crate::trouble::Trouble;

/// What a signal meets: the step as it is now.
enum Now {
    Waiting(String),
    Running(Pid),
    Ended,
}

struct Life {
    now: Now,
    report: Report,
}

type Shared = Arc<Mutex<Life>>;

/// Lives a step's life from its container's start to its end. Returns what to exit with.
pub fn run(run: &Run) -> u8 {
    let report = Report::begin(Clock::start(), &run.termination_log);
    let life = Arc::new(Mutex::new(Life {
        now: Now::Waiting("its start".into()),
        report,
    }));
    live(run, &life).unwrap_or_else(|trouble| {
        eprintln!("step-runner: {trouble}");
        let end = End::Failed {
            started: None,
            exit: Exit::Code(exit_code::TROUBLE),
        };
        let _ = hold(&life).end(end, trouble.to_string());
        exit_code::TROUBLE
    })
}

fn live(run: &Run, life: &Shared) -> Result<u8, Trouble> {
    let relay = Relay(&run.relay);
    let signals = signals::take()?;
    hold(life).report.publish(&relay, &run.step)?;
    let for_signals = life.clone();
    let heed = move || heed(signals, &for_signals);
    thread::Builder::new()
        .spawn(heed)
        .map_err(Trouble::refused("start a thread"))?;
    match lost_dependency(&relay, &run.needs, life)? {
        Some(because) => {
            hold(life).end(End::Skipped, because)?;
            Ok(exit_code::SKIPPED)
        }
        None => start(run, life),
    }
}

/// Waits for the dependencies. Returns why the step is skipped, if it is.
fn lost_dependency(
    relay: &Relay<'_>,
    needs: &[NamedEdge<String>],
    life: &Shared,
) -> Result<Option<String>, Trouble> {
    let mut endings = Vec::with_capacity(needs.len());
    loop {
        let outcomes = endings.iter().map(|it: &dependency::Ending| it.outcome);
        let outcomes = outcomes.map(Some).chain(std::iter::repeat(None));
        match readiness(needs.iter().map(|it| it.kind).zip(outcomes)) {
            Readiness::Start => return Ok(None),
            Readiness::Skip { because } => {
                let (need, ending) = (&needs[because].from, &endings[because]);
                return Ok(Some(format!("{need} {}", ending.said)));
            }
            Readiness::Wait => {
                let need = &needs[endings.len()].from;
                endings.push(dependency::ending(relay, need, |until| {
                    hold(life).now = Now::Waiting(match until {
                        Until::Up => format!("{need}, whose container is not up yet"),
                        Until::Ended => need.clone(),
                    });
                })?);
            }
        }
    }
}

fn start(run: &Run, life: &Shared) -> Result<u8, Trouble> {
    // A signal comes before the start or after it, never between.
    let mut held = hold(life);
    // Before the command: it may have something to say there itself, and never takes less than is told.
    let started = held.report.clock().elapsed();
    held.report.reach(Stage::Running { started });
    let pid = match command::start(run) {
        Ok(pid) => pid,
        Err(why) => {
            eprintln!("step-runner: {}", why.message);
            let end = End::Failed {
                started: None,
                exit: Exit::Code(why.exit_code),
            };
            held.end(end, why.message)?;
            return Ok(why.exit_code);
        }
    };
    held.now = Now::Running(pid);
    drop(held);

    let exit = command::reap(pid)?;
    let end = match exit {
        Exit::Code(0) => End::Completed { started },
        _ => End::Failed {
            started: Some(started),
            exit,
        },
    };
    hold(life).end(end, String::new())?;
    Ok(exit.code())
}

/// Passes signals on to the command; before there is one, a signal that would end it ends the step.
fn heed(signals: Signals, life: &Shared) {
    signals.each(|signal| {
        let mut life = hold(life);
        match &life.now {
            // The command may have been reaped just now; its pid is given out again only after all others.
            Now::Running(pid) => {
                let _ = kill_process(*pid, signal);
            }
            Now::Waiting(what) if signals::ends(signal) => {
                let name = signals::name(signal);
                let because = format!("stopped by {name} while it waited for {what}");
                let _ = life.end(End::Skipped, because);
                std::process::exit(exit_code::SKIPPED.into());
            }
            Now::Waiting(_) | Now::Ended => {}
        }
    });
}

impl Life {
    fn end(&mut self, end: End, message: String) -> Result<(), Trouble> {
        self.now = Now::Ended;
        self.report
            .end(end, message)
            .map_err(Trouble::io("write", "the step's record"))
    }
}

fn hold(life: &Shared) -> MutexGuard<'_, Life> {
    life.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What a relay pod says about its steps. Its containers run from the start, each with a step runner that
//! waits for its step's turn and tells at its end how it went; what it does meanwhile follows from the
//! other steps by the rule that it goes by itself.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kubeci_api::{StepPhase, StepStatus};
use kubeci_plan::{Plan, Readiness};
use step_runner::exit_code;
use step_runner::record::{End, Record, Stage};

use super::failure::{Failure, Stuck};
use super::order::{readiness, skip_for, skip_reason};
use super::settle::say;
use super::trouble::{Notice, Trouble};
use crate::observed::{ContainerFacts, ContainerState, Ended, PodFacts, PodPhase};

/// How long step runners may take to end after the last step that they wait for, with what the kubelet
/// takes to tell of it.
const HEARING: SignedDuration = SignedDuration::from_secs(30);

/// Reasons of the kubelet's own for the end of a container whose process was started.
const RAN: [&str; 4] = ["", "Error", "Completed", "OOMKilled"];

/// Exit codes above it are those of processes that a signal ended.
const SIGNALLED: i32 = 128;

/// The exit code of a step runner whose step was not started.
const SKIPPED: i32 = exit_code::SKIPPED as i32;

/// What a container says of its step by itself.
enum Word {
    /// It has not been started, perhaps for a reason.
    NotUp(Option<Stuck>),
    /// Its step runner waits, or the step's command runs.
    Up(Option<Timestamp>),
    Completed(Times),
    /// The command ran, and failed.
    Failed(Failure, Times, Option<i32>),
    /// Nothing more will happen. The command was not started, unless its turn had come with the container up.
    Over(Failure, Times, Option<i32>),
}

/// When a command ran, as far as it is told.
#[derive(Clone, Copy, Default)]
struct Times {
    /// When its container was up; absent where it is known that the command was not started.
    up: Option<Timestamp>,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
}

/// Brings the steps of a relay up to date with its pod. Steps that are final stay as they are.
pub fn settle(
    plan: &Plan,
    steps: &mut [StepStatus],
    task: usize,
    pod: &PodFacts,
    now: Timestamp,
    notice: &mut Notice,
) {
    let mut open: Vec<(usize, Word)> = plan.tasks[task]
        .clone()
        .filter(|&at| !steps[at].phase.is_final())
        .filter_map(|at| Some((at, word(container(pod, &steps[at])?, pod, now))))
        .collect();
    // Each that becomes final may decide about those that wait for it.
    let mut before = usize::MAX;
    while open.len() < before {
        before = open.len();
        open.retain(|(at, word)| {
            heed(plan, steps, *at, word, pod);
            !steps[*at].phase.is_final()
        });
    }
    for (at, word) in &open {
        let name = &steps[*at].name;
        match (word, readiness(plan, steps, *at)) {
            (Word::NotUp(Some(stuck)), Readiness::Start) => notice.stuck(name, stuck),
            (Word::NotUp(Some(stuck)), Readiness::Wait) => {
                notice.trouble(Trouble::cannot_start(name, &stuck.failure.in_full(None)));
            }
            // One that came up has started, and was skipped or stopped.
            (Word::Over(failure, _, exit_code), Readiness::Wait)
                if container(pod, &steps[*at]).is_some_and(|it| !came_up(&it.state)) =>
            {
                notice.trouble(Trouble::cannot_start(name, &failure.in_full(*exit_code)));
            }
            _ => {}
        }
    }
}

/// Whether everything that is left in a relay pod waits, directly or not, for steps that are over without
/// the others having heard so: their containers never came up. The others would wait for ever.
pub fn is_deaf(
    plan: &Plan,
    steps: &[StepStatus],
    task: usize,
    pod: &PodFacts,
    now: Timestamp,
    notice: &mut Notice,
) -> bool {
    if !plan.is_relay(task) || pod.is_quiet() {
        return false;
    }
    let range = plan.tasks[task].clone();
    let heard_by = pod.last_progress().unwrap_or(now) + HEARING;
    let unheard = |at: usize| {
        let lost = matches!(steps[at].phase, StepPhase::Failed | StepPhase::Skipped);
        let came_up = container(pod, &steps[at]).is_some_and(|it| came_up(&it.state));
        lost && (!came_up || heard_by <= now)
    };
    let is_open = |at: usize| !steps[at].phase.is_final() && pod.has(&steps[at].name);
    let mut deaf: Vec<bool> = range.clone().map(unheard).collect();
    let mut changed = true;
    while changed {
        changed = false;
        for at in range.clone().filter(|&at| is_open(at)) {
            let needs = plan.steps[at].edges.iter().map(|edge| edge.from);
            let mut needs = needs.filter(|need| range.contains(need));
            let lost = needs.any(|need| deaf[need - range.start]);
            changed |= lost && !deaf[at - range.start];
            deaf[at - range.start] |= lost;
        }
    }
    let mut open = range.clone().filter(|&at| is_open(at)).peekable();
    let is_over = open.peek().is_some() && open.all(|at| deaf[at - range.start]);
    let mut lost = range.filter(|&at| steps[at].phase == StepPhase::Failed);
    if !is_over && now < heard_by && lost.next().is_some() {
        notice.wake_at(heard_by);
    }
    is_over
}

fn container<'a>(pod: &'a PodFacts, step: &StepStatus) -> Option<&'a ContainerFacts> {
    pod.containers.iter().find(|it| it.name == step.name)
}

fn word(container: &ContainerFacts, pod: &PodFacts, now: Timestamp) -> Word {
    if let ContainerState::Ended(end) = &container.state {
        return last_word(end, pod);
    }
    if pod.has_ended() {
        return without_words(container, pod, now);
    }
    match &container.state {
        ContainerState::Running { since } => Word::Up(*since),
        _ if pod.deleting => Word::NotUp(None),
        _ => match Stuck::of(container, pod, now) {
            None => Word::NotUp(None),
            Some(stuck) if stuck.is_given_up(now) => {
                Word::Over(stuck.failure, Times::default(), None)
            }
            Some(stuck) => Word::NotUp(Some(stuck)),
        },
    }
}

/// What the end of a whole pod says of a container that is not told of.
fn without_words(container: &ContainerFacts, pod: &PodFacts, now: Timestamp) -> Word {
    let up = match container.state {
        ContainerState::Running { since } => since,
        _ => None,
    };
    let is_good = pod.phase == PodPhase::Succeeded;
    let times = Times {
        up,
        started: None,
        ended: (is_good || up.is_some()).then_some(now),
    };
    if is_good {
        Word::Completed(times)
    } else {
        Word::Over(Failure::of_pod(pod), times, None)
    }
}

/// What an ended container says. A step can write what it likes into its own termination message, so that
/// counts for no more than the container's exit code allows.
fn last_word(end: &Ended, pod: &PodFacts) -> Word {
    let record = end.message.parse::<Record>().ok();
    let times = times(record.as_ref(), end);
    if end.exit_code == 0 {
        return Word::Completed(times);
    }
    let end = Ended {
        message: record
            .as_ref()
            .map_or(end.message.as_str(), said)
            .to_owned(),
        ..end.clone()
    };
    let removal = Failure::of_removal(pod);
    let exit_code = Some(end.exit_code).filter(|_| removal.is_none());
    let failure = removal.unwrap_or_else(|| Failure::of_end(&end));
    if never_started(record.as_ref(), &end) {
        let times = Times {
            ended: times.ended,
            ..Times::default()
        };
        Word::Over(failure, times, exit_code)
    } else {
        Word::Failed(failure, times, exit_code)
    }
}

fn never_started(record: Option<&Record>, end: &Ended) -> bool {
    match record.map(|record| &record.stage) {
        None => !has_run(end) || end.exit_code == SKIPPED,
        Some(Stage::Waiting) => true,
        Some(Stage::Running { .. }) => false,
        Some(Stage::Ended { end, .. }) => match end {
            End::Skipped => true,
            End::Failed { started, .. } => started.is_none(),
            End::Completed { .. } => false,
        },
    }
}

fn times(record: Option<&Record>, end: &Ended) -> Times {
    let time = |time: std::time::SystemTime| Timestamp::try_from(time).ok();
    match record {
        Some(record) => Times {
            up: time(record.up),
            started: record.started_at().and_then(time),
            ended: record.ended_at().and_then(time).or(end.finished),
        },
        None => Times {
            up: end.started,
            started: None,
            ended: end.finished,
        },
    }
}

fn said(record: &Record) -> &str {
    match &record.stage {
        Stage::Ended { message, .. } => message,
        Stage::Waiting | Stage::Running { .. } => "",
    }
}

/// Whether a container's process was started.
pub fn came_up(state: &ContainerState) -> bool {
    match state {
        ContainerState::Unknown | ContainerState::Waiting { .. } => false,
        ContainerState::Running { .. } => true,
        ContainerState::Ended(end) => has_run(end),
    }
}

/// Whether the process of an ended container was started, as its step runner or the kubelet tells. A runtime that
/// cannot execute it, as for arguments that are too long, lets the container end like a process that failed,
/// and says why in its log; the step runner says something before all else, unless it is killed.
fn has_run(end: &Ended) -> bool {
    let is_told = [0, SKIPPED].contains(&end.exit_code) || end.message.parse::<Record>().is_ok();
    RAN.contains(&end.reason.as_str()) && (is_told || end.exit_code > SIGNALLED)
}

/// Takes up what a container says, with regard to the steps that its own depends on.
fn heed(plan: &Plan, steps: &mut [StepStatus], at: usize, word: &Word, pod: &PodFacts) {
    let ready = readiness(plan, steps, at);
    match word {
        Word::Completed(times) => {
            finish(plan, steps, at, StepPhase::Completed, *times);
            steps[at].exit_code = Some(0);
            say(&mut steps[at], None);
        }
        Word::Failed(failure, times, exit_code) => {
            finish(plan, steps, at, StepPhase::Failed, *times);
            steps[at].exit_code = *exit_code;
            failure.record(&mut steps[at]);
        }
        Word::Over(failure, times, exit_code) => match ready {
            Readiness::Skip { because } => {
                return skip_for(steps, plan.steps[at].edges[because]);
            }
            Readiness::Wait => {
                failure.record_again(&mut steps[at]);
                return;
            }
            Readiness::Start => {
                finish(plan, steps, at, StepPhase::Failed, *times);
                steps[at].exit_code = *exit_code;
                failure.record(&mut steps[at]);
            }
        },
        Word::Up(since) if ready == Readiness::Start => {
            steps[at].started_at = about(plan, steps, at, *since).map(MicroTime);
            steps[at].phase = StepPhase::Running;
            say(&mut steps[at], None);
        }
        Word::Up(_) | Word::NotUp(_) if steps[at].phase == StepPhase::Running => return,
        Word::NotUp(Some(stuck)) => {
            stuck.failure.record_again(&mut steps[at]);
            return;
        }
        Word::Up(_) | Word::NotUp(None) => {
            let message = waits_for(plan, steps, at, ready, pod);
            say(&mut steps[at], Some(message));
            return;
        }
    }
    steps[at].pod = Some(pod.name.clone());
    steps[at].container = Some(steps[at].name.clone());
}

fn finish(plan: &Plan, steps: &mut [StepStatus], at: usize, phase: StepPhase, times: Times) {
    let known = steps[at].started_at.as_ref().map(|time| time.0);
    let started = match (times.started, times.up) {
        (Some(started), _) => Some(started),
        (None, Some(up)) => about(plan, steps, at, Some(up)),
        (None, None) => known.filter(|_| phase == StepPhase::Completed),
    };
    let step = &mut steps[at];
    step.phase = phase;
    step.started_at = started.map(MicroTime);
    step.finished_at = times.ended.map(MicroTime);
}

/// When a step's command started, if that is not told: when all was there that it needs.
fn about(plan: &Plan, steps: &[StepStatus], at: usize, up: Option<Timestamp>) -> Option<Timestamp> {
    let edges = plan.steps[at].edges.iter();
    let ends = edges.filter_map(|edge| steps[edge.from].finished_at.as_ref());
    let ends = ends.map(|time| time.0).chain(up).max();
    ends.or(steps[at].started_at.as_ref().map(|time| time.0))
}

/// What a step waits for whose turn has not come, or whose container has not.
fn waits_for(
    plan: &Plan,
    steps: &[StepStatus],
    at: usize,
    ready: Readiness,
    pod: &PodFacts,
) -> String {
    let edges = &plan.steps[at].edges;
    match ready {
        Readiness::Skip { because } => skip_reason(steps, edges[because]),
        Readiness::Wait => {
            let needs = edges.iter().map(|edge| &steps[edge.from]);
            let open = needs.filter(|need| !need.phase.is_final());
            let open: Vec<&str> = open.map(|need| need.name.as_str()).collect();
            format!("waiting for {}", open.join(", "))
        }
        Readiness::Start => not_up(&steps[at].name, pod),
    }
}

/// The kubelet starts containers one after the other, and pulls their images in between.
fn not_up(step: &str, pod: &PodFacts) -> String {
    let is_up = |state: &ContainerState| {
        matches!(
            state,
            ContainerState::Running { .. } | ContainerState::Ended(_)
        )
    };
    let first = pod.containers.iter().find(|it| !is_up(&it.state));
    match first.filter(|first| first.name != step) {
        Some(first) => format!(
            "its container is not up yet: the node starts one after the other, and is at that of {}",
            first.name
        ),
        None => {
            "its container is not up yet: its image is being pulled, or it is being created".into()
        }
    }
}

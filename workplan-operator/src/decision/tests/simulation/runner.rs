//! A model of the step runners of relay pods: each waits for its dependencies in order, or for all at once, as the real
//! one does.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Container;
use kubeci_expression::{Context, Expression, StepValues, Value};
use kubeci_plan::{EdgeKind, FailureKind, NamedEdge, Outcome, Readiness, RetryPolicy, readiness};
use step_runner::outputs::{KUBELET_BYTES, Outputs, Size};
use step_runner::record::{AttemptFailure, EarlierAttempt, End, Exit, Record, Stage};

use super::plans::Outcome as Fate;
use super::reference::conditions::OUTPUT;
use crate::observed::Ended;
use crate::pod_builder::RUNNER;

#[derive(Debug)]
pub struct Runner {
    needs: Vec<(EdgeKind, String)>,
    /// Those of them that may be attempted again in another pod.
    repeated: Vec<String>,
    /// Whether it observes their ends in any order.
    at_once: bool,
    /// Its condition and its variables, and what they name besides steps of the pod.
    expressions: Expressions,
    /// What expressions name of its step, once it has ended.
    values: StepValues,
    /// When it repeats its command.
    retry: RetryPolicy,
    earlier: Vec<EarlierAttempt>,
    up: Timestamp,
    state: State,
}

#[derive(Debug)]
struct Expressions {
    when: Option<Expression>,
    variables: Vec<Expression>,
    context: Context,
}

impl Expressions {
    fn of(words: &[String]) -> Self {
        let options = |name: &'static str| {
            let pairs = words.windows(2).filter(move |pair| pair[0] == name);
            // The kubelet expands variables.
            pairs.map(|pair| pair[1].replace("$$", "$"))
        };
        let named = |name| {
            let texts = options(name);
            texts.map(|text| {
                let (name, text) = text.split_once('=').unwrap();
                (name.to_owned(), text.to_owned())
            })
        };
        let parse = |text: String| Expression::parse(&text).unwrap();
        let context = named("--values").fold(Context::new(), |context, (name, text)| {
            context.with(&name, Value::parse(&text).unwrap())
        });
        let context = named("--step-values").fold(context, |context, (name, text)| {
            context.with_step(&name, StepValues::parse(&text).unwrap())
        });
        Self {
            when: options("--when").map(parse).next(),
            variables: named("--set").map(|(_, text)| parse(text)).collect(),
            context,
        }
    }

    /// The end of a step that does not run.
    fn end(&self, of_pod: impl Iterator<Item = (String, StepValues)>) -> Option<End> {
        let context = of_pod.fold(self.context.clone(), |context, (name, values)| {
            context.with_step(&name, values)
        });
        match self.when.as_ref().map(|it| it.holds(&context)) {
            Some(Ok(false)) => return Some(End::ConditionFalse),
            Some(Err(_)) => return Some(End::ExpressionFailed),
            Some(Ok(true)) | None => {}
        }
        let mut variables = self.variables.iter();
        variables
            .any(|it| it.to_text(&context).is_err())
            .then_some(End::ExpressionFailed)
    }
}

#[derive(Debug)]
enum State {
    Absent,
    Waiting,
    Running(Timestamp),
    /// Its command, which was started then, has failed and starts again.
    Pausing(Timestamp),
    /// It has ended, and the kubelet has not reported it: what the other steps observe, and the report.
    Ended(Published, Ended),
}

/// What the other steps observe of the end of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Published {
    Outcome(Outcome),
    Postponed,
    /// It was killed.
    Nothing,
}

/// What a runner that waits does next.
#[derive(Debug, PartialEq)]
enum Next {
    Waits,
    Starts,
    Ends(End),
}

/// What a runner does next.
#[derive(Debug, PartialEq)]
pub enum Turn {
    Nothing,
    Starts,
    Ends,
    /// The kubelet reports its end.
    IsTold,
}

/// The runners of one pod, by their steps.
#[derive(Debug, Default)]
pub struct Runners {
    all: BTreeMap<String, Runner>,
    /// The slots that they share, if they do.
    slots: Option<usize>,
}

impl Runners {
    /// Reads the command lines of the containers.
    pub fn of(containers: &[Container]) -> Self {
        let runner = |container: &Container| {
            let command = container.command.as_ref()?;
            let option = |name: &str| command.iter().skip_while(|word| *word != name).nth(1);
            let repeated = option("--repeated").into_iter();
            let repeated = repeated.flat_map(|list| list.split(','));
            let retry = option("--retry").map(|text| text.parse().unwrap());
            let needs = option("--needs").into_iter();
            let needs = needs.flat_map(|list| list.split(','));
            let needs = needs.map(NamedEdge::parse);
            let runner = Runner {
                needs: needs.map(|it| (it.kind, it.from.to_owned())).collect(),
                repeated: repeated.map(ToOwned::to_owned).collect(),
                at_once: command.iter().any(|word| word == "--at-once"),
                expressions: Expressions::of(command),
                values: StepValues::default(),
                retry: retry.unwrap_or_default(),
                earlier: Vec::new(),
                up: Timestamp::UNIX_EPOCH,
                state: State::Absent,
            };
            (command[0] == RUNNER).then(|| (container.name.clone(), runner))
        };
        let mut words = containers.iter().flat_map(|it| it.command.iter().flatten());
        let slots = words.by_ref().skip_while(|word| *word != "--slots").nth(1);
        Self {
            all: containers.iter().filter_map(runner).collect(),
            slots: slots.map(|slots| slots.parse().unwrap()),
        }
    }

    pub fn has(&self, step: &str) -> bool {
        self.all.contains_key(step)
    }

    pub fn come_up(&mut self, step: &str, now: Timestamp) {
        let runner = self.all.get_mut(step).unwrap();
        (runner.up, runner.state) = (now, State::Waiting);
    }

    pub fn turn(&self, step: &str) -> Turn {
        match &self.all[step].state {
            State::Running(_) => Turn::Ends,
            State::Ended(..) => Turn::IsTold,
            State::Pausing(_) if self.has_free_slot() => Turn::Starts,
            State::Absent | State::Pausing(_) => Turn::Nothing,
            State::Waiting => match self.next(step) {
                Next::Starts if self.has_free_slot() => Turn::Starts,
                Next::Waits | Next::Starts => Turn::Nothing,
                Next::Ends(_) => Turn::Ends,
            },
        }
    }

    fn has_free_slot(&self) -> bool {
        let running = |it: &&Runner| matches!(it.state, State::Running(_));
        let running = self.all.values().filter(running).count();
        self.slots.is_none_or(|slots| running < slots)
    }

    pub fn start(&mut self, step: &str, now: Timestamp) {
        let runner = self.all.get_mut(step).unwrap();
        if let State::Pausing(started) = runner.state {
            runner.earlier.push(EarlierAttempt {
                started: Some(since(runner.up, started)),
                ended: since(runner.up, now),
                failure: AttemptFailure::Exit(1),
            });
        }
        runner.state = State::Running(now);
    }

    /// Whether its command has failed and will start again, as the policy says.
    pub fn repeats(&mut self, step: &str, fate: Fate) -> bool {
        let runner = self.all.get_mut(step).unwrap();
        let State::Running(started) = runner.state else {
            return false;
        };
        let number = 1 + u32::try_from(runner.earlier.len()).unwrap();
        let pause = runner.retry.pause(number, FailureKind::Failure, Some(1));
        let repeats = fate == Fate::Fails && pause.is_some();
        if repeats {
            runner.state = State::Pausing(started);
        }
        repeats
    }

    /// Ends by itself: the command, or the wait for it. Returns the command's exit code, if it ran.
    pub fn end(&mut self, step: &str, fate: Fate, now: Timestamp) -> Option<i32> {
        match (&self.all[step].state, fate) {
            (State::Waiting, _) => {
                let Next::Ends(end) = self.next(step) else {
                    unreachable!("it waits");
                };
                self.report(step, end, now);
                None
            }
            (State::Running(_), Fate::IsKilled) => Some(self.kill(step, "OOMKilled", now)),
            (State::Running(started), fate) => {
                let started = since(self.all[step].up, *started);
                let (end, code) = match fate {
                    Fate::Completes => (End::Completed { started }, 0),
                    _ => (failed(started, Exit::Code(1)), 1),
                };
                self.report(step, end, now);
                Some(code)
            }
            (State::Absent | State::Pausing(_) | State::Ended(..), _) => {
                unreachable!("it has no turn")
            }
        }
    }

    /// Receives the signal to stop. Returns the command's exit code, if it ran.
    pub fn stop(&mut self, step: &str, gracefully: bool, now: Timestamp) -> Option<i32> {
        let exit_code = match &self.all[step].state {
            State::Running(_) if !gracefully => Some(self.kill(step, "Error", now)),
            State::Running(started) => {
                let started = since(self.all[step].up, *started);
                self.report(step, failed(started, Exit::Signal(15)), now);
                Some(143)
            }
            State::Pausing(started) if gracefully => {
                let started = since(self.all[step].up, *started);
                self.report(step, failed(started, Exit::Code(1)), now);
                None
            }
            State::Waiting if gracefully => {
                self.report(step, End::Postponed, now);
                None
            }
            State::Waiting | State::Pausing(_) => {
                self.kill(step, "Error", now);
                None
            }
            State::Absent | State::Ended(..) => unreachable!("it does not run"),
        };
        if let State::Ended(published, _) = &mut self.all.get_mut(step).unwrap().state
            && gracefully
        {
            *published = Published::Postponed;
        }
        exit_code
    }

    /// The report of the kubelet about its end.
    pub fn last_words(&self, step: &str) -> Ended {
        match &self.all[step].state {
            State::Ended(_, ended) => ended.clone(),
            other => unreachable!("{other:?}"),
        }
    }

    fn next(&self, step: &str) -> Next {
        let runner = &self.all[step];
        let (mut known, mut goes_on) = (true, false);
        let needs = runner.needs.iter().map(|(kind, need)| {
            let published = match &self.all[need].state {
                State::Ended(published, _) if known || runner.at_once => Some(*published),
                _ => None,
            };
            let outcome = match published {
                Some(Published::Outcome(outcome)) => Some(outcome),
                Some(Published::Nothing) if !runner.repeated.contains(need) => {
                    Some(Outcome::Failed)
                }
                None | Some(Published::Nothing | Published::Postponed) => None,
            };
            goes_on |= published.is_some() && outcome.is_none();
            known &= outcome.is_some();
            (*kind, outcome)
        });
        match readiness(needs) {
            Readiness::Start => match runner.expressions.end(self.values()) {
                Some(end) => Next::Ends(end),
                None => Next::Starts,
            },
            Readiness::Skip { .. } => Next::Ends(End::Skipped),
            Readiness::Wait if goes_on => Next::Ends(End::Postponed),
            Readiness::Wait => Next::Waits,
        }
    }

    /// What expressions name of the steps of the pod that have ended.
    fn values(&self) -> impl Iterator<Item = (String, StepValues)> {
        let ended = self
            .all
            .iter()
            .filter(|(_, it)| matches!(it.state, State::Ended(..)));
        ended.map(|(name, runner)| (name.clone(), runner.values.clone()))
    }

    fn report(&mut self, step: &str, end: End, now: Timestamp) {
        let exit_code: i32 = end.exit_code().into();
        let ended = since(self.all[step].up, now);
        let mut outputs = Outputs::default();
        if matches!(end, End::Completed { .. }) {
            let text = format!("{OUTPUT}=ok\n");
            let size = Size::Exactly(text.len());
            outputs = Outputs::of_completed(&text, size, KUBELET_BYTES).unwrap();
        }
        let ran = match &end {
            End::Failed { started, .. } => started.is_some(),
            end => matches!(end, End::Completed { .. }),
        };
        self.all.get_mut(step).unwrap().values = StepValues {
            phase: end.outcome().unwrap_or(Outcome::Failed).phase().into(),
            exit_code: ran.then_some(exit_code).map(i64::from),
            outputs: outputs.clone().into_map(),
        };
        let message = String::new();
        let stage = Stage::Ended {
            ended,
            end,
            message,
            outputs: Some(outputs),
        };
        self.finish(step, stage, (exit_code, "Error"), now);
    }

    /// Killed, without a record of the end.
    fn kill(&mut self, step: &str, reason: &str, now: Timestamp) -> i32 {
        let stage = match self.all[step].state {
            State::Running(started) | State::Pausing(started) => Stage::Running {
                started: since(self.all[step].up, started),
            },
            _ => Stage::Waiting,
        };
        self.all.get_mut(step).unwrap().values.phase = Outcome::Failed.phase().into();
        self.finish(step, stage, (137, reason), now);
        137
    }

    fn finish(
        &mut self,
        step: &str,
        stage: Stage,
        (exit_code, reason): (i32, &str),
        now: Timestamp,
    ) {
        let runner = self.all.get_mut(step).unwrap();
        let record = Record {
            up: runner.up.into(),
            stage,
            earlier: runner.earlier.iter().copied().map(Some).collect(),
        };
        let ended = Ended {
            exit_code,
            reason: reason.into(),
            message: record.to_string(),
            started: Some(runner.up),
            finished: Some(now),
        };
        let published = match (&record.stage, record.outcome()) {
            (_, Some(outcome)) => Published::Outcome(outcome),
            (Stage::Ended { .. }, None) => Published::Postponed,
            (Stage::Waiting | Stage::Running { .. }, None) => Published::Nothing,
        };
        runner.state = State::Ended(published, ended);
    }
}

fn failed(started: std::time::Duration, exit: Exit) -> End {
    End::Failed {
        started: Some(started),
        exit,
    }
}

fn since(up: Timestamp, time: Timestamp) -> std::time::Duration {
    time.duration_since(up).unsigned_abs()
}

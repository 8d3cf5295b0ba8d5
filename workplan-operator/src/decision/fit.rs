//! Plans and statuses that must fit into what etcd stores of one object.

mod attempts;

use kube::Resource;
use kubeci_api::{Phase, StepStatus, Workplan, WorkplanStatus};
use kubeci_compiler::{MESSAGE_BYTES, STORED_MAX, TooLarge, stored_bytes, too_large};

/// A status of less is not measured: there is always room for it.
const SMALL: usize = 128 << 10;
/// The maximum size of a condition's message, in bytes.
const SENTENCES: usize = 4 << 10;
/// The size of the parts of a Workplan that the API server stores and the operator does not read.
const BESIDE: usize = 16 << 10;
/// The size of the managed fields of the status for each step, besides its name.
const MANAGED: usize = 200;

/// Why a plan cannot run: it leaves no room for its status, or its pods cannot be stored. A plan that has started
/// continues.
#[must_use]
pub fn refusal(workplan: &Workplan) -> Option<TooLarge> {
    let spec = &workplan.spec;
    let has_started = workplan
        .status
        .as_ref()
        .and_then(|it| it.phase)
        .is_some_and(|it| it != Phase::Pending);
    if has_started {
        return None;
    }
    too_large(spec.order, &spec.tasks, &spec.pod, metadata_bytes(workplan))
}

/// Shortens the messages of a status that would not fit beside its plan, then leaves out the details of attempts.
pub fn shorten(workplan: &Workplan, status: &mut WorkplanStatus) {
    let conditions = status.conditions.iter_mut().map(|it| &mut it.message);
    for message in status.message.iter_mut().chain(conditions) {
        cut(message, SENTENCES);
    }
    if largest_bytes(status) < SMALL {
        return;
    }
    let spec = stored_bytes(&workplan.spec) + metadata_bytes(workplan) + BESIDE;
    let managed = |step: &StepStatus| MANAGED + step.name.len();
    let managed: usize = status.steps.iter().map(managed).sum();
    let room = STORED_MAX.saturating_sub(spec + managed);
    let mut longest = 16 * MESSAGE_BYTES;
    while stored_bytes(status) > room && longest >= MESSAGE_BYTES {
        let messages = status.steps.iter_mut().flat_map(messages);
        messages.for_each(|message| cut(message, longest));
        longest /= 2;
    }
    if stored_bytes(status) > room {
        attempts::cut(&workplan.spec.tasks, &mut status.steps);
    }
    if stored_bytes(status) > room {
        attempts::silence(&mut status.steps);
    }
}

fn messages(step: &mut StepStatus) -> impl Iterator<Item = &mut String> {
    let attempts = step.attempts.iter_mut();
    let of_attempts = attempts.filter_map(|it| it.message.as_mut());
    step.message.iter_mut().chain(of_attempts)
}

/// A status without its steps, for a status that is too large for the API server.
#[must_use]
pub fn least(status: &WorkplanStatus, error: &str) -> WorkplanStatus {
    let mut least = status.clone();
    least.steps.clear();
    let left_out = format!(
        "The status has no steps, because it would be too large with them: {error}. \
        Move scripts and data into ConfigMaps that the steps mount, or split the steps. "
    );
    let conditions = least.conditions.iter_mut();
    let succeeded = conditions.filter(|it| it.type_ == "Succeeded");
    let messages = succeeded
        .map(|it| &mut it.message)
        .chain(&mut least.message);
    messages.for_each(|message| message.insert_str(0, &left_out));
    least
}

/// The approximate maximum size of the status.
fn largest_bytes(status: &WorkplanStatus) -> usize {
    let bytes = |step: &StepStatus| {
        let attempts = step.attempts.iter();
        let attempts = attempts.map(|it| 512 + it.message.as_ref().map_or(0, String::len));
        let outputs = step
            .outputs
            .iter()
            .map(|(key, value)| 16 + key.len() + 6 * value.len());
        512 + step.message.as_ref().map_or(0, String::len)
            + attempts.sum::<usize>()
            + outputs.sum::<usize>()
    };
    status.steps.iter().map(bytes).sum()
}

/// For example the annotation of `kubectl apply`, which contains the plan.
fn metadata_bytes(workplan: &Workplan) -> usize {
    let annotations = workplan.meta().annotations.as_ref();
    annotations.map_or(0, stored_bytes)
}

/// Cuts a text to so many bytes as it is stored.
fn cut(text: &mut String, longest: usize) {
    const MORE: &str = " …";
    if stored_bytes(text.as_str()) <= longest {
        return;
    }
    let mut left = longest.saturating_sub(stored_bytes(MORE));
    let fits = |(_, character): &(usize, char)| {
        let bytes = stored_bytes(character.encode_utf8(&mut [0; 4])) - "\"\"".len();
        let fits = bytes <= left;
        left = left.saturating_sub(bytes);
        !fits
    };
    if let Some((end, _)) = text.char_indices().find(fits) {
        text.truncate(end);
        text.push_str(MORE);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kubeci_api::{Order, Step};
    use rstest::rstest;

    use super::*;
    use crate::output_bounds::of_message;
    use crate::testing::workplan;

    #[test]
    fn text_is_cut_by_its_stored_bytes() {
        for text in ["<".repeat(500), "é\n".repeat(300), "a".repeat(300)] {
            let mut short = text.clone();
            cut(&mut short, 256);
            let bytes = stored_bytes(short.as_str());
            assert!((240..=256).contains(&bytes), "{bytes}: {short}");
        }
        let mut short = "short".to_owned();
        cut(&mut short, 256);
        assert_eq!(short, "short");
    }

    #[test]
    fn unstarted_plan_may_be_too_large() {
        let mut plan = workplan(Order::Linear, &["a"]);
        plan.spec.tasks[0].serial_steps.clear();
        plan.spec.tasks[0].parallel_steps = vec![Step {
            name: "a".into(),
            args: vec!["x".repeat(STORED_MAX)],
            ..Step::default()
        }];
        for (phase, refused) in [
            (None, true),
            (Some(Phase::Pending), true),
            (Some(Phase::Running), false),
        ] {
            plan.status = Some(WorkplanStatus {
                phase,
                ..WorkplanStatus::default()
            });
            assert_eq!(refusal(&plan).is_some(), refused, "{phase:?}");
        }
    }

    #[rstest]
    fn largest_status_of_fitting_plan_is_shortened(#[values(0, 20, 200)] spare: usize) {
        let mut plan = workplan(Order::Linear, &[]);
        let step = |at: usize, script: usize| Step {
            name: format!("{at:x<60}"),
            commands: vec!["&".repeat(script)],
            ..Step::default()
        };
        let task = |script: usize| kubeci_api::Task {
            parallel_steps: (0..500).map(|at| step(at, script)).collect(),
            ..kubeci_api::Task::default()
        };
        let mut script = 500;
        loop {
            plan.spec.tasks = vec![task(script)];
            if refusal(&plan).is_none() {
                break;
            }
            script -= 1;
        }
        plan.spec.tasks = vec![task(script - spare)];
        let time = || serde_json::from_str("\"2026-01-01T00:10:00.000000Z\"").ok();
        let most = of_message(&plan, 1);
        let outputs: BTreeMap<String, String> = match most.checked_sub(3) {
            Some(length) => [("a".to_owned(), "<".repeat(length))].into(),
            None => BTreeMap::new(),
        };
        assert_eq!(outputs.is_empty(), spare == 0);
        let bytes = |at: usize| StepStatus {
            name: format!("{at:x<60}"),
            pod: Some("p".repeat(63)),
            container: Some(format!("{at:x<60}")),
            started_at: time(),
            finished_at: time(),
            exit_code: Some(137),
            reason: Some("CreateContainerConfigError".into()),
            message: Some("exit code 137: <".repeat(100)),
            outputs: outputs.clone(),
            ..StepStatus::default()
        };
        let mut status = WorkplanStatus {
            steps: (0..500).map(bytes).collect(),
            ..WorkplanStatus::default()
        };
        shorten(&plan, &mut status);
        let managed: usize = status.steps.iter().map(|it| MANAGED + it.name.len()).sum();
        let stored = stored_bytes(&plan.spec) + stored_bytes(&status) + managed + BESIDE;
        assert!(stored <= STORED_MAX, "{stored}");
        plan.status = Some(WorkplanStatus {
            phase: Some(kubeci_api::Phase::Running),
            ..status
        });
        assert_eq!(refusal(&plan), None, "what has started goes on");
    }
}

//! Statuses that version 0.1.0 wrote, whose steps have the reason in their message.

use kubeci_api::{StepPhase, StepStatus};

/// The status of a step as it is written now.
pub(crate) fn with_reason(step: &StepStatus) -> StepStatus {
    let mut step = step.clone();
    let may_have_reason = matches!(step.phase, StepPhase::Pending | StepPhase::Failed);
    if step.reason.is_some() || !may_have_reason {
        return step;
    }
    let Some(message) = step.message.take() else {
        return step;
    };
    let (first, rest) = message.split_once(": ").unwrap_or((&message, ""));
    let reason = if first.starts_with("exit code ") {
        Some("Error")
    } else {
        is_reason(first).then_some(first)
    };
    let (reason, message) = match reason {
        Some(reason) => (Some(reason.to_owned()), rest.to_owned()),
        None => (None, message),
    };
    step.reason = reason;
    step.message = (!message.is_empty()).then_some(message);
    step
}

/// Whether a text is one CamelCase word.
fn is_reason(text: &str) -> bool {
    text.starts_with(|it: char| it.is_ascii_uppercase())
        && text.chars().all(|it| it.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::exit_code(
        StepPhase::Failed,
        "exit code 3: disk full",
        Some("Error"),
        Some("disk full")
    )]
    #[case::without_log(StepPhase::Failed, "exit code 137", Some("Error"), None)]
    #[case::reason(
        StepPhase::Failed,
        "Evicted: the pod p failed: memory",
        Some("Evicted"),
        Some("the pod p failed: memory")
    )]
    #[case::reason_alone(StepPhase::Failed, "StartError", Some("StartError"), None)]
    #[case::blocked(
        StepPhase::Pending,
        "ImagePullBackOff: not found",
        Some("ImagePullBackOff"),
        Some("not found")
    )]
    #[case::waiting(StepPhase::Pending, "waiting for a, b", None, Some("waiting for a, b"))]
    #[case::starting(
        StepPhase::Pending,
        "its container is not up yet: its image is being pulled",
        None,
        Some("its container is not up yet: its image is being pulled")
    )]
    #[case::skipped(
        StepPhase::Skipped,
        "a did not complete, which it depends on",
        None,
        Some("a did not complete, which it depends on")
    )]
    fn earlier_step_message_yields_its_reason(
        #[case] phase: StepPhase,
        #[case] message: &str,
        #[case] reason: Option<&str>,
        #[case] expected: Option<&str>,
    ) {
        let earlier = StepStatus {
            phase,
            message: Some(message.into()),
            ..StepStatus::default()
        };
        let step = with_reason(&earlier);
        assert_eq!(
            (step.reason.as_deref(), step.message.as_deref()),
            (reason, expected)
        );
        assert_eq!(with_reason(&step), step);
    }
}

use proptest::prelude::*;

use super::text::{SEPARATOR, VERSION};
use super::*;
use crate::outputs::tests::outputs;

fn time() -> impl Strategy<Value = Duration> {
    (0..10_000_000_000_u64).prop_map(Duration::from_micros)
}

fn refusal(is_large: bool) -> Refusal {
    if is_large {
        Refusal::TooLarge
    } else {
        Refusal::Invalid
    }
}

fn stage() -> impl Strategy<Value = Stage> {
    let exit = prop_oneof![
        any::<u8>().prop_map(Exit::Code),
        (1..65_u8).prop_map(Exit::Signal)
    ];
    let end = prop_oneof![
        time().prop_map(|started| End::Completed { started }),
        (prop::option::of(time()), exit.clone())
            .prop_map(|(started, exit)| End::Failed { started, exit }),
        (time(), any::<bool>()).prop_map(|(started, is_large)| End::OutputRefused {
            started,
            refusal: refusal(is_large),
        }),
        (time(), exit).prop_map(|(started, exit)| End::TimedOut { started, exit }),
        Just(End::ExpressionFailed),
        Just(End::Skipped),
        Just(End::ConditionFalse),
        Just(End::Postponed),
    ];
    let outputs = prop::option::of(outputs());
    let ended = (time(), end, "|[a-z]([ -~\n]{0,40}[a-z])?", outputs);
    prop_oneof![
        Just(Stage::Waiting),
        time().prop_map(|started| Stage::Running { started }),
        ended.prop_map(|(ended, end, message, outputs)| Stage::Ended {
            ended,
            end,
            message,
            outputs,
        }),
    ]
}

fn time_of_day() -> impl Strategy<Value = SystemTime> {
    let micros = 0..4_000_000_000_000_000_u64;
    micros.prop_map(|it| SystemTime::UNIX_EPOCH + Duration::from_micros(it))
}

fn earlier() -> impl Strategy<Value = EarlierAttempt> {
    let millis = |most| (0..most).prop_map(Duration::from_millis);
    let failure = prop_oneof![
        any::<u8>().prop_map(AttemptFailure::Exit),
        any::<bool>().prop_map(|is_large| AttemptFailure::Output(refusal(is_large))),
        Just(AttemptFailure::Timeout)
    ];
    let parts = (
        prop::option::of(millis(9_u64)),
        millis(10_000_000_u64),
        failure,
    );
    parts.prop_map(|(started, ended, failure)| EarlierAttempt {
        started,
        ended,
        failure,
    })
}

fn record() -> impl Strategy<Value = Record> {
    let earlier = prop::collection::vec(earlier().prop_map(Some), 0..21);
    (time_of_day(), stage(), earlier).prop_map(|(up, stage, earlier)| Record { up, stage, earlier })
}

/// What the kubelet keeps of a record in a pod of 110 steps and the step runner's own container.
const LEAST: usize = 12 * 1024 / 111;

proptest! {
    #[test]
    fn written_record_is_read_back(record in record()) {
        prop_assert_eq!(record.to_string().parse(), Ok(record));
    }

    #[test]
    fn head_fits_in_a_pod_of_110_steps(record in record()) {
        let text = record.to_string();
        let head = text.split(SEPARATOR).next().unwrap();
        let head = head.split_once(": ").map_or(head, |(head, _)| head);
        let head = head.split_once(" earlier=").map_or(head, |(head, _)| head);
        prop_assert!(head.len() <= HEAD_BYTES, "{}", head);
        prop_assert_eq!(HEAD_BYTES, LEAST);
    }

    #[test]
    fn cut_message_leaves_the_head(record in record(), message in "[a-z]{200}") {
        let Stage::Ended { ended, end, outputs, .. } = record.stage.clone() else { return Ok(()) };
        let stage = Stage::Ended { ended, end, message, outputs };
        let long = Record { stage, ..record.clone() };
        let cut: Record = long.to_string()[..LEAST].parse().unwrap();
        prop_assert_eq!(cut.earlier.len(), record.earlier.len());
        prop_assert_eq!(cut.outcome(), record.outcome());
        prop_assert_eq!(cut.started_at(), record.started_at());
        prop_assert_eq!(cut.ended_at(), record.ended_at());
    }

    #[test]
    fn cut_outputs_are_not_read(record in record(), cut in 1..60_usize) {
        let Stage::Ended { outputs: Some(written), .. } = &record.stage else { return Ok(()) };
        let text = record.to_string();
        let length = text.floor_char_boundary(text.len().saturating_sub(cut));
        let Ok(read) = text[..length].parse::<Record>() else { return Ok(()) };
        let Stage::Ended { outputs, .. } = read.stage else { return Ok(()) };
        // Cut before the first separator, a record looks as if there were none.
        let has_separator = text[..length].contains(SEPARATOR);
        prop_assert!(outputs.is_none() || written.is_empty() || !has_separator, "{:?}", outputs);
    }

    #[test]
    fn outputs_take_two_bytes_more(outputs in outputs()) {
        let lines: usize = outputs.iter().map(|(key, value)| key.len() + value.len() + 2).sum();
        let length = |outputs| {
            let stage = Stage::Ended {
                ended: Duration::ZERO,
                end: End::Completed { started: Duration::ZERO },
                message: String::new(),
                outputs: Some(outputs),
            };
            let record = Record { up: SystemTime::UNIX_EPOCH, stage, earlier: Vec::new() };
            record.to_string().len()
        };
        prop_assert!(length(outputs) - length(Outputs::default()) <= lines + 1);
    }

    #[test]
    fn cut_attempts_are_whole_or_absent(record in record(), kept in LEAST..1000) {
        let text = record.to_string();
        let kept = text.floor_char_boundary(kept);
        let cut: Record = text[..kept].parse().unwrap();
        prop_assert_eq!(cut.earlier.len(), record.earlier.len());
        for (cut, whole) in cut.earlier.iter().zip(&record.earlier) {
            prop_assert!(cut.is_none() || cut == whole);
        }
    }

    #[test]
    fn any_attempts_are_read_or_refused(words in "[-/,.0-9a-z]{0,40}", number in ".{0,12}") {
        let text = format!("{VERSION} waiting up=2026-11-21T11:25:50Z try={number} earlier={words}");
        if let Ok(record) = text.parse::<Record>() {
            prop_assert!(record.earlier.len() < MAX_ATTEMPTS as usize);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,80}") {
        let _ = text.parse::<Record>();
        let _ = format!("{VERSION} failed up=2026-11-21T11:25:50Z {text}").parse::<Record>();
    }
}

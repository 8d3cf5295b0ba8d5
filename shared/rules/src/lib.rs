//! When a step starts, waits or is skipped, given how the steps that it depends on ended.
//!
//! The workplan operator decides by this rule between pods, the step runner inside one.
#![no_std]
#![deny(missing_docs)]

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It ran, and well.
    Completed,
    /// It ran and ended otherwise, or could not run.
    Failed,
    /// It did not run, because a step that it depends on did not complete.
    Skipped,
}

/// What a step that has not started does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Readiness {
    /// A step that it depends on has not ended.
    Wait,
    /// All that it depends on has completed.
    Start,
    /// It will never start.
    Skip {
        /// The first of its dependencies that did not complete, by its place among them.
        because: usize,
    },
}

/// Decides what a step does next, from the outcome of each of its dependencies; `None` has not ended.
///
/// One that did not complete decides, whether the others have ended or not.
#[must_use]
pub fn readiness(needs: impl IntoIterator<Item = Option<Outcome>>) -> Readiness {
    let mut readiness = Readiness::Start;
    for (place, outcome) in needs.into_iter().enumerate() {
        match outcome {
            Some(Outcome::Completed) => {}
            Some(Outcome::Failed | Outcome::Skipped) => return Readiness::Skip { because: place },
            None => readiness = Readiness::Wait,
        }
    }
    readiness
}

#[cfg(test)]
mod tests {
    extern crate std;

    use proptest::prelude::*;
    use std::vec::Vec;

    use super::Outcome::{Completed, Failed, Skipped};
    use super::{Outcome, Readiness, readiness};

    fn outcomes() -> impl Strategy<Value = Vec<Option<Outcome>>> {
        let outcome = prop::sample::select(&[None, Some(Completed), Some(Failed), Some(Skipped)]);
        prop::collection::vec(outcome, 0..6)
    }

    #[test]
    fn a_step_without_dependencies_starts() {
        assert_eq!(readiness([]), Readiness::Start);
    }

    #[test]
    fn the_first_that_did_not_complete_is_the_reason() {
        let needs = [None, Some(Completed), Some(Skipped), Some(Failed)];
        assert_eq!(readiness(needs), Readiness::Skip { because: 2 });
    }

    proptest! {
        #[test]
        fn starts_exactly_when_all_have_completed(needs in outcomes()) {
            let all = needs.iter().all(|it| *it == Some(Completed));
            prop_assert_eq!(readiness(needs) == Readiness::Start, all);
        }

        #[test]
        fn waits_exactly_when_one_is_open_and_none_is_lost(needs in outcomes()) {
            let open = needs.contains(&None);
            let lost = needs.iter().any(|it| matches!(it, Some(Failed | Skipped)));
            prop_assert_eq!(readiness(needs) == Readiness::Wait, open && !lost);
        }

        #[test]
        fn what_ends_later_never_takes_a_decision_back(needs in outcomes(), late in outcomes()) {
            let before = readiness(needs.iter().copied());
            let later = needs.iter().enumerate().map(|(at, it)| it.or_else(|| late.get(at).copied().flatten()));
            let skips = |it| matches!(it, Readiness::Skip { .. });
            let after = readiness(later);
            let stays = before == after || skips(before) && skips(after);
            prop_assert!(before == Readiness::Wait || stays);
        }
    }
}

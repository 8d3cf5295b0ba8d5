use crate::edge::{EdgeKind, EdgeState, Outcome};

/// What a step that has not started does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Readiness {
    /// An edge to it is open.
    Wait,
    /// All edges to it are satisfied.
    Start,
    /// It never starts.
    Skip {
        /// The position of the first broken edge.
        because: usize,
    },
}

/// Decides what a step does next, from the edges to it, each with the outcome of the step that it comes from.
/// The outcome is `None` as long as that step has not ended.
///
/// A broken edge decides, also while others are open.
#[must_use]
pub fn readiness(edges: impl IntoIterator<Item = (EdgeKind, Option<Outcome>)>) -> Readiness {
    let mut readiness = Readiness::Start;
    for (position, (kind, outcome)) in edges.into_iter().enumerate() {
        match kind.state(outcome) {
            EdgeState::Satisfied => {}
            EdgeState::Broken => return Readiness::Skip { because: position },
            EdgeState::Open => readiness = Readiness::Wait,
        }
    }
    readiness
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::edge::Outcome::{Completed, Failed, Skipped};

    fn readiness(outcomes: impl IntoIterator<Item = Option<Outcome>>) -> Readiness {
        super::readiness(outcomes.into_iter().map(|it| (EdgeKind::OnSuccess, it)))
    }

    fn outcomes() -> impl Strategy<Value = Vec<Option<Outcome>>> {
        let outcome = prop::sample::select(&[None, Some(Completed), Some(Failed), Some(Skipped)]);
        prop::collection::vec(outcome, 0..6)
    }

    fn edges() -> impl Strategy<Value = Vec<(EdgeKind, Option<Outcome>)>> {
        let kinds = prop::collection::vec(prop::sample::select(&EdgeKind::ALL), 6);
        (kinds, outcomes()).prop_map(|(kinds, outcomes)| kinds.into_iter().zip(outcomes).collect())
    }

    #[test]
    fn step_without_edges_starts() {
        assert_eq!(readiness([]), Readiness::Start);
    }

    #[test]
    fn first_broken_edge_is_the_reason() {
        let outcomes = [None, Some(Completed), Some(Skipped), Some(Failed)];
        assert_eq!(readiness(outcomes), Readiness::Skip { because: 2 });
    }

    proptest! {
        #[test]
        fn step_starts_exactly_when_all_completed(outcomes in outcomes()) {
            let all = outcomes.iter().all(|it| *it == Some(Completed));
            prop_assert_eq!(readiness(outcomes) == Readiness::Start, all);
        }

        #[test]
        fn step_waits_exactly_without_broken_edges(outcomes in outcomes()) {
            let open = outcomes.contains(&None);
            let lost = outcomes.iter().any(|it| matches!(it, Some(Failed | Skipped)));
            prop_assert_eq!(readiness(outcomes) == Readiness::Wait, open && !lost);
        }

        #[test]
        fn each_kind_holds_for_its_outcomes(edges in edges()) {
            let holds = |(kind, outcome): &(EdgeKind, Option<Outcome>)| match kind {
                EdgeKind::OnSuccess => *outcome == Some(Completed),
                EdgeKind::OnRun => matches!(outcome, Some(Completed | Failed)),
                EdgeKind::OnFailure => *outcome == Some(Failed),
                EdgeKind::OnEnd => outcome.is_some(),
            };
            let skips = edges.iter().any(|edge| edge.1.is_some() && !holds(edge));
            let expected = (edges.iter().all(holds), skips);
            let readiness = super::readiness(edges);
            let found = (readiness == Readiness::Start, matches!(readiness, Readiness::Skip { .. }));
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn decision_stands_whatever_ends_later(outcomes in outcomes(), late in outcomes()) {
            let before = readiness(outcomes.iter().copied());
            let later = outcomes.iter().enumerate().map(|(at, it)| it.or_else(|| late.get(at).copied().flatten()));
            let skips = |it| matches!(it, Readiness::Skip { .. });
            let after = readiness(later);
            let stays = before == after || skips(before) && skips(after);
            prop_assert!(before == Readiness::Wait || stays);
        }
    }
}

//! What keeps a plan waiting, and when to look again.

use jiff::Timestamp;

use super::failure::{Failure, Stuck};
use crate::refusal::{Refusal, Verdict};

/// Said of what is given up after [`PATIENCE`](super::failure::PATIENCE).
const GIVEN_UP: &str = "It fails if this lasts for 5 minutes";

/// A reason to wait, in a word and in a sentence that says what to do. The least comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    rank: u8,
    pub reason: String,
    pub message: String,
}

/// What is noticed on the way to a decision.
#[derive(Debug, Default)]
pub struct Notice {
    pub trouble: Option<Trouble>,
    pub wake_at: Option<Timestamp>,
}

impl Notice {
    /// Keeps the most serious trouble, of equal ones the first.
    pub fn trouble(&mut self, trouble: Trouble) {
        if self
            .trouble
            .as_ref()
            .is_none_or(|known| trouble.rank < known.rank)
        {
            self.trouble = Some(trouble);
        }
    }

    /// A container that cannot be created for now.
    pub fn stuck(&mut self, container: &str, stuck: &Stuck) {
        if let Some(until) = stuck.until {
            self.wake_at(until);
        }
        self.trouble(Trouble::stuck(container, &stuck.failure));
    }

    pub fn wake_at(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |known| known.min(at)));
    }
}

impl Trouble {
    #[must_use]
    pub fn refused(refusal: &Refusal) -> Self {
        let message = &refusal.message;
        Self {
            rank: 0,
            reason: refusal.reason.into(),
            message: match refusal.verdict {
                Verdict::Perhaps => format!("{message}. {GIVEN_UP}"),
                _ => message.clone(),
            },
        }
    }

    fn stuck(container: &str, failure: &Failure) -> Self {
        Self {
            rank: 1,
            reason: failure.reason.clone(),
            message: format!("{container}: {}. {GIVEN_UP}", failure.text),
        }
    }

    /// The step runner came too late, and is there for the next pod.
    #[must_use]
    pub fn made_again(pod: &str) -> Self {
        Self {
            rank: 1,
            reason: "RunnerNotInstalled".into(),
            message: format!(
                "the steps were started before the step runner was there, whose image could not be pulled at \
                 first; none has run, and the pod {pod} is made again"
            ),
        }
    }

    #[must_use]
    pub fn node_not_ready(node: &str) -> Self {
        Self {
            rank: 2,
            reason: "NodeNotReady".into(),
            message: format!(
                "the node {node}, on which the plan runs, is not ready; the plan goes on when it is back"
            ),
        }
    }

    /// What a pod waits for, wrong or merely slow.
    #[must_use]
    pub fn waits(failure: &Failure, is_wrong: bool) -> Self {
        Self {
            rank: if is_wrong { 1 } else { 5 },
            reason: failure.reason.clone(),
            message: if is_wrong {
                format!("{}. {GIVEN_UP}", failure.text)
            } else {
                failure.text.clone()
            },
        }
    }

    /// A container of a relay that cannot start though its step's turn has not come.
    #[must_use]
    pub fn cannot_start(step: &str, failure: &str) -> Self {
        Self {
            rank: 3,
            reason: "ContainerCannotStart".into(),
            message: format!(
                "the container of {step} cannot start: {}. The step fails when its turn comes, unless that is \
                 mended; the others go on",
                failure.trim_end_matches('.')
            ),
        }
    }

    #[must_use]
    pub fn name_in_use(pod: &str) -> Self {
        Self {
            rank: 4,
            reason: "PodNameInUse".into(),
            message: format!(
                "the pod {pod} of an earlier Workplan of the same name is still being removed"
            ),
        }
    }
}

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

/// The state that `/readyz` returns.
///
/// A standby is ready once it has read the lease. A leader is ready once every condition that it declared is done.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<State>>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Connecting,
    StandingBy {
        leader: String,
    },
    Leading {
        conditions: BTreeMap<String, bool>,
    },
}

impl Readiness {
    /// Declares a condition of this leader. A leader without conditions is not ready, so declare all conditions before
    /// the first is done.
    #[must_use = "the process is not ready until the condition is done"]
    pub fn condition(&self, name: &str) -> ReadinessCondition {
        self.set(name, false);
        ReadinessCondition {
            name: name.to_owned(),
            readiness: self.clone(),
            done: watch::Sender::new(false),
        }
    }

    pub(crate) fn standing_by(&self, leader: &str) {
        self.change(|state| {
            *state = State::StandingBy {
                leader: leader.to_owned(),
            };
        });
    }

    pub(crate) fn leading(&self) {
        self.change(|state| {
            *state = State::Leading {
                conditions: BTreeMap::new(),
            };
        });
    }

    /// Whether the process is ready, and the lines that explain it.
    pub(crate) fn report(&self) -> (bool, String) {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Connecting => (
                false,
                "waiting for the first read of the Lease\n".to_owned(),
            ),
            State::StandingBy { leader } => (
                true,
                format!("waiting for the Lease, {leader} is the leader\n"),
            ),
            State::Leading { conditions } => (
                !conditions.is_empty() && conditions.values().all(|done| *done),
                leading(conditions),
            ),
        }
    }

    fn set(&self, condition: &str, done: bool) {
        self.change(|state| {
            if let State::Leading { conditions } = state {
                conditions.insert(condition.to_owned(), done);
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn leading(conditions: &BTreeMap<String, bool>) -> String {
    let mut lines = "leading\n".to_owned();
    for (name, done) in conditions {
        let done = if *done { "done" } else { "not yet" };
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "{name}: {done}");
    }
    lines
}

/// A condition of a leader's readiness, such as a list that is complete.
#[derive(Clone, Debug)]
pub struct ReadinessCondition {
    name: String,
    readiness: Readiness,
    done: watch::Sender<bool>,
}

impl ReadinessCondition {
    /// Marks it as done.
    pub fn done(&self) {
        self.readiness.set(&self.name, true);
        self.done.send_replace(true);
    }

    /// Whether it is done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        *self.done.borrow()
    }

    /// Waits until it is done.
    pub async fn wait(&self) {
        // It fails once the sender is dropped; `self` holds it.
        let _ = self.done.subscribe().wait_for(|done| *done).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standby_is_ready_once_it_read_the_lease() {
        let readiness = Readiness::default();
        assert!(!readiness.report().0);
        readiness.standing_by("other-1");
        let ready = (
            true,
            "waiting for the Lease, other-1 is the leader\n".to_owned(),
        );
        assert_eq!(readiness.report(), ready);
    }

    #[test]
    fn leader_is_ready_once_all_conditions_are_done() {
        let readiness = Readiness::default();
        readiness.standing_by("other-1");
        readiness.leading();
        assert!(!readiness.report().0);
        let workflows = readiness.condition("workflows listed");
        let pods = readiness.condition("pods listed");
        workflows.done();
        let missing = "leading\npods listed: not yet\nworkflows listed: done\n";
        assert_eq!(readiness.report(), (false, missing.to_owned()));
        pods.done();
        assert!(readiness.report().0);
    }

    #[tokio::test]
    async fn condition_wakes_those_that_wait() {
        let condition = Readiness::default().condition("pods listed");
        let waiting = tokio::spawn({
            let condition = condition.clone();
            async move { condition.wait().await }
        });
        tokio::task::yield_now().await;
        assert!(!condition.is_done() && !waiting.is_finished());
        condition.done();
        condition.done();
        waiting.await.unwrap();
        assert!(condition.is_done());
    }
}

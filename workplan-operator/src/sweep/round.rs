//! The sweeps of a node. There is one sweep at a time; folders that become due meanwhile are removed by the next one.

use std::collections::{BTreeMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::pod::{ObservedSweepPod, SweepEnd, SweepPodState};
use super::report::SweepReport;
use crate::observed::SweepState;
use crate::workspace::Folder;

/// The maximum number of folders in one sweep.
pub const FOLDERS_MAX: usize = 200;

const FIRST_RETRY: SignedDuration = SignedDuration::from_secs(2);
const LAST_RETRY: SignedDuration = SignedDuration::from_mins(5);
/// The maximum time until the watch returns a created pod.
const OBSERVED_WITHIN: SignedDuration = SignedDuration::from_secs(5);

/// The state of the sweeps of one node.
#[derive(Debug, Default)]
pub struct Round {
    due: BTreeMap<Folder, Due>,
    done: HashSet<Folder>,
    pod: Known,
    /// Why the current sweep does not start.
    kept: Option<String>,
}

#[derive(Debug, Default)]
struct Due {
    failures: u32,
    retry_at: Option<Timestamp>,
    error: String,
}

/// The sweep pod whose result counts: this process created it, or observed it before it ended. Another ended pod may
/// have removed the folder of an earlier Workplan of the same name.
#[derive(Debug, Default, PartialEq, Eq)]
enum Known {
    #[default]
    None,
    Created {
        uid: String,
        at: Timestamp,
    },
    Observed(String),
    Cleared(String),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Wait(Option<Timestamp>),
    Create(Vec<Folder>),
    /// Delete the pod of this uid.
    Clear(String),
}

/// The next action for a node, and the folders whose state has changed.
#[derive(Debug, PartialEq, Eq)]
pub struct RoundDecision {
    pub next: Next,
    pub changed: Vec<Folder>,
}

impl Round {
    /// Requests the removal of a folder. Returns whether the request is new.
    pub fn ask(&mut self, folder: Folder) -> bool {
        if self.due.contains_key(&folder) || self.done.contains(&folder) {
            return false;
        }
        self.due.insert(folder, Due::default());
        true
    }

    /// Forgets a folder whose Workplan no longer needs its state.
    pub fn forget(&mut self, folder: &Folder) {
        self.due.remove(folder);
        self.done.remove(folder);
    }

    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.due.is_empty()
            && self.done.is_empty()
            && matches!(self.pod, Known::None | Known::Cleared(_))
    }

    #[must_use]
    pub fn state(&self, folder: &Folder) -> SweepState {
        if self.done.contains(folder) {
            return SweepState::Done;
        }
        match (self.due.get(folder), &self.kept) {
            (None, _) => SweepState::NotAsked,
            (Some(due), _) if due.failures > 0 => SweepState::Failed(due.error.clone()),
            (Some(_), Some(kept)) => SweepState::Failed(kept.clone()),
            (Some(_), None) => SweepState::Underway,
        }
    }

    /// Records a created pod.
    pub fn created(&mut self, uid: String, now: Timestamp) {
        self.pod = Known::Created { uid, at: now };
    }

    /// Records that the API server did not create a pod. Returns the folders whose state has changed.
    pub fn refused(&mut self, folders: &[Folder], error: &str, now: Timestamp) -> Vec<Folder> {
        self.fail(
            folders.iter(),
            &format!("the sweep pod cannot be created: {error}"),
            now,
        )
    }

    /// Decides the next action.
    pub fn decide(
        &mut self,
        pod: Option<&ObservedSweepPod>,
        node_is_ready: bool,
        now: Timestamp,
    ) -> RoundDecision {
        let Some(pod) = pod else {
            return RoundDecision {
                next: self.without_pod(node_is_ready, now),
                changed: self.keep(None),
            };
        };
        if self.pod == Known::Cleared(pod.uid.clone()) {
            return RoundDecision {
                next: Next::Wait(None),
                changed: Vec::new(),
            };
        }
        match &pod.state {
            SweepPodState::Deleting => RoundDecision {
                next: Next::Wait(None),
                changed: Vec::new(),
            },
            SweepPodState::Underway(kept) => {
                self.pod = Known::Observed(pod.uid.clone());
                RoundDecision {
                    next: Next::Wait(None),
                    changed: self.keep(kept.clone()),
                }
            }
            SweepPodState::Ended(end) => {
                let mut changed = self.keep(None);
                if self.counts(&pod.uid) {
                    changed.extend(self.ended(&pod.folders, end, now));
                }
                self.pod = Known::Cleared(pod.uid.clone());
                RoundDecision {
                    next: Next::Clear(pod.uid.clone()),
                    changed,
                }
            }
        }
    }

    /// Records that a pod could not be deleted.
    pub fn not_cleared(&mut self) {
        self.pod = Known::None;
    }

    fn without_pod(&mut self, node_is_ready: bool, now: Timestamp) -> Next {
        if let Known::Created { at, .. } = &self.pod {
            let until = *at + OBSERVED_WITHIN;
            if now < until {
                return Next::Wait(Some(until));
            }
        }
        self.pod = Known::None;
        if !node_is_ready {
            return Next::Wait(None);
        }
        let ready = |due: &Due| due.retry_at.is_none_or(|at| at <= now);
        let folders: Vec<Folder> = self
            .due
            .iter()
            .filter(|(_, due)| ready(due))
            .map(|(folder, _)| folder.clone())
            .take(FOLDERS_MAX)
            .collect();
        if folders.is_empty() {
            return Next::Wait(self.due.values().filter_map(|due| due.retry_at).min());
        }
        Next::Create(folders)
    }

    fn counts(&self, uid: &str) -> bool {
        matches!(&self.pod, Known::Created { uid: known, .. } | Known::Observed(known) if known == uid)
    }

    /// Records why the sweep does not start. Returns all due folders if this is new.
    fn keep(&mut self, kept: Option<String>) -> Vec<Folder> {
        let is_new = kept.is_some() && self.kept.is_none();
        self.kept = kept;
        if is_new {
            self.due.keys().cloned().collect()
        } else {
            Vec::new()
        }
    }

    fn ended(&mut self, folders: &[Folder], end: &SweepEnd, now: Timestamp) -> Vec<Folder> {
        match end {
            SweepEnd::Reported(report) => self.reported(folders, report, now),
            SweepEnd::NothingThere => self.reported(folders, &SweepReport::default(), now),
            SweepEnd::Broken(why) => self.fail(folders.iter(), why, now),
        }
    }

    fn reported(
        &mut self,
        folders: &[Folder],
        report: &SweepReport,
        now: Timestamp,
    ) -> Vec<Folder> {
        let failed = |at: &usize| report.failed.contains(at);
        let left = folders.iter().enumerate().filter(|(at, _)| failed(at));
        let mut news = self.fail(left.map(|(_, folder)| folder), &report.error, now);
        let removed = folders.iter().enumerate().filter(|(at, _)| !failed(at));
        for (_, folder) in removed {
            if self.due.remove(folder).is_some() {
                self.done.insert(folder.clone());
                news.push(folder.clone());
            }
        }
        news
    }

    fn fail<'a>(
        &mut self,
        folders: impl Iterator<Item = &'a Folder>,
        error: &str,
        now: Timestamp,
    ) -> Vec<Folder> {
        let mut news = Vec::new();
        for folder in folders {
            if let Some(due) = self.due.get_mut(folder) {
                let wait = FIRST_RETRY.as_secs() << due.failures.min(10);
                due.retry_at = Some(now + SignedDuration::from_secs(wait).min(LAST_RETRY));
                due.failures += 1;
                error.clone_into(&mut due.error);
                news.push(folder.clone());
            }
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn folder(name: &str) -> Folder {
        format!("ns/flow/{name}").parse().unwrap()
    }

    fn pod(uid: &str, folders: &[&str], state: SweepPodState) -> ObservedSweepPod {
        let folders = folders.iter().map(|name| folder(name)).collect();
        ObservedSweepPod {
            uid: uid.into(),
            folders,
            state,
        }
    }

    fn ended(uid: &str, folders: &[&str]) -> ObservedSweepPod {
        let end = SweepEnd::Reported(SweepReport::default());
        pod(uid, folders, SweepPodState::Ended(end))
    }

    fn asked(names: &[&str]) -> Round {
        let mut round = Round::default();
        for name in names {
            assert!(round.ask(folder(name)));
        }
        round
    }

    fn create(names: &[&str]) -> Next {
        Next::Create(names.iter().map(|name| folder(name)).collect())
    }

    #[test]
    fn folder_due_during_sweep_waits() {
        let mut round = asked(&["a", "b"]);
        assert_eq!(round.decide(None, true, at(0)).next, create(&["a", "b"]));
        round.created("1".into(), at(0));
        assert_eq!(
            round.decide(None, true, at(1)).next,
            Next::Wait(Some(at(5)))
        );
        round.ask(folder("c"));
        assert!(!round.ask(folder("c")));
        let runs = pod("1", &["a", "b"], SweepPodState::Underway(None));
        assert_eq!(
            round.decide(Some(&runs), true, at(1)).next,
            Next::Wait(None)
        );
        assert_eq!(round.state(&folder("a")), SweepState::Underway);

        let end = ended("1", &["a", "b"]);
        let decision = round.decide(Some(&end), true, at(2));
        assert_eq!(decision.next, Next::Clear("1".into()));
        assert_eq!(decision.changed, [folder("a"), folder("b")]);
        assert_eq!(round.state(&folder("a")), SweepState::Done);
        assert_eq!(round.decide(Some(&end), true, at(2)).next, Next::Wait(None));
        assert_eq!(round.decide(None, true, at(2)).next, create(&["c"]));
    }

    #[test]
    fn law_6_only_running_sweep_is_adopted() {
        let mut round = asked(&["a"]);
        let found = ended("old", &["a"]);
        let decision = round.decide(Some(&found), true, at(0));
        assert_eq!(
            (decision.next, decision.changed.len()),
            (Next::Clear("old".into()), 0)
        );
        assert_eq!(round.decide(None, true, at(0)).next, create(&["a"]));

        let mut round = asked(&["a"]);
        round.decide(
            Some(&pod("1", &["a", "z"], SweepPodState::Underway(None))),
            true,
            at(0),
        );
        assert_eq!(
            round
                .decide(Some(&ended("1", &["a", "z"])), true, at(1))
                .changed,
            [folder("a")]
        );
    }

    #[test]
    fn failed_folders_are_retried_with_backoff() {
        let mut round = asked(&["a", "b"]);
        round.created("1".into(), at(0));
        let report = SweepReport {
            failed: vec![1],
            error: "busy".into(),
        };
        let end = SweepPodState::Ended(SweepEnd::Reported(report));
        let decision = round.decide(Some(&pod("1", &["a", "b"], end)), true, at(1));
        assert_eq!(decision.changed, [folder("b"), folder("a")]);
        assert_eq!(round.state(&folder("a")), SweepState::Done);
        assert_eq!(round.state(&folder("b")), SweepState::Failed("busy".into()));
        assert_eq!(
            round.decide(None, true, at(2)).next,
            Next::Wait(Some(at(3)))
        );
        assert_eq!(round.decide(None, true, at(3)).next, create(&["b"]));

        round.created("2".into(), at(3));
        let broken = SweepPodState::Ended(SweepEnd::Broken("gone".into()));
        round.decide(Some(&pod("2", &["b"], broken)), true, at(4));
        assert_eq!(
            round.decide(None, true, at(5)).next,
            Next::Wait(Some(at(8)))
        );
    }

    #[test]
    fn node_that_is_not_ready_is_not_swept() {
        let mut round = asked(&["a"]);
        assert_eq!(round.decide(None, false, at(0)).next, Next::Wait(None));
        assert_eq!(round.decide(None, true, at(0)).next, create(&["a"]));
    }

    #[test]
    fn blocked_sweep_has_a_cause() {
        let mut round = asked(&["a"]);
        round.created("1".into(), at(0));
        let kept = pod(
            "1",
            &["a"],
            SweepPodState::Underway(Some("no image".into())),
        );
        assert_eq!(
            round.decide(Some(&kept), true, at(1)).changed,
            [folder("a")]
        );
        assert_eq!(round.decide(Some(&kept), true, at(1)).changed, []);
        assert_eq!(
            round.state(&folder("a")),
            SweepState::Failed("no image".into())
        );
    }

    #[test]
    fn sweep_is_limited_and_forgets_ended_folders() {
        let mut round = Round::default();
        for i in 0..=FOLDERS_MAX {
            round.ask(folder(&format!("p{i}")));
        }
        let Next::Create(folders) = round.decide(None, true, at(0)).next else {
            panic!()
        };
        assert_eq!(folders.len(), FOLDERS_MAX);
        for i in 0..=FOLDERS_MAX {
            round.forget(&folder(&format!("p{i}")));
        }
        assert!(round.is_idle());
    }

    #[test]
    fn created_pod_without_observation_is_recreated() {
        let mut round = asked(&["a"]);
        round.created("1".into(), at(0));
        assert_eq!(round.decide(None, true, at(5)).next, create(&["a"]));
    }
}

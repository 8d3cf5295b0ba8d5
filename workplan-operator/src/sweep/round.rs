//! When a node is swept, and of what: one sweep at a time, and what becomes due meanwhile is for the next.

use std::collections::{BTreeMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::pod::{ObservedSweepPod, SweepEnd, SweepPodState};
use super::report::SweepReport;
use crate::observed::SweepState;
use crate::workspace::Folder;

/// The most folders that one sweep removes.
pub const FOLDERS_MAX: usize = 200;

const FIRST_RETRY: SignedDuration = SignedDuration::from_secs(2);
const LAST_RETRY: SignedDuration = SignedDuration::from_mins(5);
/// How long a pod that was created may take to be seen.
const SIGHT: SignedDuration = SignedDuration::from_secs(5);

/// What is known of the sweeps of one node.
#[derive(Debug, Default)]
pub struct Round {
    due: BTreeMap<Folder, Due>,
    done: HashSet<Folder>,
    pod: Known,
    /// What keeps the present sweep from starting.
    kept: Option<String>,
}

#[derive(Debug, Default)]
struct Due {
    failures: u32,
    retry_at: Option<Timestamp>,
    error: String,
}

/// The sweep pod whose end counts: one that was created here, or seen before it had ended. An ended one
/// that is found may speak of an earlier plan of the same name.
#[derive(Debug, Default, PartialEq, Eq)]
enum Known {
    #[default]
    None,
    Created {
        uid: String,
        at: Timestamp,
    },
    Seen(String),
    Cleared(String),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Wait(Option<Timestamp>),
    Create(Vec<Folder>),
    /// Delete the pod of this uid.
    Clear(String),
}

/// What is next for a node, and the folders of which there is news.
#[derive(Debug, PartialEq, Eq)]
pub struct Turn {
    pub next: Next,
    pub news: Vec<Folder>,
}

impl Round {
    /// Asks for a folder to be removed; true if it was not asked for before.
    pub fn ask(&mut self, folder: Folder) -> bool {
        if self.due.contains_key(&folder) || self.done.contains(&folder) {
            return false;
        }
        self.due.insert(folder, Due::default());
        true
    }

    /// Forgets a folder whose plan needs nothing any more.
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

    /// Takes note of a pod that was created.
    pub fn created(&mut self, uid: String, now: Timestamp) {
        self.pod = Known::Created { uid, at: now };
    }

    /// Takes note that the API server did not create a pod; tells the folders of which that is news.
    pub fn refused(&mut self, folders: &[Folder], error: &str, now: Timestamp) -> Vec<Folder> {
        self.fail(
            folders.iter(),
            &format!("the sweep pod cannot be created: {error}"),
            now,
        )
    }

    /// Decides what is next.
    pub fn turn(
        &mut self,
        pod: Option<&ObservedSweepPod>,
        node_is_ready: bool,
        now: Timestamp,
    ) -> Turn {
        let Some(pod) = pod else {
            return Turn {
                next: self.without_pod(node_is_ready, now),
                news: self.keep(None),
            };
        };
        if self.pod == Known::Cleared(pod.uid.clone()) {
            return Turn {
                next: Next::Wait(None),
                news: Vec::new(),
            };
        }
        match &pod.state {
            SweepPodState::Deleting => Turn {
                next: Next::Wait(None),
                news: Vec::new(),
            },
            SweepPodState::Underway(kept) => {
                self.pod = Known::Seen(pod.uid.clone());
                Turn {
                    next: Next::Wait(None),
                    news: self.keep(kept.clone()),
                }
            }
            SweepPodState::Ended(end) => {
                let mut news = self.keep(None);
                if self.counts(&pod.uid) {
                    news.extend(self.ended(&pod.folders, end, now));
                }
                self.pod = Known::Cleared(pod.uid.clone());
                Turn {
                    next: Next::Clear(pod.uid.clone()),
                    news,
                }
            }
        }
    }

    /// Takes note that a pod could not be deleted.
    pub fn not_cleared(&mut self) {
        self.pod = Known::None;
    }

    fn without_pod(&mut self, node_is_ready: bool, now: Timestamp) -> Next {
        if let Known::Created { at, .. } = &self.pod {
            let until = *at + SIGHT;
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
        matches!(&self.pod, Known::Created { uid: known, .. } | Known::Seen(known) if known == uid)
    }

    /// Takes note of what keeps the sweep from starting; if that is new, all that are due should hear of it.
    fn keep(&mut self, kept: Option<String>) -> Vec<Folder> {
        let news = kept.is_some() && self.kept.is_none();
        self.kept = kept;
        if news {
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
    fn what_becomes_due_during_a_sweep_is_for_the_next() {
        let mut round = asked(&["a", "b"]);
        assert_eq!(round.turn(None, true, at(0)).next, create(&["a", "b"]));
        round.created("1".into(), at(0));
        assert_eq!(round.turn(None, true, at(1)).next, Next::Wait(Some(at(5))));
        round.ask(folder("c"));
        assert!(!round.ask(folder("c")));
        let runs = pod("1", &["a", "b"], SweepPodState::Underway(None));
        assert_eq!(round.turn(Some(&runs), true, at(1)).next, Next::Wait(None));
        assert_eq!(round.state(&folder("a")), SweepState::Underway);

        let end = ended("1", &["a", "b"]);
        let turn = round.turn(Some(&end), true, at(2));
        assert_eq!(turn.next, Next::Clear("1".into()));
        assert_eq!(turn.news, [folder("a"), folder("b")]);
        assert_eq!(round.state(&folder("a")), SweepState::Done);
        assert_eq!(round.turn(Some(&end), true, at(2)).next, Next::Wait(None));
        assert_eq!(round.turn(None, true, at(2)).next, create(&["c"]));
    }

    #[test]
    fn law_6_a_running_sweep_is_taken_over_and_an_ended_one_is_not_believed() {
        let mut round = asked(&["a"]);
        let found = ended("old", &["a"]);
        let turn = round.turn(Some(&found), true, at(0));
        assert_eq!((turn.next, turn.news.len()), (Next::Clear("old".into()), 0));
        assert_eq!(round.turn(None, true, at(0)).next, create(&["a"]));

        let mut round = asked(&["a"]);
        round.turn(
            Some(&pod("1", &["a", "z"], SweepPodState::Underway(None))),
            true,
            at(0),
        );
        assert_eq!(
            round.turn(Some(&ended("1", &["a", "z"])), true, at(1)).news,
            [folder("a")]
        );
    }

    #[test]
    fn only_what_failed_is_tried_again_and_ever_later() {
        let mut round = asked(&["a", "b"]);
        round.created("1".into(), at(0));
        let report = SweepReport {
            failed: vec![1],
            error: "busy".into(),
        };
        let end = SweepPodState::Ended(SweepEnd::Reported(report));
        let turn = round.turn(Some(&pod("1", &["a", "b"], end)), true, at(1));
        assert_eq!(turn.news, [folder("b"), folder("a")]);
        assert_eq!(round.state(&folder("a")), SweepState::Done);
        assert_eq!(round.state(&folder("b")), SweepState::Failed("busy".into()));
        assert_eq!(round.turn(None, true, at(2)).next, Next::Wait(Some(at(3))));
        assert_eq!(round.turn(None, true, at(3)).next, create(&["b"]));

        round.created("2".into(), at(3));
        let broken = SweepPodState::Ended(SweepEnd::Broken("gone".into()));
        round.turn(Some(&pod("2", &["b"], broken)), true, at(4));
        assert_eq!(round.turn(None, true, at(5)).next, Next::Wait(Some(at(8))));
    }

    #[test]
    fn a_node_that_is_away_is_waited_for() {
        let mut round = asked(&["a"]);
        assert_eq!(round.turn(None, false, at(0)).next, Next::Wait(None));
        assert_eq!(round.turn(None, true, at(0)).next, create(&["a"]));
    }

    #[test]
    fn a_sweep_that_does_not_start_says_why() {
        let mut round = asked(&["a"]);
        round.created("1".into(), at(0));
        let kept = pod(
            "1",
            &["a"],
            SweepPodState::Underway(Some("no image".into())),
        );
        assert_eq!(round.turn(Some(&kept), true, at(1)).news, [folder("a")]);
        assert_eq!(round.turn(Some(&kept), true, at(1)).news, []);
        assert_eq!(
            round.state(&folder("a")),
            SweepState::Failed("no image".into())
        );
    }

    #[test]
    fn a_sweep_has_an_end_and_forgets_what_is_over() {
        let mut round = Round::default();
        for i in 0..=FOLDERS_MAX {
            round.ask(folder(&format!("p{i}")));
        }
        let Next::Create(folders) = round.turn(None, true, at(0)).next else {
            panic!()
        };
        assert_eq!(folders.len(), FOLDERS_MAX);
        for i in 0..=FOLDERS_MAX {
            round.forget(&folder(&format!("p{i}")));
        }
        assert!(round.is_idle());
    }

    #[test]
    fn a_created_pod_that_is_never_seen_is_created_again() {
        let mut round = asked(&["a"]);
        round.created("1".into(), at(0));
        assert_eq!(round.turn(None, true, at(5)).next, create(&["a"]));
    }
}

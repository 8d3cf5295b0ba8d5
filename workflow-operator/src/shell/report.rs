//! When a Workflow's status is written: soon after there is something new to tell, at most once a second,
//! one write at a time.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use serde_json::Value;
use tokio::{task::JoinSet, time::Instant};

use super::{
    Inbox, Input,
    tell::{Teller, Told},
};
use crate::core::{engine::Report, object::Uid};

/// What happens within this time of the first news is told together.
const SOON: Duration = Duration::from_millis(100);
const AT_MOST_EVERY: Duration = Duration::from_secs(1);

pub struct Reports {
    teller: Teller,
    inbox: Inbox,
    due: BTreeSet<(Instant, Uid)>,
    waiting: HashSet<Uid>,
    statuses: HashMap<Uid, Known>,
    writes: JoinSet<()>,
}

#[derive(Default)]
struct Known {
    status: Option<Value>,
    writing: bool,
    not_before: Option<Instant>,
}

impl Reports {
    pub fn new(teller: Teller, inbox: Inbox) -> Self {
        Self {
            teller,
            inbox,
            due: BTreeSet::new(),
            waiting: HashSet::new(),
            statuses: HashMap::new(),
            writes: JoinSet::new(),
        }
    }

    /// What the status of a Workflow that is met for the first time says.
    pub fn met(&mut self, workflow: Uid, status: Value) {
        self.statuses.entry(workflow).or_insert_with(|| Known {
            status: Some(status),
            ..Known::default()
        });
    }

    pub fn forget(&mut self, workflow: &str) {
        self.statuses.remove(workflow);
    }

    /// There is something new to tell.
    pub fn untold(&mut self, workflow: Uid) {
        let known = self.statuses.entry(workflow.clone()).or_default();
        if known.writing || !self.waiting.insert(workflow.clone()) {
            self.waiting.insert(workflow);
            return;
        }
        let soon = Instant::now() + SOON;
        let due = known
            .not_before
            .map_or(soon, |not_before| not_before.max(soon));
        self.due.insert((due, workflow));
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The Workflows whose time has come.
    pub fn take_due(&mut self) -> Vec<Uid> {
        let later = self.due.split_off(&(Instant::now(), Uid::from("")));
        self.take(later)
    }

    /// All Workflows of which something is untold, since the process stops.
    pub fn take_all(&mut self) -> Vec<Uid> {
        self.take(BTreeSet::new())
    }

    fn take(&mut self, later: BTreeSet<(Instant, Uid)>) -> Vec<Uid> {
        let due: Vec<Uid> = std::mem::replace(&mut self.due, later)
            .into_iter()
            .map(|(_, uid)| uid)
            .collect();
        for uid in &due {
            self.waiting.remove(uid);
        }
        due
    }

    pub fn write(&mut self, report: Report) {
        let uid = report.reference.uid.clone();
        let known = self.statuses.entry(uid.clone()).or_default();
        known.writing = true;
        let status = known.status.take();
        let (teller, inbox) = (self.teller.clone(), self.inbox.clone());
        while self.writes.try_join_next().is_some() {}
        self.writes.spawn(async move {
            let told = teller.tell(report, status).await;
            // Nobody listens any more only if the process stops.
            let _ = inbox
                .send(Input::Told {
                    workflow: uid,
                    told,
                })
                .await;
        });
    }

    /// A write has ended.
    pub fn told(&mut self, workflow: Uid, told: Told) {
        let Some(known) = self.statuses.get_mut(&workflow) else {
            return;
        };
        known.writing = false;
        known.not_before = Some(Instant::now() + AT_MOST_EVERY);
        let again = match told {
            Told::This(status) => {
                known.status = Some(status);
                false
            }
            Told::Unclear => true,
            Told::Gone => {
                self.statuses.remove(&workflow);
                self.waiting.remove(&workflow);
                return;
            }
        };
        if self.waiting.remove(&workflow) || again {
            self.untold(workflow);
        }
    }

    /// Waits for the writes that are under way.
    pub async fn finish(&mut self) {
        while self.writes.join_next().await.is_some() {}
    }
}

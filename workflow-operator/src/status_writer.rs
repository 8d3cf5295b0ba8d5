//! When a Workflow's status is written: soon after there is something new to tell, at most once a second,
//! one write at a time.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    future::pending,
    time::Duration,
};

use kubeci_runtime::backoff;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    bounded_tasks::joined,
    status_client::{Teller, Told},
};
use kubeci_triggers::{StatusUpdate, Uid};

/// What happens within this time of the first news is told together.
const SOON: Duration = Duration::from_millis(100);
const AT_MOST_EVERY: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How many statuses are written at once.
const AT_ONCE: usize = 16;

pub struct Reports {
    teller: Teller,
    due: BTreeSet<(Instant, Uid)>,
    waiting: HashSet<Uid>,
    states: HashMap<Uid, State>,
    writes: JoinSet<(Uid, Told)>,
}

#[derive(Default)]
struct State {
    writing: bool,
    not_before: Option<Instant>,
    failures: u32,
}

impl Reports {
    pub fn new(teller: Teller) -> Self {
        Self {
            teller,
            due: BTreeSet::new(),
            waiting: HashSet::new(),
            states: HashMap::new(),
            writes: JoinSet::new(),
        }
    }

    pub fn forget(&mut self, workflow: &str) {
        self.states.remove(workflow);
    }

    /// There is something new to tell.
    pub fn untold(&mut self, workflow: Uid) {
        let state = self.states.entry(workflow.clone()).or_default();
        if state.writing || !self.waiting.insert(workflow.clone()) {
            self.waiting.insert(workflow);
            return;
        }
        let soon = Instant::now() + SOON;
        let due = state
            .not_before
            .map_or(soon, |not_before| not_before.max(soon));
        self.due.insert((due, workflow));
    }

    pub fn next_due(&self) -> Option<Instant> {
        let room = self.writes.len() < AT_ONCE;
        let first = self.due.first().filter(|_| room);
        first.map(|(due, _)| *due)
    }

    /// The next Workflow whose time has come.
    pub fn take_due(&mut self) -> Option<Uid> {
        let now = Instant::now();
        self.take_first(|due| due <= now)
    }

    /// The next Workflow of which something is untold, whenever its time comes, since the process stops.
    pub fn take_dirty(&mut self) -> Option<Uid> {
        self.take_first(|_| true)
    }

    fn take_first(&mut self, due: impl FnOnce(Instant) -> bool) -> Option<Uid> {
        let room = self.writes.len() < AT_ONCE;
        self.due.first().filter(|(at, _)| room && due(*at))?;
        let (_, workflow) = self.due.pop_first()?;
        self.waiting.remove(&workflow);
        Some(workflow)
    }

    pub fn write(&mut self, report: StatusUpdate) {
        let workflow = report.reference.uid.clone();
        self.states.entry(workflow.clone()).or_default().writing = true;
        let teller = self.teller.clone();
        self.writes
            .spawn(async move { (workflow, teller.tell(report).await) });
    }

    /// How the next write went that ends.
    pub async fn next(&mut self) -> (Uid, Told) {
        match joined(&mut self.writes).await {
            Some(written) => written,
            None => pending().await,
        }
    }

    /// A write has ended.
    pub fn told(&mut self, workflow: Uid, told: Told) {
        let Some(state) = self.states.get_mut(&workflow) else {
            return;
        };
        state.writing = false;
        state.failures = match told {
            Told::Written => 0,
            Told::Unclear => state.failures + 1,
            Told::Gone => {
                self.states.remove(&workflow);
                self.waiting.remove(&workflow);
                return;
            }
        };
        let rest = match state.failures {
            0 => AT_MOST_EVERY,
            failures => AT_MOST_EVERY.max(backoff(failures, LONGEST_PAUSE)),
        };
        state.not_before = Some(Instant::now() + rest);
        if self.waiting.remove(&workflow) || told == Told::Unclear {
            self.untold(workflow);
        }
    }

    /// Whether nothing is untold and nothing under way.
    pub fn is_idle(&self) -> bool {
        self.due.is_empty() && self.writes.is_empty()
    }
}

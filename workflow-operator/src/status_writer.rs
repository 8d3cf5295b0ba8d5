//! Schedules the status writes of Workflows: debounced, at most one a second for each Workflow, one at a time.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use kubeci_controller::Backoff;
use kubeci_triggers::{StatusUpdate, Uid};
use tokio::time::Instant;

use crate::{
    bounded_tasks::{BoundedTasks, Limits, Task},
    status_client::{StatusClient, WriteResult},
};

/// The time between the first change and the write. All changes within are written together.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// The least time between two writes of the same status.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
const BACKOFF: Backoff = Backoff::up_to(Duration::from_secs(30));
const MAX_CONCURRENT: usize = 16;

/// The status writes that are scheduled or run.
pub struct StatusWriter {
    client: StatusClient,
    due: BTreeSet<(Instant, Uid)>,
    /// The Workflows with changes that no write has.
    dirty: HashSet<Uid>,
    states: HashMap<Uid, State>,
    writes: BoundedTasks<WriteTask>,
}

#[derive(Default)]
struct State {
    writing: bool,
    not_before: Option<Instant>,
    failures: u32,
}

struct WriteTask {
    client: StatusClient,
    update: StatusUpdate,
}

impl StatusWriter {
    pub fn new(client: StatusClient) -> Self {
        Self {
            client,
            due: BTreeSet::new(),
            dirty: HashSet::new(),
            states: HashMap::new(),
            writes: BoundedTasks::new(Limits::tasks(MAX_CONCURRENT)),
        }
    }

    /// Removes the state of a Workflow that does not exist.
    pub fn forget(&mut self, workflow: &str) {
        self.states.remove(workflow);
    }

    /// Schedules a write. A write that runs is followed by another one.
    pub fn mark_dirty(&mut self, workflow: Uid) {
        let state = self.states.entry(workflow.clone()).or_default();
        if !self.dirty.insert(workflow.clone()) || state.writing {
            return;
        }
        let debounced = Instant::now() + DEBOUNCE;
        let due = state.not_before.map_or(debounced, |at| at.max(debounced));
        self.due.insert((due, workflow));
    }

    /// When the next write is due; `None` while the most writes run.
    pub fn next_due(&self) -> Option<Instant> {
        let has_capacity = self.writes.has_capacity();
        let first = self.due.first().filter(|_| has_capacity);
        first.map(|(due, _)| *due)
    }

    /// Takes the next Workflow whose write is due.
    pub fn take_due(&mut self) -> Option<Uid> {
        let now = Instant::now();
        self.take_first(|due| due <= now)
    }

    /// Takes the next dirty Workflow, due or not.
    pub fn take_dirty(&mut self) -> Option<Uid> {
        self.take_first(|_| true)
    }

    fn take_first(&mut self, is_due: impl FnOnce(Instant) -> bool) -> Option<Uid> {
        let has_capacity = self.writes.has_capacity();
        let first = self.due.first();
        first.filter(|(due, _)| has_capacity && is_due(*due))?;
        let (_, workflow) = self.due.pop_first()?;
        self.dirty.remove(&workflow);
        Some(workflow)
    }

    pub fn write(&mut self, update: StatusUpdate) {
        let workflow = update.reference.uid.clone();
        self.states.entry(workflow).or_default().writing = true;
        let client = self.client.clone();
        self.writes.push(WriteTask { client, update });
    }

    /// Waits for the next write that ends. Cancel safe.
    pub async fn next(&mut self) -> (Uid, WriteResult) {
        self.writes.next().await
    }

    /// Records the result of a write, and schedules the next one if there are changes.
    pub fn written(&mut self, workflow: Uid, result: WriteResult) {
        let Some(state) = self.states.get_mut(&workflow) else {
            return;
        };
        state.writing = false;
        state.failures = match result {
            WriteResult::Flushed => 0,
            WriteResult::Unknown => state.failures + 1,
            WriteResult::NotFound => {
                self.states.remove(&workflow);
                self.dirty.remove(&workflow);
                return;
            }
        };
        let pause = match state.failures {
            0 => MIN_INTERVAL,
            failures => MIN_INTERVAL.max(BACKOFF.delay(failures)),
        };
        state.not_before = Some(Instant::now() + pause);
        if self.dirty.remove(&workflow) || result == WriteResult::Unknown {
            self.mark_dirty(workflow);
        }
    }

    /// Whether no write is scheduled or runs.
    pub fn is_idle(&self) -> bool {
        self.due.is_empty() && self.writes.len() == 0
    }
}

impl Task for WriteTask {
    type Output = (Uid, WriteResult);

    async fn run(self) -> (Uid, WriteResult) {
        let workflow = self.update.reference.uid.clone();
        (workflow, self.client.write(self.update).await)
    }
}

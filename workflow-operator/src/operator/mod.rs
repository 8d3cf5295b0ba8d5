//! The main loop: inputs go into the engine one at a time, and its decisions are carried out.

mod handle;
mod lists;
mod shutdown;

use std::{collections::BTreeSet, convert::Infallible, future::pending, time::Duration};

use k8s_openapi::jiff::Timestamp;
use kubeci_controller::Context;
use kubeci_triggers::{AccessReview, Engine, Settings};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use crate::{
    access_reviews,
    discovery::Discovery,
    input::{CAPACITY, InputSender},
    metrics::Metrics,
    object_watches::ObjectWatches,
    status_client::StatusClient,
    status_writer::StatusWriter,
    workplan_creator::WorkplanCreator,
    workplan_deleter::WorkplanDeleter,
    workplan_watch,
};
use lists::{List, Lists};

/// The time between a change of the requirements and the update of watches, discoveries and access reviews. All
/// changes within are applied together.
const REQUIREMENTS_DEBOUNCE: Duration = Duration::from_millis(20);
/// The interval in which expired Workplans are found. The main loop runs at least as often.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(5);
/// A main loop without a heartbeat for this time is stuck.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_mins(1);

/// Runs the operator until it is shut down.
pub async fn run(context: Context, settings: Settings) -> Result<(), Infallible> {
    let (sender, mut inputs) = mpsc::channel(CAPACITY);
    let heartbeat = context.liveness.heartbeat("main loop", HEARTBEAT_TIMEOUT);
    let mut expiry = interval(EXPIRY_INTERVAL);
    expiry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut operator = Operator::new(&context, settings, sender);
    loop {
        heartbeat.beat();
        tokio::select! {
            biased;
            () = context.shutdown.cancelled() => break,
            () = until(operator.requirements_due) => operator.apply_requirements(),
            () = until(operator.statuses.next_due()) => operator.write_due_statuses(),
            () = until(operator.creator.next_retry()) => operator.retry_due_creations(),
            _ = expiry.tick() => operator.engine.expire(Timestamp::now()),
            result = operator.creator.next() => operator.on_created(result),
            (workflow, result) = operator.statuses.next() => operator.on_written(workflow, result),
            () = operator.deleter.next() => {}
            input = inputs.recv() => {
                if let Some(input) = input {
                    operator.handle(input);
                }
            }
        }
        operator.carry_out();
    }
    // The senders must not wait for a loop that has ended. The next leader lists everything again.
    drop(inputs);
    operator.shut_down().await;
    Ok(())
}

/// Waits until this time; forever if there is none.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

struct Operator {
    engine: Engine,
    context: Context,
    inputs: InputSender,
    metrics: Metrics,
    watches: ObjectWatches,
    discovery: Discovery,
    access_reviews: watch::Sender<BTreeSet<AccessReview>>,
    creator: WorkplanCreator,
    statuses: StatusWriter,
    deleter: WorkplanDeleter,
    /// When to apply changed requirements.
    requirements_due: Option<Instant>,
    lists: Lists,
    /// The watches of Workflows and Workplans.
    own_watches: Vec<AbortHandle>,
}

impl Operator {
    fn new(context: &Context, settings: Settings, inputs: InputSender) -> Self {
        let client = || context.client.clone();
        let metrics = Metrics::new(context.metrics.clone());
        let (access_reviews, requested) = watch::channel(BTreeSet::new());
        let reviews = access_reviews::run(client(), requested, inputs.clone());
        context.tasks.spawn("the access reviews", reviews);
        let status_client = StatusClient {
            client: client(),
            recorder: context.event_recorder(),
        };
        let workplans = workplan_watch::run(client(), inputs.clone(), context.metrics.clone());
        let workplans = context.tasks.spawn("the watch of workplans", workplans);
        Self {
            engine: Engine::new(settings),
            context: context.clone(),
            watches: ObjectWatches::new(context, inputs.clone()),
            discovery: Discovery::new(client(), inputs.clone(), context.tasks.clone()),
            access_reviews,
            creator: WorkplanCreator::new(client(), metrics.clone()),
            statuses: StatusWriter::new(status_client),
            deleter: WorkplanDeleter::new(client(), metrics.clone()),
            requirements_due: None,
            lists: Lists {
                workflows: List::new(&context.readiness, "workflows listed"),
                workplans: List::new(&context.readiness, "workplans listed"),
            },
            own_watches: vec![workplans],
            metrics,
            inputs,
        }
    }

    /// Carries out the decisions of the engine.
    fn carry_out(&mut self) {
        for creation in self.engine.take_creations() {
            self.creator.create(creation);
        }
        for retry in self.engine.take_retries() {
            self.creator.schedule_retry(retry);
        }
        for deletion in self.engine.take_deletions() {
            self.deleter.delete(deletion);
        }
        for workflow in self.engine.take_dirty() {
            self.statuses.mark_dirty(workflow);
        }
        let changed = self.engine.requirements_changed() || self.engine.has_watch_commands();
        if changed && self.lists.workflows.is_complete() {
            self.requirements_due
                .get_or_insert_with(|| Instant::now() + REQUIREMENTS_DEBOUNCE);
        }
        self.metrics.add(self.engine.take_counters());
        self.metrics
            .set_events_queued(self.engine.waiting_objects());
    }

    /// Updates discoveries, access reviews and watches.
    fn apply_requirements(&mut self) {
        self.requirements_due = None;
        if self.engine.take_requirements_changed() {
            let kinds = self.engine.undiscovered_kinds();
            self.metrics.set_undiscovered_kinds(kinds.len());
            self.metrics.set_workflows(self.engine.workflow_count());
            self.discovery.set_kinds(kinds);
            let reviews = self.engine.access_reviews();
            self.access_reviews.send_if_modified(|current| {
                let changed = *current != reviews;
                *current = reviews;
                changed
            });
        }
        for command in self.engine.take_watch_commands() {
            self.watches.apply(command);
        }
        self.metrics.set_watches(self.watches.len());
    }

    fn retry_due_creations(&mut self) {
        for retry in self.creator.take_due_retries() {
            self.engine.retry(&retry.workflow, &retry.object);
        }
    }

    fn write_due_statuses(&mut self) {
        while let Some(workflow) = self.statuses.take_due() {
            self.write_status(&workflow);
        }
    }

    fn write_status(&mut self, workflow: &str) {
        match self.engine.status_update(workflow, Timestamp::now()) {
            Some(update) => self.statuses.write(update),
            None => self.statuses.forget(workflow),
        }
    }
}

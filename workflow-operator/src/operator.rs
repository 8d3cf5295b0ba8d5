//! The main loop: what the others tell goes into the engine, one at a time; what it decides goes out.

use std::{
    collections::{BTreeSet, HashSet},
    convert::Infallible,
    future::pending,
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use kube::{core::DeserializeGuard, runtime::watcher::Event};
use kubeci_api::Workflow;
use kubeci_runtime::{Condition, Context};
use tokio::{
    sync::{mpsc, watch as latest},
    task::AbortHandle,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use crate::{
    access_reviews,
    discovery::Discovery,
    input::{INBOX, Inbox, Input},
    metrics::Metrics,
    object_watches::{Shown, Watches},
    status_client::{Teller, Told},
    status_writer::Reports,
    workflow_watch,
    workplan_creator::{Fired, Fires},
    workplan_deleter::Retirement,
    workplan_watch,
};
use kubeci_triggers::{
    AccessReview, Engine, ObservedWorkplan, PartialWorkplan, Settings, Uid, WatchKey, WorkflowKey,
    WorkflowRef,
};

/// Changes of what is to be watched within this time are made together.
const TOGETHER: Duration = Duration::from_millis(20);
/// How often the main loop turns at least, and how late a Workplan's expiry may be noticed.
const PULSE: Duration = Duration::from_secs(5);
/// A loop that has not turned for this long is stuck.
const STUCK: Duration = Duration::from_mins(1);
/// How long creations and status writes that are under way may take when the process stops.
const LAST: Duration = Duration::from_secs(4);

/// Runs the operator until it is asked to stop.
pub async fn operate(context: Context, settings: Settings) -> Result<(), Infallible> {
    let (inbox, mut incoming) = mpsc::channel(INBOX);
    let heartbeat = context.liveness.heartbeat("main loop", STUCK);
    let mut pulse = interval(PULSE);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut operator = Operator::new(&context, settings, inbox);
    loop {
        heartbeat.beat();
        tokio::select! {
            biased;
            () = context.shutdown.cancelled() => break,
            () = at(operator.changes_due) => operator.make_changes(),
            () = at(operator.reports.next_due()) => operator.report_due(),
            () = at(operator.fires.next_retry()) => operator.retry_due(),
            _ = pulse.tick() => operator.engine.expire(Timestamp::now()),
            fired = operator.fires.next() => operator.fired(fired),
            (workflow, told) = operator.reports.next() => operator.told(workflow, told),
            () = operator.retirement.next() => {}
            input = incoming.recv() => {
                if let Some(input) = input {
                    operator.take(input);
                }
            }
        }
        operator.act();
    }
    // Whoever still has something to say must not wait for a loop that has ended; the next leader is shown
    // it again.
    drop(incoming);
    operator.stop().await;
    Ok(())
}

/// Waits until this time, if there is one.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

struct Operator {
    engine: Engine,
    context: Context,
    inbox: Inbox,
    metrics: Metrics,
    watches: Watches,
    discovery: Discovery,
    access_reviews: latest::Sender<BTreeSet<AccessReview>>,
    fires: Fires,
    reports: Reports,
    retirement: Retirement,
    /// When to change what is watched, found and asked, once there is something to change.
    changes_due: Option<Instant>,
    workflow_list: HashSet<String>,
    workplan_list: HashSet<(WorkflowKey, String)>,
    own_watches: Vec<AbortHandle>,
    workflows_listed: Listed,
    workplans_listed: Listed,
}

/// Whether the first list is complete.
struct Listed {
    done: bool,
    condition: Condition,
}

impl Listed {
    fn now(&mut self) -> bool {
        self.condition.done();
        !std::mem::replace(&mut self.done, true)
    }
}

impl Operator {
    fn new(context: &Context, settings: Settings, inbox: Inbox) -> Self {
        let client = || context.client.clone();
        let metrics = Metrics::new(context.metrics.clone());
        let listed = |what: &str| Listed {
            done: false,
            condition: context.readiness.condition(what),
        };
        let (access_reviews, asked) = latest::channel(BTreeSet::new());
        let ask = access_reviews::run(client(), asked, inbox.clone());
        context.tasks.spawn("the access reviews", ask);
        let teller = Teller {
            client: client(),
            recorder: context.recorder(),
        };
        let runtime = || context.metrics.clone();
        let watch = workplan_watch::watch(client(), inbox.clone(), runtime());
        let workplans = context.tasks.spawn("the watch of workplans", watch);
        Self {
            engine: Engine::new(settings),
            context: context.clone(),
            watches: Watches::new(context, inbox.clone()),
            discovery: Discovery::new(client(), inbox.clone(), context.tasks.clone()),
            access_reviews,
            fires: Fires::new(client(), metrics.clone()),
            reports: Reports::new(teller),
            retirement: Retirement::new(client(), metrics.clone()),
            changes_due: None,
            workflow_list: HashSet::new(),
            workplan_list: HashSet::new(),
            own_watches: vec![workplans],
            workflows_listed: listed("workflows listed"),
            workplans_listed: listed("workplans listed"),
            metrics,
            inbox,
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Workflow(event, _permit) => self.workflow(*event),
            Input::Workplan(event) => self.workplan(*event),
            Input::KindDiscovered(kind, state) => self.engine.kind_discovered(&kind, state),
            Input::KindRemoved(kind) => self.engine.kind_removed(&kind),
            Input::AccessReviewed(review, allowed) => self.engine.access_reviewed(&review, allowed),
            Input::Watch { key, epoch, shown } => self.shown(&key, epoch, shown),
        }
    }

    fn workflow(&mut self, event: Event<DeserializeGuard<Workflow>>) {
        match event {
            Event::Init => self.workflow_list.clear(),
            Event::InitApply(workflow) => {
                self.workflow_list
                    .extend(kube::Resource::meta(&workflow).uid.clone());
                self.workflow_applied(workflow);
            }
            Event::Apply(workflow) => self.workflow_applied(workflow),
            Event::Delete(workflow) => {
                if let Some(uid) = &kube::Resource::meta(&workflow).uid {
                    self.engine.workflow_deleted(uid);
                    self.reports.forget(uid);
                }
            }
            Event::InitDone => {
                let list = std::mem::take(&mut self.workflow_list);
                self.engine.workflows_listed(|uid| list.contains(uid));
                self.workflows_listed.now();
            }
        }
    }

    fn workflow_applied(&mut self, workflow: DeserializeGuard<Workflow>) {
        match workflow.0 {
            Ok(workflow) => self.engine.workflow_applied(workflow),
            Err(invalid) => {
                if let Some(reference) = WorkflowRef::new(&invalid.metadata) {
                    self.engine.workflow_invalid(reference, &invalid.error);
                }
            }
        }
    }

    fn workplan(&mut self, event: Event<PartialWorkplan>) {
        let list = &mut self.workplan_list;
        match event {
            Event::Init => list.clear(),
            Event::InitApply(workplan) => {
                if let Some(run) = ObservedWorkplan::new(&workplan) {
                    list.insert((run.workflow.clone(), run.name.clone()));
                    self.engine.workplan_applied(run);
                }
            }
            Event::Apply(workplan) => {
                if let Some(run) = ObservedWorkplan::new(&workplan) {
                    self.engine.workplan_applied(run);
                }
            }
            Event::Delete(workplan) => {
                if let Some(run) = ObservedWorkplan::new(&workplan) {
                    self.engine.workplan_deleted(&run);
                }
            }
            Event::InitDone => {
                let list = std::mem::take(list);
                let exists = |workflow: &WorkflowKey, name: &str| {
                    list.contains(&(workflow.clone(), name.to_owned()))
                };
                self.engine.workplans_listed(exists);
                if self.workplans_listed.now() {
                    self.watch_workflows();
                }
            }
        }
    }

    /// Only once all Workplans are known, since they tell what a Workflow's status has not been told.
    fn watch_workflows(&mut self) {
        let (client, metrics) = (self.context.client.clone(), self.context.metrics.clone());
        let watch = workflow_watch::watch(client, self.inbox.clone(), metrics);
        let workflows = self.context.tasks.spawn("the watch of workflows", watch);
        self.own_watches.push(workflows);
    }

    fn shown(&mut self, key: &WatchKey, epoch: u64, shown: Shown) {
        match shown {
            Shown::Seen(seen) => {
                self.metrics.event_observed(&key.resource.plural);
                self.engine.object_applied(key, epoch, &seen);
            }
            Shown::Gone(uid, object) => {
                self.metrics.event_observed(&key.resource.plural);
                self.engine.object_deleted(key, epoch, &uid, &object);
            }
            Shown::Listed(exist) => self.engine.objects_listed(key, epoch, &exist),
            Shown::WatchError(error) => self.engine.watch_error(key, epoch, error),
            Shown::NotServed => self.engine.resource_not_served(key, epoch),
        }
    }

    fn fired(&mut self, fired: Fired) {
        let Fired {
            workflow,
            object,
            created,
            ..
        } = fired;
        match created {
            Ok(name) => {
                let now = Timestamp::now();
                self.engine.created(&workflow, &object, name, now);
            }
            Err(error) => self.engine.failed(&workflow, &object, error),
        }
    }

    fn told(&mut self, workflow: Uid, told: Told) {
        self.engine.status_written(&workflow, told == Told::Written);
        self.reports.told(workflow, told);
    }

    /// Carries out what the engine has decided.
    fn act(&mut self) {
        for creation in self.engine.take_creations() {
            self.fires.create(creation);
        }
        for retry in self.engine.take_retries() {
            self.fires.retry_later(retry);
        }
        for deletion in self.engine.take_deletions() {
            self.retirement.delete(deletion);
        }
        for workflow in self.engine.take_dirty() {
            self.reports.untold(workflow);
        }
        let changes = self.engine.requirements_changed() || self.engine.has_watch_commands();
        if changes && self.workflows_listed.done {
            self.changes_due
                .get_or_insert_with(|| Instant::now() + TOGETHER);
        }
        self.metrics.count(self.engine.take_counters());
    }

    /// Changes what is found, asked and watched.
    fn make_changes(&mut self) {
        self.changes_due = None;
        if self.engine.take_requirements_changed() {
            self.ask();
        }
        for order in self.engine.take_watch_commands() {
            self.watches.apply(order);
        }
        self.metrics
            .watches
            .set(i64::try_from(self.watches.len()).unwrap_or(i64::MAX));
    }

    fn ask(&mut self) {
        let kinds = self.engine.undiscovered_kinds();
        self.metrics
            .unresolved
            .set(i64::try_from(kinds.len()).unwrap_or(i64::MAX));
        self.metrics
            .workflows
            .set(i64::try_from(self.engine.workflow_count()).unwrap_or(i64::MAX));
        self.discovery.set_kinds(kinds);
        let access_reviews = self.engine.access_reviews();
        self.access_reviews.send_if_modified(|current| {
            let changed = *current != access_reviews;
            *current = access_reviews;
            changed
        });
    }

    fn retry_due(&mut self) {
        for retry in self.fires.take_retries() {
            self.engine.retry(&retry.workflow, &retry.object);
        }
    }

    fn report_due(&mut self) {
        while let Some(workflow) = self.reports.take_due() {
            self.report(&workflow);
        }
    }

    fn report(&mut self, workflow: &str) {
        match self.engine.status_update(workflow, Timestamp::now()) {
            Some(report) => self.reports.write(report),
            None => self.reports.forget(workflow),
        }
    }

    /// Sees no more events, ends the creations, and tells what is untold.
    async fn stop(mut self) {
        self.watches.stop();
        for watch in self.own_watches.drain(..) {
            watch.abort();
        }
        let creations = async {
            while self.fires.len() > 0 {
                let fired = self.fires.next().await;
                self.fired(fired);
                self.act();
            }
        };
        if timeout(LAST, creations).await.is_err() {
            tracing::warn!(
                "stopping before all Workplans are created; the next leader creates them"
            );
        }
        let writes = async {
            while !self.reports.is_idle() {
                while let Some(workflow) = self.reports.take_dirty() {
                    self.report(&workflow);
                }
                let (workflow, told) = self.reports.next().await;
                self.told(workflow, told);
            }
        };
        if timeout(LAST, writes).await.is_err() {
            tracing::warn!("stopping before all statuses are written; the next leader writes them");
        }
    }
}

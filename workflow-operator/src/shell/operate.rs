//! The main loop: what the others tell goes into the engine, one at a time; what it decides goes out.

use std::{
    collections::{BTreeSet, HashSet},
    convert::Infallible,
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use kube::{
    core::DeserializeGuard,
    runtime::{
        events::{Recorder, Reporter},
        watcher::Event,
    },
};
use kubeci_api::Workflow;
use kubeci_compiler::Settings;
use kubeci_runtime::{Condition, Context};
use tokio::{
    sync::{mpsc, watch as latest},
    task::AbortHandle,
    time::{Instant, sleep_until, timeout},
};

use super::{
    INBOX, Inbox, Input,
    fire::Fires,
    metrics::Metrics,
    permit,
    report::Reports,
    resolve::Resolver,
    tell::Teller,
    watch::{Shown, Watches},
    workflows, workplans,
};
use crate::core::{
    engine::{Engine, Reference},
    object::WatchKey,
    run::{Owner, PartialWorkplan, Run},
    standing::Question,
};

/// Changes of what is to be watched within this time are made together.
const TOGETHER: Duration = Duration::from_millis(20);
/// How often the main loop turns at least.
const PULSE: Duration = Duration::from_secs(5);
/// A loop that has not turned for this long is stuck.
const STUCK: Duration = Duration::from_mins(1);
/// How long creations and status writes that are under way may take when the process stops.
const LAST: Duration = Duration::from_secs(4);

/// Runs the operator until it is asked to stop.
pub async fn operate(context: Context, settings: Settings) -> Result<(), Infallible> {
    let (inbox, mut incoming) = mpsc::channel(INBOX);
    let heartbeat = context.liveness.heartbeat("main loop", STUCK);
    let mut operator = Operator::new(&context, settings, inbox);
    loop {
        heartbeat.beat();
        let pulse = Instant::now() + PULSE;
        let watches_due = operator.watches_due.unwrap_or(pulse);
        let report_due = operator.reports.next_due().unwrap_or(pulse);
        tokio::select! {
            biased;
            () = context.shutdown.cancelled() => break,
            () = sleep_until(watches_due) => operator.change_watches(),
            () = sleep_until(report_due) => operator.report_due(),
            () = sleep_until(pulse) => {}
            input = incoming.recv() => {
                if let Some(input) = input {
                    operator.take(input);
                }
            }
        }
        operator.act();
    }
    operator.stop(incoming).await;
    Ok(())
}

struct Operator {
    engine: Engine,
    context: Context,
    inbox: Inbox,
    metrics: Metrics,
    watches: Watches,
    resolver: Resolver,
    questions: latest::Sender<BTreeSet<Question>>,
    fires: Fires,
    reports: Reports,
    /// When to start and stop watches, once there is something to change.
    watches_due: Option<Instant>,
    /// Whether kinds may have to be found or questions asked.
    asks: bool,
    workflow_list: HashSet<String>,
    workplan_list: HashSet<(Owner, String)>,
    own_watches: Vec<AbortHandle>,
    workflows_listed: Listed,
    workplans_listed: Listed,
    creating: i64,
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
        let (questions, asked) = latest::channel(BTreeSet::new());
        tokio::spawn(permit::ask(client(), asked, inbox.clone()));
        let reporter = Reporter {
            controller: "workflow-operator".to_owned(),
            instance: Some(context.identity.clone()),
        };
        let teller = Teller {
            client: client(),
            recorder: Recorder::new(client(), reporter),
        };
        let runtime = || context.metrics.clone();
        let workplans = tokio::spawn(workplans::watch(client(), inbox.clone(), runtime()));
        Self {
            engine: Engine::new(settings),
            context: context.clone(),
            watches: Watches::new(client(), inbox.clone(), runtime()),
            resolver: Resolver::new(client(), inbox.clone()),
            questions,
            fires: Fires::new(client(), inbox.clone(), metrics.clone()),
            reports: Reports::new(teller, inbox.clone()),
            watches_due: None,
            asks: false,
            workflow_list: HashSet::new(),
            workplan_list: HashSet::new(),
            own_watches: vec![workplans.abort_handle()],
            workflows_listed: listed("workflows listed"),
            workplans_listed: listed("workplans listed"),
            creating: 0,
            metrics,
            inbox,
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Workflow(event) => self.workflow(*event),
            Input::Workplan(event) => self.workplan(*event),
            Input::Kind(kind, state) => {
                self.asks = true;
                self.engine.kind(&kind, state);
            }
            Input::KindGone(kind) => self.engine.kind_gone(&kind),
            Input::Permit(question, allowed) => {
                self.asks = true;
                self.engine.permit(&question, allowed);
            }
            Input::Watch { key, run, shown } => self.shown(&key, run, shown),
            Input::Created {
                workflow,
                object,
                workplan,
            } => {
                self.creating -= 1;
                self.engine
                    .created(&workflow, &object, workplan, Timestamp::now());
            }
            Input::NotCreated {
                workflow,
                object,
                failure,
            } => {
                self.creating -= 1;
                self.engine.failed(&workflow, &object, failure);
            }
            Input::Retry(retry) => self.engine.retry(&retry.workflow, &retry.object),
            Input::Told { workflow, told } => self.reports.told(workflow, told),
        }
    }

    fn workflow(&mut self, event: Event<DeserializeGuard<Workflow>>) {
        self.asks = true;
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
                    self.engine.workflow_gone(uid);
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
            Ok(workflow) => {
                let status = workflow.status.as_ref();
                let told = status.and_then(|status| serde_json::to_value(status).ok());
                if let Some(uid) = &workflow.metadata.uid {
                    self.reports
                        .met(uid.as_str().into(), told.unwrap_or_default());
                }
                self.engine.workflow_applied(workflow);
            }
            Err(invalid) => {
                if let Some(reference) = Reference::new(&invalid.metadata) {
                    self.engine.workflow_unreadable(reference, &invalid.error);
                }
            }
        }
    }

    fn workplan(&mut self, event: Event<PartialWorkplan>) {
        let list = &mut self.workplan_list;
        match event {
            Event::Init => list.clear(),
            Event::InitApply(workplan) => {
                if let Some(run) = Run::new(&workplan) {
                    list.insert((run.workflow.clone(), run.name.clone()));
                    self.engine.workplan_applied(run);
                }
            }
            Event::Apply(workplan) => {
                if let Some(run) = Run::new(&workplan) {
                    self.engine.workplan_applied(run);
                }
            }
            Event::Delete(workplan) => {
                if let Some(run) = Run::new(&workplan) {
                    self.engine.workplan_gone(&run);
                }
            }
            Event::InitDone => {
                let list = std::mem::take(list);
                let exists = |workflow: &Owner, name: &str| {
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
        let workflows = tokio::spawn(workflows::watch(client, self.inbox.clone(), metrics));
        self.own_watches.push(workflows.abort_handle());
    }

    fn shown(&mut self, key: &WatchKey, run: u64, shown: Shown) {
        match shown {
            Shown::Seen(seen) => {
                self.metrics.seen(&key.resource.plural);
                self.engine.seen(key, run, &seen);
            }
            Shown::Gone(uid, object) => {
                self.metrics.seen(&key.resource.plural);
                self.engine.gone(key, run, &uid, &object);
            }
            Shown::Listed(exist) => self.engine.listed(key, run, &exist),
            Shown::Trouble(trouble) => self.engine.trouble(key, run, trouble),
            Shown::NotServed => {
                self.asks = true;
                self.engine.not_served(key, run);
            }
        }
    }

    /// Carries out what the engine has decided.
    fn act(&mut self) {
        for creation in self.engine.take_creations() {
            self.creating += 1;
            self.fires.create(creation);
        }
        for retry in self.engine.take_retries() {
            self.fires.retry_later(retry);
        }
        for workflow in self.engine.take_untold() {
            self.reports.untold(workflow);
        }
        if self.engine.has_stale_watches() && self.workflows_listed.done {
            self.watches_due
                .get_or_insert_with(|| Instant::now() + TOGETHER);
        }
        if std::mem::take(&mut self.asks) {
            self.ask();
        }
        self.metrics.runtime.queue_depth().set(self.creating);
        self.metrics.count(self.engine.take_tally());
    }

    fn ask(&mut self) {
        let kinds = self.engine.unresolved();
        self.metrics
            .unresolved
            .set(i64::try_from(kinds.len()).unwrap_or(i64::MAX));
        self.metrics
            .workflows
            .set(i64::try_from(self.engine.workflows()).unwrap_or(i64::MAX));
        self.resolver.find(kinds);
        let questions = self.engine.questions();
        self.questions.send_if_modified(|current| {
            let changed = *current != questions;
            *current = questions;
            changed
        });
    }

    fn change_watches(&mut self) {
        self.watches_due = None;
        for order in self.engine.take_watches() {
            self.watches.apply(order);
        }
        self.metrics
            .watches
            .set(i64::try_from(self.watches.len()).unwrap_or(i64::MAX));
    }

    fn report_due(&mut self) {
        for workflow in self.reports.take_due() {
            self.report(&workflow);
        }
    }

    fn report(&mut self, workflow: &str) {
        match self.engine.report(workflow, Timestamp::now()) {
            Some(report) => self.reports.write(report),
            None => self.reports.forget(workflow),
        }
    }

    /// Sees no more events, waits for what is under way, and tells what is untold.
    async fn stop(mut self, mut incoming: mpsc::Receiver<Input>) {
        self.watches.stop();
        for watch in self.own_watches.drain(..) {
            watch.abort();
        }
        // What the watches still showed is shown again to the next leader.
        while let Ok(input) = incoming.try_recv() {
            if !matches!(input, Input::Watch { .. }) {
                self.take(input);
            }
        }
        self.act();
        let creations = async {
            while self.creating > 0 {
                match incoming.recv().await {
                    Some(Input::Watch { .. }) | None => {}
                    Some(input) => self.take(input),
                }
                self.act();
            }
        };
        if timeout(LAST, creations).await.is_err() {
            tracing::warn!(
                "stopping before all Workplans are created; the next leader creates them"
            );
        }
        let writes = async {
            self.reports.finish().await;
            while let Ok(input) = incoming.try_recv() {
                if let Input::Told { workflow, told } = input {
                    self.reports.told(workflow, told);
                }
            }
            for workflow in self.reports.take_all() {
                self.report(&workflow);
            }
            self.reports.finish().await;
        };
        if timeout(LAST, writes).await.is_err() {
            tracing::warn!("stopping before all statuses are written; the next leader writes them");
        }
    }
}

//! Passes inputs and results to the engine.

use k8s_openapi::jiff::Timestamp;
use kube::{Resource, core::DeserializeGuard, runtime::watcher::Event};
use kubeci_api::Workflow;
use kubeci_triggers::{ObservedWorkplan, PartialWorkplan, Uid, WatchKey, WorkflowKey, WorkflowRef};

use super::Operator;
use crate::{
    input::{Input, WatchUpdate},
    status_client::WriteResult,
    workflow_watch,
    workplan_creator::CreateResult,
};

impl Operator {
    pub(super) fn handle(&mut self, input: Input) {
        match input {
            Input::Workflow(event, _permit) => self.on_workflow(*event),
            Input::Workplan(event) => self.on_workplan(*event),
            Input::KindDiscovered(kind, result) => self.engine.kind_discovered(&kind, result),
            Input::KindRemoved(kind) => self.engine.kind_removed(&kind),
            Input::AccessReviewed(review, decision) => {
                self.engine.access_reviewed(&review, decision);
            }
            Input::Watch { key, epoch, update } => self.on_watch_update(&key, epoch, update),
        }
    }

    fn on_workflow(&mut self, event: Event<DeserializeGuard<Workflow>>) {
        match event {
            Event::Init => self.lists.workflows.items.clear(),
            Event::InitApply(workflow) => {
                let uid = workflow.meta().uid.clone();
                self.lists.workflows.items.extend(uid);
                self.workflow_applied(workflow);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.lists.workflows.items);
                self.engine.workflows_listed(|uid| listed.contains(uid));
                self.lists.workflows.complete();
            }
            Event::Apply(workflow) => self.workflow_applied(workflow),
            Event::Delete(workflow) => {
                if let Some(uid) = &workflow.meta().uid {
                    self.engine.workflow_deleted(uid);
                    self.statuses.forget(uid);
                }
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

    fn on_workplan(&mut self, event: Event<PartialWorkplan>) {
        match event {
            Event::Init => self.lists.workplans.items.clear(),
            Event::InitApply(workplan) => {
                if let Some(workplan) = ObservedWorkplan::new(&workplan) {
                    let item = (workplan.workflow.clone(), workplan.name.clone());
                    self.lists.workplans.items.insert(item);
                    self.engine.workplan_applied(workplan);
                }
            }
            Event::InitDone => self.on_workplans_listed(),
            Event::Apply(workplan) => {
                if let Some(workplan) = ObservedWorkplan::new(&workplan) {
                    self.engine.workplan_applied(workplan);
                }
            }
            Event::Delete(workplan) => {
                if let Some(workplan) = ObservedWorkplan::new(&workplan) {
                    self.engine.workplan_deleted(&workplan);
                }
            }
        }
    }

    fn on_workplans_listed(&mut self) {
        let listed = std::mem::take(&mut self.lists.workplans.items);
        let exists = |workflow: &WorkflowKey, name: &str| {
            listed.contains(&(workflow.clone(), name.to_owned()))
        };
        self.engine.workplans_listed(exists);
        if self.lists.workplans.complete() {
            self.watch_workflows();
        }
    }

    /// Starts the watch of Workflows. It needs all Workplans: they have events that a status may not have yet.
    fn watch_workflows(&mut self) {
        let (client, metrics) = (self.context.client.clone(), self.context.metrics.clone());
        let watch = workflow_watch::run(client, self.inputs.clone(), metrics);
        let workflows = self.context.tasks.spawn("the watch of workflows", watch);
        self.own_watches.push(workflows);
    }

    fn on_watch_update(&mut self, key: &WatchKey, epoch: u64, update: WatchUpdate) {
        match update {
            WatchUpdate::Applied(observed) => {
                self.metrics.event_observed(&key.resource.plural);
                self.engine.object_applied(key, epoch, &observed);
            }
            WatchUpdate::Deleted(uid, object) => {
                self.metrics.event_observed(&key.resource.plural);
                self.engine.object_deleted(key, epoch, &uid, &object);
            }
            WatchUpdate::Listed(existing) => self.engine.objects_listed(key, epoch, &existing),
            WatchUpdate::Error(error) => self.engine.watch_error(key, epoch, error),
            WatchUpdate::NotServed => self.engine.resource_not_served(key, epoch),
        }
    }

    pub(super) fn on_created(&mut self, result: CreateResult) {
        let CreateResult {
            workflow,
            object,
            created,
        } = result;
        match created {
            Ok(name) => {
                let now = Timestamp::now();
                self.engine.created(&workflow, &object, name, now);
            }
            Err(error) => self.engine.failed(&workflow, &object, error),
        }
    }

    pub(super) fn on_written(&mut self, workflow: Uid, result: WriteResult) {
        let flushed = result == WriteResult::Flushed;
        self.engine.status_written(&workflow, flushed);
        self.statuses.written(workflow, result);
    }
}

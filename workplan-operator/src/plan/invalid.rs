//! What is wrong with a plan, and where.

use kubeci_api::Task;
use kubeci_compiler::{edge_field, edges_to};
use kubeci_plan::{EdgeKind, PlanError, describe_cycle};

use super::{ALLOWED_FAILURE_IN_CHAIN, APPROVAL_IN_TASK, InvalidPlan, SERIAL_IN_RELAY, Written};

impl<'a> Written<'a> {
    #[allow(clippy::too_many_lines)] // a message for each error
    pub(super) fn invalid(&self, error: &PlanError) -> InvalidPlan {
        match *error {
            PlanError::DuplicateName { step, first } => {
                let (first, name) = (self.path(first), self.name(step));
                let message = format!(
                    "{first} has the name {name:?}, too; rename one of the steps, because names must be unique in all tasks"
                );
                self.at(step, "name", message)
            }
            PlanError::ApprovalInTask { step } => {
                self.at(step, "approval", APPROVAL_IN_TASK.into())
            }
            PlanError::SerialInRelay { step } => self.at(step, "name", SERIAL_IN_RELAY.into()),
            PlanError::UnknownStep { step, edge } => {
                let name = self.edge_name(step, edge);
                let message =
                    format!("no task has a step {name:?}; correct the name or add the step");
                self.at_edge(step, edge, message)
            }
            PlanError::EdgeToItself { step, edge } => {
                let message = "a step cannot depend on itself; remove its own name";
                self.at_edge(step, edge, message.into())
            }
            PlanError::FailureAllowed { step, edge } => {
                let message = format!(
                    "{:?} has allowFailure: true, so its failure counts as completion and this step would never start; \
                     use after, or remove allowFailure there",
                    self.edge_name(step, edge)
                );
                self.at_edge(step, edge, message)
            }
            PlanError::NeverStarts { step, of } => {
                let message = format!(
                    "the step waits for {:?} to complete and to fail, directly or through other steps, so it would \
                     never start; remove one of both, or use after",
                    self.name(of)
                );
                self.at_failure_of(step, of, message)
            }
            PlanError::FailureEndsTask { step, from } => {
                let message = format!(
                    "{:?} is a serial step of the same task, whose failure ends the pod before this step; \
                     move this step to another task",
                    self.name(from)
                );
                self.at_failure_of(step, from, message)
            }
            PlanError::AllowedFailureEndsTask { step } => {
                self.at(step, "allowFailure", ALLOWED_FAILURE_IN_CHAIN.into())
            }
            PlanError::NotEarlierInTask { step, edge, from } => {
                let message = format!(
                    "{:?} does not end before this step starts, because both are in one task; \
                     make it an earlier serial step, or move this step to a later task",
                    self.name(from)
                );
                self.at_edge(step, edge, message)
            }
            PlanError::InLaterTask { step, edge, from } => {
                let (name, task) = (self.name(from), self.place(from).0);
                let message = format!(
                    "{name:?} is in a later task, spec.tasks[{task}]; \
                     move this step to a task after it, or set spec.order: Graph"
                );
                self.at_edge(step, edge, message)
            }
            PlanError::InvalidExpressions { step, ref invalid } => {
                let first = invalid.first();
                let field = first.map(|it| it.field.to_string()).unwrap_or_default();
                let message = first.map(|it| it.error.to_string()).unwrap_or_default();
                self.at(step, &field, message)
            }
            PlanError::NamedWithoutEdge {
                step,
                field,
                ref named,
            } => {
                let message = format!(
                    "the expression names the step {named:?}, which the step does not wait for; add {named:?} to \
                     dependency, onFailure or after of this step, or correct the name"
                );
                self.at(step, &field.to_string(), message)
            }
            PlanError::NamedInTask { step, field, named } => {
                let message = format!(
                    "the expression names {:?}, a serial step of the same task, but it is evaluated before the pod of \
                     the task is created; move this step to a later task, or set spec.order: Relay",
                    self.name(named)
                );
                self.at(step, &field.to_string(), message)
            }
            PlanError::MainNeedsFinal { step, edge } => {
                let message = format!(
                    "{:?} is in spec.finally, and starts when all other steps have ended; remove it here, or add this \
                     step to spec.finally",
                    self.edge_name(step, edge)
                );
                self.at_edge(step, edge, message)
            }
            PlanError::FinalNeedsMain { step, edge } => {
                let message = format!(
                    "{:?} is not in spec.finally, and has ended when the final steps start, in whatever way; remove it here",
                    self.edge_name(step, edge)
                );
                self.at_edge(step, edge, message)
            }
            PlanError::FinalSharesTask { step, from } => {
                let message = format!(
                    "the step is in spec.finally and runs in any case, but shares its task with {:?}, which is not; move \
                     it to its own task, or set spec.order: Relay",
                    self.name(from)
                );
                self.at(step, "name", message)
            }
            PlanError::FinalInEarlierTask { step, from } => {
                let message = format!(
                    "the step is in spec.finally, but {:?}, which is not, is in a later task, spec.tasks[{}]; move the step \
                     to a task after it, or set spec.order: Graph",
                    self.name(from),
                    self.place(from).0
                );
                self.at(step, "name", message)
            }
            PlanError::OnlyFinal => InvalidPlan {
                path: "spec.finally".into(),
                message: "every step is in spec.finally; the final steps run after the others, so leave at least one out"
                    .into(),
            },
            PlanError::TooWide {
                task,
                steps,
                max_parallel,
            } => InvalidPlan {
                path: format!("spec.tasks[{task}].ParallelSteps"),
                message: format!(
                    "the {steps} steps start at the same time, but spec.maxParallel is {max_parallel}; move some of \
                     them to another task, or raise spec.maxParallel"
                ),
            },
            PlanError::StepCycle(ref cycle) => self.step_cycle(cycle),
            PlanError::TaskCycle(ref cycle) => task_cycle(cycle),
        }
    }

    fn step_cycle(&self, cycle: &[usize]) -> InvalidPlan {
        let names: Vec<&str> = cycle.iter().map(|&at| self.name(at)).collect();
        let message = format!(
            "the steps wait for each other, so none would ever start: {}; remove one of these dependencies",
            describe_cycle(&names)
        );
        self.at(cycle[0], "dependency", message)
    }

    pub(super) fn at(&self, step: usize, field: &str, message: String) -> InvalidPlan {
        let path = format!("{}.{field}", self.path(step));
        InvalidPlan { path, message }
    }

    pub(super) fn at_edge(&self, step: usize, edge: usize, message: String) -> InvalidPlan {
        let written = self.steps().nth(step);
        let field = written.map(|step| edge_field(step, edge));
        self.at(step, &field.unwrap_or_default(), message)
    }

    /// At the edge that waits for another outcome than the success of a step; at the first edge if it does so through
    /// others.
    fn at_failure_of(&self, step: usize, of: usize, message: String) -> InvalidPlan {
        let of = self.name(of);
        let mut edges = self.steps().nth(step).into_iter().flat_map(edges_to);
        let edge = edges.position(|it| it.from == of && it.kind != EdgeKind::OnSuccess);
        self.at_edge(step, edge.unwrap_or_default(), message)
    }

    pub(super) fn path(&self, step: usize) -> String {
        let (task, index) = self.place(step);
        let serial = self.0[task].serial_steps.len();
        let (list, index) = match index.checked_sub(serial) {
            None => ("SerialSteps", index),
            Some(index) => ("ParallelSteps", index),
        };
        format!("spec.tasks[{task}].{list}[{index}]")
    }

    /// The task of a step, and its position there.
    pub(super) fn place(&self, step: usize) -> (usize, usize) {
        let of_task = |(task, steps): (usize, &Task)| {
            let count = steps.steps().count();
            (0..count).map(move |index| (task, index))
        };
        let mut places = self.0.iter().enumerate().flat_map(of_task);
        places.nth(step).unwrap_or_default()
    }

    pub(super) fn name(&self, step: usize) -> &'a str {
        self.steps().nth(step).map_or("", |step| &step.name)
    }

    pub(super) fn edge_name(&self, step: usize, edge: usize) -> &'a str {
        let edge = self
            .steps()
            .nth(step)
            .and_then(|step| edges_to(step).nth(edge));
        edge.map_or("", |edge| edge.from)
    }
}

fn task_cycle(cycle: &[usize]) -> InvalidPlan {
    let paths = cycle.iter().map(|task| format!("spec.tasks[{task}]"));
    let paths: Vec<String> = paths.collect();
    let message = format!(
        "the tasks wait for each other, so none would ever start: {}; a task starts after the steps that its own \
         steps depend on; split one of these tasks",
        describe_cycle(&paths)
    );
    InvalidPlan {
        path: paths[0].clone(),
        message,
    }
}

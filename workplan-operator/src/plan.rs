//! The plan of a Workplan. A user may have written its tasks.

use std::collections::HashSet;

use kubeci_api::names::{OPENER_CONTAINER, RUNNER_CONTAINER, STEPS_MAX, VARIABLE_PREFIX};
use kubeci_api::{EnvVar, Task, WorkplanSpec};
use kubeci_compiler::{container_field, edge_field, edges_to, read_plan};
use kubeci_plan::{EdgeKind, Plan, PlanError, describe_cycle};

/// Why the tasks cannot run, and the wrong field.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct InvalidPlan {
    pub path: String,
    pub message: String,
}

/// Validates the tasks of a Workplan.
///
/// # Errors
/// When there are too many steps, a name is reserved or not unique, an edge or an expression is wrong, a variable has
/// several values, steps or tasks wait for each other, a step has neither an image nor an approval, an approval has fields
/// of a container or shares its task, a step has no command that the step runner can start, a step with a timeout shares
/// its pod, or a task runs more steps at the same time than `maxParallel`.
pub fn validate(spec: &WorkplanSpec) -> Result<Plan<'_>, InvalidPlan> {
    let written = Written(&spec.tasks);
    written.refuse_too_many()?;
    let max_parallel = spec.max_parallel.map(Into::into);
    written.refuse_unknown_final(&spec.finally)?;
    let plan = read_plan(spec.order, &spec.tasks, &spec.finally);
    let plan = plan.and_then(|plan| plan.limited(max_parallel));
    let plan = plan.map_err(|error| written.invalid(&error))?;
    written.refuse_reserved_names()?;
    written.refuse_reserved_variables()?;
    written.refuse_several_values()?;
    written.refuse_missing_images()?;
    written.refuse_approvals_with_containers()?;
    written.refuse_missing_commands(&plan)?;
    written.refuse_shared_timeouts(&plan)?;
    Ok(plan)
}

/// The tasks in the Workplan. Steps are counted through all tasks.
struct Written<'a>(&'a [Task]);

impl<'a> Written<'a> {
    fn steps(&self) -> impl Iterator<Item = &'a kubeci_api::Step> {
        self.0.iter().flat_map(Task::steps)
    }

    /// The status contains all steps, and each reconciliation reads them.
    fn refuse_too_many(&self) -> Result<(), InvalidPlan> {
        let count = self.steps().count();
        if count <= STEPS_MAX {
            return Ok(());
        }
        Err(InvalidPlan {
            path: "spec.tasks".into(),
            message: format!(
                "the tasks have {count} steps, but a Workplan may have at most {STEPS_MAX}; split it into several Workplans"
            ),
        })
    }

    fn refuse_unknown_final(&self, finally: &[String]) -> Result<(), InvalidPlan> {
        let names: HashSet<&str> = self.steps().map(|step| step.name.as_str()).collect();
        let unknown = finally
            .iter()
            .position(|name| !names.contains(name.as_str()));
        match unknown {
            Some(at) => Err(InvalidPlan {
                path: format!("spec.finally[{at}]"),
                message: format!(
                    "no task has a step {:?}; correct the name or add the step",
                    finally[at]
                ),
            }),
            None => Ok(()),
        }
    }

    fn refuse_reserved_names(&self) -> Result<(), InvalidPlan> {
        let is_reserved = |name: &str| name == OPENER_CONTAINER || name == RUNNER_CONTAINER;
        match self.steps().position(|step| is_reserved(&step.name)) {
            Some(at) => {
                let message = format!("the name {:?} is reserved; use another name", self.name(at));
                Err(self.at(at, "name", message))
            }
            None => Ok(()),
        }
    }

    fn refuse_reserved_variables(&self) -> Result<(), InvalidPlan> {
        let is_reserved = |name: &str| name.starts_with(VARIABLE_PREFIX);
        let reserved = self.steps().enumerate().find_map(|(at, step)| {
            let variable = step.env.iter().position(|it| is_reserved(&it.name))?;
            Some((at, variable, &step.env[variable].name))
        });
        let Some((at, variable, name)) = reserved else {
            return Ok(());
        };
        let message = format!(
            "the variable {name:?} is reserved: kubeci sets the variables that begin with {VARIABLE_PREFIX}; use \
             another name"
        );
        Err(self.at(at, &format!("env[{variable}].name"), message))
    }

    fn refuse_several_values(&self) -> Result<(), InvalidPlan> {
        let several = self.steps().enumerate().find_map(|(at, step)| {
            let mut variables = step.env.iter();
            let variable = variables.position(EnvVar::has_several_values)?;
            Some((at, variable))
        });
        match several {
            Some((at, variable)) => {
                Err(self.at(at, &format!("env[{variable}]"), SEVERAL_VALUES.into()))
            }
            None => Ok(()),
        }
    }

    fn refuse_missing_images(&self) -> Result<(), InvalidPlan> {
        let is_missing = |step: &kubeci_api::Step| step.image.is_empty() && step.approval.is_none();
        match self.steps().position(is_missing) {
            Some(at) => Err(self.at(at, "image", NO_IMAGE.into())),
            None => Ok(()),
        }
    }

    fn refuse_approvals_with_containers(&self) -> Result<(), InvalidPlan> {
        let mut fields = self.steps().map(container_field).enumerate();
        match fields.find_map(|(at, field)| Some((at, field?))) {
            Some((at, field)) => Err(self.at(at, field, APPROVAL_WITH_CONTAINER.into())),
            None => Ok(()),
        }
    }

    /// The step runner starts a command, and does not know the entrypoint of an image.
    fn refuse_missing_commands(&self, plan: &Plan) -> Result<(), InvalidPlan> {
        let mut steps = self.steps().zip(&plan.steps);
        let missing = steps
            .position(|(step, planned)| plan.is_relay(planned.task) && step.commands.is_empty());
        match missing {
            Some(at) => Err(self.at(at, "commands", NO_COMMANDS.into())),
            None => Ok(()),
        }
    }

    /// Outside a relay, a step is stopped at its time limit with its pod.
    fn refuse_shared_timeouts(&self, plan: &Plan) -> Result<(), InvalidPlan> {
        let has_siblings =
            |task: usize| !plan.is_relay(task) && self.0[task].parallel_steps.len() > 1;
        let mut steps = self.steps().zip(&plan.steps);
        let shared = steps.position(|(step, planned)| {
            step.timeout.is_some() && !planned.serial && has_siblings(planned.task)
        });
        match shared {
            Some(at) => Err(self.at(at, "timeout", SHARED_TIMEOUT.into())),
            None => Ok(()),
        }
    }

    fn invalid(&self, error: &PlanError) -> InvalidPlan {
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

    fn at(&self, step: usize, field: &str, message: String) -> InvalidPlan {
        let path = format!("{}.{field}", self.path(step));
        InvalidPlan { path, message }
    }

    fn at_edge(&self, step: usize, edge: usize, message: String) -> InvalidPlan {
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

    fn path(&self, step: usize) -> String {
        let (task, index) = self.place(step);
        let serial = self.0[task].serial_steps.len();
        let (list, index) = match index.checked_sub(serial) {
            None => ("SerialSteps", index),
            Some(index) => ("ParallelSteps", index),
        };
        format!("spec.tasks[{task}].{list}[{index}]")
    }

    /// The task of a step, and its position there.
    fn place(&self, step: usize) -> (usize, usize) {
        let of_task = |(task, steps): (usize, &Task)| {
            let count = steps.steps().count();
            (0..count).map(move |index| (task, index))
        };
        let mut places = self.0.iter().enumerate().flat_map(of_task);
        places.nth(step).unwrap_or_default()
    }

    fn name(&self, step: usize) -> &'a str {
        self.steps().nth(step).map_or("", |step| &step.name)
    }

    fn edge_name(&self, step: usize, edge: usize) -> &'a str {
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

const SERIAL_IN_RELAY: &str = "with order: Relay all steps must be in ParallelSteps; move the step there and set its dependency";
const NO_IMAGE: &str = "a step needs an image, or an approval in place of it; set one of both";
const APPROVAL_WITH_CONTAINER: &str =
    "an approval runs no container; remove this field, or remove approval";
const APPROVAL_IN_TASK: &str =
    "an approval has no pod, so it cannot share its task with other steps; move it to its own task";
const SHARED_TIMEOUT: &str = "at the timeout the pod of the step is stopped, with the other parallel steps of its task; \
                              move the step to its own task, or set spec.order: Relay";
const SEVERAL_VALUES: &str =
    "the variable has several values; remove all but one of value, valueFrom and expr";
const ALLOWED_FAILURE_IN_CHAIN: &str = "the failure of a serial step ends its pod, so the steps after it would not run; move the step to its own task, or \
                                        to ParallelSteps";
const NO_COMMANDS: &str = "with order: Relay a step that shares its task with other steps needs commands, because the entrypoint of \
                           the image is not known; set commands, or move the step to its own task";

#[cfg(test)]
mod tests {
    use kubeci_api::Order;
    use rstest::rstest;

    use super::*;
    use crate::testing::{relay, spec, step};

    fn needs(plan: &Plan, step: usize) -> Vec<usize> {
        let edges = plan.steps[step].edges.iter();
        edges.map(|edge| edge.from).collect()
    }

    #[test]
    fn dependencies_become_positions() {
        let spec = spec(Order::Linear, &["a | b:a c:a", "d:b,c | e:a,d"]);
        let plan = validate(&spec).unwrap();
        assert_eq!(plan.tasks, [0..3, 3..5]);
        let needs: Vec<_> = (0..plan.steps.len())
            .map(|step| needs(&plan, step))
            .collect();
        assert_eq!(needs, [vec![], vec![0], vec![0], vec![1, 2], vec![0, 3]]);
    }

    #[rstest]
    #[case::unknown(&["a |", "b:x |"], "spec.tasks[1].SerialSteps[0].dependency[0]: no task has a step \"x\"")]
    #[case::duplicate(&["a | b", "c | b"], "spec.tasks[1].ParallelSteps[0].name: spec.tasks[0].ParallelSteps[0] has the name \"b\", too")]
    #[case::taken(&["kubeci-workspace |"], "spec.tasks[0].SerialSteps[0].name: the name \"kubeci-workspace\" is reserved")]
    #[case::itself(&["a:a |"], "spec.tasks[0].SerialSteps[0].dependency[0]: a step cannot depend on itself")]
    #[case::sibling(&["| a b:a"], "spec.tasks[0].ParallelSteps[1].dependency[0]: \"a\" does not end before")]
    #[case::later_in_the_chain(&["a:b b |"], "spec.tasks[0].SerialSteps[0].dependency[0]: \"b\" does not end before")]
    #[case::serial_on_parallel(&["a:b | b"], "spec.tasks[0].SerialSteps[0].dependency[0]: \"b\" does not end before")]
    #[case::later_task(&["a | b c:d", "d |"], "spec.tasks[0].ParallelSteps[1].dependency[0]: \"d\" is in a later task, spec.tasks[1]")]
    fn invalid_plan_is_refused_by_path(#[case] tasks: &[&str], #[case] expected: &str) {
        let spec = spec(Order::Linear, tasks);
        let error = validate(&spec).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }

    #[rstest]
    #[case::shared(&["a? | b"], "spec.tasks[0].SerialSteps[0].approval: an approval has no pod")]
    #[case::beside(&["| a b?"], "spec.tasks[0].ParallelSteps[1].approval: an approval has no pod")]
    fn approval_needs_its_own_task(#[case] tasks: &[&str], #[case] expected: &str) {
        let error = validate(&spec(Order::Linear, tasks)).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(validate(&spec(Order::Linear, &["a", "b?", "| c?"])).is_ok());
    }

    #[test]
    fn step_needs_an_image_or_an_approval() {
        let mut plan = spec(Order::Linear, &["a?"]);
        plan.tasks[0].serial_steps[0].image = "alpine".into();
        let error = validate(&plan).unwrap_err().to_string();
        let expected = "spec.tasks[0].SerialSteps[0].image: an approval runs no container";
        assert!(error.starts_with(expected), "{error}");
        plan.tasks[0].serial_steps[0] = kubeci_api::Step {
            image: String::new(),
            ..step("a")
        };
        let error = validate(&plan).unwrap_err().to_string();
        let expected = "spec.tasks[0].SerialSteps[0].image: a step needs an image";
        assert!(error.starts_with(expected), "{error}");
    }

    #[rstest]
    #[case::allowed(Order::Graph, &["| a!", "| b:a.failed"], "spec.tasks[1].ParallelSteps[0].onFailure[0]: \"a\" has allowFailure: true")]
    #[case::never(Order::Graph, &["| a", "| b:a,a.failed"], "spec.tasks[1].ParallelSteps[0].onFailure[0]: the step waits for \"a\" to complete and to fail")]
    #[case::never_through(Order::Graph, &["| a", "| b:a.failed", "| c:b,a"], "spec.tasks[2].ParallelSteps[0].dependency[0]: the step waits for \"a\" to")]
    #[case::ended_pod(Order::Linear, &["a | b:a.ended"], "spec.tasks[0].ParallelSteps[0].after[0]: \"a\" is a serial step of the same task")]
    #[case::chain(Order::Linear, &["a! | b"], "spec.tasks[0].SerialSteps[0].allowFailure: the failure of a serial step ends its pod")]
    #[case::unknown(Order::Linear, &["a", "b:a,x.ended"], "spec.tasks[1].SerialSteps[0].after[0]: no task has a step \"x\"")]
    fn invalid_edge_is_refused_by_its_field(
        #[case] order: Order,
        #[case] tasks: &[&str],
        #[case] expected: &str,
    ) {
        let error = validate(&spec(order, tasks)).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn implied_end_of_serial_step_is_allowed() {
        let spec = spec(Order::Linear, &["e f:e | g!:f,e.ended", "a!"]);
        assert!(validate(&spec).is_ok());
    }

    #[test]
    fn graph_tasks_may_not_form_a_cycle() {
        let ahead = spec(Order::Graph, &["a:b |", "b |"]);
        assert!(validate(&ahead).is_ok());

        let circle = spec(
            Order::Graph,
            &["x |", "a | b:d", "c | d", "e:b |", "c2:e | d2", "f:d2 | g"],
        );
        assert!(validate(&circle).is_ok());
        let circle = spec(Order::Graph, &["x:a |", "a | b:d", "c:a | d"]);
        let error = validate(&circle).unwrap_err().to_string();
        let expected = "spec.tasks[1]: the tasks wait for each other, so none would ever start: spec.tasks[1] needs spec.tasks[2], \
                        spec.tasks[2] needs spec.tasks[1];";
        assert!(error.starts_with(expected), "{error}");
    }

    #[rstest]
    #[case::pods(spec(Order::Graph, &["a", "b | c d e"]), true)]
    #[case::narrow(spec(Order::Graph, &["a b c | d e", "| f g"]), false)]
    #[case::relay(relay(&["| c d e"]), false)]
    fn task_wider_than_max_parallel_is_refused(
        #[case] mut spec: WorkplanSpec,
        #[case] refused: bool,
    ) {
        spec.max_parallel = 2.try_into().ok();
        let expected = "spec.tasks[1].ParallelSteps: the 3 steps start at the same time, but spec.maxParallel is 2; ";
        let error = validate(&spec).err().map(|error| error.to_string());
        assert_eq!(error.is_some(), refused, "{error:?}");
        assert!(error.is_none_or(|error| error.starts_with(expected)));
    }

    #[test]
    fn relay_steps_may_depend_on_each_other() {
        let spec = relay(&["| c:b b:a a", "| d:a"]);
        let plan = validate(&spec).unwrap();
        let needs: Vec<_> = (0..plan.steps.len())
            .map(|step| needs(&plan, step))
            .collect();
        assert_eq!(needs, [vec![1], vec![2], vec![], vec![2]]);
        assert!(plan.is_relay(0) && !plan.is_relay(1));
    }

    #[rstest]
    #[case::circle(&["| x a:c b:a c:b"], "spec.tasks[0].ParallelSteps[1].dependency: the steps wait for each other, so none would ever start: a needs c, c needs b, b needs a;")]
    #[case::itself(&["| a:a b"], "spec.tasks[0].ParallelSteps[0].dependency[0]: a step cannot depend on itself")]
    #[case::tasks(&["| a b:c", "| c:a d"], "spec.tasks[0]: the tasks wait for each other, so none would ever start: spec.tasks[0] needs spec.tasks[1], spec.tasks[1] needs spec.tasks[0];")]
    #[case::serial(&["a | b"], "spec.tasks[0].SerialSteps[0].name: with order: Relay all steps must be in ParallelSteps")]
    #[case::taken(&["| kubeci-runner a"], "spec.tasks[0].ParallelSteps[0].name: the name \"kubeci-runner\" is reserved")]
    fn invalid_relay_is_refused_by_path(#[case] tasks: &[&str], #[case] expected: &str) {
        let error = validate(&relay(tasks)).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn relay_step_needs_commands_unless_alone() {
        let mut alone = relay(&["| a"]);
        alone.tasks[0].parallel_steps[0].commands.clear();
        assert!(validate(&alone).is_ok());
        let mut two = relay(&["| a b"]);
        two.tasks[0].parallel_steps[1].commands.clear();
        let error = validate(&two).unwrap_err();
        assert_eq!(error.path, "spec.tasks[0].ParallelSteps[1].commands");
    }

    #[rstest]
    #[case::sibling(spec(Order::Linear, &["a | b c"]), false)]
    #[case::alone(spec(Order::Linear, &["a | c", "| b d"]), true)]
    #[case::serial(spec(Order::Graph, &["a c | b d"]), true)]
    #[case::relay(relay(&["| a b c"]), true)]
    fn timeout_needs_a_pod_without_siblings(#[case] mut spec: WorkplanSpec, #[case] valid: bool) {
        let steps = spec.tasks.iter_mut();
        let mut steps =
            steps.flat_map(|it| it.serial_steps.iter_mut().chain(&mut it.parallel_steps));
        let step = steps.find(|it| it.name == "c").unwrap();
        step.timeout = Some(std::time::Duration::from_secs(1).into());
        let paths = validate(&spec).map_err(|error| error.path);
        let expected = "spec.tasks[0].ParallelSteps[1].timeout".to_owned();
        assert_eq!(paths.err(), (!valid).then_some(expected));
    }

    #[test]
    fn reserved_variable_is_refused_by_path() {
        let mut plan = spec(Order::Linear, &["a |"]);
        let variable = EnvVar {
            name: "KUBECI_OUTPUT".into(),
            ..Default::default()
        };
        plan.tasks[0].serial_steps[0].env = vec![variable];
        let error = validate(&plan).unwrap_err().to_string();
        let expected =
            "spec.tasks[0].SerialSteps[0].env[0].name: the variable \"KUBECI_OUTPUT\" is reserved";
        assert!(error.starts_with(expected), "{error}");
    }

    #[rstest]
    #[case::syntax(Order::Graph, &["a", "c:a"], "steps.a.phase =", "spec.tasks[1].SerialSteps[0].when: column 15: ")]
    #[case::no_edge(Order::Graph, &["a", "b", "c:b"], "steps.a.exitCode == 0", "spec.tasks[2].SerialSteps[0].when: the expression names the step \"a\", which")]
    #[case::unknown(Order::Relay, &["| c"], "steps.x.exitCode == 0", "spec.tasks[0].ParallelSteps[0].when: the expression names the step \"x\", which")]
    #[case::same_pod(Order::Linear, &["a | c:a"], "steps.a.exitCode == 0", "spec.tasks[0].ParallelSteps[0].when: the expression names \"a\", a serial step of")]
    #[case::other_pod(Order::Linear, &["a", "b:a | c:a"], "steps.a.exitCode == 0", "")]
    #[case::relay(Order::Relay, &["| a c:a"], "steps.a.exitCode == 0", "")]
    fn condition_names_steps_that_have_ended(
        #[case] order: Order,
        #[case] tasks: &[&str],
        #[case] condition: &str,
        #[case] expected: &str,
    ) {
        let mut spec = match order {
            Order::Relay => relay(tasks),
            _ => spec(order, tasks),
        };
        let steps = spec.tasks.iter_mut();
        let mut steps =
            steps.flat_map(|it| it.serial_steps.iter_mut().chain(&mut it.parallel_steps));
        let step = steps.find(|it| it.name == "c").unwrap();
        step.when = Some(condition.into());
        let error = validate(&spec).map(|_| ()).map_err(|it| it.to_string());
        let error = error.err().unwrap_or_default();
        assert_eq!(error.is_empty(), expected.is_empty(), "{error}");
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn variable_with_several_values_is_refused() {
        let mut plan = spec(Order::Linear, &["a |"]);
        plan.tasks[0].serial_steps[0].env = vec![EnvVar {
            value: Some(String::new()),
            expr: Some("1".into()),
            ..EnvVar::default()
        }];
        let error = validate(&plan).unwrap_err().to_string();
        let expected = "spec.tasks[0].SerialSteps[0].env[0]: the variable has several values";
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn plan_with_too_many_steps_is_refused() {
        let task = |task: usize| {
            let chain = (0..500).map(|at| format!("s{task}-{at}:s{task}-{}", at + 1));
            format!("| {} s{task}-500", chain.collect::<Vec<_>>().join(" "))
        };
        let tasks: Vec<String> = (0..20).map(task).collect();
        let tasks: Vec<&str> = tasks.iter().map(String::as_str).collect();
        let error = validate(&relay(&tasks)).unwrap_err().to_string();
        let expected =
            "spec.tasks: the tasks have 10020 steps, but a Workplan may have at most 500;";
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn repeated_dependency_counts_once() {
        let mut twice = step("b");
        twice.dependency = vec!["a".into(), "a".into()];
        let mut spec = spec(Order::Linear, &["a |"]);
        spec.tasks[0].parallel_steps.push(twice);
        assert_eq!(needs(&validate(&spec).unwrap(), 1), [0]);
    }
}

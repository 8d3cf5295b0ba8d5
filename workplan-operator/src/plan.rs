//! The plan of a Workplan. A user may have written its tasks.

use std::collections::HashSet;

use kubeci_api::names::{OPENER_CONTAINER, RUNNER_CONTAINER, STEPS_MAX, VARIABLE_PREFIX};
use kubeci_api::{EnvVar, Task, WorkplanSpec};
use kubeci_compiler::{container_field, read_plan};
use kubeci_plan::Plan;

mod invalid;

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
mod tests;

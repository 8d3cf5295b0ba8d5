use std::collections::HashMap;

use kubeci_api::names::{
    OPENER_CONTAINER, RELAY_VOLUME, RUNNER_CONTAINER, STEPS_MAX, VARIABLE_PREFIX,
    WORKSPACE_MOUNT_PATH, WORKSPACE_VOLUME,
};
use kubeci_api::{Step, WorkflowSpec};
use kubeci_plan::{
    Contradiction, Cycle, Edge, EdgeKind, Expressions, Graph, NamedEdge, ResolveError, StepNames,
    contradictions, final_edges,
};

use crate::error::{CompileError, Problem};
use crate::quantity;
use crate::read::{self, container_field, edge_field, edges_to};
use crate::requests::quantities;

/// Finding what was meant costs a comparison with every name, so only the first slips are looked up.
const SUGGESTIONS_MAX: usize = 10;
/// The most characters of a name that becomes a container's.
const NAME_MAX: usize = 63;

/// The steps of a Workflow as they are written: those of `spec.steps`, then those of `spec.finally`.
pub(crate) struct Written {
    pub steps: Vec<Step>,
    /// How many of them are in `spec.steps`.
    main: usize,
}

impl Written {
    pub fn new(main: &[Step], finals: &[Step]) -> Self {
        Self {
            steps: [main, finals].concat(),
            main: main.len(),
        }
    }

    pub fn is_final(&self, step: usize) -> bool {
        step >= self.main
    }

    /// The names of the final steps.
    pub fn finally(&self) -> Vec<String> {
        let finals = self.steps.iter().skip(self.main);
        finals.map(|step| step.name.clone()).collect()
    }

    fn path(&self, step: usize) -> String {
        match step.checked_sub(self.main) {
            None => format!("spec.steps[{step}]"),
            Some(position) => format!("spec.finally[{position}]"),
        }
    }
}

/// The steps by their indices, and the edges between them.
pub(crate) struct Steps {
    pub graph: Graph,
    pub edges: Vec<Edge>,
    /// For each step those that its expressions name.
    pub named: Vec<Vec<usize>>,
}

/// The steps as a graph of their indices, or everything that is wrong with them.
pub(crate) fn graph(written: &Written) -> Result<Steps, Vec<CompileError>> {
    let steps = &written.steps;
    if written.main == 0 {
        return Err(vec![of_workflow(Problem::NoSteps)]);
    }
    if steps.len() > STEPS_MAX {
        return Err(vec![of_workflow(Problem::TooManySteps {
            count: steps.len(),
        })]);
    }
    let names = read::names(steps.iter());
    let mut errors = Errors::of(written);
    let mut edges = Vec::with_capacity(steps.len());
    let mut in_expressions = Vec::with_capacity(steps.len());
    for (at, step) in steps.iter().enumerate() {
        let mut field = errors.of_step(at);
        name(&mut field, at, step, &names);
        image(&mut field, step);
        resolve(&mut field, at, step, &names, &mut edges);
        resources(&mut field, step);
        reserved_mounts(&mut field, step);
        variables(&mut field, step);
        in_expressions.push(expressions(&mut field, step, &names));
    }
    let has_condition = |step: usize| steps[step].when.is_some();
    let is_final = |step: usize| written.is_final(step);
    edges.extend(final_edges(steps.len(), is_final, &edges, has_condition));
    let graph = match Graph::of_steps(steps.len(), edges.iter().copied(), has_condition) {
        Ok(graph) => {
            let never = contradictions(&graph.topological, &edges).into_iter();
            let never = never.map(|it| never_starts(it, &edges, written));
            errors.found.extend(never);
            Some(graph)
        }
        Err(cycles) => {
            let cycles = cycles.iter().map(|cycle| cycle_error(cycle, written));
            errors.found.extend(cycles);
            None
        }
    };
    match graph {
        Some(graph) if errors.found.is_empty() => Ok(Steps {
            graph,
            edges,
            named: in_expressions,
        }),
        _ => Err(errors.found),
    }
}

/// What is wrong with the volumes of a Workflow and the mounts that name them.
pub(crate) fn volumes(workflow: &WorkflowSpec, written: &Written) -> Vec<CompileError> {
    let mut errors = Errors::of(written);
    let names = || {
        workflow
            .pod
            .volumes
            .iter()
            .map(|volume| volume.name.as_str())
    };
    let index = first_by_name(names());
    for (at, step) in written.steps.iter().enumerate() {
        let mut field = errors.of_step(at);
        for (mount_at, mount) in step.volume_mounts.iter().enumerate() {
            let name = mount.name.as_str();
            if name != WORKSPACE_VOLUME && !index.contains_key(name) {
                let suggestion =
                    field.suggestion(name, index.iter().map(|(&name, &at)| (name, at)));
                let problem = Problem::UnknownVolume {
                    name: name.to_owned(),
                    suggestion,
                };
                field.wrong(&format!(".volumeMounts[{mount_at}].name"), problem);
            }
        }
    }
    for (at, name) in names().enumerate() {
        let path = |at| format!("spec.volumes[{at}].name");
        let problem = match index.get(name) {
            _ if name == WORKSPACE_VOLUME => Problem::ReservedVolume,
            _ if name == RELAY_VOLUME => Problem::RelayVolume,
            Some(&first) if first < at => Problem::DuplicateVolume {
                name: name.to_owned(),
                first: path(first),
            },
            _ => continue,
        };
        errors.found.push(CompileError {
            path: path(at),
            step: None,
            problem,
        });
    }
    errors.found
}

struct Errors<'w> {
    written: &'w Written,
    found: Vec<CompileError>,
    suggestions: usize,
}

impl<'w> Errors<'w> {
    const fn of(written: &'w Written) -> Self {
        Self {
            written,
            found: Vec::new(),
            suggestions: 0,
        }
    }

    const fn of_step(&mut self, at: usize) -> StepErrors<'_, 'w> {
        StepErrors { errors: self, at }
    }
}

/// Where what is wrong with one step is written down.
struct StepErrors<'a, 'w> {
    errors: &'a mut Errors<'w>,
    at: usize,
}

impl StepErrors<'_, '_> {
    fn path(&self, step: usize) -> String {
        self.errors.written.path(step)
    }

    fn wrong(&mut self, field: &str, problem: Problem) {
        let name = &self.errors.written.steps[self.at].name;
        self.errors.found.push(CompileError {
            path: format!("{}{field}", self.path(self.at)),
            step: (!name.is_empty()).then(|| name.clone()),
            problem,
        });
    }

    /// Whether the step is final and another one is not.
    fn runs_after(&self, other: Option<usize>) -> bool {
        let is_final = |step| self.errors.written.is_final(step);
        is_final(self.at) && other.is_some_and(|other| !is_final(other))
    }

    /// What is wrong with an edge between steps of which one is final.
    fn mixed(&self, Edge { from, to, .. }: Edge, name: &str) -> Option<Problem> {
        let name = name.to_owned();
        let is_final = |step| self.errors.written.is_final(step);
        match (is_final(from), is_final(to)) {
            (true, false) => Some(Problem::WaitsForFinal { name }),
            (false, true) => Some(Problem::FinalWaits { name }),
            (true, true) | (false, false) => None,
        }
    }

    /// The first of the names that are nearest to what was written, if any is near enough.
    fn suggestion<'n>(
        &mut self,
        written: &str,
        names: impl Iterator<Item = (&'n str, usize)>,
    ) -> Option<String> {
        self.errors.suggestions += 1;
        if self.errors.suggestions > SUGGESTIONS_MAX || written.len() > NAME_MAX {
            return None;
        }
        let distances = names.map(|(name, at)| (strsim::osa_distance(written, name), at, name));
        let (distance, _, name) = distances.min()?;
        let near = distance <= 1 + written.chars().count() / 4;
        (near && distance < written.chars().count()).then(|| name.to_owned())
    }
}

fn of_workflow(problem: Problem) -> CompileError {
    CompileError {
        path: "spec.steps".to_owned(),
        step: None,
        problem,
    }
}

fn first_by_name<'a>(names: impl Iterator<Item = &'a str>) -> HashMap<&'a str, usize> {
    let mut index = HashMap::new();
    for (at, name) in names.enumerate() {
        if !name.is_empty() {
            index.entry(name).or_insert(at);
        }
    }
    index
}

fn name(errors: &mut StepErrors, at: usize, step: &Step, names: &StepNames) {
    let name = step.name.clone();
    if name.is_empty() {
        errors.wrong(".name", Problem::EmptyName);
        return;
    }
    if name == OPENER_CONTAINER || name == RUNNER_CONTAINER {
        let name = name.clone();
        errors.wrong(".name", Problem::ReservedName { name });
    }
    if !is_label(&name) {
        let suggestion = label_like(&name);
        errors.wrong(
            ".name",
            Problem::InvalidName {
                name: name.clone(),
                suggestion,
            },
        );
    }
    if let Some(first) = names.first_of_same_name(at) {
        let first = format!("{}.name", errors.path(first));
        errors.wrong(".name", Problem::DuplicateName { name, first });
    }
}

fn image(errors: &mut StepErrors, step: &Step) {
    if let Some(field) = container_field(step) {
        errors.wrong(&format!(".{field}"), Problem::ApprovalWithContainer);
    } else if step.image.trim().is_empty() && step.approval.is_none() {
        errors.wrong(".image", Problem::EmptyImage);
    }
}

/// Adds the edges to a step, without those that are wrong.
fn resolve(
    errors: &mut StepErrors,
    at: usize,
    step: &Step,
    names: &StepNames,
    edges: &mut Vec<Edge>,
) {
    let resolved = names.resolve(at, edges_to(step));
    for (position, (written, resolved)) in edges_to(step).zip(resolved).enumerate() {
        let problem = match resolved {
            Ok(edge) => {
                let Some(problem) = errors.mixed(edge, written.from) else {
                    edges.push(edge);
                    continue;
                };
                problem
            }
            Err(ResolveError::Unknown) => {
                let others = names.iter().filter(|(name, _)| *name != step.name);
                let suggestion = errors.suggestion(written.from, others);
                let name = written.from.to_owned();
                Problem::UnknownDependency { name, suggestion }
            }
            Err(ResolveError::FailureAllowed) => Problem::AllowedFailure {
                name: written.from.to_owned(),
            },
            Err(ResolveError::ToItself) => Problem::SelfDependency,
            Err(ResolveError::Repeated { first }) => {
                let first = format!("{}.{}", errors.path(at), edge_field(step, first));
                let name = written.from.to_owned();
                Problem::DuplicateDependency { name, first }
            }
        };
        errors.wrong(&format!(".{}", edge_field(step, position)), problem);
    }
}

fn resources(errors: &mut StepErrors, step: &Step) {
    for (kind, resource, quantity) in quantities(step) {
        if quantity::milli(&quantity.0).is_none() {
            let field = format!(".resources.{kind}[{resource}]");
            errors.wrong(
                &field,
                Problem::InvalidQuantity {
                    text: quantity.0.clone(),
                },
            );
        }
    }
}

fn reserved_mounts(errors: &mut StepErrors, step: &Step) {
    for (at, mount) in step.volume_mounts.iter().enumerate() {
        if mount.name == WORKSPACE_VOLUME {
            errors.wrong(
                &format!(".volumeMounts[{at}].name"),
                Problem::ReservedVolume,
            );
        }
        if is_in_workspace(&mount.mount_path) {
            let mount_path = mount.mount_path.clone();
            let problem = Problem::ReservedMountPath { mount_path };
            errors.wrong(&format!(".volumeMounts[{at}].mountPath"), problem);
        }
    }
}

/// Checks the expressions of a step. Returns the steps that they name.
fn expressions(errors: &mut StepErrors, step: &Step, names: &StepNames) -> Vec<usize> {
    let parsed = match Expressions::parse(&read::expressions(step)) {
        Ok(parsed) => parsed,
        Err(invalid) => {
            for invalid in invalid {
                let problem = Problem::InvalidExpression {
                    error: invalid.error,
                };
                errors.wrong(&format!(".{}", invalid.field), problem);
            }
            return Vec::new();
        }
    };
    for (field, expression) in parsed.all() {
        for name in expression.steps() {
            let is_waited_for =
                edges_to(step).any(|edge| edge.from == name) || errors.runs_after(names.get(name));
            if !is_waited_for {
                let problem = named_without_edge(errors, step, name, names);
                errors.wrong(&format!(".{field}"), problem);
            }
        }
    }
    let found = parsed.steps().into_iter();
    found.filter_map(|name| names.get(name)).collect()
}

fn named_without_edge(
    errors: &mut StepErrors,
    step: &Step,
    name: &str,
    names: &StepNames,
) -> Problem {
    let name = name.to_owned();
    if name == step.name {
        Problem::NamesItself
    } else if names.get(&name).is_some() {
        Problem::NamedWithoutEdge { name }
    } else {
        let others = names.iter().filter(|(other, _)| *other != step.name);
        let suggestion = errors.suggestion(&name, others);
        Problem::UnknownDependency { name, suggestion }
    }
}

fn variables(errors: &mut StepErrors, step: &Step) {
    for (at, variable) in step.env.iter().enumerate() {
        if variable.has_several_values() {
            errors.wrong(&format!(".env[{at}]"), Problem::SeveralValues);
        }
        if variable.name.starts_with(VARIABLE_PREFIX) {
            let name = variable.name.clone();
            let problem = Problem::ReservedVariable { name };
            errors.wrong(&format!(".env[{at}].name"), problem);
        }
    }
}

/// Whether a mount would hide the shared folder or a part of it, once the path is resolved.
fn is_in_workspace(path: &str) -> bool {
    let mut resolved = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(resolved.pop()),
            part => resolved.push(part),
        }
    }
    resolved.first().copied() == WORKSPACE_MOUNT_PATH.strip_prefix('/')
}

fn is_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.len() <= NAME_MAX
        && name.bytes().all(inner)
        && !name.is_empty()
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// The name made valid, if something of it is left.
fn label_like(name: &str) -> Option<String> {
    let replaced: String = name
        .chars()
        .take(NAME_MAX)
        .map(|char| {
            if char.is_ascii_alphanumeric() {
                char.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .collect();
    let label = replaced.trim_matches('-');
    is_label(label).then(|| label.to_owned())
}

fn never_starts(
    Contradiction { step, of }: Contradiction,
    edges: &[Edge],
    all: &Written,
) -> CompileError {
    let (written, name) = (&all.steps[step], &all.steps[of].name);
    // The edge that waits for the failure; if it does so through other steps, the first one.
    let named = |it: NamedEdge<&str>| it.kind == EdgeKind::OnFailure && it.from == name;
    let position = edges_to(written).position(named).unwrap_or_default();
    let is_direct = |kind| {
        edges.contains(&Edge {
            from: of,
            to: step,
            kind,
        })
    };
    CompileError {
        path: format!("{}.{}", all.path(step), edge_field(written, position)),
        step: Some(written.name.clone()),
        problem: Problem::NeverStarts {
            name: name.clone(),
            is_direct: is_direct(EdgeKind::OnSuccess) && is_direct(EdgeKind::OnFailure),
        },
    }
}

fn cycle_error(cycle: &Cycle, written: &Written) -> CompileError {
    let steps = &written.steps;
    let names: Vec<String> = cycle.iter().map(|&at| steps[at].name.clone()).collect();
    let at = cycle.first().copied().unwrap_or_default();
    let next = names.get(1);
    let position = edges_to(&steps[at])
        .position(|edge| next.is_some_and(|next| next == edge.from))
        .unwrap_or_default();
    CompileError {
        path: format!("{}.{}", written.path(at), edge_field(&steps[at], position)),
        step: names.first().cloned(),
        problem: Problem::Cycle { steps: names },
    }
}

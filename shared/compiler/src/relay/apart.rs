//! The steps that have their own pod in a relay plan, and why.

use std::collections::BTreeMap;
use std::fmt;

use fixedbitset::FixedBitSet;
use kubeci_api::{Step, Task};
use kubeci_plan::Graph;

use crate::check;
use crate::check::Written;
use crate::relay::groups::largest_exact;
use crate::requests::{Requests, is_handed_on};

/// Why a step has its own pod in a relay plan, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Apart {
    /// It is an approval, and has no pod.
    Approval,
    /// It has `isolate: true`.
    Isolated,
    /// It has no `commands`, and the entrypoint of the image is not known before the container runs.
    NoCommands,
    /// It requests a device that the containers of a pod cannot share, such as a GPU, and so does a step that ends
    /// before it or starts after it.
    Device {
        /// The name of the resource.
        resource: String,
    },
}

impl fmt::Display for Apart {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Approval => write!(formatter, "is an approval"),
            Self::Isolated => write!(formatter, "has `isolate: true`"),
            Self::NoCommands => write!(formatter, "has no `commands`"),
            Self::Device { resource } => write!(
                formatter,
                "requests `{resource}`, which the containers of a pod cannot share"
            ),
        }
    }
}

/// The steps of a relay plan that have their own pods, by name, and why. Empty for tasks that the compiler would never
/// create.
#[must_use]
pub fn relay_apart(tasks: &[Task], finally: &[String]) -> BTreeMap<String, Apart> {
    let steps = tasks.iter().flat_map(Task::steps).cloned();
    let (finals, main): (Vec<Step>, Vec<Step>) =
        steps.partition(|step| finally.contains(&step.name));
    let written = Written::new(&main, &finals);
    let apart = check::graph(&written).map(|checked| apart(&checked.graph, &written.steps));
    let steps = written.steps;
    let named = steps.into_iter().zip(apart.unwrap_or_default());
    named
        .filter_map(|(step, apart)| Some((step.name, apart?)))
        .filter(|(_, apart)| *apart != Apart::Approval)
        .collect()
}

/// For each step, why it has its own pod, if it has.
pub(crate) fn apart(graph: &Graph, steps: &[Step]) -> Vec<Option<Apart>> {
    let mut apart: Vec<_> = steps.iter().map(by_itself).collect();
    for group in largest_exact(graph, together(graph, &apart)) {
        for (step, resource) in devices_in_turn(graph, steps, &group) {
            apart[step] = Some(Apart::Device { resource });
        }
    }
    apart
}

/// The steps that may share a pod.
pub(crate) fn together(graph: &Graph, apart: &[Option<Apart>]) -> FixedBitSet {
    graph.set((0..apart.len()).filter(|&step| apart[step].is_none()))
}

fn by_itself(step: &Step) -> Option<Apart> {
    if step.approval.is_some() {
        Some(Apart::Approval)
    } else if step.isolate {
        Some(Apart::Isolated)
    } else if step.commands.is_empty() {
        Some(Apart::NoCommands)
    } else {
        None
    }
}

/// The steps that request the same device as another one of the set that they never run beside: a pod has
/// for each container a device of its own, all the time.
fn devices_in_turn(graph: &Graph, steps: &[Step], group: &FixedBitSet) -> Vec<(usize, String)> {
    let mut requested: Vec<(usize, String)> = Vec::new();
    for step in group.ones() {
        let requests = Requests::of_step(&steps[step]);
        let devices = requests
            .resources()
            .filter(|resource| !is_handed_on(resource));
        requested.extend(devices.map(|device| (step, device.to_owned())));
    }
    let in_turn = |(step, device): &(usize, String)| {
        let same = requested.iter().filter(|(_, other)| other == device);
        same.into_iter()
            .any(|(other, _)| graph.are_related(*step, *other))
    };
    requested.iter().filter(|it| in_turn(it)).cloned().collect()
}

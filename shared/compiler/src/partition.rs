//! Which steps share a pod.
//!
//! A step that is not skipped can start when its parents (of the reduced graph) have ended. So steps of equal parents can
//! start together, whatever the kinds of the edges: by then it is known which of them are skipped, and these are left
//! out of the pod. Call the steps of equal parents *siblings*.
//!
//! An exact pod is a chain, each of whose steps follows the one before it, and then parallel steps, which all follow the
//! chain's last step or, without a chain, are siblings. A step *follows* another if that is its only parent, by an edge
//! that waits for its success: the kubelet starts no container after an init container that failed. The other steps
//! that it waits for have ended, or it is skipped, before the pod is created.
//!
//! A step with a time limit, at which its whole pod is stopped, is the only one of its pod's parallel steps. In a chain only
//! one step runs at a time.
//!
//! A step either *goes on*, as a step of a chain, or is one of its pod's parallel steps. Each pod has parallel steps, of
//! one set of siblings. So the pods are the groups of siblings that do not go on: those behind a chain, which all follow
//! its last step, and the others, which need no more than one pod. What a step's only children do depends on nothing
//! but whether the step goes on. So the fewest pods are found from the last steps to the first: for each step, what the
//! pods of all steps behind it cost if it goes on, and if it does not. Of plans with as few pods, the one is chosen in
//! which the most steps start in the pod of the step that they follow.

use std::collections::HashMap;

use fixedbitset::FixedBitSet;
use kubeci_api::{Step, Task};
use kubeci_plan::{Edge, EdgeKind, Graph};

/// Steps that share a pod, by index.
pub(crate) struct Pod {
    /// One after the other; each follows the one before it.
    pub chain: Vec<usize>,
    /// At the same time, after the chain; at least one, by index.
    pub parallel: Vec<usize>,
}

impl Pod {
    /// All steps, the chain first.
    pub fn steps(&self) -> impl Iterator<Item = usize> + '_ {
        self.chain.iter().chain(&self.parallel).copied()
    }

    /// The steps that start with the pod: the chain's first, or all parallel ones.
    pub fn first_steps(&self) -> &[usize] {
        self.chain.get(..1).unwrap_or(&self.parallel)
    }

    pub fn task(&self, steps: &[Step]) -> Task {
        let written = |indices: &[usize]| indices.iter().map(|&step| steps[step].clone()).collect();
        Task {
            serial_steps: written(&self.chain),
            parallel_steps: written(&self.parallel),
        }
    }
}

/// The step that each step follows, if it follows one.
pub(crate) fn followed(
    graph: &Graph,
    edges: &[Edge],
    isolated: impl Fn(usize) -> bool,
) -> Vec<Option<usize>> {
    let mut followed = vec![None; graph.parents.len()];
    for edge in edges.iter().filter(|edge| edge.kind == EdgeKind::OnSuccess) {
        let is_only_parent = graph.parents[edge.to] == [edge.from];
        if is_only_parent && !isolated(edge.from) && !isolated(edge.to) {
            followed[edge.to] = Some(edge.from);
        }
    }
    followed
}

/// The fewest exact pods, in the topological order of their first steps. A step that is `alone` and does not go on has no
/// other steps beside it.
pub(crate) fn pods(
    graph: &Graph,
    followed: &[Option<usize>],
    alone: impl Fn(usize) -> bool,
) -> Vec<Pod> {
    let steps = Siblings::new(graph, followed, alone);
    let plans = steps.plans(graph);
    let mut pods = steps.pods(graph, &plans);
    let positions = graph.positions();
    let position = |pod: &Pod| pod.steps().map(|step| positions[step]).min();
    pods.sort_by_key(position);
    pods
}

/// What pods cost: their number, less a little for each step that starts in the pod of the step that it follows.
type Cost = i64;
const POD: Cost = 1 << 20;
const GOES_ON: Cost = -1;
/// More than all pods cost.
const NEVER: Cost = 1 << 40;

/// The best pods for the steps behind a step.
#[derive(Clone)]
struct Plan {
    /// What they cost if the step does not go on. Its own pod is not counted.
    ends: Cost,
    /// What they cost if it goes on.
    goes_on: Cost,
    /// What comes behind it in its pod if it goes on.
    next: Next,
}

#[derive(Clone, Copy)]
enum Next {
    /// The chain goes on with this step, or ends with it.
    Step(usize),
    /// All steps that follow and do not go on, nor are alone.
    Group,
}

struct Siblings<'a> {
    followed: &'a [Option<usize>],
    alone: FixedBitSet,
    /// The steps of equal parents, by index.
    of_parents: HashMap<&'a [usize], Vec<usize>>,
}

impl<'a> Siblings<'a> {
    fn new(graph: &'a Graph, followed: &'a [Option<usize>], alone: impl Fn(usize) -> bool) -> Self {
        let steps = 0..graph.parents.len();
        let mut of_parents: HashMap<&[usize], Vec<usize>> = HashMap::new();
        for (step, parents) in graph.parents.iter().enumerate() {
            of_parents.entry(parents).or_default().push(step);
        }
        Self {
            followed,
            alone: graph.set(steps.filter(|&step| alone(step))),
            of_parents,
        }
    }

    /// The steps whose only parent this one is.
    fn children(&self, step: usize) -> &[usize] {
        let children = self.of_parents.get(&[step][..]);
        children.map_or(&[], Vec::as_slice)
    }

    fn plans(&self, graph: &Graph) -> Vec<Plan> {
        let unknown = Plan {
            ends: 0,
            goes_on: NEVER,
            next: Next::Group,
        };
        let mut plans = vec![unknown; graph.parents.len()];
        for &step in graph.topological.iter().rev() {
            plans[step] = self.plan(step, &plans);
        }
        plans
    }

    fn plan(&self, step: usize, plans: &[Plan]) -> Plan {
        let children = self.children(step);
        let all = self.sums(children, plans);
        let (mut goes_on, mut next) = (self.with_group(step, plans), Next::Group);
        for &child in children.iter().filter(|&&it| self.follows(it, step)) {
            let rest = Self::cost(&all.less(&self.sums(&[child], plans)));
            let cost = plans[child].goes_on.min(self.ends_alone(child, plans)) + GOES_ON + rest;
            if cost < goes_on {
                (goes_on, next) = (cost, Next::Step(child));
            }
        }
        Plan {
            ends: Self::cost(&all),
            goes_on: goes_on.min(NEVER),
            next,
        }
    }

    /// The cost of a chain that ends with the steps that follow its last one and do not go on.
    fn with_group(&self, step: usize, plans: &[Plan]) -> Cost {
        let (group, rest) = self.may_end_behind(step);
        if !group.iter().any(|&it| ends_behind(&plans[it])) {
            return NEVER;
        }
        let of_step = |&it: &usize| plans[it].goes_on.min(plans[it].ends + GOES_ON);
        let group: Cost = group.iter().map(of_step).sum();
        POD + group + Self::cost(&self.sums(&rest, plans))
    }

    fn follows(&self, step: usize, other: usize) -> bool {
        self.followed[step] == Some(other)
    }

    /// The children of a step that may end its pod together, and the others.
    fn may_end_behind(&self, step: usize) -> (Vec<usize>, Vec<usize>) {
        let children = self.children(step).iter().copied();
        children.partition(|&it| self.follows(it, step) && !self.alone.contains(it))
    }

    /// The cost of a step that does not go on and is alone in its pod.
    fn ends_alone(&self, step: usize, plans: &[Plan]) -> Cost {
        if self.alone.contains(step) {
            plans[step].ends + POD
        } else {
            NEVER
        }
    }

    fn sums(&self, siblings: &[usize], plans: &[Plan]) -> Sums {
        let mut sums = Sums::default();
        for &step in siblings {
            let plan = &plans[step];
            if self.alone.contains(step) {
                sums.alone += plan.goes_on.min(self.ends_alone(step, plans));
            } else {
                sums.going_on += plan.goes_on;
                sums.least += plan.goes_on.min(plan.ends);
            }
        }
        sums
    }

    /// The cost of siblings that are not behind a chain.
    fn cost(sums: &Sums) -> Cost {
        sums.alone + sums.going_on.min(POD + sums.least)
    }

    fn pods(&self, graph: &Graph, plans: &[Plan]) -> Vec<Pod> {
        let mut pods = Pods {
            going_on: graph.set([]),
            behind: vec![Vec::new(); plans.len()],
            made: Vec::new(),
        };
        for (parents, siblings) in &self.of_parents {
            if parents.len() != 1 {
                self.divide(siblings, plans, &mut pods);
            }
        }
        for &step in &graph.topological {
            let rest = self.add_behind(step, plans, &mut pods);
            self.divide(&rest, plans, &mut pods);
        }
        pods.add_chains();
        pods.made
    }

    /// Adds what comes behind a step in its pod. Returns the other children.
    fn add_behind(&self, step: usize, plans: &[Plan], pods: &mut Pods) -> Vec<usize> {
        if !pods.going_on.contains(step) {
            return self.children(step).to_vec();
        }
        let (behind, rest) = match plans[step].next {
            Next::Step(next) => {
                let continues = plans[next].goes_on <= self.ends_alone(next, plans);
                pods.going_on.set(next, continues);
                let children = self.children(step).iter().copied();
                children.partition(|&it| it == next)
            }
            Next::Group => {
                let (group, rest) = self.may_end_behind(step);
                let (behind, going_on) = group.into_iter().partition(|&it| ends_behind(&plans[it]));
                let going_on: Vec<usize> = going_on;
                pods.going_on.extend(going_on);
                (behind, rest)
            }
        };
        pods.behind[step] = behind;
        rest
    }

    /// Decides which of the siblings go on, where no chain is before them, and adds the pods of the others.
    fn divide(&self, siblings: &[usize], plans: &[Plan], pods: &mut Pods) {
        let is_alone = |&it: &usize| self.alone.contains(it);
        let (alone, group): (Vec<usize>, Vec<usize>) = siblings.iter().partition(|it| is_alone(it));
        for step in alone {
            if plans[step].goes_on <= self.ends_alone(step, plans) {
                pods.going_on.insert(step);
            } else {
                pods.add(vec![step]);
            }
        }
        let sums = self.sums(&group, plans);
        let all_go_on = sums.going_on <= POD + sums.least;
        let goes_on = |&it: &usize| all_go_on || plans[it].goes_on <= plans[it].ends;
        let (going_on, ending): (Vec<usize>, Vec<usize>) = group.iter().partition(|it| goes_on(it));
        pods.going_on.extend(going_on);
        if !ending.is_empty() {
            pods.add(ending);
        }
    }
}

/// Whether a step that may end the pod of the one that it follows does so, rather than go on.
fn ends_behind(plan: &Plan) -> bool {
    plan.ends + GOES_ON < plan.goes_on
}

/// The costs of siblings.
#[derive(Clone, Copy, Default)]
struct Sums {
    /// Of those that are alone if they do not go on.
    alone: Cost,
    /// Of the others, if all go on.
    going_on: Cost,
    /// Of the others, if each does what costs the least.
    least: Cost,
}

impl Sums {
    fn less(&self, other: &Self) -> Self {
        Self {
            alone: self.alone - other.alone,
            going_on: self.going_on - other.going_on,
            least: self.least - other.least,
        }
    }
}

/// Pods that are being made.
struct Pods {
    going_on: FixedBitSet,
    /// For each step that goes on, what comes behind it in its pod.
    behind: Vec<Vec<usize>>,
    made: Vec<Pod>,
}

impl Pods {
    fn add(&mut self, parallel: Vec<usize>) {
        self.made.push(Pod {
            chain: Vec::new(),
            parallel,
        });
    }

    fn add_chains(&mut self) {
        let mut heads = self.going_on.clone();
        self.behind
            .iter()
            .flatten()
            .for_each(|&step| heads.remove(step));
        for head in heads.ones() {
            let pod = self.chain_from(head);
            self.made.push(pod);
        }
    }

    fn chain_from(&self, head: usize) -> Pod {
        let mut chain = vec![head];
        let mut behind = &self.behind[head];
        while let [step] = behind.as_slice()
            && self.going_on.contains(*step)
        {
            chain.push(*step);
            behind = &self.behind[*step];
        }
        Pod {
            chain,
            parallel: behind.clone(),
        }
    }
}

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
//! The expressions of a step are evaluated before its pod is created. So it shares no pod with a step that they name,
//! which would be before it in the chain: the chain begins behind that step.
//!
//! A step either *goes on*, as a step of a chain, or is one of its pod's parallel steps. Each pod has parallel steps, of
//! one set of siblings, and no more than a maximum. So the pods are the groups of siblings that do not go on: those
//! behind a chain, which all follow its last step, and the others, in as few pods as hold them. What a step's only
//! children do depends on nothing but whether the step goes on. So the fewest pods are found from the last steps to the
//! first: for each step, what the pods of all steps behind it cost if it goes on, in a chain that begins here or there,
//! and if it does not. Of plans with as few pods, the one is chosen in which the most steps start in the pod of the step that they follow.
//!
//! How many siblings do not go on decides what they cost beside what is behind them. So if some do not, it is those that
//! gain the most by it, and the same ones are the first to end the pod of the step that they follow.

use std::collections::HashMap;

use fixedbitset::FixedBitSet;
use kubeci_api::{Step, Task};
use kubeci_plan::{Edge, EdgeKind, Graph};

mod chains;

use chains::{Chain, Chains, Depths, Next};

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

/// The fewest exact pods, in the topological order of their first steps. A step shares none with those that its
/// expressions name. A step that is `alone` and does not go on has no other steps beside it. No pod has more than so many
/// parallel steps.
pub(crate) fn pods(
    graph: &Graph,
    followed: &[Option<usize>],
    named: &[Vec<usize>],
    alone: impl Fn(usize) -> bool,
    most: usize,
) -> Vec<Pod> {
    let steps = Siblings::new(graph, followed, named, alone, most);
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
    /// The best pods if it goes on.
    chains: Chains,
}

impl Plan {
    /// What they cost if it goes on as the first step of a chain.
    fn goes_on(&self) -> Cost {
        self.chains.beginning_here().cost
    }
}

struct Siblings<'a> {
    followed: &'a [Option<usize>],
    depths: Depths,
    alone: FixedBitSet,
    /// The steps of equal parents, by index.
    of_parents: HashMap<&'a [usize], Vec<usize>>,
    /// The most parallel steps of a pod.
    most: usize,
}

impl<'a> Siblings<'a> {
    fn new(
        graph: &'a Graph,
        followed: &'a [Option<usize>],
        named: &[Vec<usize>],
        alone: impl Fn(usize) -> bool,
        most: usize,
    ) -> Self {
        let steps = 0..graph.parents.len();
        let mut of_parents: HashMap<&[usize], Vec<usize>> = HashMap::new();
        for (step, parents) in graph.parents.iter().enumerate() {
            of_parents.entry(parents).or_default().push(step);
        }
        Self {
            followed,
            depths: Depths::new(graph, followed, named),
            alone: graph.set(steps.filter(|&step| alone(step))),
            of_parents,
            most,
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
            chains: Chains(Vec::new()),
        };
        let mut plans = vec![unknown; graph.parents.len()];
        for &step in graph.topological.iter().rev() {
            plans[step] = self.plan(step, &plans);
        }
        plans
    }

    fn plan(&self, step: usize, plans: &[Plan]) -> Plan {
        let children = by_gain(self.children(step), plans);
        let following = children.iter().filter(|&&it| self.follows(it, step));
        let following = following.map(|&it| (it, &plans[it].chains));
        let depths = self.depths.that_matter(step, following).into_iter();
        let chain = |depth: usize| (depth, self.chain(step, depth + 1, &children, plans));
        Plan {
            ends: self.cost(children.iter().copied(), plans),
            chains: Chains(depths.map(chain).collect()),
        }
    }

    /// How a chain goes on behind a step, if its first step has this depth.
    fn chain(&self, step: usize, head: usize, children: &[usize], plans: &[Plan]) -> Chain {
        let with_group = self.with_group(step, head, children, plans);
        let mut best = Chain {
            cost: with_group.min(NEVER),
            next: Next::Group,
        };
        let following = self.children(step).iter();
        for &child in following.filter(|&&it| self.may_follow(it, step, head)) {
            let rest = children.iter().copied().filter(|&it| it != child);
            let rest = self.cost(rest, plans);
            let goes_on = plans[child].chains.beginning_at(head).cost;
            let cost = goes_on.min(self.ends_alone(child, plans)) + GOES_ON + rest;
            if cost < best.cost {
                let next = Next::Step(child);
                best = Chain { cost, next };
            }
        }
        best
    }

    /// The cost of a chain that ends with steps that follow its last one and do not go on.
    fn with_group(&self, step: usize, head: usize, children: &[usize], plans: &[Plan]) -> Cost {
        let (group, rest) = self.ending_behind(step, head, children, plans);
        if group.is_empty() {
            return NEVER;
        }
        let group: Cost = group.iter().map(|&it| plans[it].ends + GOES_ON).sum();
        POD + group + self.cost(rest.into_iter(), plans)
    }

    fn follows(&self, step: usize, other: usize) -> bool {
        self.followed[step] == Some(other)
    }

    /// Whether a step may follow another one in a chain whose first step has this depth.
    fn may_follow(&self, step: usize, other: usize, head: usize) -> bool {
        self.follows(step, other) && self.depths.may_follow(step, head)
    }

    /// The children of a step that end its pod together, and the others, by what they gain.
    fn ending_behind(
        &self,
        step: usize,
        head: usize,
        children: &[usize],
        plans: &[Plan],
    ) -> (Vec<usize>, Vec<usize>) {
        let mut room = self.most;
        let mut ends = |&it: &usize| {
            let may_end = self.may_follow(it, step, head) && !self.alone.contains(it);
            let ends = may_end && ends_behind(&plans[it]) && room > 0;
            room -= usize::from(ends);
            ends
        };
        children.iter().partition(|it| ends(it))
    }

    /// The cost of a step that does not go on and is alone in its pod.
    fn ends_alone(&self, step: usize, plans: &[Plan]) -> Cost {
        if self.alone.contains(step) {
            plans[step].ends + POD
        } else {
            NEVER
        }
    }

    /// The cost of siblings that are not behind a chain, the first of those that gain the most.
    fn cost(&self, siblings: impl Iterator<Item = usize>, plans: &[Plan]) -> Cost {
        let (mut alone, mut group) = (0, Group::new(self.most));
        for step in siblings {
            if self.alone.contains(step) {
                alone += plans[step].goes_on().min(self.ends_alone(step, plans));
            } else {
                group.add(&plans[step]);
            }
        }
        alone + group.least
    }

    fn pods(&self, graph: &Graph, plans: &[Plan]) -> Vec<Pod> {
        let mut pods = Pods {
            going_on: graph.set([]),
            heads: (0..plans.len()).map(|step| self.depths.of(step)).collect(),
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
        let head = pods.heads[step];
        let (behind, rest) = match plans[step].chains.beginning_at(head).next {
            Next::Step(next) => {
                let goes_on = plans[next].chains.beginning_at(head).cost;
                pods.going_on
                    .set(next, goes_on <= self.ends_alone(next, plans));
                pods.heads[next] = head;
                let children = self.children(step).iter().copied();
                children.partition(|&it| it == next)
            }
            Next::Group => {
                let children = by_gain(self.children(step), plans);
                let (mut behind, rest) = self.ending_behind(step, head, &children, plans);
                behind.sort_unstable();
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
            if plans[step].goes_on() <= self.ends_alone(step, plans) {
                pods.going_on.insert(step);
            } else {
                pods.add(vec![step]);
            }
        }
        let mut cost = Group::new(self.most);
        let mut ending = by_gain(&group, plans);
        for &step in &ending {
            cost.add(&plans[step]);
        }
        pods.going_on.extend(ending.drain(cost.ending..));
        ending.sort_unstable();
        ending
            .chunks(self.most)
            .for_each(|pod| pods.add(pod.to_vec()));
    }
}

/// The siblings, those that gain the most first if they do not go on.
fn by_gain(siblings: &[usize], plans: &[Plan]) -> Vec<usize> {
    let mut siblings = siblings.to_vec();
    siblings.sort_unstable_by_key(|&step| (plans[step].ends - plans[step].goes_on(), step));
    siblings
}

/// Whether a step that may end the pod of the one that it follows does so, rather than go on.
fn ends_behind(plan: &Plan) -> bool {
    plan.ends + GOES_ON < plan.goes_on()
}

/// Siblings that are not behind a chain, nor alone in a pod; those that gain the most first.
struct Group {
    /// The most parallel steps of a pod.
    most: usize,
    count: usize,
    /// What they cost if none goes on, without their pods.
    all_end: Cost,
    /// What they cost if as many go on as is best.
    least: Cost,
    /// How many then do not go on.
    ending: usize,
}

impl Group {
    const fn new(most: usize) -> Self {
        Self {
            most,
            count: 0,
            all_end: 0,
            least: 0,
            ending: 0,
        }
    }

    fn add(&mut self, plan: &Plan) {
        self.count += 1;
        self.all_end += plan.ends;
        self.least += plan.goes_on();
        let pods: Cost = self.count.div_ceil(self.most).try_into().unwrap_or(NEVER);
        let if_all_end = pods.saturating_mul(POD) + self.all_end;
        if if_all_end < self.least {
            (self.least, self.ending) = (if_all_end, self.count);
        }
    }
}

/// Pods that are being made.
struct Pods {
    going_on: FixedBitSet,
    /// For each step the depth of the first step of its chain, if it goes on.
    heads: Vec<usize>,
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

//! Where a chain may begin that goes on with a step: behind the last of the steps before it that its expressions name.

use kubeci_plan::Graph;

use super::Cost;

/// The steps by their depth: how many steps follow each other up to a step, itself included.
pub(super) struct Depths {
    of_step: Vec<usize>,
    /// For each step the depth of the last one before it that its expressions name; 0 if they name none of these.
    named: Vec<usize>,
}

impl Depths {
    pub fn new(graph: &Graph, followed: &[Option<usize>], named: &[Vec<usize>]) -> Self {
        let mut depths = vec![1; followed.len()];
        for &step in &graph.topological {
            if let Some(before) = followed[step] {
                depths[step] = depths[before] + 1;
            }
        }
        let before = |step: usize| std::iter::successors(followed[step], |&it| followed[it]);
        let deepest = |step: usize| {
            let of_step = named.get(step).filter(|named| !named.is_empty())?;
            let last = before(step).find(|it| of_step.contains(it))?;
            Some(depths[last])
        };
        let steps = 0..followed.len();
        let named = steps.map(|step| deepest(step).unwrap_or(0)).collect();
        Self {
            of_step: depths,
            named,
        }
    }

    pub fn of(&self, step: usize) -> usize {
        self.of_step[step]
    }

    /// Whether a step may be in a chain whose first step has this depth.
    pub fn may_follow(&self, step: usize, head: usize) -> bool {
        self.named[step] < head
    }

    /// The depths that make a difference for a chain with a step: one that begins behind such a depth may have steps
    /// that another one may not. The largest first, and 0.
    pub fn that_matter<'a>(
        &self,
        step: usize,
        following: impl Iterator<Item = (usize, &'a Chains)>,
    ) -> Vec<usize> {
        let mut depths = vec![0];
        for (next, chains) in following {
            depths.push(self.named[next]);
            depths.extend(chains.0.iter().map(|(depth, _)| *depth));
        }
        depths.retain(|&depth| depth < self.of_step[step]);
        depths.sort_unstable_by(|one, other| other.cmp(one));
        depths.dedup();
        depths
    }
}

/// How a chain goes on behind a step, by the depths behind which it begins, the largest first.
#[derive(Clone)]
pub(super) struct Chains(pub Vec<(usize, Chain)>);

/// How a chain goes on behind a step.
#[derive(Clone, Copy)]
pub(super) struct Chain {
    /// What the best pods for the steps behind it cost.
    pub cost: Cost,
    /// What comes behind it in its pod.
    pub next: Next,
}

#[derive(Clone, Copy)]
pub(super) enum Next {
    /// The chain goes on with this step, or ends with it.
    Step(usize),
    /// The steps that follow and do not go on, nor are alone; no more than the maximum.
    Group,
}

impl Chains {
    /// The chain, if its first step has this depth.
    pub fn beginning_at(&self, head: usize) -> Chain {
        let mut chains = self.0.iter();
        let found = chains.find(|(depth, _)| *depth < head);
        found.or(self.0.last()).map_or(Chain::NONE, |it| it.1)
    }

    /// The chain that begins with the step itself.
    pub fn beginning_here(&self) -> Chain {
        self.beginning_at(usize::MAX)
    }
}

impl Chain {
    pub const NONE: Self = Self {
        cost: super::NEVER,
        next: Next::Group,
    };
}

use std::collections::{HashMap, HashSet};

use fixedbitset::FixedBitSet;

use crate::edge::{Edge, EdgeKind, NamedEdge};
use crate::error::ResolveError;

/// The names of steps. An empty name is the name of no step.
#[derive(Clone, Debug)]
pub struct StepNames<'a> {
    names: Vec<&'a str>,
    first: HashMap<&'a str, usize>,
    failure_allowed: FixedBitSet,
}

impl<'a> FromIterator<&'a str> for StepNames<'a> {
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Self {
        let names: Vec<&str> = names.into_iter().collect();
        let mut first = HashMap::with_capacity(names.len());
        for (step, name) in names.iter().enumerate() {
            if !name.is_empty() {
                first.entry(*name).or_insert(step);
            }
        }
        let failure_allowed = FixedBitSet::with_capacity(names.len());
        Self {
            names,
            first,
            failure_allowed,
        }
    }
}

impl<'a> StepNames<'a> {
    /// The same names, where the failure of these steps is allowed: for the steps that depend on them it counts as
    /// success.
    #[must_use]
    pub fn allowing_failure(mut self, steps: impl IntoIterator<Item = usize>) -> Self {
        self.failure_allowed.extend(steps);
        self
    }

    /// The first step of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<usize> {
        self.first.get(name).copied()
    }

    /// The first step of the name of a step, if that is another one.
    #[must_use]
    pub fn first_of_same_name(&self, step: usize) -> Option<usize> {
        self.get(self.names[step]).filter(|&first| first < step)
    }

    /// Each name with the first step that has it, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, usize)> {
        self.first.iter().map(|(&name, &step)| (name, step))
    }

    /// Resolves each of the edges to a step by itself.
    pub fn resolve<'e>(
        &self,
        to: usize,
        edges: impl Iterator<Item = NamedEdge<&'e str>> + Clone,
    ) -> impl Iterator<Item = Result<Edge, ResolveError>> {
        let mut seen = Seen::new(self.names.len());
        edges.clone().enumerate().map(move |(position, edge)| {
            let NamedEdge { from: name, kind } = edge;
            let from = self.get(name);
            if !seen.insert(from, edge) {
                let first = edges.clone().position(|earlier| earlier == edge);
                let first = first.unwrap_or(position);
                return Err(ResolveError::Repeated { first });
            }
            match from {
                Some(_) if name == self.names[to] => Err(ResolveError::ToItself),
                Some(from) => self.resolved(Edge { from, to, kind }),
                None => Err(ResolveError::Unknown),
            }
        })
    }
}

impl StepNames<'_> {
    /// The edge as it holds if the failure of the step that it comes from may be allowed.
    fn resolved(&self, edge: Edge) -> Result<Edge, ResolveError> {
        match edge.kind {
            _ if !self.failure_allowed.contains(edge.from) => Ok(edge),
            EdgeKind::OnSuccess | EdgeKind::OnRun => Ok(Edge {
                kind: EdgeKind::OnRun,
                ..edge
            }),
            EdgeKind::OnEnd => Ok(edge),
            EdgeKind::OnFailure => Err(ResolveError::FailureAllowed),
        }
    }
}

/// The edges to one step so far.
struct Seen<'e> {
    /// A bit for each step and kind.
    known: FixedBitSet,
    unknown: HashSet<NamedEdge<&'e str>>,
}

impl<'e> Seen<'e> {
    fn new(steps: usize) -> Self {
        Self {
            known: FixedBitSet::with_capacity(steps * EdgeKind::ALL.len()),
            unknown: HashSet::new(),
        }
    }

    /// Adds an edge from a step, or from an unknown one. Returns whether it is new.
    fn insert(&mut self, from: Option<usize>, edge: NamedEdge<&'e str>) -> bool {
        match from {
            Some(from) => {
                let bit = from * EdgeKind::ALL.len() + edge.kind as usize;
                !self.known.put(bit)
            }
            None => self.unknown.insert(edge),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(edges: &[&str]) -> Vec<Result<usize, ResolveError>> {
        let names: StepNames = ["a", "b", "", "a"].into_iter().collect();
        let edges = edges.iter().map(|text| NamedEdge::parse(text));
        let resolved = names.resolve(1, edges);
        resolved.map(|it| it.map(|edge| edge.from)).collect()
    }

    #[test]
    fn name_resolves_to_its_first_step() {
        assert_eq!(resolved(&["a"]), [Ok(0)]);
    }

    #[test]
    fn wrong_names_are_errors_one_by_one() {
        let found = resolved(&["x", "b", "", "x", "a", "a", "b"]);
        let repeated = |first| Err(ResolveError::Repeated { first });
        let expected = [
            Err(ResolveError::Unknown),
            Err(ResolveError::ToItself),
            Err(ResolveError::Unknown),
            repeated(0),
            Ok(0),
            repeated(4),
            repeated(1),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn allowed_failure_counts_as_success() {
        let names: StepNames = ["a", "b"].into_iter().collect();
        let names = names.allowing_failure([0]);
        let edges = ["a", "a.ended", "a.failed"].map(NamedEdge::parse);
        let resolved = names.resolve(1, edges.into_iter());
        let kinds: Vec<_> = resolved.map(|it| it.map(|edge| edge.kind)).collect();
        let expected = [
            Ok(EdgeKind::OnRun),
            Ok(EdgeKind::OnEnd),
            Err(ResolveError::FailureAllowed),
        ];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn repeated_name_has_a_first_step() {
        let names: StepNames = ["a", "", "", "a"].into_iter().collect();
        let first: Vec<_> = (0..4).map(|step| names.first_of_same_name(step)).collect();
        assert_eq!(first, [None, None, None, Some(0)]);
    }
}

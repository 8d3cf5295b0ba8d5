use core::fmt;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It ran and succeeded.
    Completed,
    /// It ran and failed, or could not run.
    Failed,
    /// It did not run, because an edge to it is broken.
    Skipped,
}

/// The outcome that an edge waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EdgeKind {
    /// The step that the edge comes from has completed.
    OnSuccess,
    /// That step has run: it has completed, or it has failed and its failure is allowed.
    OnRun,
    /// That step has failed. A skipped step has not failed.
    OnFailure,
    /// That step has ended in any way.
    OnEnd,
}

/// The state of an edge, given the outcome of the step that it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeState {
    /// That step has not ended.
    Open,
    /// The outcome is the one that the edge waits for.
    Satisfied,
    /// The outcome is another one. The step that the edge goes to never starts.
    Broken,
}

impl EdgeKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::OnSuccess, Self::OnRun, Self::OnFailure, Self::OnEnd];

    /// The state of an edge of this kind; the outcome is `None` as long as the step has not ended.
    #[must_use]
    pub const fn state(self, outcome: Option<Outcome>) -> EdgeState {
        match (self, outcome) {
            (_, None) => EdgeState::Open,
            (Self::OnEnd, Some(_))
            | (Self::OnSuccess | Self::OnRun, Some(Outcome::Completed))
            | (Self::OnFailure | Self::OnRun, Some(Outcome::Failed)) => EdgeState::Satisfied,
            (Self::OnSuccess, Some(Outcome::Failed | Outcome::Skipped))
            | (Self::OnRun, Some(Outcome::Skipped))
            | (Self::OnFailure, Some(Outcome::Completed | Outcome::Skipped)) => EdgeState::Broken,
        }
    }

    /// Whether the edge holds only if the step that it comes from has run.
    #[must_use]
    pub const fn needs_run(self) -> bool {
        match self {
            Self::OnSuccess | Self::OnRun | Self::OnFailure => true,
            Self::OnEnd => false,
        }
    }

    /// What follows the step's name in the text form of an edge. No name contains a full stop.
    const fn suffix(self) -> &'static str {
        match self {
            Self::OnSuccess => "",
            Self::OnRun => ".ran",
            Self::OnFailure => ".failed",
            Self::OnEnd => ".ended",
        }
    }
}

/// An edge between two steps, by their indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Edge {
    /// The step that is waited for.
    pub from: usize,
    /// The step that waits.
    pub to: usize,
    /// The outcome that is waited for.
    pub kind: EdgeKind,
}

/// An edge to a step, by the name of the step that it comes from. As text it is that name for
/// [`EdgeKind::OnSuccess`], and the name with a suffix for other kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NamedEdge<N> {
    /// The name of the step that is waited for.
    pub from: N,
    /// The outcome that is waited for.
    pub kind: EdgeKind,
}

impl<'a> NamedEdge<&'a str> {
    /// Reads the text form. A text without a known suffix is a name as a whole.
    #[must_use]
    pub fn parse(text: &'a str) -> Self {
        let [on_success, others @ ..] = EdgeKind::ALL;
        let with_suffix = |kind: EdgeKind| Some((kind, text.strip_suffix(kind.suffix())?));
        let found = others.into_iter().find_map(with_suffix);
        let (kind, from) = found.unwrap_or((on_success, text));
        Self { from, kind }
    }
}

impl<N: fmt::Display> fmt::Display for NamedEdge<N> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}", self.from, self.kind.suffix())
    }
}

/// Says why a step is skipped: this edge to it is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenEdge<'a>(pub NamedEdge<&'a str>);

impl fmt::Display for BrokenEdge<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NamedEdge { from, kind } = self.0;
        match kind {
            EdgeKind::OnSuccess | EdgeKind::OnRun => {
                write!(formatter, "skipped: its dependency {from} did not complete")
            }
            EdgeKind::OnFailure => write!(
                formatter,
                "skipped: it runs only if {from} fails, and {from} did not fail"
            ),
            EdgeKind::OnEnd => write!(formatter, "skipped: {from} did not end"),
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;

    use super::*;

    #[test]
    fn edge_text_is_parsed_back() {
        for kind in EdgeKind::ALL {
            let edge = NamedEdge { from: "a-1", kind };
            assert_eq!(NamedEdge::parse(&edge.to_string()), edge);
        }
    }

    #[test]
    fn success_edge_text_is_the_name() {
        let edge = NamedEdge {
            from: "a",
            kind: EdgeKind::OnSuccess,
        };
        assert_eq!(edge.to_string(), "a");
    }
}

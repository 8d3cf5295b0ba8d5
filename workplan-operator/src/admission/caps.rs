use std::fmt;
use std::num::NonZeroUsize;

/// The most Workplans that run at a time, and the most pods of them. Absent: no cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    pub workplans: Option<NonZeroUsize>,
    pub pods: Option<NonZeroUsize>,
}

impl Caps {
    /// Whether there is no cap.
    pub fn is_none(self) -> bool {
        self.workplans.is_none() && self.pods.is_none()
    }

    /// The pods that a Workplan may have at a time. A plan that is wider than the cap runs with fewer pods.
    pub fn pods_of(self, widest: usize) -> usize {
        self.pods.map_or(widest, |cap| widest.min(cap.get()))
    }

    /// Whether this may run in addition to what runs.
    pub fn admit(self, running: Usage, more: Usage) -> bool {
        let fits =
            |cap: Option<NonZeroUsize>, count: usize| cap.is_none_or(|cap| count <= cap.get());
        let sum = running + more;
        fits(self.workplans, sum.workplans) && fits(self.pods, sum.pods)
    }

    /// The share that is compared between namespaces: of the pods if they are capped, otherwise of the Workplans.
    pub fn share(self, usage: Usage) -> usize {
        match self.pods {
            Some(_) => usage.pods,
            None => usage.workplans,
        }
    }
}

/// The caps in words, with their flags.
impl fmt::Display for Caps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.workplans, self.pods) {
            (Some(workplans), Some(pods)) => write!(
                f,
                "at most {workplans} Workplans (--max-running-workplans) with at most {pods} pods (--max-pods) run at a time"
            ),
            (Some(workplans), None) => write!(
                f,
                "at most {workplans} Workplans run at a time (--max-running-workplans)"
            ),
            (None, Some(pods)) => write!(
                f,
                "the Workplans that run have at most {pods} pods at a time (--max-pods)"
            ),
            (None, None) => write!(f, "any number of Workplans run at a time"),
        }
    }
}

/// What Workplans use of the caps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub workplans: usize,
    pub pods: usize,
}

impl std::ops::Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            workplans: self.workplans + other.workplans,
            pods: self.pods + other.pods,
        }
    }
}

impl std::ops::Sub for Usage {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            workplans: self.workplans.saturating_sub(other.workplans),
            pods: self.pods.saturating_sub(other.pods),
        }
    }
}

use kubeci_api::Phase;

/// The reason of a Workplan that waits for its admission.
pub const QUEUED: &str = "Queued";

/// What the status of a Workplan states about its admission. It survives a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recorded {
    #[default]
    Nothing,
    Queued,
    Admitted,
}

impl Recorded {
    /// The API server writes the phase `pending` into a new Workplan.
    pub fn of(phase: Option<Phase>, reason: Option<&str>) -> Self {
        match (phase, reason) {
            (None, _) | (Some(Phase::Pending), None) => Self::Nothing,
            (Some(Phase::Pending), Some(QUEUED)) => Self::Queued,
            (Some(_), _) => Self::Admitted,
        }
    }
}

use proptest::prelude::*;

/// What happens next in a simulation.
#[derive(Clone, Debug)]
pub enum Action {
    /// An object is created or its content is written.
    Write { object: usize, content: u8 },
    /// The label that the trigger selects is set or removed.
    Label { object: usize, on: bool },
    /// The deletion of an object begins, and waits for a finalizer.
    BeginDeletion { object: usize },
    /// An object is deleted.
    Delete { object: usize },
    /// The watch delivers the next few events.
    Deliver { events: usize },
    /// The watch is lost and starts again with a list.
    LoseWatch,
    /// The API server responds to a creation.
    Respond { creation: usize, response: Response },
    /// The watch of Workplans returns all of them.
    ObserveWorkplans,
    /// A Workplan completes.
    Complete { workplan: usize },
    /// The backoff of all retries is over.
    Retry,
    /// The status is written.
    WriteStatus,
    /// The status is written, stored or not, and there is no response.
    WriteStatusUnanswered { stored: bool },
    /// A user copies the Workplan of a pending creation into another namespace.
    Forge { creation: usize, sequence: u64 },
    /// `kill -9` and a restart. The bits select the pending creations that the API server still executes.
    Kill { executed: u32 },
}

/// The response to a creation.
#[derive(Clone, Copy, Debug)]
pub enum Response {
    Created,
    CreatedUnanswered,
    Rejected,
    Lost,
}

/// Random actions, with or without restarts and lost watches.
pub fn actions(interruptions: bool) -> impl Strategy<Value = Vec<Action>> {
    let response = prop_oneof![
        4 => Just(Response::Created),
        1 => Just(Response::CreatedUnanswered),
        1 => Just(Response::Rejected),
        1 => Just(Response::Lost),
    ];
    let write_status = prop_oneof![
        2 => Just(Action::WriteStatus),
        1 => any::<bool>().prop_map(|stored| Action::WriteStatusUnanswered { stored }),
    ];
    let interruptions = u32::from(interruptions);
    let change = prop_oneof![
        6 => (0..3_usize, 0..3_u8).prop_map(|(object, content)| Action::Write { object, content }),
        2 => (0..3_usize, any::<bool>()).prop_map(|(object, on)| Action::Label { object, on }),
        1 => (0..3_usize).prop_map(|object| Action::BeginDeletion { object }),
        2 => (0..3_usize).prop_map(|object| Action::Delete { object }),
    ];
    let respond = (0..8_usize, response);
    let forge = (0..8_usize, any::<u64>());
    let action = prop_oneof![
        11 => change,
        6 => (1..4_usize).prop_map(|events| Action::Deliver { events }),
        8 => respond.prop_map(|(creation, response)| Action::Respond { creation, response }),
        2 => Just(Action::ObserveWorkplans),
        3 => any::<usize>().prop_map(|workplan| Action::Complete { workplan }),
        2 => Just(Action::Retry),
        3 => write_status,
        2 => forge.prop_map(|(creation, sequence)| Action::Forge { creation, sequence }),
        2 * interruptions => Just(Action::LoseWatch),
        2 * interruptions => any::<u32>().prop_map(|executed| Action::Kill { executed }),
    ];
    proptest::collection::vec(action, 1..80)
}

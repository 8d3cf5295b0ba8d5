//! What is to be done, in the life of a Workplan: its tasks are checked (`plan`), its pods looked at
//! (`observe`, `events`), its next steps decided (`decide`), its pods made (`pod`) or refused (`refusal`), and its
//! folder (`workspace`) removed (`sweep`). Nothing here talks to a cluster or looks at a clock.

pub mod decide;
pub mod events;
pub mod observe;
pub mod plan;
pub mod pod;
pub mod refusal;
pub mod sweep;
pub mod workspace;

//! Removing the folders of ended plans from the nodes: `round` decides for each node when its next
//! sweep pod runs and what for, `pod` is that pod, `report` is its result.

pub mod pod;
pub mod report;
pub mod round;

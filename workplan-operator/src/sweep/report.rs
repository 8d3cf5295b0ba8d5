//! The result of a sweep: its container writes it at its end, and the operator reads it from the status of the pod.

use serde::{Deserialize, Serialize};

/// Where a container's last words are read from.
pub const PATH: &str = "/dev/termination-log";

/// Last words may have 4096 bytes.
const ERROR_MAX: usize = 600;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepReport {
    /// The folders that are not removed, by their places among the arguments.
    pub failed: Vec<usize>,
    /// Why the first of them is not.
    pub error: String,
}

impl SweepReport {
    pub fn failed(&mut self, at: usize, error: &impl ToString) {
        if self.failed.is_empty() {
            self.error = error.to_string().chars().take(ERROR_MAX).collect();
        }
        self.failed.push(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_the_longest_report_fits() {
        let mut report = SweepReport::default();
        for at in 0..crate::sweep::round::FOLDERS_MAX {
            report.failed(at, &"é".repeat(10_000));
        }
        assert!(serde_json::to_string(&report).unwrap().len() <= 4096);
    }
}

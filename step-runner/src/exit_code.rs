//! The exit codes of the runner's own. All others are those of the command, or 128 and the signal that killed it.
//! A command may exit with these codes too; the step's record tells them apart.

/// The step was skipped or postponed; the code is that of test runners.
pub const SKIPPED: u8 = 77;
/// The condition, or an environment variable that is an expression, has no value.
pub const EXPRESSION_FAILED: u8 = 122;
/// The command completed, and its outputs were refused.
pub const OUTPUT_REFUSED: u8 = 123;
/// The command ran longer than its time limit; the code is that of `timeout`.
pub const TIMED_OUT: u8 = 124;
/// The runner itself failed; the code is that of `env` and `timeout`.
pub const RUNNER_FAILED: u8 = 125;
/// The command was found and cannot be executed; the code is that of shells.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command was not found; the code is that of shells.
pub const NOT_FOUND: u8 = 127;

//! What the runner exits with where it is not the command's own exit code, or 128 and the signal that killed it.
//! A command may end with these itself; the step's record tells them apart.

/// The step was skipped, as test runners say it.
pub const SKIPPED: u8 = 77;
/// The runner itself could not do its work, as `env` and `timeout` say it.
pub const TROUBLE: u8 = 125;
/// The command was found and cannot be executed, as shells say it.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command was not found, as shells say it.
pub const NOT_FOUND: u8 = 127;

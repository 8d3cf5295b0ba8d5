//! The step runner; see the library of the same name.

use std::process::ExitCode;

fn main() -> ExitCode {
    step_runner::main(std::env::args_os().skip(1)).into()
}

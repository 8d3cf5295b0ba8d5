use std::fmt::Arguments;
use std::io::{self, Write};

/// Writes a line to the log of the container. The log may be closed.
pub fn line(text: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "step-runner: {text}");
}

use std::fs;
use std::io;

use rustix::process::Signal;
use signal_hook::consts::{FORBIDDEN, SIGCHLD, SIGPIPE};
use signal_hook::iterator;
use signal_hook::low_level::signal_name;

use crate::error::Error;

/// The signals that are sent to the runner, one by one.
///
/// They are caught, not blocked: the command would inherit a mask, while handlers are reset for it. Signals that
/// were ignored when the runner started stay ignored, because the command inherits that.
pub struct Signals(iterator::Signals);

/// The first real-time signal. The C library keeps the lowest ones to itself.
const REAL_TIME: i32 = 32;

/// The signals that are caught although they are ignored: without SIGCHLD the command's end is not seen, and
/// SIGPIPE is ignored in every Rust program.
const ALWAYS: [i32; 2] = [SIGCHLD, SIGPIPE];

/// Catches all signals that can be caught and are not ignored.
pub fn catch() -> Result<Signals, Error> {
    let status = "/proc/self/status";
    let ignored = fs::read_to_string(status).map_err(Error::io("read", status))?;
    let ignored = ignored_in(&ignored);
    let ours = |it: &i32| {
        let ignored = ignored >> (it - 1) & 1 == 1;
        ALWAYS.contains(it) || !(ignored || FORBIDDEN.contains(it))
    };
    let all = (1..REAL_TIME).chain(REAL_TIME + 3..=64).filter(ours);
    iterator::Signals::new(all)
        .map(Signals)
        .map_err(Error::refused::<io::Error>("take signals"))
}

/// The ignored signals in the status of a process, one bit each; none if the status does not contain them.
fn ignored_in(status: &str) -> u64 {
    let mask = status.lines().find_map(|it| it.strip_prefix("SigIgn:"));
    mask.and_then(|it| u64::from_str_radix(it.trim(), 16).ok())
        .unwrap_or(0)
}

impl Signals {
    /// Calls back for each signal but SIGCHLD, without end. A real-time signal becomes SIGTERM: an image that has one
    /// as its stop signal means that, and there is no safe way to send one.
    pub fn for_each(mut self, mut call: impl FnMut(Signal)) {
        for number in self.0.forever().filter(|it| *it != SIGCHLD) {
            call(Signal::from_named_raw(number).unwrap_or(Signal::TERM));
        }
    }
}

/// Whether the signal ends a process that has no handler for it.
pub fn ends(signal: Signal) -> bool {
    let others = [
        Signal::CHILD,
        Signal::CONT,
        Signal::TSTP,
        Signal::TTIN,
        Signal::TTOU,
        Signal::URG,
        Signal::WINCH,
    ];
    !others.contains(&signal)
}

pub fn name(signal: Signal) -> &'static str {
    signal_name(signal.as_raw()).unwrap_or("a signal")
}

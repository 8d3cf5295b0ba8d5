use std::fs;
use std::io;

use rustix::process::Signal;
use signal_hook::consts::{FORBIDDEN, SIGCHLD, SIGPIPE};
use signal_hook::iterator;
use signal_hook::low_level::signal_name;

use crate::trouble::Trouble;

/// The signals that are sent to the runner, one by one.
///
/// They are caught, not blocked: what is started later would inherit a mask, and has its handlers reset.
/// What the runner was started with ignored is left ignored, since the command inherits just that.
pub struct Signals(iterator::Signals);

/// Those from which on signals are real-time ones, but for two that the C library keeps to itself.
const REAL_TIME: i32 = 32;

/// Those that are taken although they are ignored: nobody learns how a command ended without SIGCHLD, and
/// SIGPIPE is ignored in every Rust program.
const ALWAYS: [i32; 2] = [SIGCHLD, SIGPIPE];

/// Takes all signals that can be taken and are not ignored.
pub fn take() -> Result<Signals, Trouble> {
    let status = "/proc/self/status";
    let ignored = fs::read_to_string(status).map_err(Trouble::io("read", status))?;
    let ignored = ignored_in(&ignored);
    let ours = |it: &i32| {
        let ignored = ignored >> (it - 1) & 1 == 1;
        ALWAYS.contains(it) || !(ignored || FORBIDDEN.contains(it))
    };
    let all = (1..REAL_TIME).chain(REAL_TIME + 3..=64).filter(ours);
    iterator::Signals::new(all)
        .map(Signals)
        .map_err(Trouble::refused::<io::Error>("take signals"))
}

/// The ignored signals in a process's status, a bit each; none where it does not say.
fn ignored_in(status: &str) -> u64 {
    let mask = status.lines().find_map(|it| it.strip_prefix("SigIgn:"));
    mask.and_then(|it| u64::from_str_radix(it.trim(), 16).ok())
        .unwrap_or(0)
}

impl Signals {
    /// Calls back for each signal but SIGCHLD, for ever. A real-time signal becomes SIGTERM: an image that names one as
    /// its stop signal means that, and there is no safe way to send one.
    pub fn each(mut self, mut heed: impl FnMut(Signal)) {
        for number in self.0.forever().filter(|it| *it != SIGCHLD) {
            heed(Signal::from_named_raw(number).unwrap_or(Signal::TERM));
        }
    }
}

/// Whether a process that does nothing about the signal ends by it.
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

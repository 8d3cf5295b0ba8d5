use std::io;

use rustix::process::Signal;
use signal_hook::consts::{FORBIDDEN, SIGCHLD};
use signal_hook::iterator;
use signal_hook::low_level::signal_name;

use crate::trouble::Trouble;

/// The signals that are sent to the runner, one by one.
///
/// They are caught, not blocked: what is started later would inherit a mask, and has its handlers reset.
pub struct Signals(iterator::Signals);

/// Those from which on signals are real-time ones, but for two that the C library keeps to itself.
const REAL_TIME: i32 = 32;

/// Takes all signals that can be taken, but the one that tells of ended children.
pub fn take() -> Result<Signals, Trouble> {
    let ours = |it: &i32| *it != SIGCHLD && !FORBIDDEN.contains(it);
    let all = (1..REAL_TIME).chain(REAL_TIME + 3..=64).filter(ours);
    iterator::Signals::new(all)
        .map(Signals)
        .map_err(Trouble::refused::<io::Error>("take signals"))
}

impl Signals {
    /// Calls back for each signal, for ever. A real-time signal becomes SIGTERM: an image that names one as
    /// its stop signal means that, and there is no safe way to send one.
    pub fn each(mut self, mut heed: impl FnMut(Signal)) {
        for number in self.0.forever() {
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

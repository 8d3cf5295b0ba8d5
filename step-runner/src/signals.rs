use std::fs;
use std::io;
use std::sync::Arc;

use nix::sys::signal::{self, SigSet};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::Signal;
use signal_hook::consts::{SIGCHLD, SIGPIPE};
use signal_hook::flag;
use signal_hook::low_level::signal_name;

use crate::error::Error;

/// The signals that are sent to the runner, one by one.
///
/// They are blocked, and read from a file. Handlers for all of them would take most of the time of the runner's start.
/// The kernel keeps a blocked signal also for the first process of a container. Signals that were ignored when the
/// runner started stay ignored, because the command inherits that.
pub struct Signals {
    file: SignalFd,
    /// The signals that stay ignored, one bit each.
    ignored: u64,
}

/// The signals that are not read: those that a process causes itself, because the kernel ends a process that causes them
/// while they are blocked, and SIGCHLD, which would wake a thread at each hand-over.
const OTHERS: [signal::Signal; 4] = [
    signal::SIGILL,
    signal::SIGFPE,
    signal::SIGSEGV,
    signal::SIGCHLD,
];

/// Blocks all signals that are read, in this thread and in those that it starts later.
pub fn catch() -> Result<Signals, Error> {
    let status = "/proc/self/status";
    let ignored = fs::read_to_string(status).map_err(Error::io("read", status))?;
    // SIGPIPE is ignored in every Rust program.
    let ignored = ignored_in(&ignored) & !bit(SIGPIPE);
    if ignored & bit(SIGCHLD) != 0 {
        // While it is ignored the command's end is not seen.
        flag::register(SIGCHLD, Arc::default()).map_err(refused::<io::Error>)?;
    }
    let mut signals = SigSet::all();
    for signal in signal::Signal::iterator() {
        if OTHERS.contains(&signal) || ignored & bit(signal as i32) != 0 {
            signals.remove(signal);
        }
    }
    signals.thread_block().map_err(refused)?;
    let file = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC).map_err(refused)?;
    Ok(Signals { file, ignored })
}

fn refused<E: Into<io::Error>>(error: E) -> Error {
    Error::refused("take signals")(error)
}

/// The ignored signals in the status of a process, one bit each; none if the status does not contain them.
fn ignored_in(status: &str) -> u64 {
    let mask = status.lines().find_map(|it| it.strip_prefix("SigIgn:"));
    mask.and_then(|it| u64::from_str_radix(it.trim(), 16).ok())
        .unwrap_or(0)
}

fn bit(signal: i32) -> u64 {
    let position = u32::try_from(signal - 1).ok();
    position.and_then(|it| 1_u64.checked_shl(it)).unwrap_or(0)
}

impl Signals {
    /// Calls back for each signal, without end. A real-time signal becomes SIGTERM: an image that has one as its stop
    /// signal means that, and there is no safe way to send one.
    pub fn for_each(self, mut call: impl FnMut(Signal)) {
        while let Ok(Some(read)) = self.file.read_signal() {
            let number = i32::try_from(read.ssi_signo).unwrap_or_default();
            if self.ignored & bit(number) == 0 {
                call(Signal::from_named_raw(number).unwrap_or(Signal::TERM));
            }
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

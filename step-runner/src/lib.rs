//! The step runner runs the command of a step in a relay pod, where the containers of all steps start together. It
//! waits until the edges to the step are satisfied, runs the command as its child, and records the result. It needs no
//! network, no token, no permissions and no files of the step's image.
//!
//! # The pod
//! The first container runs `step-runner install`. It copies the program to an `emptyDir`, the relay, and prepares a
//! folder for each step there. The kubelet starts the other containers after its `postStart` hook, `step-runner
//! installed`, has ended. An init container would cost up to a second more, until the kubelet notices its end. Each
//! step's container mounts the whole relay read-only. Over it, with `subPath: <step>`, it mounts its own folder of the
//! relay writable. So no step, with any user, can write the record of another step.
//!
//! ```text
//! <relay>/.bin/step-runner  the program
//! <relay>/.absent/<step>    the step's mark, written by install. Two links: its runner has not started
//! <relay>/<step>/absent     the second link; the runner removes it when it starts
//! <relay>/<step>/record     the step's record (see [`record`]), locked while its runner runs
//! <relay>/<step>/outputs    the file to which the step's command writes its outputs (see [`outputs`])
//! <relay>/.slots/<number>   a slot, if the steps share slots; open for reading while a command runs in it
//! ```
//!
//! # The record
//! When a runner starts it writes its record under another name, takes a write lock on it (of the open file
//! description, which the kernel releases when the process ends), moves it to its place and removes its link to the
//! mark. So a record appears locked, and a mark with one link proves that there was a record. When the command has
//! ended, the runner writes the result to the record and closes it, which wakes all waiting runners. The same line is
//! in the termination message of the container, also when the command starts. If the container is killed, the operator
//! reads from it whether the step was waiting or running, and since when.
//!
//! # Waiting
//! For each dependency in turn, the runner opens its record, takes a read lock, which blocks until the other runner
//! has written the result or has ended, and reads. A record without an end is a failure. If there is no record, the
//! mark, which is read before, shows the reason: the container has not started, and the runner polls; or it has
//! started and its record was removed, which is a failure. [`kubeci_plan::readiness`] decides what the runner does
//! next.
//!
//! A step that was killed, or whose record has no end, may be attempted again in another pod. The command line names
//! those for which this is so. Then the step that waits is postponed: it ends without starting its command, and it may
//! start in the other pod. So are the steps that wait for it.
//!
//! Only a write lock can block a reader. It takes a file opened for writing, which other steps cannot have. A step can
//! tamper with its own record: remove it, replace it, or forge it. The steps that wait for it then observe that it
//! failed, or the forged result; or, while it or a process that it started holds a lock, that it still runs. It cannot
//! change the record of another step. Its record is opened without following links, only if it is a regular file, and
//! read up to a bound.
//!
//! inotify would do the same, but a node has only 128 instances for all processes of one user. Pods whose steps run as
//! root would share those of root with the kubelet.
//!
//! # Conditions and variables
//! Once the edges are satisfied, and before the first attempt, the runner evaluates the condition of the step and the
//! environment variables that are expressions. Their texts are parsed only then, so that a runner that waits needs no
//! memory for them. The values of steps of the pod come from their records, and have what the status of these steps has.
//! The command line has the others. If the condition is false, the step is skipped. If an expression has no value, the
//! step fails and is not attempted again.
//!
//! # Stop
//! The kubelet sends the signal to stop a pod to one container after the other, in no order. So a step that waits must
//! not start because a step that it waits for has ended by that signal. A runner that receives a signal that would end
//! its command publishes that its step is postponed, whatever the command then exits with; the termination message has
//! the result. The steps that wait for it are postponed, too. If steps wait for slots, it keeps its own for a moment,
//! until they have been stopped. A runner that receives such a signal while it waits is postponed. The operator decides
//! about steps that are postponed: the plan ends, or they start in another pod.
//!
//! # Slots
//! With `--slots N` at most N commands of the pod run at the same time. A runner whose edges are satisfied takes a slot for
//! each attempt, a FIFO that it keeps open; the kernel closes it when the process ends, in whatever way. A command does
//! not inherit it, and during the pause before the next attempt the runner has none. One runner at a time waits for a
//! free slot, blocked in `poll`, and the others wait for a lock.
//!
//! # Running
//! The command has the environment of the runner and `KUBECI_OUTPUT`, its working directory and standard streams, and
//! no other open files. When it has ended, its outputs become a part of the record; if they are too large or have
//! another form, the step has failed. A working directory that an earlier step may create is entered, and created if it
//! is missing, when the command starts. All signals that can be caught are forwarded to it: the runner blocks them and
//! reads them from a file, and starts the command with no signal blocked. Before it starts, a signal that would end it
//! ends the wait. A signal that was ignored when the runner started stays ignored, by it and by the command. All others,
//! and SIGCHLD and SIGPIPE in any case, have their default in the command. As the first process of its container the
//! runner reaps orphans. It exits as the command did; [`exit_code`] lists the exceptions.
//!
//! # Time limits and attempts
//! A time limit counts from the command's start. When it is over, the command gets SIGTERM and, after a grace, SIGKILL.
//! A failed or timed out command may be started again in place, as a [`kubeci_plan::RetryPolicy`] says. Meanwhile the
//! step's record stays locked, so that the other steps wait for the last attempt. What an attempt has left running is
//! killed before the next one: all processes of the container if the runner is its first process, otherwise the process
//! group of the command. A signal that would end the command ends the pause between attempts; after such a signal there
//! is no other attempt. If the container uses too much memory, the kernel kills it with its runner, which then cannot
//! start another attempt.
//!
//! # Times
//! The time of day is read once, when the runner starts. All other times are counted from it by a clock that cannot
//! be set, so that no step ends before it starts.
#![deny(missing_docs)]

mod arguments;
mod at_once;
mod attempts;
mod clock;
mod command;
mod dependency;
mod error;
mod expressions;
mod install;
mod lock;
mod log;
mod output_file;
mod publish;
mod relay;
mod signals;
mod slots;
mod spawn;
mod status;
mod supervised;
mod supervisor;
mod time_limit;

pub mod exit_code;
pub mod outputs;
pub mod record;

use std::ffi::OsString;

use arguments::Arguments;

/// Does what the command line says, without the program's own name. Returns what to exit with.
pub fn main(words: impl IntoIterator<Item = OsString>) -> u8 {
    let done = arguments::parse(words).and_then(|arguments| match arguments {
        Arguments::Run(run) => Ok(supervisor::run(&run)),
        Arguments::Install(install) => install::install(&install).map(|()| 0),
        Arguments::Installed { relay } => install::installed(&relay).map(|()| 0),
        Arguments::Help => Ok(print(arguments::HELP)),
        Arguments::Version => Ok(print(concat!(
            "step-runner ",
            env!("CARGO_PKG_VERSION"),
            "\n"
        ))),
    });
    done.unwrap_or_else(|error| {
        eprintln!("step-runner: {error}");
        exit_code::RUNNER_FAILED
    })
}

fn print(text: &str) -> u8 {
    print!("{text}");
    0
}

//! The step runner stands in front of a step's command in a relay pod, where the containers of all steps
//! start together: it waits until the step's dependencies have ended well, runs the command as its child, and
//! tells how it ended. It needs no network, no token, no rights and nothing of the step's image.
//!
//! # The pod
//! The first container runs `step-runner install`: it copies the program into one `emptyDir` and lays out
//! another, the relay. Its `postStart` hook, `step-runner installed`, holds the other containers back until
//! that is done, without the second that the kubelet takes to notice the end of an init container. Each step's container mounts the program's volume and the whole relay read-only, and
//! over it, with `subPath: <step>`, its own folder of the relay writable. So nobody can write what another step
//! tells, whatever user it is.
//!
//! ```text
//! <relay>/.absent/<step>    the step's mark, written by install. Two links: its runner is not up yet
//! <relay>/<step>/absent     the second link; the runner removes it when it is up
//! <relay>/<step>/record     what the step tells of itself (see [`record`]), locked while its runner lives
//! ```
//!
//! # Telling
//! When a runner comes up it writes its record under another name, takes a write lock on it (of the open file
//! description: it dies with the process, however that ends), moves it to its place and removes its link
//! to the mark. So a record appears locked, and a mark with one link says for ever that there was a record. When
//! the command has ended the runner writes that into the record and closes it, which wakes all who wait.
//! The same line goes to the container's termination message, there also when the command starts: of a
//! container that is killed the operator learns whether its step was waiting or running, and since when.
//!
//! # Waiting
//! For each dependency in turn: open its record, take a read lock, which blocks until its runner has told the
//! end or is dead, and read. A record without an end is a failure. If there is no record, the
//! mark, looked at before, says which: not up yet, so look again in some milliseconds; or up, so its record was
//! removed, which is a failure. What comes next is decided by [`kubeci_plan::readiness`].
//!
//! Only a write lock can hold a reader up, and that takes a file opened for writing, which other steps cannot
//! have. A step can tamper with its own record: remove it, replace it, or forge it. Then those who wait
//! for it see that it failed, or what it says of itself, or, while it or what it started holds a lock, that it
//! still runs. Nothing that it does speaks for another step. Its record is opened without
//! following links, only if it is a regular file, and read up to a bound.
//!
//! Locks do all that inotify could, without its limit: a node has 128 instances for all processes of one
//! user, and root's are shared by all pods whose steps run as root, and the kubelet.
//!
//! # Running
//! The command gets what the runner got: environment, folder, standard streams, no other open files. A working
//! directory that an earlier step may make is entered, and made if it is missing, when the command starts. All
//! signals that can be caught are passed on to it; while there is none, those that would end it end the
//! waiting. A signal that was ignored when the runner started stays ignored, by it and by the command; all
//! others, and SIGCHLD and SIGPIPE in any case, have their default in the command. As the first process of its
//! container the runner reaps what is left to it. It exits as the command did; [`exit_code`] lists the exceptions.
//!
//! # Times
//! The time of day is read once, when the runner comes up; all else is counted from it by a clock that
//! cannot be set, so that no step ends before it starts.
#![deny(missing_docs)]

mod arguments;
mod clock;
mod command;
mod dependency;
mod install;
mod life;
mod lock;
mod publish;
mod relay;
mod report;
mod signals;
mod trouble;

pub mod exit_code;
pub mod record;

use std::ffi::OsString;

use arguments::Arguments;

/// Does what the command line says, without the program's own name. Returns what to exit with.
pub fn main(words: impl IntoIterator<Item = OsString>) -> u8 {
    let done = arguments::parse(words).and_then(|arguments| match arguments {
        Arguments::Run(run) => Ok(life::run(&run)),
        Arguments::Install(install) => install::install(&install).map(|()| 0),
        Arguments::Installed { relay } => install::installed(&relay).map(|()| 0),
        Arguments::Help => Ok(print(arguments::HELP)),
        Arguments::Version => Ok(print(concat!(
            "step-runner ",
            env!("CARGO_PKG_VERSION"),
            "\n"
        ))),
    });
    done.unwrap_or_else(|trouble| {
        eprintln!("step-runner: {trouble}");
        exit_code::TROUBLE
    })
}

fn print(text: &str) -> u8 {
    print!("{text}");
    0
}

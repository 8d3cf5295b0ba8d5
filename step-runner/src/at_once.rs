//! Observes the ends of several steps in any order.

use std::io;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::arguments::Run;
use crate::dependency::{self, Ended};
use crate::error::Error;
use crate::relay::Relay;

/// The memory for the stack of a thread that waits.
const STACK_BYTES: usize = 128 << 10;

type End = (usize, Result<Ended, Error>);

/// Starts to observe the steps that a step needs. Only one lock can be waited for at a time, so each of them has
/// a thread.
pub fn ends(relay: &Relay<'_>, run: &Run) -> Result<Receiver<End>, Error> {
    let (ended, ends) = channel();
    for (position, need) in run.needs.iter().enumerate() {
        let is_repeated = run.repeated.contains(&need.from);
        let (ended, relay, from) = (ended.clone(), relay.0.to_owned(), need.from.clone());
        let wait = move || {
            let end = dependency::ended(&Relay(&relay), &from, is_repeated, |_| {});
            // Nobody receives it if the step is already skipped.
            let _ = ended.send((position, end));
        };
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        thread
            .spawn(wait)
            .map_err(Error::refused("start a thread"))?;
    }
    Ok(ends)
}

/// Waits for the next end, with the position of its edge.
pub fn next(ends: &mut Receiver<End>) -> Result<(usize, Ended), Error> {
    let received = ends.recv().map_err(io::Error::other);
    let (position, end) = received.map_err(Error::refused("wait for other steps"))?;
    Ok((position, end?))
}

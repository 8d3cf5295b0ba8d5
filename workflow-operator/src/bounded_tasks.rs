//! Tasks of which a bounded number runs at a time. The main loop takes their results, so that none waits for it.

use std::{collections::VecDeque, future::pending, panic::resume_unwind, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// A task for [`BoundedTasks`].
pub trait Task: Send + 'static {
    type Output: Send + 'static;

    /// The approximate size of the task's request.
    fn bytes(&self) -> usize {
        0
    }

    fn run(self) -> impl Future<Output = Self::Output> + Send;
}

/// The limits of the tasks that run.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most tasks that run at a time.
    pub tasks: usize,
    /// The most bytes of all tasks that run. A single task may exceed it.
    pub bytes: usize,
    /// The least time between the starts of two tasks.
    pub interval: Duration,
}

impl Limits {
    /// Limits the number of tasks only.
    pub fn tasks(tasks: usize) -> Self {
        Self {
            tasks,
            bytes: usize::MAX,
            interval: Duration::ZERO,
        }
    }
}

/// Tasks that run within limits. The others wait in order.
pub struct BoundedTasks<T: Task> {
    limits: Limits,
    pending: VecDeque<T>,
    running: JoinSet<(usize, T::Output)>,
    running_bytes: usize,
    not_before: Instant,
}

impl<T: Task> BoundedTasks<T> {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            pending: VecDeque::new(),
            running: JoinSet::new(),
            running_bytes: 0,
            not_before: Instant::now(),
        }
    }

    /// The number of tasks that wait or run.
    pub fn len(&self) -> usize {
        self.pending.len() + self.running.len()
    }

    /// Whether fewer tasks run than the limit.
    pub fn has_capacity(&self) -> bool {
        self.running.len() < self.limits.tasks
    }

    pub fn push(&mut self, task: T) {
        self.pending.push_back(task);
        self.start_pending();
    }

    /// Waits for the result of the next task that ends. Cancel safe. A panic of a task continues here.
    pub async fn next(&mut self) -> T::Output {
        loop {
            self.start_pending();
            let waits_for_interval = self.fits_next();
            tokio::select! {
                biased;
                Some(result) = self.running.join_next() => match result {
                    Ok((bytes, output)) => {
                        self.running_bytes -= bytes;
                        self.start_pending();
                        return output;
                    }
                    Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
                    // No task is aborted.
                    Err(_) => {}
                },
                () = sleep_until(self.not_before), if waits_for_interval => {}
                else => return pending().await,
            }
        }
    }

    fn start_pending(&mut self) {
        while self.fits_next() && Instant::now() >= self.not_before {
            let Some(task) = self.pending.pop_front() else {
                return;
            };
            let bytes = task.bytes();
            self.running_bytes = self.running_bytes.saturating_add(bytes);
            self.not_before = Instant::now() + self.limits.interval;
            self.running.spawn(async move { (bytes, task.run().await) });
        }
    }

    /// Whether the limits allow the next task, but for the interval.
    fn fits_next(&self) -> bool {
        let Some(next) = self.pending.front() else {
            return false;
        };
        let bytes = self.running_bytes.saturating_add(next.bytes());
        self.has_capacity() && (self.running_bytes == 0 || bytes <= self.limits.bytes)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{sleep, timeout};

    use super::*;

    struct Sleep {
        bytes: usize,
        time: Duration,
    }

    impl Task for Sleep {
        type Output = Instant;

        fn bytes(&self) -> usize {
            self.bytes
        }

        async fn run(self) -> Instant {
            let started = Instant::now();
            sleep(self.time).await;
            started
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    /// The second in which each of these tasks starts, each of which takes a second.
    async fn starts(limits: Limits, bytes: &[usize]) -> Vec<u64> {
        let mut tasks = BoundedTasks::new(limits);
        let begin = Instant::now();
        for &bytes in bytes {
            let time = SECOND;
            tasks.push(Sleep { bytes, time });
        }
        let mut starts = Vec::new();
        while tasks.len() > 0 {
            starts.push((tasks.next().await - begin).as_secs());
        }
        starts
    }

    #[tokio::test(start_paused = true)]
    async fn task_count_is_limited() {
        assert_eq!(starts(Limits::tasks(2), &[0; 5]).await, [0, 0, 1, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_limited_but_for_single_task() {
        let limits = Limits {
            bytes: 10,
            ..Limits::tasks(9)
        };
        let starts = starts(limits, &[4, 6, 11, 1, 1]).await;
        assert_eq!(starts, [0, 0, 1, 2, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn starts_keep_the_interval() {
        let limits = Limits {
            interval: SECOND * 3,
            ..Limits::tasks(9)
        };
        assert_eq!(starts(limits, &[0; 3]).await, [0, 3, 6]);
    }

    #[tokio::test(start_paused = true)]
    async fn next_is_pending_without_tasks() {
        let mut tasks: BoundedTasks<Sleep> = BoundedTasks::new(Limits::tasks(1));
        assert!(timeout(SECOND, tasks.next()).await.is_err());
    }
}

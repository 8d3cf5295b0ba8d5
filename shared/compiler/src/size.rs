//! How many bytes a plan's objects take where the API server stores them, which is limited.

use std::cmp::Reverse;
use std::fmt;
use std::io::{self, Write};

use kubeci_api::{Order, PodSettings, Step, Task};
use serde::Serialize;

use crate::read::is_relay;

/// The most bytes of one object: etcd takes no larger request by default.
pub const STORED_MAX: usize = 1_572_864;

/// The bytes of a step's message for which there is always room in a Workplan's status.
pub const MESSAGE_BYTES: usize = 256;

/// What a Workplan takes beside its steps and pod settings: its metadata, its conditions, who manages which field.
const WORKPLAN_BYTES: usize = 16 << 10;
/// What a step takes in a Workplan's status, with the record of who manages its fields, beside its names.
const STATUS_BYTES: usize = 480;

/// As much for an approval, with its entry in `status.approvals`.
const APPROVAL_BYTES: usize = 2 << 10;

/// The most bytes of the outputs of a step.
const OUTPUT_BYTES: usize = 4 << 10;
/// How many times as long as it was written a text may be stored, with its key and quotation marks.
const STORED_TIMES: usize = "\\u003c".len();

/// What a pod takes beside its containers and its settings; 12 KiB of it are messages of its containers.
const POD_BYTES: usize = 24 << 10;
/// The size of a container besides its step: added settings, its status, and its managed fields.
const CONTAINER_BYTES: usize = 1200 + OWN_VARIABLES;
const RELAY_CONTAINER_BYTES: usize = 2000 + OWN_VARIABLES;
/// The variables that every container has.
const OWN_VARIABLES: usize = 700;
/// As much for a variable, and for a mount.
const ENV_BYTES: usize = 200;
const MOUNT_BYTES: usize = 250;

/// An object of a plan that cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// Which pod; the Workplan itself if absent.
    pod: Option<usize>,
    bytes: usize,
    /// The step that takes the most of it, and how many bytes.
    largest: Option<(String, usize)>,
}

impl TooLarge {
    fn new<'a>(pod: Option<usize>, bytes: usize, steps: impl Iterator<Item = &'a Step>) -> Self {
        let sizes = steps.map(|step| (step.name.clone(), stored_bytes(step)));
        Self {
            pod,
            bytes,
            largest: sizes.min_by_key(|(_, bytes)| Reverse(*bytes)),
        }
    }
}

impl fmt::Display for TooLarge {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let bytes = self.bytes;
        match self.pod {
            None => write!(formatter, "the Workplan")?,
            Some(pod) => write!(formatter, "pod {pod} of the Workplan")?,
        }
        write!(
            formatter,
            " would have {bytes} bytes with its status, but an object in etcd may have at most {STORED_MAX}; \
             move scripts and data into ConfigMaps that the steps mount, or split the steps"
        )?;
        match &self.largest {
            Some((step, bytes)) => {
                write!(
                    formatter,
                    ". The largest step is {step:?} with {bytes} bytes"
                )
            }
            None => Ok(()),
        }
    }
}

/// The object of a plan that is too large to be stored with its status, if there is one. The Workplan may have
/// metadata of so many bytes more than the compiler gives it.
#[must_use]
pub fn too_large(
    order: Order,
    tasks: &[Task],
    pod: &PodSettings,
    metadata: usize,
) -> Option<TooLarge> {
    let settings = stored_bytes(pod);
    let steps = || tasks.iter().flat_map(Task::steps);
    let workplan = workplan_bytes(tasks, settings, metadata);
    if workplan > STORED_MAX {
        return Some(TooLarge::new(None, workplan, steps()));
    }
    let mut pods = tasks.iter().enumerate();
    pods.find_map(|(at, task)| {
        let relayed = is_relay(order, task);
        let containers = task.steps().map(|step| container_bytes(step, relayed));
        let bytes = POD_BYTES + settings + containers.sum::<usize>();
        (bytes > STORED_MAX).then(|| TooLarge::new(Some(at), bytes, task.steps()))
    })
}

/// The most bytes that a step of a plan may write as outputs, so that the outputs of all its steps can be stored.
#[must_use]
pub fn output_bytes(tasks: &[Task], pod: &PodSettings, metadata: usize) -> usize {
    let steps = tasks.iter().flat_map(Task::steps).count();
    let room = STORED_MAX.saturating_sub(workplan_bytes(tasks, stored_bytes(pod), metadata));
    OUTPUT_BYTES.min(room / STORED_TIMES / steps.max(1))
}

/// A Workplan with its status, without outputs.
fn workplan_bytes(tasks: &[Task], settings: usize, metadata: usize) -> usize {
    let steps = tasks.iter().flat_map(Task::steps);
    let statuses: usize = steps.map(status_bytes).sum();
    WORKPLAN_BYTES + metadata + settings + stored_bytes(tasks) + statuses
}

/// The bytes of a custom resource, or a part of one: JSON, in which the API server writes some characters longer.
#[must_use]
pub fn stored_bytes<T: Serialize + ?Sized>(value: &T) -> usize {
    written(value).stored
}

/// The bytes of a part of a pod, which is stored as protocol buffers: no more than as plain JSON.
fn plain_bytes<T: Serialize + ?Sized>(value: &T) -> usize {
    written(value).plain
}

fn written<T: Serialize + ?Sized>(value: &T) -> Count {
    let mut count = Count::default();
    // Neither counting nor these types can fail; what could not be written takes nothing.
    let _ = serde_json::to_writer(&mut count, value);
    count
}

fn status_bytes(step: &Step) -> usize {
    let approval = step.approval.as_ref().map_or(0, |_| APPROVAL_BYTES);
    STATUS_BYTES + MESSAGE_BYTES + approval + 4 * step.name.len()
}

fn container_bytes(step: &Step, relayed: bool) -> usize {
    let env = step.env.iter().map(|env| ENV_BYTES + env.name.len());
    let mounts = step
        .volume_mounts
        .iter()
        .map(|mount| MOUNT_BYTES + 2 * mount.mount_path.len());
    let more: usize = env.chain(mounts).sum();
    let of_container = if relayed {
        RELAY_CONTAINER_BYTES
    } else {
        CONTAINER_BYTES
    };
    of_container + 8 * step.name.len() + more + plain_bytes(step)
}

#[derive(Default)]
struct Count {
    plain: usize,
    stored: usize,
}

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stored = |byte: &u8| match byte {
            b'<' | b'>' | b'&' => "\\u003c".len(),
            // The line separators begin so, and take as much.
            0xe2 => "\\u2028".len() - 2,
            _ => 1,
        };
        self.plain += bytes.len();
        self.stored += bytes.iter().map(stored).sum::<usize>();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("a", 3)]
    #[case("a && b > c", 7 + 3 * 6 + 2)]
    #[case("\n\"", 6)]
    #[case("\u{2028}", 8)]
    fn text_takes_what_the_api_server_writes(#[case] text: &str, #[case] bytes: usize) {
        assert_eq!(stored_bytes(text), bytes);
    }

    fn task(steps: usize, script: usize) -> Task {
        let step = |at: usize| Step {
            name: format!("step-{at}"),
            commands: vec!["x".repeat(script)],
            ..Step::default()
        };
        Task {
            parallel_steps: (0..steps).map(step).collect(),
            ..Task::default()
        }
    }

    #[rstest]
    #[case::many(500, 1000, false)]
    #[case::many_large(500, 2500, true)]
    #[case::one(1, 1_500_000, false)]
    #[case::one_large(1, 1_570_000, true)]
    fn plan_must_leave_room_for_its_status(
        #[case] steps: usize,
        #[case] script: usize,
        #[case] refused: bool,
    ) {
        let tasks = [task(steps, script)];
        let found = too_large(Order::Linear, &tasks, &PodSettings::default(), 0);
        assert_eq!(found.is_some(), refused, "{found:?}");
    }

    #[rstest]
    #[case::few(60, 100, 4096..4097)]
    #[case::many(500, 100, 300..400)]
    #[case::large(2, 760_000, 2000..4000)]
    #[case::full(2, 790_000, 0..1)]
    fn outputs_of_all_steps_can_be_stored(
        #[case] steps: usize,
        #[case] script: usize,
        #[case] expected: std::ops::Range<usize>,
    ) {
        let bytes = output_bytes(&[task(steps, script)], &PodSettings::default(), 0);
        assert!(expected.contains(&bytes), "{bytes}");
    }

    #[test]
    fn too_large_object_is_named_with_advice() {
        let tasks = [task(2, 800_000)];
        let found = too_large(Order::Relay, &tasks, &PodSettings::default(), 0);
        let said = found.unwrap().to_string();
        let expected = [
            "the Workplan would have 16",
            "at most 1572864",
            "ConfigMaps",
            "\"step-0\"",
        ];
        for words in expected {
            assert!(said.contains(words), "{said}");
        }
    }
}

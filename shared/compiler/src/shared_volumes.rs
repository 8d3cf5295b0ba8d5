//! Volumes of which each pod has one of its own, though steps in several pods mount them.

use std::fmt;

use kubeci_api::{PodSettings, Step, Task};

/// An `emptyDir` among the volumes that steps in different pods mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedVolume {
    /// Its place in the list of volumes.
    pub index: usize,
    name: String,
    /// Two steps of different pods.
    steps: [String; 2],
}

impl fmt::Display for SharedVolume {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let Self { index, name, steps } = self;
        let [one, other] = steps;
        write!(
            formatter,
            "spec.volumes[{index}]: {name:?} is an emptyDir, and each pod has its own one: the steps {one:?} and \
             {other:?} are in different pods and do not share it; share files in /kubeci"
        )
    }
}

/// The volumes that steps in different pods mount and do not share.
#[must_use]
pub fn shared_volumes(tasks: &[Task], pod: &PodSettings) -> Vec<SharedVolume> {
    let volumes = pod.volumes.iter().enumerate();
    let empty = volumes.filter(|(_, volume)| volume.empty_dir.is_some());
    let shared = empty.filter_map(|(index, volume)| {
        let mounts = |step: &&Step| step.volume_mounts.iter().any(|it| it.name == volume.name);
        let mut mounting = tasks.iter().filter_map(|task| task.steps().find(mounts));
        let steps = [mounting.next()?.name.clone(), mounting.next()?.name.clone()];
        Some(SharedVolume {
            index,
            name: volume.name.clone(),
            steps,
        })
    });
    shared.collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Volume, VolumeMount};
    use rstest::rstest;

    use super::*;

    /// A step and the volumes that it mounts, in short.
    fn step(text: &str) -> Step {
        let mut words = text.split(':');
        Step {
            name: words.next().unwrap().to_owned(),
            volume_mounts: words
                .map(|name| VolumeMount {
                    name: name.to_owned(),
                    ..VolumeMount::default()
                })
                .collect(),
            ..Step::default()
        }
    }

    #[rstest]
    #[case::one_pod(&["a:cache b:cache"], None)]
    #[case::one_step(&["a:cache", "b"], None)]
    #[case::other_volume(&["a:claim", "b:claim"], None)]
    #[case::several(&["a:cache b", "c", "d:claim:cache"], Some(["a", "d"]))]
    fn empty_dir_of_several_pods_is_found(
        #[case] tasks: &[&str],
        #[case] expected: Option<[&str; 2]>,
    ) {
        let task = |steps: &&str| Task {
            parallel_steps: steps.split(' ').map(step).collect(),
            ..Task::default()
        };
        let tasks: Vec<Task> = tasks.iter().map(task).collect();
        let volume = |name: &str, empty_dir| Volume {
            name: name.to_owned(),
            empty_dir,
            ..Volume::default()
        };
        let pod = PodSettings {
            volumes: vec![
                volume("claim", None),
                volume("cache", Some(EmptyDirVolumeSource::default())),
            ],
            ..PodSettings::default()
        };
        let found = shared_volumes(&tasks, &pod);
        let steps: Option<[String; 2]> = expected.map(|steps| steps.map(str::to_owned));
        assert_eq!(found.first().map(|it| it.steps.clone()), steps);
        assert!(
            found
                .iter()
                .all(|it| it.to_string().starts_with("spec.volumes[1]"))
        );
    }
}

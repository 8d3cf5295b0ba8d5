//! What kubeci does on a real Kubernetes. Each test is named for what it proves, and has a namespace of its
//! own; they run at the same time and wait for conditions, never for time to pass. A test in which steps run
//! takes both executions, `Pods` and `Relay`, unless what it proves is one's alone.

mod api;
mod approval;
mod caps;
mod confined;
mod deletion;
mod describe;
mod document;
mod exact;
mod examples;
mod finally;
mod handwritten;
mod history;
mod hostile;
mod keep;
mod killed;
mod kinds;
mod labels;
mod malformed;
mod midway;
mod nulls;
mod once;
mod outages;
mod outcomes;
mod outputs;
mod parallel;
mod permission;
mod placement;
mod processes;
mod refused_pods;
mod relay;
mod relay_attempts;
mod replicas;
mod resources;
mod retries;
mod rights;
mod sidecars;
mod states;
mod stopping;
mod taken;
mod too_large;
mod volumes;
mod waiting;
mod workflow;
mod workspace;

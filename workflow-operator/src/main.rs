//! The workflow operator: watches the objects that Workflows name, and creates a Workplan for each event.

mod access_reviews;
mod args;
mod bounded_tasks;
mod discovery;
mod input;
mod metrics;
mod object_watches;
mod operator;
mod status_client;
mod status_writer;
mod workflow_watch;
mod workplan_creator;
mod workplan_deleter;
mod workplan_watch;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

use args::Args;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let settings = args.settings();
    kubeci_controller::run("workflow-operator", args.controller, move |context| {
        operator::run(context, settings)
    })
    .await
}

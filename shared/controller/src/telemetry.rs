//! Log lines on standard output.

use tracing_subscriber::{
    Layer, Registry, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{LogFormat, RuntimeArgs};

/// Sends the process's log lines to standard output; without effect where a logger is set already.
pub fn init(args: &RuntimeArgs) {
    let lines = tracing_subscriber::fmt::layer();
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match args.log_format {
        LogFormat::Text => lines.boxed(),
        // What a line is about stands in the line; the spans of libraries would say it thrice.
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
    };
    let filtered = lines.with_filter(args.log_level.clone());
    // Fails only where a test has set a logger of its own.
    let _ = tracing_subscriber::registry().with(filtered).try_init();
}

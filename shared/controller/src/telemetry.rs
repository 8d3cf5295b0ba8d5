//! Log lines on standard output.

use tracing_subscriber::{
    Layer, Registry, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{ControllerArgs, LogFormat};

/// Writes log lines to standard output; no effect if a logger is set already.
pub fn init(args: &ControllerArgs) {
    let lines = tracing_subscriber::fmt::layer();
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match args.log_format {
        LogFormat::Text => lines.boxed(),
        // The line has the fields; the spans of libraries would repeat them.
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .boxed(),
    };
    let filtered = lines.with_filter(args.log_level.clone());
    // It fails only if a test has set a logger.
    let _ = tracing_subscriber::registry().with(filtered).try_init();
}

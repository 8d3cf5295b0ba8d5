use std::time::Duration;

/// Prints one row: the median, the 99th percentile and the greatest of `samples`.
pub fn row(what: &str, mut samples: Vec<Duration>) {
    samples.sort();
    let at = |share: usize| {
        let index = (samples.len() * share).div_ceil(100).max(1) - 1;
        samples.get(index).copied().unwrap_or_default()
    };
    let count = samples.len();
    println!(
        "| {what} | {} | {} | {} | {count} |",
        text(at(50)),
        text(at(99)),
        text(at(100))
    );
}

fn text(duration: Duration) -> String {
    let milliseconds = duration.as_secs_f64() * 1000.0;
    if milliseconds < 1000.0 {
        format!("{milliseconds:.1} ms")
    } else {
        format!("{:.2} s", duration.as_secs_f64())
    }
}

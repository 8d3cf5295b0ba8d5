use std::time::Duration;

pub fn header() {
    println!("| measured | p50 | p99 | max | n |");
    println!("|---|---|---|---|---|");
}

/// Prints one row: the median, the 99th percentile and the greatest of `samples`.
pub fn row(what: &str, mut samples: Vec<Duration>) {
    samples.sort();
    println!(
        "| {what} | {} | {} | {} | {} |",
        text(at(&samples, 50)),
        text(at(&samples, 99)),
        text(at(&samples, 100)),
        samples.len()
    );
}

/// The mean of several samples.
pub fn mean(samples: &[Duration]) -> Duration {
    let count = u32::try_from(samples.len()).unwrap_or(u32::MAX);
    samples.iter().sum::<Duration>() / count.max(1)
}

/// The mean of several samples, with the least, the greatest and their number.
pub fn spread(samples: &[Duration]) -> String {
    let middle = text(mean(samples));
    let (least, greatest) = (samples.iter().min(), samples.iter().max());
    match (least, greatest) {
        (Some(least), Some(greatest)) if samples.len() > 1 => format!(
            "{middle} ({:.2} to {:.2}, {})",
            least.as_secs_f64(),
            greatest.as_secs_f64(),
            samples.len()
        ),
        _ => middle,
    }
}

/// The least of sorted samples that as many per cent of them do not exceed.
fn at(sorted: &[Duration], share: usize) -> Duration {
    let index = (sorted.len() * share).div_ceil(100).max(1) - 1;
    sorted.get(index).copied().unwrap_or_default()
}

fn text(duration: Duration) -> String {
    let milliseconds = duration.as_secs_f64() * 1000.0;
    if milliseconds < 10.0 {
        format!("{milliseconds:.2} ms")
    } else if milliseconds < 1000.0 {
        format!("{milliseconds:.1} ms")
    } else {
        format!("{:.2} s", duration.as_secs_f64())
    }
}

//! `wpc bench`: repeats a call and measures its rate and latency.

use crate::cache::Cache;
use crate::failure::Failure;
use crate::target::Target;
use crate::terminal;
use crate::text::count;
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use wpc_host::EventDetails;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Number of concurrent calls.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    outstanding: u32,
    /// Duration in seconds.
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    // Last, because its help heading applies to all options that follow.
    #[command(flatten)]
    pub(crate) target: Target,
}

/// The interval between updates of the progress bar.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// The quantiles that are reported.
const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

pub(crate) fn run(arguments: &Arguments, cache: &Cache, as_json: bool) -> Result<(), Failure> {
    let seconds = u64::from(arguments.seconds);
    let outstanding = arguments.outstanding as usize;
    let target = &arguments.target;
    // Counted instead of shown, because every call may log lines.
    let lines = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&lines);
    target.check_input(false)?;
    let wpc = target.pool(cache, outstanding, false, move |event| {
        if matches!(event.details, EventDetails::GuestLog { .. }) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    })?;
    let (name, options) = (&target.name(), target.options().wait_for_capacity());
    let encoded = target.encoded(&wpc)?;
    // If the call fails, reports the error before measuring.
    wpc.submit_encoded(name, &encoded, &options)?.wait_encoded()?;

    // The highest value that is recorded; longer calls count as an hour.
    const HOUR: u64 = 3_600_000_000_000;
    let mut latencies = Histogram::<u64>::new_with_bounds(1, HOUR, 3).map_err(|error| {
        Failure::environment(format!("failed to create the histogram: {error}"))
    })?;
    let bar = progress_bar(seconds);
    let begun = Instant::now();
    let end = begun + Duration::from_secs(seconds);
    let mut next_update = begun;
    let mut calls = VecDeque::with_capacity(outstanding);
    loop {
        let now = Instant::now();
        if calls.len() == outstanding || (now >= end && !calls.is_empty()) {
            if let Some((sent, call)) = calls.pop_front() {
                let call: wpc_host::PendingCall<()> = call;
                call.wait_encoded()?;
                let took: Duration = Instant::now() - sent;
                latencies.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
            }
        } else if now >= end {
            break;
        } else {
            calls.push_back((now, wpc.submit_encoded(name, &encoded, &options)?));
        }
        if now >= next_update {
            bar.set_position(begun.elapsed().as_secs());
            next_update = now + PROGRESS_INTERVAL;
        }
    }
    let elapsed = begun.elapsed().as_secs_f64();
    bar.finish_and_clear();
    wpc.stop_workers();
    terminal::print(report(arguments, &latencies, elapsed, as_json).as_bytes())?;
    let lines = lines.load(Ordering::Relaxed);
    if lines > 0 && !as_json {
        // The reader of standard error may be gone.
        let _ = writeln!(
            std::io::stderr(),
            "the function logged at least {}, which `bench` does not show",
            count(lines, "line")
        );
    }
    Ok(())
}

fn report(
    arguments: &Arguments,
    latencies: &Histogram<u64>,
    elapsed: f64,
    as_json: bool,
) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a rate is not exact")]
    let rate = latencies.len() as f64 / elapsed;
    if as_json {
        let quantiles = QUANTILES.map(|(name, quantile)| {
            (name.to_owned(), json!(latencies.value_at_quantile(quantile)))
        });
        let json = json!({
            "calls": latencies.len(),
            "calls_per_second": rate,
            "outstanding": arguments.outstanding,
            "workers": arguments.target.workers,
            "latency_ns": serde_json::Map::from_iter(quantiles),
        });
        return format!("{json}\n");
    }
    let mut text = format!(
        "{} in {elapsed:.2} s: {rate:.0} calls per second\n{} outstanding, {}\n\n",
        count(latencies.len(), "call"),
        count(arguments.outstanding.into(), "call"),
        count(arguments.target.workers.into(), "worker")
    );
    for (name, quantile) in QUANTILES {
        text += &format!("{name:>6}  {}\n", time(latencies.value_at_quantile(quantile)));
    }
    text + "\n" + &bar_chart(latencies)
}

/// A bar for each power-of-two range of latencies.
fn bar_chart(latencies: &Histogram<u64>) -> String {
    const WIDTH: u64 = 50;
    let steps: Vec<_> = latencies
        .iter_log(latencies.min().max(1), 2.0)
        .map(|step| (step.value_iterated_to(), step.count_since_last_iteration()))
        .filter(|(_, count)| *count > 0)
        .collect();
    let max = steps.iter().map(|(_, count)| *count).max().unwrap_or(1);
    let bar = |(limit, count): &(u64, u64)| {
        let width = usize::try_from(count * WIDTH / max).unwrap_or_default().max(1);
        format!("up to {:>9}  {:<50}  {count}\n", time(*limit), "#".repeat(width))
    };
    steps.iter().map(bar).collect()
}

/// Nanoseconds in a readable unit.
fn time(nanos: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "only a few digits are shown")]
    let nanos = nanos as f64;
    match nanos {
        ..1e3 => format!("{nanos:.0} ns"),
        1e3..1e6 => format!("{:.2} us", nanos / 1e3),
        1e6..1e9 => format!("{:.2} ms", nanos / 1e6),
        _ => format!("{:.2} s", nanos / 1e9),
    }
}

/// A progress bar on standard error, shown only on a terminal.
fn progress_bar(seconds: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} s");
    let bar = ProgressBar::new(seconds);
    style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
}

//! Titles and units of the figures.

/// How a figure is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Figure {
    /// The name in files.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// The quantity of `x`; empty if the figure has a single `x`.
    pub(crate) x: &'static str,
}

const fn figure(name: &'static str, title: &'static str, x: &'static str) -> Figure {
    Figure { name, title, x }
}

pub(crate) const FUNCTIONS: Figure =
    figure("growth-functions", "Scaling with defined functions", "functions defined");
pub(crate) const WORKERS: Figure = figure("growth-workers", "Scaling with workers", "workers");
pub(crate) const OUTSTANDING: Figure =
    figure("growth-outstanding", "Scaling with outstanding calls", "calls outstanding");
pub(crate) const DEPENDENCIES: Figure = figure(
    "growth-dependencies",
    "Scaling with chains of dependencies",
    "dependencies in the chain",
);
pub(crate) const DEFINITIONS: Figure =
    figure("growth-definitions", "Calls while functions are redefined", "definitions per second");
pub(crate) const START_UP: Figure =
    figure("start-up", "From pool creation to the first answer", "modules defined before");

/// All known figures, including those of other programs with the same format.
const FIGURES: [Figure; 15] = [
    FUNCTIONS,
    WORKERS,
    OUTSTANDING,
    DEPENDENCIES,
    DEFINITIONS,
    START_UP,
    figure("latency-payload", "Latency of a call by payload size", "bytes in each direction"),
    figure("latency-add", "Latency of the sum of two numbers", ""),
    figure("throughput-outstanding", "Calls per second by outstanding calls", "calls outstanding"),
    figure("throughput-payload", "Calls per second by payload size", "bytes in each direction"),
    figure(
        "throughput-payload-1",
        "Calls per second by payload size, one outstanding",
        "bytes in each direction",
    ),
    figure("fresh", "A call in a new sandbox", ""),
    figure("after-trap", "The first successful answer after a trap", ""),
    figure("memory", "Resident memory", "workers"),
    figure("memory-peak", "Peak resident memory", "workers"),
];

/// The figure with this name, if it is known.
pub(crate) fn of(name: &str) -> Option<Figure> {
    FIGURES.into_iter().find(|figure| figure.name == name)
}

//! What the figures are called, for people.

/// How a figure is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Figure {
    /// As files have it.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What its `x` counts; nothing where it has only one.
    pub(crate) x: &'static str,
}

const fn figure(name: &'static str, title: &'static str, x: &'static str) -> Figure {
    Figure { name, title, x }
}

pub(crate) const FUNCTIONS: Figure =
    figure("growth-functions", "With many functions defined", "functions defined");
pub(crate) const WORKERS: Figure = figure("growth-workers", "With many workers", "workers");
pub(crate) const OUTSTANDING: Figure =
    figure("growth-outstanding", "With many calls outstanding", "calls outstanding");
pub(crate) const DEPENDENCIES: Figure =
    figure("growth-dependencies", "With chains of dependencies", "dependencies in the chain");
pub(crate) const DEFINITIONS: Figure =
    figure("growth-definitions", "Calls while functions are redefined", "definitions a second");
pub(crate) const START_UP: Figure =
    figure("start-up", "From making a pool to its first answer", "modules defined before");

/// Every figure that is known, those of the other programs of the same format among them.
const FIGURES: [Figure; 15] = [
    FUNCTIONS,
    WORKERS,
    OUTSTANDING,
    DEPENDENCIES,
    DEFINITIONS,
    START_UP,
    figure("latency-payload", "A call with more to carry", "bytes there and back"),
    figure("latency-add", "The sum of two numbers", ""),
    figure("throughput-outstanding", "Calls a second, beside others", "calls outstanding"),
    figure("throughput-payload", "Calls a second with more to carry", "bytes there and back"),
    figure(
        "throughput-payload-1",
        "Calls a second with more to carry, one outstanding",
        "bytes there and back",
    ),
    figure("fresh", "A call in a sandbox made for it", ""),
    figure("after-trap", "The first good answer after a trap", ""),
    figure("memory", "Memory that is resident", "workers"),
    figure("memory-peak", "The most memory that was resident", "workers"),
];

/// The figure of this name, if it is known.
pub(crate) fn of(name: &str) -> Option<Figure> {
    FIGURES.into_iter().find(|figure| figure.name == name)
}

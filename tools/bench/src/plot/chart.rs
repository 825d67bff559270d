//! One chart: lines over two axes with a legend below. It is independent of the measurement.

use super::axis::Axis;
use crate::unit::{Unit, count};
use anyhow::{Context as _, Result};
use plotters::prelude::*;
use std::path::Path;

/// The points of one series: `x`, `y` and the 99th percentile.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64, Option<f64>)>,
}

pub(super) struct Chart {
    pub(super) title: String,
    /// The date and machine of the measurement.
    pub(super) subtitle: String,
    pub(super) x: String,
    pub(super) y: String,
    pub(super) unit: Option<Unit>,
    pub(super) lines: Vec<Line>,
}

/// Colours for a white background that readers with most kinds of colour blindness can distinguish: those of Okabe and
/// Ito, with Tol's indigo instead of yellow. As many as the largest number of series in a figure.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(60, 60, 60),
    RGBColor(51, 34, 136),
];

// In pixels of an image at its original size.
const WIDTH: u32 = 760;
const PLOT: u32 = 420;
const HEAD: u32 = 58;
const LEGEND_LINE: i32 = 20;
const FONT: &str = "sans-serif";
const GREY: RGBColor = RGBColor(90, 90, 90);
const GRID: RGBColor = RGBColor(222, 222, 222);

impl Chart {
    /// Draws the chart to an SVG file.
    pub(super) fn draw(&self, path: &Path) -> Result<()> {
        let has_tails = self.tails().next().is_some();
        let entries = i32::try_from(self.lines.len())? + i32::from(has_tails);
        let height = HEAD + PLOT + u32::try_from(entries * LEGEND_LINE)? + 24;
        let root = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
        self.draw_into(&root, has_tails)
            .and_then(|()| Ok(root.present()?))
            .with_context(|| format!("failed to draw {}", path.display()))
    }

    fn tails(&self) -> impl Iterator<Item = f64> + Clone {
        self.lines.iter().flat_map(|line| line.points.iter().filter_map(|(_, _, p99)| *p99))
    }

    fn draw_into(
        &self,
        root: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
        has_tails: bool,
    ) -> Result<()> {
        root.fill(&WHITE)?;
        let (head, rest) = root.split_vertically(HEAD);
        let (plot, legend) = rest.split_vertically(PLOT);
        let title = (FONT, 20, FontStyle::Bold).into_font().color(&BLACK);
        head.draw(&Text::new(self.title.as_str(), (16, 12), title))?;
        let small = (FONT, 12).into_font().color(&GREY);
        head.draw(&Text::new(self.subtitle.as_str(), (16, 38), small))?;

        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x_axis = Axis::of_choices(points().map(|(x, ..)| *x));
        let y_axis = Axis::of_values(points().map(|(_, y, _)| *y).chain(self.tails()));
        let mut chart = ChartBuilder::on(&plot)
            .margin_top(8)
            .margin_left(14)
            .margin_right(28)
            .x_label_area_size(48)
            .y_label_area_size(76)
            .build_cartesian_2d(x_axis, y_axis)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GREY)
            .x_label_formatter(&|x| count(*x))
            .y_label_formatter(&|y| self.y_text(*y))
            .label_style((FONT, 13))
            .axis_desc_style((FONT, 14))
            .x_desc(self.x.as_str())
            .y_desc(self.y.as_str())
            .draw()?;

        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            for (x, y, p99) in &line.points {
                if let Some(p99) = p99 {
                    let tail = vec![(*x, *y), (*x, *p99)];
                    let thin = colour.mix(0.6).stroke_width(1);
                    chart.draw_series([PathElement::new(tail, thin)])?;
                    let top = Circle::new((*x, *p99), 2, colour.mix(0.6).filled());
                    chart.draw_series([top])?;
                }
            }
            let points = line.points.iter().map(|(x, y, _)| (*x, *y));
            chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?;
            let dots = points.map(|point| Circle::new(point, 4, colour.filled()));
            chart.draw_series(dots)?;
        }

        let mut at = 10;
        let text = (FONT, 13).into_font().color(&BLACK);
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let stroke = vec![(92, at + 6), (116, at + 6)];
            legend.draw(&PathElement::new(stroke, colour.stroke_width(2)))?;
            legend.draw(&Circle::new((104, at + 6), 4, colour.filled()))?;
            legend.draw(&Text::new(line.name.as_str(), (126, at), text.clone()))?;
            at += LEGEND_LINE;
        }
        if has_tails {
            let stroke = vec![(104, at), (104, at + 12)];
            legend.draw(&PathElement::new(stroke, GREY.stroke_width(1)))?;
            legend.draw(&Circle::new((104, at), 2, GREY.filled()))?;
            let small = (FONT, 12).into_font().color(&GREY);
            let what = "from the median up to the 99th percentile";
            legend.draw(&Text::new(what, (126, at), small))?;
        }
        Ok(())
    }

    fn y_text(&self, value: f64) -> String {
        let Some(unit) = self.unit else { return count(value) };
        let text = unit.figure(value, 2);
        // Trailing zeros are dropped: `2.50 us` is `2.5 us`, and `10.00 us` is `10 us`.
        let Some((number, unit)) = text.split_once(' ') else { return text };
        format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
    }
}

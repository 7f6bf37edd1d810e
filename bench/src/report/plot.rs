//! Plots as inline SVG, with the numbers as a table for whoever does not see them.

use super::axis::{Axis, Spacing};
use super::html::escaped;
use super::quantity::number;
use crate::outcome::{Plot, PlotKind, Series};

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 460.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 222.0;
/// Colours that the style sheet knows; further series begin again.
const COLOURS: usize = 6;
/// Lines of the table of numbers: what is left out lies between two that are told.
const MAX_ROWS: usize = 60;
/// Labels below bars that do not touch.
const MAX_BAR_LABELS: usize = 10;

/// A figure of the page; `id` is its own.
pub fn figure(plot: &Plot, id: &str) -> String {
    let title = escaped(&plot.title);
    let names: Vec<String> = plot.series.iter().map(|series| escaped(&series.name)).collect();
    let (x, y) = (escaped(&plot.x_label), escaped(&plot.y_label));
    let (drawing, x_ticks) = match plot.kind {
        PlotKind::Bars => bars(plot),
        PlotKind::Lines => lines(plot, Spacing::Linear, Spacing::Linear),
        PlotKind::Percentiles => lines(plot, Spacing::Nines, Spacing::Logarithmic),
    };
    let key = if plot.kind == PlotKind::Bars { "key block" } else { "key" };
    let legend: String = names
        .iter()
        .enumerate()
        .map(|(index, name)| format!("<li><i class=\"{key} s{}\"></i>{name}</li>", index % COLOURS))
        .collect();
    let (x_middle, y_middle) = (f64::midpoint(LEFT, RIGHT), f64::midpoint(TOP, BOTTOM));
    let (below, right) = (HEIGHT - 8.0, RIGHT);
    format!(
        "<figure class=\"plot\"><figcaption>{title}</figcaption><ul class=\"legend\">{legend}</ul>\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
         <title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{y} by {x}: {}. The numbers are in the table below.</desc>\
         {drawing}{x_ticks}<line class=\"axis\" x1=\"{LEFT}\" y1=\"{BOTTOM}\" x2=\"{right}\" y2=\"{BOTTOM}\"/>\
         <text class=\"label\" x=\"{x_middle}\" y=\"{below}\" text-anchor=\"middle\">{x}</text>\
         <text class=\"label\" transform=\"translate(12 {y_middle}) rotate(-90)\" text-anchor=\"middle\">{y}</text>\
         </svg>{}</figure>",
        names.join(", "),
        numbers(plot)
    )
}

/// The series as lines, and the ticks of the x axis.
fn lines(plot: &Plot, x_spacing: Spacing, y_spacing: Spacing) -> (String, String) {
    let points = || plot.series.iter().flat_map(|series| series.points.iter().copied());
    let x_axis = Axis::of(x_spacing, points().map(|(x, _)| x), (LEFT, RIGHT));
    let y_axis = Axis::of(y_spacing, points().map(|(_, y)| y), (BOTTOM, TOP));
    let mut drawing = y_ticks(&y_axis);
    for (index, series) in plot.series.iter().enumerate() {
        drawing += &line(series, &x_axis, &y_axis, index % COLOURS);
    }
    let ticks = x_axis.ticks();
    (drawing, ticks.iter().map(|(x, label)| x_tick(x_axis.position(*x), label)).collect())
}

fn line(series: &Series, x_axis: &Axis, y_axis: &Axis, colour: usize) -> String {
    let drawable = series.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
    let places: Vec<String> =
        drawable.map(|(x, y)| format!("{:.1},{:.1}", x_axis.position(*x), y_axis.position(*y))).collect();
    // A single point would be no line.
    let dot = match places.as_slice() {
        [place] => place
            .split_once(',')
            .map(|(x, y)| format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"4\" class=\"f{colour}\"/>")),
        _ => None,
    };
    dot.unwrap_or_else(|| format!("<polyline class=\"line s{colour}\" points=\"{}\"/>", places.join(" ")))
}

/// A group of bars for each x that any series has, evenly spaced in their order.
fn bars(plot: &Plot) -> (String, String) {
    let xs = xs(plot);
    let heights = plot.series.iter().flat_map(|series| series.points.iter().map(|(_, y)| *y));
    let y_axis = Axis::of(Spacing::Linear, heights, (BOTTOM, TOP));
    let group = (RIGHT - LEFT) / xs.len().max(1) as f64;
    let bar = (group * 0.8 / plot.series.len().max(1) as f64).min(48.0);
    let (mut drawing, mut ticks) = (y_ticks(&y_axis), String::new());
    let label_each = xs.len().div_ceil(MAX_BAR_LABELS).max(1);
    for (place, x) in xs.iter().enumerate() {
        let middle = LEFT + group * (place as f64 + 0.5);
        let left = middle - bar * plot.series.len() as f64 / 2.0;
        for (index, series) in plot.series.iter().enumerate() {
            let Some((_, y)) = series.points.iter().find(|(own, y)| own == x && y.is_finite()) else {
                continue;
            };
            let (end, zero) = (y_axis.position(*y), y_axis.position(0.0));
            drawing += &format!(
                "<rect class=\"f{}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"1.5\"/>",
                index % COLOURS,
                left + bar * index as f64 + bar * 0.04,
                end.min(zero),
                bar * 0.92,
                (zero - end).abs()
            );
        }
        if place % label_each == 0 {
            ticks += &x_tick(middle, &number_of_axis(*x));
        }
    }
    (drawing, ticks)
}

fn y_ticks(axis: &Axis) -> String {
    let tick = |(value, label): (f64, String)| {
        let y = axis.position(value);
        format!(
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\"/>\
             <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 8.0,
            y + 4.0
        )
    };
    axis.ticks().into_iter().map(tick).collect()
}

fn x_tick(x: f64, label: &str) -> String {
    format!(
        "<line class=\"axis\" x1=\"{x:.1}\" y1=\"{BOTTOM}\" x2=\"{x:.1}\" y2=\"{:.1}\"/>\
         <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
        BOTTOM + 5.0,
        BOTTOM + 19.0
    )
}

/// The text alternative: a row for each x, a column for each series.
fn numbers(plot: &Plot) -> String {
    let xs = xs(plot);
    let each = xs.len().div_ceil(MAX_ROWS).max(1);
    let head: String = plot
        .series
        .iter()
        .map(|series| format!("<th scope=\"col\">{}</th>", escaped(&series.name)))
        .collect();
    let row = |x: &f64| {
        let cell = |series: &Series| {
            let y = series.points.iter().find(|(own, _)| own == x).map(|(_, y)| number(*y));
            format!("<td>{}</td>", y.unwrap_or_default())
        };
        let cells: String = plot.series.iter().map(cell).collect();
        format!("<tr><th scope=\"row\">{}</th>{cells}</tr>", number_of_axis(*x))
    };
    let rows: String = xs.iter().step_by(each).map(row).collect();
    let (x, y) = (escaped(&plot.x_label), escaped(&plot.y_label));
    format!(
        "<details><summary>The numbers: {y}</summary><div class=\"scroll\"><table><thead><tr><th scope=\"col\">{x}</th>{head}</tr></thead>\
         <tbody>{rows}</tbody></table></div></details>"
    )
}

/// Every x of any series, in order.
fn xs(plot: &Plot) -> Vec<f64> {
    let mut xs: Vec<f64> =
        plot.series.iter().flat_map(|series| series.points.iter().map(|(x, _)| *x)).collect();
    xs.retain(|x| x.is_finite());
    xs.sort_by(f64::total_cmp);
    xs.dedup();
    xs
}

/// A percentile keeps its nines, and a size has no needless zeros.
fn number_of_axis(x: f64) -> String {
    if x.fract() == 0.0 {
        number(x).trim_end_matches(".00").trim_end_matches(".0").to_owned()
    } else {
        format!("{x:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(kind: PlotKind, series: Vec<Series>) -> Plot {
        Plot { title: "T & t".into(), x_label: "x".into(), y_label: "y".into(), kind, series }
    }

    fn series(name: &str, points: &[(f64, f64)]) -> Series {
        Series { name: name.into(), points: points.to_vec() }
    }

    #[test]
    fn every_series_is_drawn_named_and_told_in_numbers() {
        let both =
            || vec![series("naru", &[(0.0, 1.0), (1.0, 4.0)]), series("<floor>", &[(0.0, 2.0), (1.0, 8.0)])];
        let text = figure(&plot(PlotKind::Lines, both()), "p1");
        assert_eq!(text.matches("<polyline").count(), 2);
        assert!(
            text.contains("T &amp; t") && text.contains("&lt;floor&gt;") && !text.contains("<floor>"),
            "{text}"
        );
        assert!(text.contains("<tr><th scope=\"row\">1</th><td>4.00</td><td>8.00</td></tr>"), "{text}");
        let text = figure(&plot(PlotKind::Bars, both()), "p2");
        assert_eq!(text.matches("<rect").count(), 4);
    }

    #[test]
    fn what_has_no_points_or_odd_ones_is_still_a_plot() {
        for kind in [PlotKind::Lines, PlotKind::Bars, PlotKind::Percentiles] {
            for points in
                [&[][..], &[(f64::NAN, 1.0)], &[(1.0, f64::INFINITY)], &[(0.0, 0.0)], &[(100.0, 1.0)]]
            {
                let text = figure(&plot(kind, vec![series("s", points)]), "p");
                assert!(
                    text.ends_with("</figure>") && !text.contains("NaN") && !text.contains("inf"),
                    "{text}"
                );
            }
        }
    }
}

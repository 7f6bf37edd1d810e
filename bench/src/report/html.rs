//! The findings as a page: one file that opens offline, has no scripts, and asks nobody for anything.

use super::findings::{Finding, Standing, Trouble};
use super::machine::Circumstances;
use super::plot;
use super::quantity::{Scale, median, spread, target};
use crate::outcome::{Figure, Outcome, Target, Unit};

pub fn page(circumstances: &Circumstances, findings: &[Finding]) -> String {
    let sections: String = findings.iter().map(section).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Naru, measured {started}</title><style>{style}</style></head><body><main>\
         <header><h1>Naru, measured</h1>\
         <p class=\"soft\">Every figure beside a floor that was measured in the same run on the same machine.</p>{facts}{warning}</header>\
         {tiles}{overview}{sections}\
         <footer>Made by <code>{command}</code>. Medians of {runs}; a spread is the smallest and the largest of them.</footer>\
         </main></body></html>\n",
        started = escaped(&circumstances.started_at),
        style = include_str!("style.css"),
        facts = facts(circumstances),
        warning = warning(circumstances),
        tiles = tiles(findings),
        overview = overview(findings),
        command = escaped(&circumstances.command),
        runs = runs(circumstances.runs),
    )
}

fn runs(count: usize) -> String {
    if count == 1 { "1 run".to_owned() } else { format!("{count} runs") }
}

fn facts(circumstances: &Circumstances) -> String {
    let machine = &circumstances.machine;
    let memory = machine.memory_bytes.map(|bytes| {
        let bytes = bytes as f64;
        Scale::of(Unit::Bytes, bytes).quantity(bytes)
    });
    let processor = [
        machine.cores.map(|cores| format!("{cores} × ")).unwrap_or_default(),
        machine.processor.clone().unwrap_or_else(|| "unknown processor".to_owned()),
        memory.map(|memory| format!(", {memory} of memory")).unwrap_or_default(),
    ];
    let named =
        |name: &str, version: &Option<String>| version.as_ref().map(|version| format!("{name} {version}"));
    let programs = [
        Some(format!("Naru {}", circumstances.version)),
        named("Linux", &machine.kernel),
        named("PostgreSQL", &machine.postgres),
        named("Redis", &machine.redis),
    ];
    let effort = format!(
        "{} of {} s after {} s of warm-up{}",
        runs(circumstances.runs),
        circumstances.measured_seconds,
        circumstances.warm_up_seconds,
        if circumstances.is_small { ", at small sizes" } else { "" }
    );
    let rows = [
        ("Date", circumstances.started_at.clone()),
        ("Machine", processor.concat()),
        ("Programs", programs.into_iter().flatten().collect::<Vec<_>>().join(", ")),
        ("Effort", effort),
    ];
    let rows: String =
        rows.iter().map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>", escaped(value))).collect();
    format!("<dl>{rows}</dl>")
}

fn warning(circumstances: &Circumstances) -> String {
    let why = match (circumstances.is_smoke, circumstances.is_release_build) {
        (true, _) => "A smoke run: it shows that everything runs. Its figures say nothing.",
        (false, false) => "A debug build: its figures say nothing about a release build.",
        (false, true) => return String::new(),
    };
    format!("<p class=\"warning\">{why}</p>")
}

fn tiles(findings: &[Finding]) -> String {
    let standing = Standing::of(findings);
    let mut tiles = vec![
        (standing.met, "met", "targets met"),
        (standing.missed.len(), if standing.missed.is_empty() { "" } else { "missed" }, "targets missed"),
    ];
    if !standing.failed.is_empty() {
        tiles.push((standing.failed.len(), "missed", "scenarios failed"));
    }
    if !standing.left_out.is_empty() {
        tiles.push((standing.left_out.len(), "soft", "scenarios left out"));
    }
    let tiles: String = tiles
        .iter()
        .map(|(count, class, what)| {
            format!("<li><b class=\"{class}\">{count}</b><span class=\"soft\">{what}</span></li>")
        })
        .collect();
    format!("<ul class=\"tiles\">{tiles}</ul>")
}

/// Every figure that has a target, and what has failed.
fn overview(findings: &[Finding]) -> String {
    let mut rows = String::new();
    for finding in findings {
        let scenario = escaped(&finding.scenario);
        let link = format!("<td class=\"name scenario\"><a href=\"#{scenario}\">{scenario}</a></td>");
        if let Err(trouble) = &finding.result {
            let (class, what) = match trouble {
                Trouble::Failed(_) => ("missed", "failed"),
                Trouble::LeftOut(_) => ("soft", "left out"),
            };
            rows += &format!(
                "<tr>{link}<td class=\"name soft\">–</td><td></td><td></td><td class=\"{class}\">{what}</td></tr>"
            );
        }
        for figure in finding.figures().iter().filter(|figure| figure.target.is_some()) {
            rows += &format!(
                "<tr>{link}<td class=\"name\">{}</td><td class=\"median\">{}</td><td>{}</td>{}</tr>",
                escaped(&figure.name),
                median(figure),
                target(figure),
                verdict(figure)
            );
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "<section><h2>Targets</h2><div class=\"scroll\"><table><thead><tr><th scope=\"col\" class=\"name scenario\">scenario</th>\
         <th scope=\"col\" class=\"name\">figure</th><th scope=\"col\">median</th><th scope=\"col\">target</th><th scope=\"col\"></th>\
         </tr></thead><tbody>{rows}</tbody></table></div></section>"
    )
}

fn verdict(figure: &Figure) -> &'static str {
    match figure.is_met() {
        Some(true) => "<td class=\"met\">✓ met</td>",
        Some(false) => "<td class=\"missed\">✗ missed</td>",
        None => "<td></td>",
    }
}

fn section(finding: &Finding) -> String {
    let scenario = escaped(&finding.scenario);
    let content = match &finding.result {
        Ok(outcome) => measured(outcome),
        Err(Trouble::Failed(why)) => format!("<p class=\"missed\">Failed: {}</p>", escaped(why)),
        Err(Trouble::LeftOut(why)) => format!("<p class=\"soft\">Left out: {}</p>", escaped(why)),
    };
    let took = match &finding.result {
        Err(Trouble::LeftOut(_)) => String::new(),
        _ => format!("<small>{:.0} s</small>", finding.took.as_secs_f64()),
    };
    format!("<section id=\"{scenario}\"><h2>{scenario}{took}</h2>{content}</section>")
}

fn measured(outcome: &Outcome) -> String {
    let rows: String = outcome.figures.iter().map(row).collect();
    let table = format!(
        "<div class=\"scroll\"><table><thead><tr><th scope=\"col\" class=\"name\">figure</th><th scope=\"col\">median</th>\
         <th scope=\"col\">spread</th><th scope=\"col\" class=\"bar\">runs, from 0</th><th scope=\"col\">target</th>\
         <th scope=\"col\"></th></tr></thead><tbody>{rows}</tbody></table></div>"
    );
    let notes: String = outcome.notes.iter().map(|note| format!("<li>{}</li>", prose(note))).collect();
    let plots: String = outcome
        .plots
        .iter()
        .enumerate()
        .map(|(index, plot)| plot::figure(plot, &format!("{}-{index}", escaped(outcome.scenario))))
        .collect();
    let unless_empty = |text: &str, whole: String| if text.is_empty() { String::new() } else { whole };
    [
        format!("<p class=\"soft\">{}</p>", prose(outcome.measures)),
        unless_empty(&rows, table),
        unless_empty(&notes, format!("<ul class=\"notes\">{notes}</ul>")),
        unless_empty(&plots, format!("<div class=\"plots\">{plots}</div>")),
    ]
    .concat()
}

fn row(figure: &Figure) -> String {
    format!(
        "<tr><th scope=\"row\" class=\"name\">{}</th><td class=\"median\">{}</td><td class=\"soft\">{}</td>\
         <td class=\"bar\">{}</td><td>{}</td>{}</tr>",
        escaped(&figure.name),
        median(figure),
        spread(figure),
        bar(figure),
        target(figure),
        verdict(figure)
    )
}

/// Every run as a dot between 0 and the largest, the median as a line, the target as a dashed one; nothing where there
/// is nothing to compare.
fn bar(figure: &Figure) -> String {
    const WIDTH: f64 = 180.0;
    let (low, high) = figure.spread();
    let bound = figure.target.map(|(Target::AtLeast(bound) | Target::AtMost(bound))| bound);
    let end = high.max(bound.unwrap_or(0.0)) * 1.05;
    let has_more = figure.runs.len() > 1 || bound.is_some();
    if !(has_more && end.is_finite() && end > 0.0 && low >= 0.0) {
        return String::new();
    }
    let at = |value: f64| 4.0 + value / end * (WIDTH - 8.0);
    let dots: String = figure
        .runs
        .iter()
        .map(|run| format!("<circle class=\"run\" cx=\"{:.1}\" cy=\"9\" r=\"2.6\"/>", at(*run)))
        .collect();
    let upright = |class: &str, value: f64| {
        format!("<line class=\"{class}\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"1\" y2=\"17\"/>", at(value))
    };
    format!(
        "<svg viewBox=\"0 0 {WIDTH} 18\" aria-hidden=\"true\"><rect class=\"track\" width=\"{WIDTH}\" y=\"6\" height=\"6\" rx=\"3\"/>\
         <rect class=\"range\" x=\"{:.1}\" y=\"4\" width=\"{:.1}\" height=\"10\" rx=\"3\"/>{dots}{}{}</svg>",
        at(low),
        at(high) - at(low),
        upright("middle", figure.median()),
        bound.map(|bound| upright("bound", bound)).unwrap_or_default()
    )
}

/// Text in which words between backticks are code.
fn prose(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let marked = parts.map(|(index, part)| match index % 2 {
        0 => escaped(part),
        _ => format!("<code>{}</code>", escaped(part)),
    });
    marked.collect()
}

/// Text that is no markup.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn the_page_needs_nothing_but_itself() {
        let page = page(&sample::circumstances(), &sample::findings());
        for reference in ["<script", "<link", "src=", "url(", "@import", "://"] {
            assert!(!page.contains(reference), "{reference}");
        }
    }

    #[test]
    fn every_element_is_closed_by_its_own_end() {
        let page = page(&sample::circumstances(), &sample::findings());
        let mut open = Vec::new();
        for tag in page.split('<').skip(1).filter_map(|text| text.split('>').next()) {
            let name = tag.split([' ', '/']).find(|part| !part.is_empty()).unwrap();
            match tag {
                _ if tag.starts_with('!') || name == "meta" || tag.ends_with('/') => {}
                _ if tag.starts_with('/') => assert_eq!(open.pop(), Some(name), "{tag}"),
                _ => open.push(name),
            }
        }
        assert_eq!(open, Vec::<&str>::new());
    }

    #[test]
    fn each_target_stands_with_its_verdict_and_each_failure_with_its_reason() {
        let page = page(&sample::circumstances(), &sample::findings());
        assert!(page.contains("<td>≥ 0.4 ×</td><td class=\"missed\">✗ missed</td>"));
        assert!(page.contains("<td>≥ 0.18 ×</td><td class=\"met\">✓ met</td>"));
        assert!(page.contains("what a <code>reader</code> has to know"));
        assert!(page.contains("Failed: the disk &lt;full&gt;") && page.contains("Left out: no Node"));
    }
}

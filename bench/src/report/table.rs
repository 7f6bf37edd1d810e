//! The findings for people at a terminal: rows as soon as a scenario ends, and how the targets stand at the end.

use super::findings::{Finding, Standing, Trouble};
use super::quantity::{median, spread, target};
use crate::outcome::{Figure, Outcome};

/// Columns are at least so wide, so that most scenarios' tables stand in line.
const WIDTHS: [usize; 4] = [44, 12, 17, 10];
/// Of notes, which may be long.
const LINE: usize = 110;

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub struct Ink {
    pub is_coloured: bool,
}

impl Ink {
    fn paint(self, code: &str, text: &str) -> String {
        if self.is_coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn verdict(self, is_met: Option<bool>) -> String {
        match is_met {
            Some(true) => self.paint("32", "met"),
            Some(false) => self.paint("1;31", "missed"),
            None => String::new(),
        }
    }
}

/// One scenario's rows.
pub fn rows(finding: &Finding, ink: Ink) -> String {
    let seconds = format!("({:.0} s)", finding.took.as_secs_f64());
    let (name, seconds) = (ink.bold(&finding.scenario), ink.dim(&seconds));
    match &finding.result {
        Ok(outcome) => format!("\n{name}: {} {seconds}\n{}", outcome.measures, figures(outcome, ink)),
        Err(Trouble::Failed(why)) => format!("\n{name} {} {seconds}: {why}\n", ink.paint("1;31", "failed")),
        Err(Trouble::LeftOut(why)) => format!("\n{name} left out: {why}\n"),
    }
}

fn figures(outcome: &Outcome, ink: Ink) -> String {
    let cells: Vec<[String; 4]> = outcome.figures.iter().map(cells).collect();
    let head = ["", "median", "spread", "target"];
    let mut widths = WIDTHS;
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    if !cells.is_empty() {
        text += &(ink.dim(&line(&head.map(str::to_owned), &widths)) + "\n");
    }
    for (row, figure) in cells.iter().zip(&outcome.figures) {
        let row = format!("{}  {}", line(row, &widths), ink.verdict(figure.is_met()));
        text += &(row.trim_end().to_owned() + "\n");
    }
    for note in &outcome.notes {
        text += &(ink.dim(&wrapped(note)) + "\n");
    }
    text
}

fn cells(figure: &Figure) -> [String; 4] {
    [figure.name.clone(), median(figure), spread(figure), target(figure)]
}

/// Names to the left, numbers to the right.
fn line([name, median, spread, target]: &[String; 4], widths: &[usize; 4]) -> String {
    let [of_name, of_median, of_spread, of_target] = widths;
    format!("  {name:<of_name$}  {median:>of_median$}  {spread:>of_spread$}  {target:>of_target$}")
}

fn wrapped(note: &str) -> String {
    let (mut text, mut column) = ("  *".to_owned(), 3);
    for word in note.split_whitespace() {
        let length = word.chars().count() + 1;
        if column + length > LINE {
            text += "\n   ";
            column = 3;
        }
        text += " ";
        text += word;
        column += length;
    }
    text
}

/// How the targets stand; after a smoke run only what failed.
pub fn summary(findings: &[Finding], is_smoke: bool, ink: Ink) -> String {
    let standing = Standing::of(findings);
    let mut text = if is_smoke {
        "\nA smoke run: its figures say nothing.\n".to_owned()
    } else {
        targets(&standing, ink)
    };
    for (what, scenarios) in [("failed", &standing.failed), ("left out", &standing.left_out)] {
        if !scenarios.is_empty() {
            text += &format!("  {}: {}\n", ink.bold(what), scenarios.join(", "));
        }
    }
    text
}

fn targets(standing: &Standing<'_>, ink: Ink) -> String {
    let targets = if standing.met == 1 { "target" } else { "targets" };
    let mut text = format!(
        "\n{} {targets} met, {} missed\n",
        ink.bold(&standing.met.to_string()),
        ink.bold(&standing.missed.len().to_string())
    );
    for (scenario, figure) in &standing.missed {
        let (name, median, target) = (&figure.name, median(figure), target(figure));
        text += &format!("  {} {scenario}: {name}: {median}, not {target}\n", ink.verdict(Some(false)));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::outcome::Unit;

    const PLAIN: Ink = Ink { is_coloured: false };

    fn finding(result: Result<Outcome, Trouble>) -> Finding {
        Finding { scenario: "send".into(), took: Duration::from_secs(7), result }
    }

    fn outcome() -> Outcome {
        let mut outcome = Outcome::new("send", "sends a second");
        outcome.figures.push(Figure::new("naru", Unit::PerSecond, vec![12_000.0, 14_000.0, 13_000.0]));
        outcome.figures.push(Figure::new("of the floor", Unit::Ratio, vec![0.3]).at_least(0.4));
        outcome
    }

    #[test]
    fn each_figure_has_a_row_in_line_with_the_others() {
        let text = rows(&finding(Ok(outcome())), PLAIN);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "send: sends a second (7 s)");
        let end = |line: &str, cell: &str| line.find(cell).map(|at| line[..at + cell.len()].chars().count());
        assert_eq!(end(lines[2], "median"), end(lines[3], "13,000/s"));
        assert_eq!(end(lines[2], "spread"), end(lines[3], "12,000 – 14,000"));
        assert_eq!(end(lines[2], "target"), end(lines[4], "≥ 0.4 ×"));
        assert!(lines[4].ends_with("missed"), "{text}");
    }

    #[test]
    fn the_summary_names_what_is_missed_and_what_failed() {
        let failed = Trouble::Failed("no disk".into());
        let text = summary(&[finding(Ok(outcome())), finding(Err(failed.clone()))], false, PLAIN);
        assert!(text.contains("0 targets met, 1 missed"), "{text}");
        assert!(text.contains("send: of the floor: 0.30 ×, not ≥ 0.4 ×"), "{text}");
        assert!(text.contains("failed: send"), "{text}");
        assert!(rows(&finding(Err(failed)), PLAIN).contains("send failed (7 s): no disk"));
    }

    #[test]
    fn a_long_note_is_wrapped() {
        let text = wrapped(&"word ".repeat(60));
        assert!(text.lines().count() > 2 && text.lines().all(|line| line.len() <= LINE), "{text}");
    }
}

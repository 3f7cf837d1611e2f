//! The table and its picture.

use std::fmt::Write as _;
use std::path::Path;

use plotters::prelude::*;

use crate::Result;
use crate::load::Figures;
use crate::variant::{REFERENCE, Setup, Variant};

/// A variant with what each round has shown.
pub struct Row {
    /// Which.
    pub variant: &'static Variant,
    /// One for each round, in the same order for all rows.
    pub rounds: Vec<Figures>,
}

/// A column that is compared.
struct Column {
    title: &'static str,
    /// In the unit of the title.
    value: fn(&Figures) -> f64,
    digits: usize,
}

const COLUMNS: [Column; 5] = [
    Column { title: "TCP, 1 stream, Gbit/s", value: |figures| figures.tcp / 1e9, digits: 2 },
    Column { title: "TCP, 4 streams, Gbit/s", value: |figures| figures.tcp4 / 1e9, digits: 2 },
    Column { title: "64-byte UDP received, kpps", value: |figures| figures.udp / 1e3, digits: 0 },
    Column { title: "ping RTT, µs", value: |figures| figures.rtt * 1e6, digits: 0 },
    Column { title: "CPU, s/GB", value: |figures| figures.cpu * 1e9, digits: 2 },
];

impl Row {
    fn median(&self, column: &Column) -> f64 {
        median(self.rounds.iter().map(column.value))
    }

    /// The median of the ratios to the reference, each within one round.
    fn ratio(&self, column: &Column, reference: Option<&Row>) -> Option<f64> {
        let pairs = self.rounds.iter().zip(&reference?.rounds);
        Some(median(pairs.map(|(own, other)| (column.value)(own) / (column.value)(other))))
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

/// Markdown: the median of each figure, and behind it the ratio to the kernel's vxlan.
pub fn table(rows: &[Row]) -> String {
    let reference = rows.iter().find(|row| row.variant.name == REFERENCE);
    let titles = COLUMNS.map(|column| column.title).join(" | ");
    let mut text = format!("| way | MTU | {titles} |\n|---|---:|{}\n", "---:|".repeat(COLUMNS.len()));
    for row in rows {
        let mtu = row.rounds.first().map_or(0, |figures| figures.mtu);
        let _ = write!(text, "| {} | {mtu} |", row.variant.name);
        for column in &COLUMNS {
            let ratio = row.ratio(column, reference).map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
            let _ = write!(text, " {:.*} ({ratio}) |", column.digits, row.median(column));
        }
        text.push('\n');
    }
    let _ =
        writeln!(text, "\n{}. In brackets: the ratio to {REFERENCE}, the median of those within one round.", run(rows));
    text
}

/// When, where and how often.
fn run(rows: &[Row]) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model =
        cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("", |(_, name)| name);
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let rounds = match rows.first().map_or(0, |row| row.rounds.len()) {
        1 => "one round".to_owned(),
        rounds => format!("medians of {rounds} rounds"),
    };
    format!("{}, {processors} × {model}, Linux {}, {rounds}", today(), kernel.trim())
}

/// The date in UTC, `2026-11-30`.
fn today() -> String {
    let output = std::process::Command::new("date").args(["-u", "+%F"]).output();
    output.map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Bars for each column but the processor's: the kernel's grey, the naive forwarder's red, ours blue.
pub fn draw(rows: &[Row], file: &Path) -> Result<()> {
    let height = 60 + 26 * u32::try_from(rows.len())?;
    let area = SVGBackend::new(file, (960, 2 * height + 30)).into_drawing_area();
    area.fill(&WHITE)?;
    let (panels, foot) = area.split_vertically(2 * height);
    for (panel, column) in panels.split_evenly((2, 2)).iter().zip(&COLUMNS) {
        bars(panel, rows, column)?;
    }
    foot.draw(&Text::new(run(rows), (12, 8), ("sans-serif", 13)))?;
    Ok(area.present()?)
}

fn bars(panel: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>, rows: &[Row], column: &Column) -> Result<()> {
    const NAMES: i32 = 130;
    const NUMBERS: i32 = 110;
    let most = rows.iter().map(|row| row.median(column)).fold(0.0, f64::max);
    let room = f64::from(i32::try_from(panel.dim_in_pixel().0)? - NAMES - NUMBERS);
    let reference = rows.iter().find(|row| row.variant.name == REFERENCE);
    panel.draw(&Text::new(column.title, (12, 16), ("sans-serif", 16)))?;
    for (row, top) in rows.iter().zip((44..).step_by(26)) {
        let color = match row.variant.setup {
            Setup::Veth | Setup::Vxlan => RGBColor(150, 150, 150),
            Setup::Naive { .. } => RGBColor(200, 90, 80),
            Setup::Ours { .. } => RGBColor(60, 110, 180),
        };
        let value = row.median(column);
        // Not longer than the room: a pixel more or less is not seen.
        let end = NAMES + (value / most * room) as i32;
        panel.draw(&Text::new(row.variant.name, (12, top + 3), ("sans-serif", 13)))?;
        panel.draw(&Rectangle::new([(NAMES, top), (end, top + 18)], color.filled()))?;
        let ratio = row.ratio(column, reference).map_or(String::new(), |ratio| format!(" ({ratio:.2})"));
        panel.draw(&Text::new(format!("{value:.*}{ratio}", column.digits), (end + 6, top + 3), ("sans-serif", 13)))?;
    }
    Ok(())
}

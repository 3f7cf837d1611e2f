//! What a user gets: throughput, packets a second and round-trip time between two network
//! namespaces, ours beside the kernel's vxlan and a naive forwarder. As root:
//!
//! ```text
//! cargo bench -p isatap-benches --bench netns                  # three rounds, about six minutes
//! cargo bench -p isatap-benches --bench netns -- --quick       # one short round: does it run at all?
//! cargo bench -p isatap-benches --bench netns -- 6to4 6rd      # these only, beside those without a daemon
//! ```
//!
//! It prints a table as Markdown and draws it; both are left in `target/netns.md` and
//! `target/netns.svg`. `README.md` beside this file says how to read them.
//!
//! The release build of `isatap` runs as a user starts it, one daemon in each namespace;
//! `ISATAP_BINARY` names another. Namespaces, daemons and files go when the program ends; what a
//! killed one has left goes with the next run.

#[path = "netns/lab.rs"]
mod lab;
#[path = "netns/load.rs"]
mod load;
#[path = "netns/naive.rs"]
mod naive;
#[path = "netns/report.rs"]
mod report;
#[path = "netns/variant.rs"]
mod variant;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;
use std::{env, fs};

use load::{Figures, Load};
use report::Row;
use variant::{Setup, VARIANTS};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // Parts of a measurement are processes of their own, inside a namespace.
    let done = match words[..] {
        ["naive", device, local, remote, queues] => naive::forward(device, local, remote, queues),
        ["flood", address, seconds] => load::flood(address, seconds),
        ["count", address] => load::count(address),
        // `cargo test --benches`; `cargo bench` says `--bench`.
        [] => Ok(()),
        _ => measure(&words),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("netns: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(words: &[&str]) -> Result<()> {
    let quick = words.contains(&"--quick");
    let only: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with("--")).collect();
    if let Err(missing) = lab::check() {
        // `cargo bench` runs all benches: who did not ask for this one is told, and goes on.
        if quick || !only.is_empty() {
            return Err(missing);
        }
        eprintln!("netns: nothing measured: {missing}");
        return Ok(());
    }
    lab::remove_leftovers();
    let load = if quick { Load::QUICK } else { Load::FULL };
    let rounds = if quick { 1 } else { 3 };
    let target = target()?;
    let binary = isatap(&target)?;
    let chosen = VARIANTS.iter().filter(|variant| {
        let is_asked = only.is_empty() || only.iter().any(|word| variant.name.contains(word));
        is_asked || !matches!(variant.setup, Setup::Ours { .. })
    });
    let mut rows: Vec<Row> = chosen.map(|variant| Row { variant, rounds: Vec::new() }).collect();
    if !lab::has_vxlan() {
        eprintln!("netns: this kernel has no vxlan: its row and all ratios are left out");
        rows.retain(|row| !matches!(row.variant.setup, Setup::Vxlan));
    }
    // Interleaved: what else the machine does meets all alike.
    for round in 1..=rounds {
        for row in &mut rows {
            eprintln!("round {round} of {rounds}: {}", row.variant.name);
            let figures = one(row, &binary, load).map_err(|error| format!("{}: {error}", row.variant.name))?;
            row.rounds.push(figures);
        }
    }
    let table = report::table(&rows);
    print!("{table}");
    fs::write(target.join("netns.md"), table)?;
    report::draw(&rows, &target.join("netns.svg"))?;
    eprintln!("netns: written to {0}/netns.md and {0}/netns.svg", target.display());
    Ok(())
}

/// One variant in one round, with namespaces of its own.
fn one(row: &Row, binary: &Path, load: Load) -> Result<Figures> {
    let pair = lab::Pair::new()?;
    let made = row.variant.make(&pair, binary)?;
    let figures = load.run(&pair, made.to)?;
    drop(made);
    Ok(figures)
}

/// The folder `target` that this program was built into.
fn target() -> Result<PathBuf> {
    let program = env::current_exe()?;
    // target/release/deps/netns-0123456789abcdef
    Ok(program.ancestors().nth(3).ok_or("no folder of the build")?.to_owned())
}

/// The tool, as a user has it.
fn isatap(target: &Path) -> Result<PathBuf> {
    if let Some(binary) = env::var_os("ISATAP_BINARY") {
        return Ok(fs::canonicalize(&binary).map_err(|error| format!("ISATAP_BINARY={}: {error}", binary.display()))?);
    }
    eprintln!("netns: building the tool");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = ["build", "--quiet", "--release", "--package", "isatap-std", "--features", "cli", "--bin", "isatap"];
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let status = Command::new(cargo).args(build).arg("--target-dir").arg(target).current_dir(directory).status()?;
    let binary = target.join("release/isatap");
    if status.success() { Ok(binary) } else { Err("the tool does not build".into()) }
}

/// How long something may take that takes a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);

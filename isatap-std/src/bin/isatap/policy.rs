//! `isatap policy`: the tables by which this machine selects addresses.

use std::io::Write;
use std::path::{Path, PathBuf};

use isatap_core::prefix::Ipv6Prefix;
use isatap_core::select::{PolicyRow, RFC3484, RFC6724};
use isatap_std::error::Error;
use isatap_std::policy::{GAI_CONF, GaiConf, System, prefix};
use serde::Serialize;

use crate::exit::{Failure, Status};
use crate::output;

/// Show or change the policy by which this machine selects addresses (RFC 6724).
///
/// There are two tables. The kernel chooses IPv6 source addresses by its labels (ip addrlabel). The
/// C library sorts destinations by the labels and precedences of gai.conf. Each change is made of
/// both, or of neither. A PREFIX is an IPv6 prefix, or an IPv4 one, of which the kernel keeps no
/// label. Programs that run already may keep the old order.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Show(ShowArgs),
    /// Give a prefix this precedence and label, whether it has a row or not.
    Set(RowArgs),
    /// Add a row for a prefix that has none.
    Add(RowArgs),
    Delete(DeleteArgs),
    Reset(ResetArgs),
    Apply(ApplyArgs),
}

/// Show both tables beside the default table of RFC 6724.
#[derive(clap::Args, Debug)]
struct ShowArgs {
    /// Print JSON, one object a row.
    #[arg(short, long)]
    json: bool,
    #[command(flatten)]
    tables: Tables,
}

/// A row, for both.
#[derive(clap::Args, Debug)]
struct RowArgs {
    /// The addresses.
    #[arg(value_name = "PREFIX", value_parser = prefix_argument)]
    prefix: Ipv6Prefix,
    /// The higher, the earlier a destination is tried.
    #[arg(value_parser = clap::value_parser!(u32).range(..=i64::from(GaiConf::MOST)))]
    precedence: u32,
    /// Sources and destinations of equal labels belong together.
    #[arg(value_parser = clap::value_parser!(u32).range(..=i64::from(GaiConf::MOST)))]
    label: u32,
    #[command(flatten)]
    tables: Tables,
}

/// Remove the row of a prefix.
#[derive(clap::Args, Debug)]
struct DeleteArgs {
    /// The prefix of the row.
    #[arg(value_name = "PREFIX", value_parser = prefix_argument)]
    prefix: Ipv6Prefix,
    #[command(flatten)]
    tables: Tables,
}

/// Replace all rows by a default table.
#[derive(clap::Args, Debug)]
struct ResetArgs {
    /// Which: that of RFC 6724, that of RFC 3484 (old Windows), or what Linux and glibc have by themselves.
    #[arg(long, value_name = "TABLE", default_value = "rfc6724", value_parser = ["rfc6724", "rfc3484", "system"])]
    to: String,
    #[command(flatten)]
    tables: Tables,
}

/// Give the kernel the labels of the file, as after a start of the machine.
#[derive(clap::Args, Debug)]
struct ApplyArgs {
    /// The C library's file.
    #[arg(long, value_name = "FILE", default_value = GAI_CONF)]
    gai_conf: PathBuf,
}

#[derive(clap::Args, Debug)]
struct Tables {
    /// Leave the C library's file alone.
    #[arg(long, conflicts_with = "file_only")]
    kernel_only: bool,
    /// Leave the kernel's labels alone.
    #[arg(long)]
    file_only: bool,
    /// The C library's file.
    #[arg(long, value_name = "FILE", default_value = GAI_CONF)]
    gai_conf: PathBuf,
}

impl Tables {
    fn read(&self) -> Result<System, Failure> {
        read(!self.file_only, (!self.kernel_only).then_some(self.gai_conf.as_path()))
    }
}

fn prefix_argument(text: &str) -> Result<Ipv6Prefix, String> {
    prefix(text).map_err(|error| error.to_string())
}

pub(crate) fn run(args: &Args) -> Result<Status, Failure> {
    match &args.command {
        Command::Show(args) => show(args)?,
        Command::Set(args) => args.tables.read()?.set(&args.row())?,
        Command::Add(args) => {
            let mut system = args.tables.read()?;
            if system.has(&args.prefix) {
                let text = format!("{} has a row already; change it with isatap policy set", args.prefix);
                return Err(Failure::Usage(text));
            }
            system.set(&args.row())?;
        }
        Command::Delete(args) => {
            let mut system = args.tables.read()?;
            if !system.has(&args.prefix) {
                return Err(Failure::Usage(format!("{} has no row; see isatap policy show", args.prefix)));
            }
            system.remove(&args.prefix)?;
        }
        Command::Reset(args) => {
            let mut system = args.tables.read()?;
            match args.to.as_str() {
                "rfc3484" => system.replace(&RFC3484)?,
                "system" => system.restore()?,
                _ => system.replace(&RFC6724)?,
            }
        }
        Command::Apply(args) => apply(&args.gai_conf)?,
    }
    Ok(Status::Done)
}

/// Both tables; what glibc makes of the file is told where that is not what it says.
fn read(kernel: bool, path: Option<&Path>) -> Result<System, Failure> {
    let system = System::read(kernel, path)?;
    for (line, text) in system.file().warnings() {
        output::warn(format_args!("{}:{line}: {text}", path.unwrap_or(Path::new(GAI_CONF)).display()));
    }
    Ok(system)
}

/// Without the usual file the C library has its defaults; another one was named to be used.
fn apply(path: &Path) -> Result<(), Failure> {
    if path != Path::new(GAI_CONF) {
        std::fs::metadata(path).map_err(|error| Error::refused("read", path.display(), error))?;
    }
    Ok(read(true, Some(path))?.apply()?)
}

impl RowArgs {
    fn row(&self) -> PolicyRow {
        PolicyRow::new(self.prefix, self.precedence, self.label)
    }
}

/// One prefix in all three tables; `null` where a table has no row of it, or is not looked at.
#[derive(Serialize)]
struct Row {
    prefix: String,
    precedence: Option<u32>,
    label: Option<u32>,
    kernel_label: Option<u32>,
    rfc6724_precedence: Option<u32>,
    rfc6724_label: Option<u32>,
    differs: bool,
}

fn show(args: &ShowArgs) -> Result<(), Failure> {
    let system = args.tables.read()?;
    let (file, kernel) = (system.file().rows(), system.kernel_rows());
    let file = if args.tables.kernel_only { Vec::new() } else { file };
    let mut prefixes: Vec<Ipv6Prefix> = Vec::new();
    for row in RFC6724.iter().chain(&file).chain(&kernel) {
        if !prefixes.contains(&row.prefix) {
            prefixes.push(row.prefix);
        }
    }
    // The longest first, as they are found.
    prefixes.sort_by_key(|prefix| (std::cmp::Reverse(prefix.length()), prefix.address()));
    let rows = prefixes.iter().map(|prefix| {
        let of = |rows: &[PolicyRow]| rows.iter().find(|row| row.prefix == *prefix).copied();
        let (file_row, kernel_row, rfc) = (of(&file), of(&kernel), of(&RFC6724));
        let file_differs = !args.tables.kernel_only && file_row != rfc;
        let kernel_differs = !args.tables.file_only && kernel_row.map(|row| row.label) != rfc.map(|row| row.label);
        Row {
            prefix: prefix.to_string(),
            precedence: file_row.map(|row| row.precedence),
            label: file_row.map(|row| row.label),
            kernel_label: kernel_row.map(|row| row.label),
            rfc6724_precedence: rfc.map(|row| row.precedence),
            rfc6724_label: rfc.map(|row| row.label),
            differs: file_differs || kernel_differs,
        }
    });
    let mut out = output::answer();
    if args.json {
        for row in rows {
            serde_json::to_writer(&mut out, &row).map_err(std::io::Error::from)?;
            out.write_all(b"\n")?;
        }
        return Ok(());
    }
    let source = if system.file().has_rows() { "" } else { " (no rows in it: the table is glibc's own)" };
    writeln!(out, "{}{source}, the kernel's labels, and RFC 6724\n", args.tables.gai_conf.display())?;
    writeln!(out, "{:<28} {:>10} {:>6} {:>7}   RFC 6724", "prefix", "precedence", "label", "kernel")?;
    for row in rows {
        let text = |value: Option<u32>| value.map_or("-".to_owned(), |value| value.to_string());
        let rfc = match (row.differs, row.rfc6724_precedence.zip(row.rfc6724_label)) {
            (false, _) => "the same".to_owned(),
            (true, Some((precedence, label))) => format!("precedence {precedence} label {label}"),
            (true, None) => "no such row".to_owned(),
        };
        let Row { prefix, precedence, label, kernel_label, .. } = &row;
        let [precedence, label, kernel] = [precedence, label, kernel_label].map(|value| text(*value));
        writeln!(out, "{prefix:<28} {precedence:>10} {label:>6} {kernel:>7}   {rfc}")?;
    }
    Ok(())
}

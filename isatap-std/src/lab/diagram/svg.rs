//! The few shapes of a diagram as SVG: whole pixels, and classes for all colours.

use std::fmt::{self, Write as _};

/// How something looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Title,
    Heading,
    Figure,
    Name,
    Text,
    Small,
    Dim,
    Time,
    Label,
    Header,
    Event,
    Good,
    Bad,
    Tunnel,
    Native,
    Plain,
}

impl Class {
    const fn as_str(self) -> &'static str {
        match self {
            Class::Title => "title",
            Class::Heading => "heading",
            Class::Figure => "figure",
            Class::Name => "name",
            Class::Text => "text",
            Class::Small => "small",
            Class::Dim => "dim",
            Class::Time => "time",
            Class::Label => "label",
            Class::Header => "header",
            Class::Event => "event",
            Class::Good => "good",
            Class::Bad => "bad",
            Class::Tunnel => "tunnel",
            Class::Native => "native",
            Class::Plain => "plain",
        }
    }
}

/// Light, and what is otherwise in the dark. A text has a halo of the ground's colour, since
/// lines cross it.
const STYLE: &str = "\
text{font:12px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;fill:#1f2328;\
paint-order:stroke;stroke:#fff;stroke-width:3px;stroke-linejoin:round}\
.ground{fill:#fff}.band{fill:#e6edf5}.node{fill:#f6f8fa;stroke:#8c959f}.life{stroke:#c4ccd4;stroke-dasharray:2 4}\
.title{font-size:18px;font-weight:700}.heading,.figure{font-size:13px;font-weight:700;stroke:none}.figure{fill:#0550ae}\
.name{font-weight:700;stroke:none}.small{font-size:10px;fill:#59636e;stroke:none}\
.dim,.time{fill:#59636e;font-size:11px}.header{font-size:11px;fill:#424a53;stroke:none}\
.event{font-size:11px;font-style:italic;fill:#59636e}.label{font-size:12px}\
text.good{fill:#116329;font-size:11px}text.bad{fill:#b3151f;font-size:11px;font-weight:700}\
line.tunnel{stroke:#0969da;stroke-width:2}line.native{stroke:#1a7f37;stroke-width:1.5}\
line.plain{stroke:#8250df;stroke-width:1.5}path.plain{fill:#8250df}\
path.tunnel{fill:#0969da}path.native{fill:#1a7f37}path.cross{stroke:#cf222e;stroke-width:3;fill:none}\
circle.good{fill:#1a7f37}circle.dim{fill:#8c959f}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3;stroke:#0d1117}.ground{fill:#0d1117}.band{fill:#1c2a3d}\
.node{fill:#161b22;stroke:#6e7681}.life{stroke:#3d444d}.figure{fill:#79c0ff}.small,.dim,.time,.event{fill:#9198a1}\
.header{fill:#b7bdc8}text.good{fill:#56d364}text.bad{fill:#ff7b72}line.tunnel{stroke:#4493f8}line.native{stroke:#3fb950}\
line.plain{stroke:#bc8cff}path.plain{fill:#bc8cff}\
path.tunnel{fill:#4493f8}path.native{fill:#3fb950}path.cross{stroke:#ff7b72}circle.good{fill:#3fb950}}";

/// What is drawn so far, from the ground up.
#[derive(Debug, Default)]
pub(super) struct Drawing {
    /// Bands, boxes and lifelines: behind everything.
    ground: String,
    lines: String,
    texts: String,
}

impl Drawing {
    /// The whole document.
    pub(super) fn write(&self, f: &mut fmt::Formatter<'_>, width: usize, height: usize) -> fmt::Result {
        writeln!(
            f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">"
        )?;
        writeln!(f, "<style>{STYLE}</style>\n<rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>")?;
        writeln!(f, "{}{}{}</svg>", self.ground, self.lines, self.texts)
    }

    pub(super) fn text(&mut self, class: Class, x: usize, y: usize, text: &str) {
        self.anchored(class, x, y, "", text);
    }

    /// A text around `x`.
    pub(super) fn middle(&mut self, class: Class, x: usize, y: usize, text: &str) {
        self.anchored(class, x, y, " text-anchor=\"middle\"", text);
    }

    /// A text that ends at `x`.
    pub(super) fn end(&mut self, class: Class, x: usize, y: usize, text: &str) {
        self.anchored(class, x, y, " text-anchor=\"end\"", text);
    }

    fn anchored(&mut self, class: Class, x: usize, y: usize, anchor: &str, text: &str) {
        if !text.is_empty() {
            let class = class.as_str();
            put(
                &mut self.texts,
                format_args!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\"{anchor}>{}</text>\n", Escaped(text)),
            );
        }
    }

    /// A horizontal line, perhaps with a head at its end.
    pub(super) fn line(&mut self, class: Class, from: (usize, usize), to: (usize, usize), has_head: bool) {
        let class = class.as_str();
        let ((x1, y1), (x2, y2)) = (from, to);
        put(
            &mut self.lines,
            format_args!("<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>\n"),
        );
        if has_head {
            let back = if x1 < x2 { "-9" } else { "9" };
            put(&mut self.lines, format_args!("<path class=\"{class}\" d=\"M{x2} {y2}l{back} -5v10z\"/>\n"));
        }
    }

    pub(super) fn cross(&mut self, x: usize, y: usize) {
        let (x, y) = (x.saturating_sub(5), y.saturating_sub(5));
        put(&mut self.lines, format_args!("<path class=\"cross\" d=\"M{x} {y}l10 10m0 -10l-10 10\"/>\n"));
    }

    pub(super) fn dot(&mut self, class: Class, x: usize, y: usize) {
        let class = class.as_str();
        put(&mut self.lines, format_args!("<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"4\"/>\n"));
    }

    pub(super) fn band(&mut self, y: usize, width: usize, height: usize) {
        put(&mut self.ground, format_args!("<rect class=\"band\" y=\"{y}\" width=\"{width}\" height=\"{height}\"/>\n"));
    }

    pub(super) fn node(&mut self, x: usize, y: usize, width: usize, height: usize) {
        put(
            &mut self.ground,
            format_args!("<rect class=\"node\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"5\"/>\n"),
        );
    }

    pub(super) fn lifeline(&mut self, x: usize, from: usize, to: usize) {
        put(&mut self.ground, format_args!("<line class=\"life\" x1=\"{x}\" y1=\"{from}\" x2=\"{x}\" y2=\"{to}\"/>\n"));
    }
}

/// Into a text, where writing cannot fail.
fn put(to: &mut String, text: fmt::Arguments<'_>) {
    let _ = to.write_fmt(text);
}

/// A text of other people, for XML.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                // XML has no others of them.
                _ if character.is_control() || matches!(character, '\u{fffe}' | '\u{ffff}') => {
                    f.write_str("\u{fffd}")?
                }
                _ => f.write_char(character)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_other_people_are_no_markup() {
        let written = Escaped("<script>&\"\u{1}é✕").to_string();
        assert_eq!(written, "&lt;script&gt;&amp;\"\u{fffd}é✕");
    }
}

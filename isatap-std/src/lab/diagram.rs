//! A journey as a sequence diagram: a column a node, an arrow a packet, both headers beside it.

mod svg;

use std::fmt;

use isatap_core::pretty::Content;

use self::svg::{Class, Drawing};
use super::journey::{Action, CLOUD, Hop, NARRATOR, shown};

/// A journey as a sequence diagram; its `Display` is an SVG document, readable on light and on
/// dark ground.
///
/// Time goes down. Nodes that did nothing have no column.
#[derive(Clone, Copy, Debug)]
pub struct Diagram<'a> {
    /// What stands on top.
    pub title: &'a str,
    /// A line below it.
    pub description: &'a str,
    /// The nodes from left to right: the name, and what stands below it. Nodes that are not here
    /// follow in the order in which they appear.
    pub nodes: &'a [(String, String)],
    /// What happened.
    pub hops: &'a [Hop],
}

/// Widths and heights in pixels.
const LEFT: usize = 76;
const COLUMN: usize = 104;
const RIGHT: usize = 350;
const MARGIN: usize = 16;
const LINE: usize = 14;
/// Hops that may lie between a packet and its end.
const RECENT: usize = 200;
/// Characters of the longest line of headers that is not broken.
const HEADER: usize = 48;

impl fmt::Display for Diagram<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.columns();
        let width = LEFT + COLUMN * columns.len().max(3) + RIGHT;
        let mut sheet = Sheet { columns, width, drawing: Drawing::default(), y: 0, begun: None, told: None };
        sheet.top(self.title, self.description, self.hops.iter().any(|hop| hop.action == Action::Send));
        let mut hops = self.hops.iter().enumerate().peekable();
        while let Some((number, hop)) = hops.next() {
            match hop.action {
                Action::Encapsulate | Action::Send | Action::Translate | Action::Forward => {
                    // What is lost on the way ends this arrow.
                    let is_end = |(_, next): &(usize, &Hop)| next.time == hop.time && is_lost(hop, next);
                    let mut lost = None;
                    while let Some((_, end)) = hops.next_if(is_end) {
                        lost = end.reason.as_deref();
                    }
                    sheet.arrow(hop, lost);
                }
                Action::Drop if hop.node == CLOUD => {
                    // It had arrived where nobody took it.
                    let before = self.hops.iter().take(number).rev().take(RECENT);
                    let to = before.filter(|sent| is_lost(sent, hop)).find_map(|sent| sent.to.first());
                    sheet.drop(hop, to.map_or(CLOUD, |to| to));
                }
                Action::Drop => sheet.drop(hop, &hop.node),
                Action::Deliver => sheet.deliver(hop),
                Action::Event if hop.node == NARRATOR => sheet.narrator(hop),
                Action::Event => sheet.event(hop),
                // The arrow that ends there says it.
                Action::Decapsulate => {}
            }
        }
        sheet.end_section();
        sheet.drawing.write(f, sheet.width, sheet.y + MARGIN)
    }
}

impl Diagram<'_> {
    /// Who did or got something, from left to right.
    fn columns(&self) -> Vec<(String, String)> {
        let mut seen: Vec<&str> = Vec::new();
        for name in self.hops.iter().flat_map(|hop| std::iter::once(&hop.node).chain(&hop.to)) {
            if name != NARRATOR && name != CLOUD && !seen.contains(&name.as_str()) {
                seen.push(name);
            }
        }
        let known = self.nodes.iter().filter(|(name, _)| seen.contains(&name.as_str())).cloned();
        let is_new = |name: &&&str| self.nodes.iter().all(|(known, _)| known != **name);
        let others = seen.iter().filter(is_new).map(|name| ((*name).to_owned(), String::new()));
        known.chain(others).collect()
    }
}

/// Whether `next` says that what `hop` sent, or a part of it, is lost in the cloud.
fn is_lost(hop: &Hop, next: &Hop) -> bool {
    let same_outer = match (&hop.outer, &next.outer) {
        (Some(sent), Some(lost)) => {
            (sent.source, sent.destination, sent.identification) == (lost.source, lost.destination, lost.identification)
        }
        (None, None) => hop.bytes == next.bytes,
        _ => false,
    };
    next.action == Action::Drop && next.node == CLOUD && same_outer
}

/// A drawing that grows downwards.
struct Sheet {
    columns: Vec<(String, String)>,
    width: usize,
    drawing: Drawing,
    y: usize,
    /// Where the lifelines of this section begin.
    begun: Option<usize>,
    /// The time that stands on the left already.
    told: Option<String>,
}

impl Sheet {
    /// `has_plain`: there is IPv4 without a tunnel in it.
    fn top(&mut self, title: &str, description: &str, has_plain: bool) {
        self.y = 30;
        self.drawing.text(Class::Title, MARGIN, self.y, title);
        for line in wrapped(description, (self.width - 2 * MARGIN) / 7) {
            self.y += 18;
            self.drawing.text(Class::Text, MARGIN, self.y, &line);
        }
        self.y += 22;
        let mut x = MARGIN;
        let plain = has_plain.then_some((Class::Plain, "IPv4 alone"));
        for (class, what) in [(Class::Tunnel, "IPv6 in IPv4"), (Class::Native, "IPv6 alone")].into_iter().chain(plain) {
            self.drawing.line(class, (x, self.y - 4), (x + 28, self.y - 4), true);
            self.drawing.text(Class::Dim, x + 36, self.y, what);
            x += 150;
        }
        self.drawing.text(Class::Bad, x, self.y, "✕");
        self.drawing.text(Class::Dim, x + 14, self.y, "dropped, and why");
        self.y += 12;
    }

    /// A band with a title, and the names of the nodes below it.
    fn section(&mut self, figure: Option<&str>, title: &str) {
        self.end_section();
        self.y += 10;
        let x = figure.map_or(MARGIN, |figure| MARGIN + 8 * figure.chars().count() + 12);
        let lines = wrapped(title, (self.width - x - MARGIN) / 8);
        let height = 18 * lines.len() + 12;
        self.drawing.band(self.y, self.width, height);
        if let Some(figure) = figure {
            self.drawing.text(Class::Figure, MARGIN, self.y + 19, figure);
        }
        for line in lines {
            self.y += 18;
            self.drawing.text(Class::Heading, x, self.y + 1, &line);
        }
        self.y += 12;
        self.names();
    }

    fn names(&mut self) {
        let has_about = self.columns.iter().any(|(_, about)| !about.is_empty());
        let (top, height) = (self.y + 8, if has_about { 36 } else { 24 });
        for (number, (name, about)) in self.columns.iter().enumerate() {
            let x = centre(number);
            self.drawing.node(x - COLUMN / 2 + 3, top, COLUMN - 6, height);
            self.drawing.middle(Class::Name, x, top + 16, name);
            self.drawing.middle(Class::Small, x, top + 30, about);
        }
        self.y = top + height;
        self.begun = Some(self.y);
        self.told = None;
        self.y += 8;
    }

    /// Draws the lifelines of what is above.
    fn end_section(&mut self) {
        let Some(begun) = self.begun.take() else { return };
        self.y += 6;
        for number in 0..self.columns.len() {
            self.drawing.lifeline(centre(number), begun, self.y);
        }
    }

    /// A new row of this height. Tells where its middle is.
    fn row(&mut self, hop: &Hop, height: usize) -> usize {
        if self.begun.is_none() {
            self.names();
        }
        let middle = self.y + height / 2;
        let time = hop.seconds();
        if self.told.as_ref() != Some(&time) {
            self.drawing.end(Class::Time, LEFT - 10, middle + 4, &time);
            self.told = Some(time);
        }
        self.y += height;
        middle
    }

    fn x_of(&self, node: &str) -> Option<usize> {
        self.columns.iter().position(|(name, _)| name == node).map(centre)
    }

    fn arrow(&mut self, hop: &Hop, lost: Option<&str>) {
        let lines = headers(hop);
        let y = self.row(hop, (LINE * lines.len() + 20).max(42)) + 7;
        let Some(from) = self.x_of(&hop.node) else { return };
        let class = match (hop.action, &hop.outer) {
            (Action::Send, _) => Class::Plain,
            (_, Some(_)) => Class::Tunnel,
            (_, None) => Class::Native,
        };
        let targets: Vec<usize> = hop.to.iter().filter_map(|to| self.x_of(to)).collect();
        // It leads nowhere: half a column to where there is room.
        let nowhere = if from > centre(0) { from - COLUMN / 2 } else { from + COLUMN / 2 };
        let ends = if targets.is_empty() { vec![nowhere] } else { targets };
        let far = ends.iter().copied().max_by_key(|end| end.abs_diff(from)).unwrap_or(nowhere);
        for end in ends {
            let stop = if lost.is_some() { usize::midpoint(from, end) } else { end };
            self.drawing.line(class, (from, y), (stop, y), lost.is_none());
        }
        let label = message(hop);
        let middle = usize::midpoint(from, far);
        match lost {
            Some(reason) => {
                self.drawing.cross(middle, y);
                self.drawing.middle(Class::Label, self.inside(middle, &label), y - 7, &label);
                let text = format!("✕ {reason}");
                self.drawing.middle(Class::Bad, self.inside(middle, &text), y + 15, &text);
            }
            None => self.drawing.middle(Class::Label, self.inside(middle, &label), y - 7, &label),
        }
        self.headers(&lines, y);
    }

    /// The middle of a text that is to stay right of the times.
    fn inside(&self, middle: usize, text: &str) -> usize {
        let half = text.chars().count() * 7 / 2;
        middle.max(LEFT + half).min((self.width - half).max(LEFT))
    }

    fn headers(&mut self, lines: &[String], y: usize) {
        let x = self.width - RIGHT + 12;
        let top = (y + 1).saturating_sub(LINE * lines.len() / 2);
        for (number, line) in lines.iter().enumerate() {
            // Viewers disagree on blanks.
            let text = line.trim_start();
            let indent = 7 * (line.len() - text.len());
            self.drawing.text(Class::Header, x + indent, top + LINE * number + 3, text);
        }
    }

    fn drop(&mut self, hop: &Hop, at: &str) {
        let lines = headers(hop);
        let y = self.row(hop, (LINE * lines.len() + 14).max(30));
        let text = match (hop.reason.as_deref(), message(hop)) {
            (Some(reason), message) if message.is_empty() => reason.to_owned(),
            (reason, message) => format!("{message}: {}", reason.unwrap_or_default()),
        };
        match self.x_of(at) {
            Some(x) => {
                self.drawing.cross(x, y);
                self.beside(Class::Bad, x, y, &text);
            }
            None => self.drawing.text(Class::Bad, LEFT, y + 4, &format!("✕ {text}")),
        }
        self.headers(&lines, y);
    }

    /// A text beside a lifeline, on the side where there is room for it.
    fn beside(&mut self, class: Class, x: usize, y: usize, text: &str) {
        let length = text.chars().count() * 7 + 12;
        let is_left = x + length > self.width - RIGHT && x > LEFT + length;
        if is_left {
            self.drawing.end(class, x - 10, y + 4, text);
        } else {
            self.drawing.text(class, x + 10, y + 4, text);
        }
    }

    fn deliver(&mut self, hop: &Hop) {
        let y = self.row(hop, 20);
        let Some(x) = self.x_of(&hop.node) else { return };
        self.drawing.dot(Class::Good, x, y);
        self.beside(Class::Good, x, y, &format!("delivered: {}", message(hop)));
    }

    fn event(&mut self, hop: &Hop) {
        let y = self.row(hop, 18);
        let Some(x) = self.x_of(&hop.node) else { return };
        let line = hop.reason.as_deref().unwrap_or_default();
        // What begins with blanks goes on from the line above. Viewers disagree on blanks.
        let text = line.trim_start();
        if text.len() == line.len() {
            self.drawing.dot(Class::Dim, x, y);
        }
        self.beside(Class::Event, x + 7 * (line.len() - text.len()), y, text);
    }

    fn narrator(&mut self, hop: &Hop) {
        let text = hop.reason.as_deref().unwrap_or_default();
        let (class, text) = match text.split_once(": ") {
            Some(("met", rest)) => (Class::Good, format!("✓ {rest}")),
            Some(("not met", rest)) => (Class::Bad, format!("✕ not as expected: {rest}")),
            _ => return self.section(hop.figure_title().as_deref(), text),
        };
        for line in wrapped(&text, (self.width - LEFT - MARGIN) / 7) {
            let y = self.row(hop, 18);
            self.drawing.text(class, LEFT, y + 4, &line);
        }
    }
}

/// The middle of a column.
fn centre(column: usize) -> usize {
    LEFT + COLUMN * column + COLUMN / 2
}

/// What a packet is, in a word or two.
fn message(hop: &Hop) -> String {
    if let Some(flags) = hop.tcp_flags() {
        return format!("TCP {flags}").trim_end().to_owned();
    }
    match (&hop.inner, &hop.outer) {
        (Some(inner), _) => inner.message.replace('-', " "),
        (None, Some(outer)) if outer.protocol == super::ip::PROTOCOL_ICMP => "ICMPv4".to_owned(),
        (None, Some(_)) => "fragment".to_owned(),
        (None, None) => String::new(),
    }
}

/// The headers of a packet, a line each, and what Teredo puts around the inner one.
fn headers(hop: &Hop) -> Vec<String> {
    let mut lines: Vec<String> =
        hop.outer_ends().map(|ends| format!("IPv4 {}", ends.replace("->", "→"))).into_iter().collect();
    let teredo = hop.teredo().filter_map(|layer| match layer.content {
        Content::TeredoOrigin(origin) => Some(format!("     origin {}:{}", origin.address, origin.port)),
        // A nonce says nothing to the eye.
        Content::TeredoTrailer(trailer) if trailer.name() != "nonce" => {
            Some(format!("     {}", layer.to_string().trim_start_matches("Teredo ")))
        }
        _ => None,
    });
    lines.extend(teredo);
    if let Some(inner) = &hop.inner {
        let (source, destination) = (shown(inner.source), shown(inner.destination));
        let line = format!("IPv6 {source} → {destination}");
        if line.chars().count() <= HEADER {
            lines.push(line);
        } else {
            lines.extend([format!("IPv6 {source} →"), format!("     {destination}")]);
        }
        if let Some(Content::Tcp(tcp)) = hop.tcp().map(|layer| layer.content) {
            lines.push(format!("     TCP {} → {}", tcp.source, tcp.destination));
        }
    }
    lines
}

/// Lines of at most `width` characters, if no word is longer.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

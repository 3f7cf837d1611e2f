//! `/etc/gai.conf`, by which glibc sorts destinations.
//!
//! The first `label` line of a file puts all labels of glibc out of effect, and the first
//! `precedence` line all its precedences. So a change writes tables that are complete, and leaves
//! every other line and comment as it was.

use super::longest;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::select::PolicyRow;

/// The two tables, by the word that begins their lines.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    Label,
    Precedence,
}

impl Table {
    const ALL: [Table; 2] = [Table::Label, Table::Precedence];

    fn word(self) -> &'static str {
        match self {
            Table::Label => "label",
            Table::Precedence => "precedence",
        }
    }

    /// What glibc has where a file has no such line.
    fn defaults(self) -> &'static [(&'static str, u32)] {
        match self {
            Table::Label => &[
                ("::1/128", 0),
                ("::/0", 1),
                ("2002::/16", 2),
                ("::/96", 3),
                ("::ffff:0:0/96", 4),
                ("fec0::/10", 5),
                ("fc00::/7", 6),
                ("2001::/32", 7),
            ],
            Table::Precedence => {
                &[("::1/128", 50), ("::/0", 40), ("2002::/16", 30), ("::/96", 20), ("::ffff:0:0/96", 10)]
            }
        }
    }

    fn of(self, row: &PolicyRow) -> u32 {
        match self {
            Table::Label => row.label,
            Table::Precedence => row.precedence,
        }
    }

    /// What glibc gives to addresses that no line of a file knows.
    fn rest(self) -> u32 {
        match self {
            Table::Label => 1,
            Table::Precedence => 40,
        }
    }
}

/// The text of such a file, to be read and changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GaiConf {
    lines: Vec<String>,
}

impl GaiConf {
    /// The largest precedence and label that glibc reads.
    pub const MOST: u32 = i32::MAX.unsigned_abs();

    /// A file of this content. What glibc would pass over, lines that it cannot read, is passed
    /// over here as well.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self { lines: text.lines().map(str::to_owned).collect() }
    }

    /// The content.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [line, "\n"]).collect()
    }

    /// The table in effect: a row for each prefix of either kind of line, the longest first.
    #[must_use]
    pub fn rows(&self) -> Vec<PolicyRow> {
        let [labels, precedences] = Table::ALL.map(|table| self.effective(table));
        let mut rows: Vec<PolicyRow> = Vec::new();
        for (prefix, _) in labels.iter().chain(&precedences) {
            if rows.iter().all(|row| row.prefix != *prefix) {
                let label = longest(&labels, prefix).unwrap_or(Table::Label.rest());
                let precedence = longest(&precedences, prefix).unwrap_or(Table::Precedence.rest());
                rows.push(PolicyRow::new(*prefix, precedence, label));
            }
        }
        rows.sort_by_key(|row| (std::cmp::Reverse(row.prefix.length()), row.prefix.address()));
        rows
    }

    /// What glibc makes of lines that do not say what they seem to: the number of each, from 1, and a
    /// sentence for people.
    #[must_use]
    pub fn warnings(&self) -> Vec<(usize, String)> {
        let mut seen = Vec::new();
        let of_line = |line: &String| match understand(line) {
            Line::Other => None,
            Line::Ignored(why) => Some(format!("glibc passes over this line: {why}")),
            Line::Row { of, prefix, .. } if seen.contains(&(of, prefix)) => {
                Some(format!("glibc passes over this line: an earlier one says the {} of {prefix}", of.word()))
            }
            Line::Row { of, prefix, lacks, .. } => {
                seen.push((of, prefix));
                lacks.map(|what| format!("the {what} is missing: glibc takes 0; write it"))
            }
        };
        let told: Vec<Option<String>> = self.lines.iter().map(of_line).collect();
        (1..).zip(told).filter_map(|(number, text)| Some((number, text?))).collect()
    }

    /// Whether the file has a line of either table; otherwise that of glibc is in effect.
    #[must_use]
    pub fn has_rows(&self) -> bool {
        Table::ALL.iter().any(|table| self.lines.iter().any(|line| read(*table, line).is_some()))
    }

    /// Adds a row, or gives the one of the same prefix other values.
    pub fn set(&mut self, row: &PolicyRow) {
        for table in Table::ALL {
            self.complete(table);
            self.put(table, row.prefix, table.of(row));
        }
    }

    /// Removes the row of a prefix; whether there was one.
    pub fn remove(&mut self, prefix: &Ipv6Prefix) -> bool {
        if self.rows().iter().all(|row| row.prefix != *prefix) {
            return false;
        }
        for table in Table::ALL {
            self.complete(table);
            self.lines.retain(|line| read(table, line).is_none_or(|(of, _)| of != *prefix));
            if self.lines.iter().all(|line| read(table, line).is_none()) {
                // Without any line, glibc would take its own.
                self.put(table, Ipv6Prefix::DEFAULT, table.rest());
            }
        }
        true
    }

    /// Puts these rows in the place of all.
    pub fn replace(&mut self, rows: &[PolicyRow]) {
        // What is there already keeps its line.
        for table in Table::ALL {
            let stays = |prefix: Ipv6Prefix| rows.iter().any(|row| row.prefix == prefix);
            self.lines.retain(|line| read(table, line).is_none_or(|(prefix, _)| stays(prefix)));
            for row in rows {
                self.put(table, row.prefix, table.of(row));
            }
        }
    }

    /// Removes all rows: glibc's own table is in effect.
    pub fn clear(&mut self) {
        for table in Table::ALL {
            self.lines.retain(|line| read(table, line).is_none());
        }
    }

    /// The lines of a table, or what glibc has without any. Of two for one prefix the first counts.
    fn effective(&self, table: Table) -> Vec<(Ipv6Prefix, u32)> {
        let mut rows: Vec<(Ipv6Prefix, u32)> = Vec::new();
        for row in self.lines.iter().filter_map(|line| read(table, line)) {
            if rows.iter().all(|(prefix, _)| *prefix != row.0) {
                rows.push(row);
            }
        }
        if rows.is_empty() { defaults(table) } else { rows }
    }

    /// Writes out what is in effect without a line.
    fn complete(&mut self, table: Table) {
        if self.lines.iter().all(|line| read(table, line).is_none()) {
            for (prefix, value) in defaults(table) {
                self.put(table, prefix, value);
            }
        }
    }

    /// One line of a table for a prefix: where the first of them stands, or behind the last of the table.
    fn put(&mut self, table: Table, prefix: Ipv6Prefix, value: u32) {
        let line = format!("{:<10} {:<20} {value}", table.word(), prefix.to_string());
        let is_same = |line: &String| read(table, line).is_some_and(|(of, _)| of == prefix);
        let Some(first) = self.lines.iter().position(is_same) else {
            let last = self.lines.iter().rposition(|line| read(table, line).is_some());
            self.lines.insert(last.map_or(self.lines.len(), |last| last + 1), line);
            return;
        };
        if read(table, &self.lines[first]) != Some((prefix, value)) {
            self.lines[first] = line;
        }
        let mut place = 0;
        self.lines.retain(|line| {
            place += 1;
            place <= first + 1 || !is_same(line)
        });
    }
}

fn defaults(table: Table) -> Vec<(Ipv6Prefix, u32)> {
    let rows = table.defaults().iter();
    rows.filter_map(|(prefix, value)| Some((prefix.parse().ok()?, *value))).collect()
}

/// A line of a table, as glibc reads it: bits behind a prefix's length do no harm, and a missing number is 0.
fn read(table: Table, line: &str) -> Option<(Ipv6Prefix, u32)> {
    match understand(line) {
        Line::Row { of, prefix, value, .. } if of == table => Some((prefix, value)),
        _ => None,
    }
}

/// What glibc makes of a line. Tried with 2.36: its manual has prefixes without a length too.
enum Line {
    /// Nothing stands there, or what is no table's.
    Other,
    /// `lacks`: the number that is missing, which is 0 then.
    Row { of: Table, prefix: Ipv6Prefix, value: u32, lacks: Option<&'static str> },
    /// It passes over the line: why, and what to write.
    Ignored(String),
}

fn understand(line: &str) -> Line {
    let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
    let Some(word) = words.next() else { return Line::Other };
    let Some(of) = Table::ALL.into_iter().find(|table| table.word() == word) else {
        return match word {
            "reload" | "scopev4" => Line::Other,
            _ => Line::Ignored(format!("{word} is none of label, precedence, scopev4 and reload")),
        };
    };
    let Some(prefix) = words.next() else { return Line::Ignored("it has no prefix".to_owned()) };
    let value = words.next().unwrap_or_default();
    // As strtoul takes them.
    let number = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<u32>().ok() };
    let Some((address, length)) = prefix.split_once('/') else {
        let advice = super::prefix(&format!("{prefix}/{}", if prefix.contains(':') { 128 } else { 32 }));
        let advice = advice.map(|prefix| format!(": write {prefix}")).unwrap_or_default();
        return Line::Ignored(format!("{prefix} has no length{advice}"));
    };
    let Ok(address) = address.parse() else {
        let advice = super::prefix(prefix).map(|prefix| format!(": write {prefix}")).unwrap_or_default();
        return Line::Ignored(format!("{prefix} is no IPv6 prefix{advice}"));
    };
    let Some(prefix) = number(length).and_then(|length| Ipv6Prefix::new(address, u8::try_from(length).ok()?)) else {
        return Line::Ignored(format!("{length} is no length of a prefix: write 0 to 128"));
    };
    let Some(number) = number(value).filter(|value| *value <= GaiConf::MOST) else {
        return Line::Ignored(format!("{value} is no {}: write 0 to {}", of.word(), GaiConf::MOST));
    };
    let lacks = [(length, "length"), (value, of.word())].into_iter().find(|(digits, _)| digits.is_empty());
    Line::Row { of, prefix, value: number, lacks: lacks.map(|(_, what)| what) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isatap_core::select::RFC6724;

    fn prefix(text: &str) -> Ipv6Prefix {
        text.parse().unwrap()
    }

    fn values(file: &GaiConf) -> Vec<(String, u32, u32)> {
        file.rows().iter().map(|row| (row.prefix.to_string(), row.precedence, row.label)).collect()
    }

    #[test]
    fn without_lines_it_is_glibcs_table() {
        let file = GaiConf::new("# nothing\nreload yes\n");
        assert!(!file.has_rows());
        let rows = values(&file);
        assert_eq!(rows.len(), 8);
        assert!(rows.contains(&("fc00::/7".into(), 40, 6)) && rows.contains(&("::ffff:0.0.0.0/96".into(), 10, 4)));
    }

    #[test]
    fn sel_1_a_change_writes_complete_tables_and_keeps_what_others_wrote() {
        let text = "# by hand\nreload yes\nlabel ::1/128 0 # loopback\n\nscopev4 ::ffff:169.254.0.0/112 2\n";
        let mut file = GaiConf::new(text);
        // glibc: this is the only label now, and precedences are its own.
        assert!(values(&file).contains(&("2002::/16".into(), 30, 1)));
        file.set(&PolicyRow::new(prefix("fd11:1111:1111::/48"), 45, 14));
        let rows = values(&file);
        assert!(rows.contains(&("fd11:1111:1111::/48".into(), 45, 14)) && rows.contains(&("2002::/16".into(), 30, 1)));
        let now = file.text();
        for line in text.lines() {
            assert!(now.contains(line), "{line} is gone from\n{now}");
        }
        // The same again changes nothing, nor does what is read back.
        let before = file.clone();
        file.set(&PolicyRow::new(prefix("fd11:1111:1111::/48"), 45, 14));
        assert_eq!((&file, &GaiConf::new(&now)), (&before, &before));
        file.set(&PolicyRow::new(prefix("::1/128"), 50, 3));
        assert!(values(&file).contains(&("::1/128".into(), 50, 3)));
        assert!(file.remove(&prefix("fd11:1111:1111::/48")));
        assert!(!file.remove(&prefix("fd11:1111:1111::/48")));
    }

    #[test]
    fn all_rows_can_be_replaced_and_removed() {
        let mut file = GaiConf::new("label 2001:db8::/32 9\n# end\nprecedence ::/0 7\nprecedence ::/0 8\n");
        file.replace(&RFC6724);
        assert_eq!(file.rows().len(), 9);
        for row in RFC6724 {
            assert!(file.rows().contains(&row), "{row:?}");
        }
        assert_eq!(file.text().lines().count(), 9 + 9 + 1);
        let again = file.clone();
        file.replace(&RFC6724);
        assert_eq!(file, again);
        file.clear();
        assert_eq!(file.text(), "# end\n");
        // Of the last row that goes, something has to be left.
        let mut file = GaiConf::new("label ::1/128 0\nprecedence ::1/128 9\n");
        assert!(file.remove(&prefix("::1/128")));
        assert_eq!(values(&file), [("::/0".to_owned(), 40, 1)]);
    }

    #[test]
    fn lines_are_read_as_glibc_does() {
        let one = |line: &str| read(Table::Label, line).map(|(prefix, value)| (prefix.to_string(), value));
        assert_eq!(one("label 2001:db8::1/128 5 more"), Some(("2001:db8::1/128".into(), 5)));
        assert_eq!(one("label 2001:db8::/32"), Some(("2001:db8::/32".into(), 0)));
        assert_eq!(one("label 2001:db8::/ +5"), Some(("::/0".into(), 5)));
        assert_eq!(one("\tlabel  2001:db8::1/32\t5#x"), Some(("2001:db8::/32".into(), 5)));
        for bad in [
            "",
            "#label ::/0 1",
            "label",
            "label 2001:db8::1 5",
            "label ::/129 1",
            "label ::/0 2147483648",
            "label ::/0 -1",
            "label ::/0 5x",
            "label x/0 1",
            "label 192.0.2.0/24 1",
            "labels ::/0 1",
        ] {
            assert_eq!(one(bad), None, "{bad}");
        }
        let file = GaiConf::new("precedence ::/0 7\nprecedence ::/0 8\n");
        assert_eq!(values(&file).last(), Some(&("::/0".to_owned(), 7, 1)));
    }

    #[test]
    fn lines_that_do_not_say_what_they_seem_to_are_told() {
        let file = GaiConf::new(
            "# by hand\nreload yes\nlabel ::1/128 0\nlabels ::/0 1\nprecedence\nprecedence 2001:db8::1 5\n\
             precedence 192.0.2.0/24 5\nprecedence ::/0 4x\nlabel ::/200 1\nlabel ::/0\nlabel ::1/128 3\nlabel x/1 1\n",
        );
        let over = "glibc passes over this line";
        let told: Vec<String> = file.warnings().iter().map(|(line, text)| format!("{line}: {text}")).collect();
        let expected = [
            format!("4: {over}: labels is none of label, precedence, scopev4 and reload"),
            format!("5: {over}: it has no prefix"),
            format!("6: {over}: 2001:db8::1 has no length: write 2001:db8::1/128"),
            format!("7: {over}: 192.0.2.0/24 is no IPv6 prefix: write ::ffff:192.0.2.0/120"),
            format!("8: {over}: 4x is no precedence: write 0 to 2147483647"),
            format!("9: {over}: 200 is no length of a prefix: write 0 to 128"),
            "10: the label is missing: glibc takes 0; write it".to_owned(),
            format!("11: {over}: an earlier one says the label of ::1/128"),
            format!("12: {over}: x/1 is no IPv6 prefix"),
        ];
        assert_eq!(told, expected);
        assert!(
            GaiConf::new(&{
                let mut file = GaiConf::default();
                file.replace(&RFC6724);
                file.text()
            })
            .warnings()
            .is_empty()
        );
    }
}

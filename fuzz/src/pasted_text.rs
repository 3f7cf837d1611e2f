//! Packets and addresses in pasted text.

pub use explain::{address_text, pasted_text};

// The tool's own reader, which needs nothing but the standard library. Its items are for the module
// that it stands in.
#[path = "../../isatap-std/src/explain"]
mod explain {
    mod host;
    mod pasted;
    #[allow(dead_code, reason = "its errors are the tool's")]
    mod target;

    use std::fmt::Write as _;

    use pasted::{Found, ip_start, pieces};
    use target::{Reading, Target};

    /// An address that all programs read alike stands in the text as it is
    /// usually written. That, too, is read so, whatever the text was.
    pub fn address_text(data: &[u8]) {
        let text = String::from_utf8_lossy(data);
        let Ok(Reading { target: Target::Address(address), is_plain, .. }) = Reading::new(&text) else { return };
        assert_eq!(Reading::new(&address.to_string()), Ok(Target::Address(address).into()));
        let mut words = text.split(|c: char| !c.is_ascii_hexdigit() && c != ':' && c != '.');
        let is_it = |word: &str| word.parse() == Ok(address);
        let stands = words.any(|word| is_it(word) || word.rsplit_once(':').is_some_and(|(host, _)| is_it(host)));
        assert!(stands || !is_plain, "{text:?} is not {address} to all");
    }

    /// Any text is read without a panic, and what is taken for a packet stands in
    /// it digit by digit. A packet that is written as a tool does is read as
    /// exactly its bytes, or refused.
    pub fn pasted_text(data: &[u8]) {
        let text = String::from_utf8_lossy(data);
        for piece in pieces(&text, |line| line.is_empty()) {
            if let Found::Packet(bytes) = piece.found {
                // Strings, decimal and octal numbers have other digits; words another order.
                let is_hex = !text.contains(['\\', '[', '{', '*']) && !has_words(&text);
                assert!(!is_hex || stands_in(&bytes, &text), "{bytes:02x?} is not in {text:?}");
                let again = read(&stream(&bytes));
                let exact = Some(bytes.get(ip_start(&bytes)..).unwrap_or(&[]));
                assert!(again.is_none() || again.as_deref() == exact, "{bytes:02x?} is read as {again:02x?}");
            }
        }
        let packet = packet(data);
        let accepted = read(&stream(&packet));
        for (name, text) in written(&packet) {
            let found = read(&text);
            assert!(found.is_none() || found.as_ref() == Some(&packet), "{name}: {text}\n{found:02x?}");
            // A whole packet is refused in no form.
            assert!(accepted.is_none() || found.is_some(), "{name}: {text}");
        }
    }

    /// An IPv4 packet with `data` in it.
    fn packet(data: &[u8]) -> Vec<u8> {
        let data = data.get(..data.len().min(1400)).unwrap_or(&[]);
        let length = u16::try_from(data.len() + 20).unwrap_or(0).to_be_bytes();
        let mut packet = vec![0x45, 0, length[0], length[1], 0, 1, 0, 0, 64, 253, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1];
        packet.extend(data);
        packet
    }

    /// The one packet of a text.
    fn read(text: &str) -> Option<Vec<u8>> {
        match <[pasted::Piece; 1]>::try_from(pieces(text, |_| false)) {
            Ok([pasted::Piece { found: Found::Packet(bytes), .. }]) => Some(bytes),
            _ => None,
        }
    }

    fn stream(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The packet as tools write it: writers of our own.
    fn written(packet: &[u8]) -> Vec<(&'static str, String)> {
        let shown = |row: &[u8]| -> String {
            row.iter().map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' }).collect()
        };
        let (mut xxd, mut tcpdump, mut hexdump, mut tshark, mut od) =
            <(String, String, String, String, String)>::default();
        for (row, bytes) in packet.chunks(16).enumerate() {
            let at = row * 16;
            let groups: Vec<String> = bytes.chunks(2).map(stream).collect();
            let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(xxd, "{at:08x}: {:<39}  {}", groups.join(" "), shown(bytes)).unwrap_or(());
            writeln!(tcpdump, "\t0x{at:04x}:  {}", groups.join(" ")).unwrap_or(());
            let (left, right) = pairs.split_at(pairs.len().min(8));
            let halves = format!("{} {:<23}", left.join(" "), right.join(" "));
            writeln!(hexdump, "{at:08x}  {halves:<48}  |{}|", shown(bytes)).unwrap_or(());
            writeln!(tshark, "{at:04x}  {:<47}   {}", pairs.join(" "), shown(bytes)).unwrap_or(());
            writeln!(od, "{at:07o} {}", pairs.join(" ")).unwrap_or(());
        }
        writeln!(hexdump, "{:08x}", packet.len()).unwrap_or(());
        writeln!(od, "{:07o}", packet.len()).unwrap_or(());
        let escaped: String = packet.iter().map(|byte| format!("\\x{byte:02x}")).collect();
        let list: Vec<String> = packet.iter().map(|byte| format!("0x{byte:02x}")).collect();
        vec![
            ("xxd", xxd),
            ("tcpdump -x", tcpdump),
            ("hexdump -C", hexdump),
            ("tshark -x", tshark),
            ("od -t x1", od),
            ("string", format!("b\"{escaped}\"")),
            ("array", format!("unsigned char p[{}] = {{ {} }};", packet.len(), list.join(", "))),
        ]
    }

    /// Whether the digits of `bytes` stand in the text in this order.
    fn stands_in(bytes: &[u8], text: &str) -> bool {
        let mut digits = text.chars().filter(char::is_ascii_hexdigit).map(|digit| digit.to_ascii_lowercase());
        stream(bytes).chars().all(|wanted| digits.any(|digit| digit == wanted))
    }

    /// Whether there may be words or octal bytes behind wide offsets.
    fn has_words(text: &str) -> bool {
        text.lines()
            .any(|line| line.split_whitespace().next().is_some_and(|token| token.len() >= 6 && !token.ends_with(':')))
    }
}

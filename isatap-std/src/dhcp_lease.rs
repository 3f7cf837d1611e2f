//! What a DHCPv4 client has written down of its lease: 6rd domains come by option 212.
//!
//! The client is somebody else's, and asks for the option. Read are the leases of ISC `dhclient`,
//! of which the last one counts, and `NAME=VALUE` lines, as a script of busybox' `udhcpc` writes
//! them from its environment. systemd-networkd, as of version 252, asks for the option where it is told
//! to, and does not write it down. [RFC 5969 §7.1.1]

mod file;

pub(crate) use file::LeaseFile;

use isatap_core::prefix::Ipv6Prefix;
use isatap_core::sixrd::dhcp::{self, SixRdOption};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

/// A lease, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lease {
    /// The value of option 212, checked; `None`: it has none.
    option: Option<Vec<u8>>,
    /// When it ends, by the clock at the time of writing; `None`: the file does not say.
    ends: Option<SystemTime>,
    /// Whether systemd-networkd wrote it, which keeps options 224 to 254 alone.
    is_networkds: bool,
}

/// Seconds from 1970 to 2026. A clock that shows less is not set: no machine without a battery
/// knows the time before NTP tells it.
const CLOCK_IS_SET: Duration = Duration::from_secs(1_767_225_600);

impl Lease {
    /// Its 6rd domain.
    pub(crate) fn option(&self) -> Option<SixRdOption<'_>> {
        SixRdOption::parse(self.option.as_ref()?).ok()
    }

    /// Reads a file with this text, which was written at this time. `device`: of whose leases;
    /// `None`: whichever.
    ///
    /// # Errors
    ///
    /// There is an option, and it is none: what is wrong with it.
    fn read(text: &str, written: SystemTime, device: Option<&str>) -> Result<Self, String> {
        let is_dhclient = text.lines().any(|line| line.trim_start().starts_with("lease {"));
        let found = if is_dhclient { of_dhclient(text, device) } else { of_lines(text, written) };
        let option = found.option.filter(|value| !value.is_empty()).map(|value| bytes_of(&value)).transpose()?;
        // Its first line.
        let is_networkds = text.starts_with("# This is private data. Do not parse.");
        Ok(Self { option, ends: found.ends, is_networkds })
    }

    /// Whether no lease in this file will ever have the option.
    pub(crate) fn is_of_networkd(&self) -> bool {
        self.is_networkds
    }

    /// How long it lasts from now on, if it says so, and was written at that time. A file that was
    /// written before the clock was set, or in the future, counts as written now.
    fn left(&self, written: SystemTime, now: SystemTime) -> Option<Duration> {
        let ends = self.ends?;
        let is_set = |time: SystemTime| time >= SystemTime::UNIX_EPOCH + CLOCK_IS_SET;
        let from = if is_set(written) || !is_set(now) { now.max(written) } else { written };
        Some(ends.duration_since(from).unwrap_or_default())
    }
}

/// What stands in a file.
#[derive(Default)]
struct Found {
    option: Option<String>,
    ends: Option<SystemTime>,
}

/// Whether a name means option 212: it is whoever configures a client that gives it one.
fn is_option(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("6rd") || name.ends_with("212")
}

/// Whether a file of `dhclient`, which is still open for writing, has no lease that is cut short.
fn is_whole(text: &str) -> bool {
    text.rsplit_once("lease {").is_some_and(|(_, last)| last.contains('}'))
}

/// The last lease of a device.
fn of_dhclient(text: &str, device: Option<&str>) -> Found {
    let leases = text.split("lease {").skip(1).filter_map(|rest| rest.split_once('}')).map(|(lease, _)| lease);
    let statements = |lease: &str| -> Vec<(String, String)> {
        let statements = lease.split(';').filter_map(|statement| statement.trim().split_once(char::is_whitespace));
        statements.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
    };
    let is_its = |lease: &Vec<(String, String)>| {
        let interface = lease.iter().find(|(name, _)| name == "interface");
        match (interface, device) {
            (Some((_, name)), Some(device)) => unquoted(name) == device,
            _ => true,
        }
    };
    let Some(lease) = leases.map(statements).filter(is_its).last() else { return Found::default() };
    let mut found = Found::default();
    for (name, value) in lease {
        match name.as_str() {
            "option" => {
                let option = value.split_once(char::is_whitespace).filter(|(name, _)| is_option(name));
                found.option = option.map(|(_, value)| value.trim().to_owned()).or(found.option);
            }
            "expire" => found.ends = time_of(&value),
            _ => {}
        }
    }
    found
}

/// `NAME=VALUE`, as a shell writes its environment.
fn of_lines(text: &str, written: SystemTime) -> Found {
    let mut found = Found::default();
    for line in text.lines() {
        let line = line.trim();
        let Some((name, value)) = line.strip_prefix("export ").unwrap_or(line).split_once('=') else { continue };
        let value = unquoted(value);
        if is_option(name) {
            found.option = Some(value.to_owned());
        } else if ["lease", "lifetime", "dhcp_lease_time", "new_dhcp_lease_time"]
            .contains(&name.to_lowercase().as_str())
        {
            found.ends = value.parse().ok().and_then(|seconds| written.checked_add(Duration::from_secs(seconds)));
        }
    }
    found
}

fn unquoted(value: &str) -> &str {
    let value = value.trim();
    let inner = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

/// The option's bytes, of which the text is one of three: `8 32 2001:db8:: 10.0.0.1`, as those print
/// it who know the option, `8:20:20:1:…` or `0820…`, as those do who do not.
fn bytes_of(text: &str) -> Result<Vec<u8>, String> {
    let words: Vec<&str> = text.split([' ', ',', '\t']).filter(|word| !word.is_empty()).collect();
    let bytes = match words.as_slice() {
        [mask, length, prefix, relays @ ..] => of_words(mask, length, prefix, relays),
        [word] if word.contains(':') => word.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect(),
        [word] if word.len() % 2 == 0 && word.is_ascii() => {
            (0..word.len()).step_by(2).map(|at| u8::from_str_radix(word.get(at..at + 2)?, 16).ok()).collect()
        }
        _ => None,
    };
    let bytes: Vec<u8> = bytes.ok_or_else(|| format!("{text:?} is no option 212"))?;
    // S6R-10
    SixRdOption::parse(&bytes).map(drop).map_err(|error| format!("{text:?} is no valid option 212: {error}"))?;
    Ok(bytes)
}

fn of_words(mask: &str, length: &str, prefix: &str, relays: &[&str]) -> Option<Vec<u8>> {
    let prefix = Ipv6Prefix::new(prefix.parse::<Ipv6Addr>().ok()?, length.parse().ok()?)?;
    let relays = relays.iter().map(|relay| relay.parse().ok()).collect::<Option<Vec<Ipv4Addr>>>()?;
    let mut option = [0; 257];
    let length = dhcp::emit(mask.parse().ok()?, &prefix, &relays, &mut option).ok()?;
    // Without its code and length.
    option.get(2..length).map(<[u8]>::to_vec)
}

/// `2 2026/12/01 10:00:00`, in UTC, or `epoch 1796119200`.
fn time_of(text: &str) -> Option<SystemTime> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let since = match words.as_slice() {
        ["epoch", seconds, ..] => seconds.parse().ok()?,
        [_weekday, date, time, ..] => {
            let [year, month, day] = numbers(date, '/')?;
            let [hour, minute, second] = numbers(time, ':')?;
            days(year, month, day)?.checked_mul(86_400)?.checked_add(hour * 3600 + minute * 60 + second)?
        }
        _ => return None,
    };
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(since))
}

fn numbers(text: &str, between: char) -> Option<[u64; 3]> {
    let numbers = text.split(between).map(|number| number.parse().ok()).collect::<Option<Vec<u64>>>()?;
    numbers.try_into().ok().filter(|numbers: &[u64; 3]| numbers.iter().all(|number| *number < 10_000))
}

/// Days from 1970 to a day of the Gregorian calendar.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    // Years that begin in March have their leap day last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let of_years = year * 365 + year / 4 - year / 100 + year / 400;
    (of_years + (month * 153 + 2) / 5 + day).checked_sub(719_469)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: SystemTime = SystemTime::UNIX_EPOCH;

    fn read(text: &str) -> Lease {
        Lease::read(text, AT, Some("eth0")).unwrap()
    }

    fn domain(lease: &Lease) -> Option<(u8, String, Vec<Ipv4Addr>)> {
        let option = lease.option()?;
        Some((option.ipv4_mask_len(), option.prefix().to_string(), option.relays().collect()))
    }

    /// As the option's example of RFC 5969 is written by each client.
    #[test]
    fn s6r_14_the_last_lease_of_dhclient_counts() {
        let lease = |device: &str, option: &str, expire: &str| {
            format!(
                "lease {{\n  interface \"{device}\";\n  fixed-address 10.100.100.1;\n  option subnet-mask 255.0.0.0;\n  \
                 {option}\n  renew 1 2026/11/30 10:00:00;\n  expire {expire};\n}}\n"
            )
        };
        let known = "option option-6rd 8 32 2001:db8:: 10.0.0.1, 10.0.0.2;";
        let unknown = "option unknown-212 8:20:20:1:d:b9:0:0:0:0:0:0:0:0:0:0:0:0:a:0:0:1;";
        let two = lease("eth0", known, "2 2026/12/01 10:00:00") + &lease("eth0", unknown, "epoch 1796119200; # Tue");
        let relays = vec![Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
        let first = read(&lease("eth0", known, "2 2026/12/01 10:00:00"));
        assert_eq!(domain(&first), Some((8, "2001:db8::/32".to_owned(), relays.clone())));
        let ends = AT + Duration::from_secs(1_796_119_200);
        assert_eq!(first.ends, Some(ends), "date -u -d '2026-12-01 10:00' +%s");
        let last = read(&two);
        assert_eq!(domain(&last), Some((8, "2001:db9::/32".to_owned(), relays[..1].to_vec())));
        assert_eq!(last.ends, Some(ends));
        // Of another device, and without the option.
        assert_eq!(domain(&read(&(two.clone() + &lease("eth1", known, "never")))), domain(&last));
        let without = read(&(two + &lease("eth0", "", "never")));
        assert_eq!((domain(&without), without.ends), (None, None));
        assert_eq!(domain(&read("lease {\n  interface \"eth0\";\n")), None, "cut short");
    }

    #[test]
    fn s6r_8_a_lease_that_was_written_before_the_clock_was_set_lasts_as_long_as_it_says() {
        let seconds = |seconds| AT + Duration::from_secs(seconds);
        let year = 31_536_000;
        let (early, now) = (seconds(20), seconds(56 * year + 20_000_000));
        let left = |text: &str, written, now| {
            Lease::read(text, written, None).unwrap().left(written, now).map(|left| left.as_secs())
        };
        let lines = "lease=86400\n";
        assert_eq!(left(lines, early, seconds(50)), Some(86_370), "one clock, which nobody has set");
        assert_eq!(left(lines, early, now), Some(86_400), "NTP came between");
        assert_eq!(left(lines, now + Duration::from_secs(900), now), Some(86_400), "written in the future");
        assert_eq!(left(lines, now, now + Duration::from_secs(900)), Some(85_500));
        assert_eq!(left(lines, now, now + Duration::from_secs(90_000)), Some(0));
        assert_eq!(left("", now, now), None);
        let dhclient = "lease {\n  expire 5 1970/01/02 00:00:20;\n}\n";
        assert_eq!(left(dhclient, early, now), Some(86_400));
    }

    #[test]
    fn s6r_14_lines_of_a_script_are_read() {
        let expected = Some((8, "2001:db8::/32".to_owned(), vec![Ipv4Addr::new(10, 0, 0, 1)]));
        for text in [
            "interface=eth0\nip6rd='8 32 2001:db8:: 10.0.0.1'\nlease=900\n",
            "export lease=\"900\"\nexport opt212=082020010db80000000000000000000000000a000001\n",
            "new_option_6rd='8 32 2001:db8:: 10.0.0.1'\nnew_dhcp_lease_time='900'\n",
            "LIFETIME=900\nOPTION_212=082020010DB80000000000000000000000000A000001\n",
        ] {
            let lease = read(text);
            assert_eq!((domain(&lease), lease.ends), (expected.clone(), Some(AT + Duration::from_secs(900))), "{text}");
        }
        assert_eq!(read(""), Lease::default());
        assert_eq!(read("ip6rd=''\n"), Lease::default());
    }

    #[test]
    fn s6r_10_what_is_no_option_is_refused_and_not_guessed() {
        for value in [
            "8",
            "8 32 2001:db8::",
            "33 32 2001:db8:: 10.0.0.1",
            "8 120 2001:db8:: 10.0.0.1",
            "zz",
            "8:20:zz",
            "8 32 x 10.0.0.1",
        ] {
            let refused = Lease::read(&format!("ip6rd='{value}'\n"), AT, None).unwrap_err();
            assert!(refused.contains("option 212"), "{refused}");
        }
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(days(1970, 1, 1), Some(0));
        assert_eq!(days(2000, 2, 29).unwrap() + 1, days(2000, 3, 1).unwrap());
        assert_eq!(days(2100, 2, 28).unwrap() + 1, days(2100, 3, 1).unwrap());
        assert_eq!(days(2026, 12, 1), Some(1_796_119_200 / 86_400));
    }
}

//! The hosts file (NAM-40).

use std::net::Ipv4Addr;

use super::Name;

/// The IPv4 addresses that a hosts file gives to `name`, in the order of the
/// file and each once. A byte order mark would be part of its first line:
/// [`decode`](crate::text_file::decode) takes it off.
///
/// NAM-40: a line is `address name [alias…] [# comment]`; names are compared
/// whole and without regard to case; the lines of one name add up; lines with an
/// IPv6 address, and lines that cannot be read, are skipped.
#[must_use]
pub fn addresses(hosts: &str, name: &Name) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    for line in hosts.lines() {
        let line = line.split_once('#').map_or(line, |(line, _)| line);
        let mut words = line.split_ascii_whitespace();
        // The name first: most lines of a long file are about other names.
        let Some(address) = words.next() else {
            continue;
        };
        if !words.any(|word| name.matches(word)) {
            continue;
        }
        if let Ok(address) = address.parse()
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTS: &str = "# site routers\n\
        127.0.0.1 localhost\n\
        10.0.0.10\tISATAP other   # 10.0.0.99 isatap\n\
        \x20 10.0.0.1   gateway isatap. \r\n\
        fe80::1 isatap\n\
        10.0.0.1 isatap\n\
        010.0.0.7 isatap\n\
        10.0.0.300 isatap\n\
        isatap\n\
        10.0.0.2\n\
        #10.0.0.3 isatap\n\
        10.0.0.5 other # isatap # again\n\
        10.0.0.4 isatap2 xisatap isatap.example.com\n\
        \n";

    #[test]
    fn nam_40_lines_of_one_name_add_up_and_bad_lines_are_skipped() {
        assert_eq!(
            addresses(HOSTS, &"Isatap".parse().unwrap()),
            [Ipv4Addr::new(10, 0, 0, 10), Ipv4Addr::new(10, 0, 0, 1)]
        );
        assert_eq!(addresses(HOSTS, &"isatap.example.com.".parse().unwrap()), [Ipv4Addr::new(10, 0, 0, 4)]);
        assert!(addresses(HOSTS, &"isata".parse().unwrap()).is_empty());
        assert!(addresses("", &"isatap".parse().unwrap()).is_empty());
    }

    /// The hourly script of KAME took 10.0.0.1 for known because the text of
    /// 10.0.0.10 contains it (NAM-50).
    #[test]
    fn nam_50_an_address_is_not_found_inside_a_longer_one() {
        let hosts = "10.0.0.10 isatap\n10.0.0.1 isatap\n110.0.0.1 isatap\n";
        assert_eq!(addresses(hosts, &"isatap".parse().unwrap()).len(), 3);
    }
}

//! The modules by which the C library looks up names: loaded while they can be.
//!
//! glibc loads them when a look-up comes to them. Then it is too late: no file of `/usr/lib` may be
//! opened any more, and no memory be executable. One that is loaded already it finds by its name.

use crate::text_file;
use std::ffi::CString;
use std::path::Path;

/// Loads, for ever, what the line `hosts` of nsswitch.conf(5) names. Asks nobody for any name.
pub(super) fn load() {
    // Without the file glibc has files and dns alone, which are part of it.
    let text = text_file::read_lossy(Path::new("/etc/nsswitch.conf")).unwrap_or_default();
    for service in services(&text) {
        let Ok(file) = CString::new(format!("libnss_{service}.so.2")) else { continue };
        // SAFETY: the name is a C string that outlives the call. What the module does when it is loaded
        // is what it would do when glibc loads it.
        // One that cannot be loaded is one that glibc does without.
        unsafe { libc::dlopen(file.as_ptr(), libc::RTLD_LAZY) };
    }
}

/// Those of host names, without what is to happen after their answers.
fn services(text: &str) -> impl Iterator<Item = &str> {
    let line = text.lines().find_map(|line| line.split('#').next()?.trim_start().strip_prefix("hosts:"));
    let words = line.unwrap_or_default().split(['[', ']']).step_by(2).flat_map(str::split_whitespace);
    words.filter(|word| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_those_of_hosts_without_actions_and_paths() {
        let text = "passwd: files systemd\n# hosts: nis\n \
                    hosts:  files mdns4_minimal [NOTFOUND=return !UNAVAIL=return] resolve ../evil dns # more\n";
        assert_eq!(services(text).collect::<Vec<_>>(), ["files", "mdns4_minimal", "resolve", "dns"]);
        assert_eq!(services("").count(), 0);
    }
}

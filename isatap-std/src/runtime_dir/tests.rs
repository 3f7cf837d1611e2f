use super::lock::flock_of;
use super::*;
use std::net::Ipv4Addr;
use std::os::unix::net::{UnixListener, UnixStream};

struct Scratch(RuntimeDir);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("isatap-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(RuntimeDir::at(path.join("run")))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.path().parent().unwrap());
    }
}

#[test]
fn a_second_daemon_is_refused_and_told_who_is_first() {
    let scratch = Scratch::new("second");
    let claim = scratch.0.claim("isatap0").unwrap();
    let error = scratch.0.claim("isatap0").unwrap_err().to_string();
    assert!(error.contains(&format!("process {} already runs", std::process::id())), "{error}");
    scratch.0.claim("isatap1").expect("another device is no conflict");
    drop(claim);
    let claim = scratch.0.claim("isatap0").expect("free again after drop");
    let mode = |name| fs::metadata(scratch.0.path().join(name)).unwrap().mode() & 0o7777;
    assert_eq!(mode("isatap0.lock"), 0o600);
    drop(claim);
    assert_eq!(fs::read_dir(scratch.0.path()).unwrap().count(), 0, "the lock stays behind");
}

#[test]
fn tunnel_ends_are_had_once_and_each_mechanism_has_its_own() {
    let scratch = Scratch::new("ends");
    let [local, remote, other] = [2, 8, 9].map(|last| Ipv4Addr::new(10, 0, 0, last));
    let [prefix, other_prefix] = ["2001:db8::/32", "2001:db8::/40"].map(|text| text.parse().unwrap());
    let all = [
        Ends::Isatap { local },
        Ends::Isatap { local: other },
        Ends::Configured { local, remote },
        Ends::Configured { local, remote: other },
        Ends::SixRd { local, prefix, ipv4_mask_len: 8 },
        Ends::SixRd { local, prefix, ipv4_mask_len: 0 },
        Ends::SixRd { local, prefix: other_prefix, ipv4_mask_len: 8 },
        Ends::SixToFour { local },
    ];
    let locks: Vec<Lock> = all.iter().map(|ends| scratch.0.claim_ends(ends, None, "isatap0").unwrap()).collect();
    let claim = scratch.0.claim("isatap0").expect("the name of the device is locked by itself");
    assert!(scratch.0.devices().is_empty());
    let own = format!("process {} does that already, with the device isatap0", std::process::id());
    for ends in &all {
        let error = scratch.0.claim_ends(ends, None, "isatap1").unwrap_err().to_string();
        let begin = format!("cannot run {ends}: {own}; each packet would arrive twice; stop it (kill ");
        assert!(error.starts_with(&begin) && error.contains(") or choose another --local"), "{error}");
    }
    let ends = &all[2];
    let bound = ["eth0", "eth1"].map(|by| scratch.0.claim_ends(ends, Some(by), "isatap0").unwrap());
    let error = scratch.0.claim_ends(ends, Some("eth1"), "isatap1").unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot run {ends} by eth1: {own}; ")), "{error}");
    drop((locks, claim, bound));
    assert_eq!(fs::read_dir(scratch.0.path()).unwrap().count(), 0, "a lock stays behind");
    all.iter().for_each(|ends| drop(scratch.0.claim_ends(ends, None, "isatap1").unwrap()));
}

#[test]
fn a_process_of_another_namespace_is_not_to_be_ended() {
    let scratch = Scratch::new("elsewhere");
    let ends = Ends::SixToFour { local: Ipv4Addr::new(192, 0, 2, 1) };
    let _kept = (scratch.0.claim("isatap0").unwrap(), scratch.0.claim_ends(&ends, None, "isatap0").unwrap());
    for file in ["isatap0.lock", "6to4-192.0.2.1.ends"] {
        fs::write(scratch.0.path().join(file), format!("{} 1 isatap0\n", std::process::id())).unwrap();
    }
    for error in [scratch.0.claim("isatap0").unwrap_err(), scratch.0.claim_ends(&ends, None, "isatap1").unwrap_err()] {
        let error = error.to_string();
        assert!(error.contains("of another network namespace") && !error.contains("kill"), "{error}");
    }
}

/// The file says process 1: whoever follows that advice ends the machine.
#[test]
fn a_number_in_the_file_that_does_not_hold_the_lock_is_not_told() {
    let scratch = Scratch::new("liar");
    let _claim = scratch.0.claim("isatap0").unwrap();
    fs::write(scratch.0.path().join("isatap0.lock"), "1\n").unwrap();
    let error = scratch.0.claim("isatap0").unwrap_err().to_string();
    assert!(error.contains("another process already runs isatap0") && !error.contains("kill"), "{error}");
}

#[test]
fn a_lock_that_was_removed_meanwhile_is_not_enough() {
    let scratch = Scratch::new("removed");
    let (first, second) = (scratch.0.claim("isatap0").unwrap(), scratch.0.path().join("isatap0.lock"));
    fs::remove_file(&second).unwrap();
    let claims: Vec<_> = (0..2).map(|_| scratch.0.claim("isatap0")).collect();
    assert!(claims[0].is_ok() && claims[1].is_err());
    drop(first);
    assert!(second.exists(), "the lock of another daemon is gone");
}

#[test]
fn a_folder_that_everybody_may_write_to_is_refused() {
    let scratch = Scratch::new("open");
    fs::create_dir_all(scratch.0.path()).unwrap();
    fs::set_permissions(scratch.0.path(), Permissions::from_mode(0o1777)).unwrap();
    let error = scratch.0.claim("isatap0").unwrap_err().to_string();
    assert!(error.contains("everybody may write to it; set ISATAP_RUNTIME_DIR"), "{error}");
    assert_eq!(fs::read_dir(scratch.0.path()).unwrap().count(), 0);
}

/// As systemd's STATE_DIRECTORY of the parent is inherited, and as ISATAP_STATE_DIR=/var/lib is written.
#[test]
fn a_folder_of_others_keeps_its_group_and_its_mode() {
    if !Uid::effective().is_root() {
        return;
    }
    let scratch = Scratch::new("modes");
    let path = scratch.0.path();
    let make = || make_folder(path, "", "ISATAP_STATE_DIR", Some((65_534, 65_534)));
    let about = || fs::metadata(path).map(|about| (about.mode() & 0o7777, about.gid())).unwrap();
    let set = |mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    make().unwrap();
    assert_eq!(about(), (0o1775, 65_534), "it is new");
    make().expect("as it was made");
    // A daemon that stays root has made it before.
    std::os::unix::fs::chown(path, None, Some(0)).unwrap();
    set(0o755);
    fs::write(path.join("isatap0.lock"), "").unwrap();
    make().unwrap();
    assert_eq!(about(), (0o1775, 65_534));
    std::os::unix::fs::chown(path, None, Some(0)).unwrap();
    for (mode, why) in [
        (0o700, "it was there before, and whom the daemon becomes may not write to it; set ISATAP_STATE_DIR to one"),
        (0o775, "its group may write to it; set ISATAP_STATE_DIR to a folder that only you can write to"),
    ] {
        set(mode);
        let error = make().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(about(), (mode, 0));
    }
    // What is of somebody else.
    set(0o755);
    fs::create_dir(path.join("dpkg")).unwrap();
    make().unwrap_err();
    assert_eq!(about(), (0o755, 0));
}

/// The folder is open to the group of the daemon's user.
#[cfg(any(feature = "dns-update", feature = "upnp"))]
#[test]
fn what_another_user_has_put_there_is_not_believed() {
    let scratch = Scratch::new("foreign");
    fs::create_dir_all(scratch.0.path()).unwrap();
    let file = scratch.0.path().join("host.example.net.dns");
    keep(&file, "2001:db8::1\n").unwrap();
    assert_eq!(kept(&file).unwrap(), "2001:db8::1\n");
    let refused = |why: &str| {
        let error = kept(&file).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    fs::set_permissions(&file, Permissions::from_mode(0o620)).unwrap();
    refused("others may write to it");
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    fs::hard_link(&file, scratch.0.path().join("other")).unwrap();
    refused("it has a second name");
    fs::remove_file(scratch.0.path().join("other")).unwrap();
    if Uid::effective().is_root() {
        std::os::unix::fs::chown(&file, Some(4711), None).unwrap();
        refused("it belongs to another user");
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    refused("it is no regular file");
    // What cannot take its place leaves nothing behind.
    keep(&file, "2001:db8::2\n").unwrap_err();
    assert_eq!(fs::read_dir(scratch.0.path()).unwrap().count(), 1);
}

#[test]
fn lines_of_the_kernel_tell_process_and_inode() {
    assert_eq!(flock_of("3: FLOCK  ADVISORY  WRITE 4711 00:1a:2345 0 EOF"), Some((4711, 2345)));
    assert_eq!(flock_of("3: POSIX  ADVISORY  WRITE 4711 00:1a:2345 0 EOF"), None);
    assert_eq!(flock_of("3: -> FLOCK  ADVISORY  WRITE 4711 00:1a:2345 0 EOF"), None);
}

#[test]
fn a_claim_touches_nothing_outside_of_its_folder() {
    let scratch = Scratch::new("outside");
    fs::create_dir_all(scratch.0.path()).unwrap();
    let victim = scratch.0.path().parent().unwrap().join("victim");
    fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, scratch.0.path().join("isatap0.lock")).unwrap();
    scratch.0.claim("isatap0").unwrap_err();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    let error = scratch.0.claim("../isatap1").unwrap_err();
    assert_eq!(error.class(), crate::error::Class::Usage);
    assert!(!scratch.0.path().parent().unwrap().join("isatap1.lock").exists());
}

#[test]
fn empty_folders_of_namespaces_that_are_gone_are_removed() {
    let scratch = Scratch::new("left");
    let base = scratch.0.path().to_owned();
    let alive = format!("netns-{}", namespace().unwrap());
    let old = std::time::SystemTime::now() - 2 * LEFT;
    for (name, is_full) in [("netns-1", false), ("netns-2", true), (&alive, false), ("netns-x", false)] {
        fs::create_dir_all(base.join(name)).unwrap();
        if is_full {
            fs::write(base.join(name).join("isatap0.lock"), "").unwrap();
        }
        File::open(base.join(name)).unwrap().set_modified(old).unwrap();
    }
    fs::create_dir_all(base.join("netns-3")).unwrap();
    let names = || {
        let mut names: Vec<String> =
            fs::read_dir(&base).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let mut expected = vec!["netns-2".to_owned(), "netns-3".to_owned(), alive, "netns-x".to_owned()];
    expected.sort();
    scratch.0.remove_left_folders();
    assert_eq!(names(), expected);
    // A daemon of another namespace sees the same.
    File::open(base.join("netns-3")).unwrap().set_modified(old).unwrap();
    RuntimeDir::at(base.join("netns-4")).remove_left_folders();
    expected.retain(|name| name != "netns-3");
    assert_eq!(names(), expected);
}

#[test]
fn a_stale_socket_is_removed_and_a_live_one_is_not() {
    let scratch = Scratch::new("stale");
    fs::create_dir_all(scratch.0.path()).unwrap();
    // What SIGKILL leaves: a bound socket that nobody listens on.
    drop(UnixListener::bind(scratch.0.socket("isatap0")).unwrap());
    assert_eq!(scratch.0.devices(), ["isatap0"]);
    #[cfg(feature = "control")]
    assert_eq!(scratch.0.instead_of("tun6in4"), None, "a killed daemon is no other one");
    let claim = scratch.0.claim("isatap0").unwrap();
    assert!(scratch.0.devices().is_empty());
    let _listener = UnixListener::bind(claim.socket()).unwrap();
    scratch.0.claim("isatap0").unwrap_err();
    UnixStream::connect(scratch.0.socket("isatap0")).expect("the refusal broke the first");
    drop(claim);
    assert!(scratch.0.devices().is_empty());
}

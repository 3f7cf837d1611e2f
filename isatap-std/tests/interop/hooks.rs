//! Hooks: the administrator's command beside a daemon that has given up its rights.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::common::peers::{self, PREFIX, isatap_address};
use crate::common::{Daemon, Lab, Namespace, Node, PATIENCE, isatap, isatap_binary, status, wait_for, wait_until};

/// A hook that writes a line for each run: who it is, and what it was given.
fn hook(namespace: &Namespace, name: &str, more: &str) -> (String, PathBuf) {
    let log = namespace.directory().join(format!("{name}.log"));
    fs::write(&log, "").unwrap();
    fs::set_permissions(&log, fs::Permissions::from_mode(0o666)).unwrap();
    let text = format!(
        "#!/bin/sh\necho \"$(id -un) $ISATAP_DEV $ISATAP_EVENT $ISATAP_ADDRESS$ISATAP_ROUTER$ISATAP_PREFIX $ISATAP_ROLE\" >> {}\n{more}\n",
        log.display()
    );
    (namespace.script(name, &text), log)
}

fn lines(log: &PathBuf) -> Vec<String> {
    fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect()
}

/// Waits for a line from a place on, and gives the place behind it.
#[track_caller]
fn wait_for_run(log: &PathBuf, from: usize, text: &str) -> usize {
    wait_for(&format!("a run of the hook: {text}, in {:?}", lines(log)), PATIENCE, || {
        lines(log).iter().skip(from).position(|line| line.contains(text)).map(|at| from + at + 1)
    })
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn sec_14_a_hook_runs_as_root_beside_a_daemon_that_is_nobody() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let (router, host) = (lab.namespace("router"), lab.namespace("host"));
    intranet.join(&router, "eth0", "10.0.0.1/24");
    intranet.join(&host, "eth0", "10.0.0.2/24");
    router.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    let _router = Daemon::isatap(&router, &format!("router --local 10.0.0.1 --prefix {PREFIX}/64"));
    // It takes a second each time, prints, and fails for one event.
    let more = "echo \"says $ISATAP_EVENT\"; test \"$ISATAP_EVENT\" != router-found || exit 3; sleep 1";
    let (script, log) = hook(&host, "hook", more);
    let mut daemon =
        Daemon::isatap(&host, &format!("host --local 10.0.0.2 --router 10.0.0.1 --user nobody --hook {script}"));
    peers::wait_for_address(&host, "isatap0", isatap_address(PREFIX, "10.0.0.2"));
    // It is far behind by now, and the link works.
    peers::ping(&host, &isatap_address(PREFIX, "10.0.0.1").to_string());
    let first = wait_for_run(&log, 0, "root isatap0 started  isatap-host");
    let own = isatap_address(PREFIX, "10.0.0.2");
    let after = wait_for_run(&log, first, "root isatap0 router-found 10.0.0.1 isatap-host");
    wait_for_run(&log, after, &format!("root isatap0 address-added {own} isatap-host"));
    daemon.wait_for_line("isatap: hook: says router-found", PATIENCE);
    daemon.wait_for_line(
        &format!("warning: the hook {script} for router-found of isatap0: it ended with exit status: 3; 1 of "),
        PATIENCE,
    );
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    assert!(status.contains("Uid:\t65534\t65534") && status.contains("NoNewPrivs:\t1"), "{status}");
    assert!(daemon.terminate(PATIENCE).success());
    wait_for_run(&log, after, "root isatap0 ended  isatap-host");
    assert_eq!(lines(&log).last().unwrap(), "root isatap0 ended  isatap-host");
    wait_until("the end of the helper", PATIENCE, || host.pids().is_empty());
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_reload_changes_the_hook_and_its_user_stays() {
    let lab = Lab::new();
    let wire = lab.wire();
    let node = lab.namespace("node");
    wire.join(&node, "eth0", "192.0.2.1/24");
    let ((first, first_log), (second, second_log)) = (hook(&node, "first", ""), hook(&node, "second", ""));
    let tunnel = |dev: &str, remote: u8| {
        format!(
            "[[tunnel]]\ndev = \"{dev}\"\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.{remote}\"\naddress = \"2001:db8:a::{remote}/64\"\n"
        )
    };
    let of_hook = |hook: &str| format!("hook = \"{hook}\"\nhook-user = \"daemon\"\n");
    // What others could have written runs for nobody; the place is that of the file.
    fs::set_permissions(&first, fs::Permissions::from_mode(0o777)).unwrap();
    let file = node.file("node.toml", &(of_hook(&first) + &tunnel("t0", 2)));
    let refused = node.run(&format!("{} run {file}", isatap_binary()));
    assert_eq!(refused.status, 1);
    let why = format!("node.toml:1:8: cannot run the hook {first}: others may write to it; chmod go-w {first}");
    assert!(refused.text.contains(&why), "{refused:?}");
    fs::set_permissions(&first, fs::Permissions::from_mode(0o755)).unwrap();

    let mut daemon = Daemon::start(&node, "run", isatap_binary(), &["run", &file, "--verbose"]);
    let at = wait_for_run(&first_log, 0, "daemon t0 started  configured");
    wait_for_run(&first_log, at, "daemon t0 address-added 2001:db8:a::2 configured");
    fs::write(&file, of_hook(&second) + &tunnel("t0", 2)).unwrap();
    daemon.signal("HUP");
    daemon.wait_for_line(&format!("the hook is {second} now"), PATIENCE);
    let before = lines(&first_log).len();
    fs::write(&file, of_hook(&second) + &tunnel("t0", 2) + &tunnel("t1", 3)).unwrap();
    daemon.signal("HUP");
    wait_for_run(&second_log, 0, "daemon t1 address-added 2001:db8:a::3 configured");
    fs::write(&file, of_hook(&second) + &tunnel("t1", 3)).unwrap();
    daemon.signal("HUP");
    wait_for_run(&second_log, 0, "daemon t0 ended  configured");
    assert_eq!(lines(&first_log).len(), before, "the old hook still runs");
    assert!(daemon.terminate(PATIENCE).success());
    wait_for_run(&second_log, 0, "daemon t1 ended  configured");
}

/// The processes that a process has started, zombies too.
fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn sec_14_the_end_of_the_helper_is_told_and_leaves_no_zombie() {
    let lab = Lab::new();
    let wire = lab.wire();
    let node = lab.namespace("node");
    wire.join(&node, "eth0", "192.0.2.1/24");
    let (script, log) = hook(&node, "hook", "test \"$ISATAP_EVENT\" != mtu-changed || exit 3");
    let tunnel = "local = \"192.0.2.1\"\nremote = \"192.0.2.2\"\naddress = \"2001:db8:a::1/64\"\n";
    let waits = "[[tunnel]]\ndev = \"t1\"\nlocal = \"192.0.2.9\"\nremote = \"192.0.2.3\"\n";
    let text = format!("user = \"nobody\"\nhook = \"{script}\"\n{waits}[[tunnel]]\ndev = \"t0\"\n{tunnel}");
    let file = node.file("node.toml", &text);
    let mut daemon = Daemon::start(&node, "run", isatap_binary(), &["run", &file]);
    wait_for_run(&log, 0, "root t0 address-added 2001:db8:a::1 configured");
    let is_at_rest =
        format!(".hooks | (.command == \"{script}\" and .alive and .runs > 0 and .waiting == 0 and .lost == 0)");
    wait_until("its runs in the status", PATIENCE, || status(&node, &is_at_rest));
    let runs = lines(&log).len();
    assert!(status(&node, &format!(".hooks.runs == {runs}")), "{:?}", isatap(&node, "status -j"));
    let failed = lines(&log).iter().filter(|line| line.contains(" mtu-changed ")).count();
    let told = isatap(&node, "status t0").text;
    let (counted, last) =
        (format!("    hook {script}: {runs} runs, {failed} failed\n        failed "), "it ended with exit status: 3\n");
    assert!(failed > 0 && told.contains(&counted) && told.contains(last), "{told}");

    let helper = wait_for("the helper", PATIENCE, || children(daemon.id()).first().copied());
    node.ok(&format!("kill -KILL {helper}"));
    let why = "the process that runs hooks has ended, signal: 9 (SIGKILL): no hook runs any more";
    daemon.wait_for_line(&format!("warning: {why}; start isatap again"), PATIENCE);
    wait_until("its end in the status", PATIENCE, || status(&node, ".hooks.alive | not"));
    assert_eq!(children(daemon.id()), Vec::<u32>::new(), "a zombie");
    // What it would have run for is counted, and a link that waits tells it too.
    node.ok("ip address add 192.0.2.9/24 dev eth0");
    wait_until("lost events", PATIENCE, || status(&node, ".hooks | .lost > 0 and .waiting == 0"));
    let doctor = isatap(&node, "doctor t0");
    assert_eq!(doctor.status, 3, "{doctor:?}");
    assert!(doctor.text.contains(&format!("FAIL hooks    {why}, ")), "{doctor:?}");
    assert!(doctor.text.contains("restart it: isatap run "), "{doctor:?}");
    assert_eq!(lines(&log).len(), runs);
    daemon.signal("HUP");
    daemon.wait_for_line("the hook cannot be changed: its process has ended", PATIENCE);
    assert!(daemon.terminate(PATIENCE).success());
}

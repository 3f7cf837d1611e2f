//! Which system calls a daemon may make: seccomp.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;
use std::io;

type Rules = BTreeMap<libc::c_long, Vec<SeccompRule>>;

/// With any arguments.
const ALLOWED: &[libc::c_long] = &[
    // Packets, and waiting for them.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_splice,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_ppoll,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    // Sockets: which, see `SOCKETS`.
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    // Files: which, see `super::files`.
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_statx,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_unlinkat,
    libc::SYS_mkdirat,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_renameat2,
    libc::SYS_flock,
    libc::SYS_umask,
    libc::SYS_fchmod,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    // Leases of DHCP clients, and what names servers of names.
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    // Time and randomness.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    // Memory, threads, signals: what the C library and Rust need; see below for the rest.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    // The end of the process that runs hooks, which was started before.
    libc::SYS_wait4,
    // New threads give up what the main thread has kept.
    libc::SYS_capget,
    libc::SYS_capset,
];

/// Old forms of calls above, which only this architecture has.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[libc::c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_readlink,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_mkdir,
    libc::SYS_dup2,
    libc::SYS_poll,
    libc::SYS_epoll_wait,
    libc::SYS_time,
];
#[cfg(target_arch = "aarch64")]
// renameat, which the crate libc does not name for every C library.
const ALLOWED_HERE: &[libc::c_long] = &[38];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ALLOWED_HERE: &[libc::c_long] = &[];

const SOCKETS: [libc::c_int; 4] = [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_UNIX];

/// Of TUN devices; of descriptors and what waits in sockets; names and numbers of interfaces; whether it is a terminal.
const IOCTLS: [u64; 10] = [
    0x4004_54ca, // TUNSETIFF
    0x4004_54d0, // TUNSETOFFLOAD
    0x4004_54d8, // TUNSETVNETHDRSZ
    0x5421,      // FIONBIO
    0x5451,      // FIOCLEX
    0x541b,      // FIONREAD
    0x5411,      // TIOCOUTQ, which is SIOCOUTQ
    0x8933,      // SIOCGIFINDEX
    0x8910,      // SIOCGIFNAME
    0x5401,      // TCGETS
];

/// Rows of tables, and links.
const BPF_COMMANDS: [u64; 4] = [
    1,  // BPF_MAP_LOOKUP_ELEM
    2,  // BPF_MAP_UPDATE_ELEM
    3,  // BPF_MAP_DELETE_ELEM
    28, // BPF_LINK_CREATE
];

/// From now on, for all threads. What the kernel lacks, for people.
pub(super) fn restrict() -> io::Result<Option<String>> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    // The list comes last: setting a filter is not on it.
    for (rules, otherwise, matched) in [
        (unknown(), SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS.cast_unsigned())),
        (rules()?, SeccompAction::Errno(libc::EPERM.cast_unsigned()), SeccompAction::Allow),
    ] {
        let filter = SeccompFilter::new(rules, otherwise, matched, architecture).map_err(io::Error::other)?;
        let program = BpfProgram::try_from(filter).map_err(io::Error::other)?;
        match set(&program) {
            Ok(()) => {}
            // An old kernel, and a filter that somebody has set around this process.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL | libc::EPERM)) => {
                return Ok(Some(format!("system calls are not restricted: no seccomp here: {error}")));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn set(program: &BpfProgram) -> io::Result<()> {
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    let mut failed = io::Error::from_raw_os_error(libc::ENOSYS);
    // Linux 4.14 has the log.
    for flags in [libc::SECCOMP_FILTER_FLAG_TSYNC | libc::SECCOMP_FILTER_FLAG_LOG, libc::SECCOMP_FILTER_FLAG_TSYNC] {
        // SAFETY: the kernel reads `filter` and the `len` instructions behind its pointer, which
        // outlive the call, and changes neither; both types are the kernel's `sock_filter`.
        let result =
            unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter) };
        match result {
            0 => return Ok(()),
            -1 => failed = io::Error::last_os_error(),
            thread => return Err(io::Error::other(format!("the thread {thread} has a filter of its own"))),
        }
    }
    Err(failed)
}

fn rules() -> io::Result<Rules> {
    let mut rules: Rules = ALLOWED.iter().chain(ALLOWED_HERE).map(|call| (*call, Vec::new())).collect();
    let pid = u64::from(std::process::id());
    let number = |value: libc::c_int| u64::from(value.cast_unsigned());
    let is = |argument, value| condition(argument, SeccompCmpOp::Eq, value);
    let mut allow = |call, conditions: Vec<SeccompCondition>| -> io::Result<()> {
        rules.entry(call).or_default().push(SeccompRule::new(conditions).map_err(io::Error::other)?);
        Ok(())
    };
    for family in SOCKETS {
        allow(libc::SYS_socket, vec![is(0, number(family))?])?;
    }
    allow(libc::SYS_socketpair, vec![is(0, number(libc::AF_UNIX))?])?;
    for request in IOCTLS {
        allow(libc::SYS_ioctl, vec![is(1, request)?])?;
    }
    // No memory that can be executed.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        let executable = SeccompCmpOp::MaskedEq(number(libc::PROT_EXEC));
        allow(call, vec![condition(2, executable, 0)?])?;
    }
    // Threads only: no process, no namespace.
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET;
    let judged = SeccompCmpOp::MaskedEq(number(libc::CLONE_THREAD | namespaces));
    allow(libc::SYS_clone, vec![condition(0, judged, number(libc::CLONE_THREAD))?])?;
    // Forbidden for another reason: see `unknown`.
    rules.insert(libc::SYS_clone3, Vec::new());
    let mut allow = |call, conditions: Vec<SeccompCondition>| -> io::Result<()> {
        rules.entry(call).or_default().push(SeccompRule::new(conditions).map_err(io::Error::other)?);
        Ok(())
    };
    // The tables of the kernel's path, and its programs at one more device: nothing is loaded any more.
    for command in BPF_COMMANDS {
        allow(libc::SYS_bpf, vec![is(0, command)?])?;
    }
    // A thread's name, and that of its stack.
    for option in [libc::PR_SET_NAME, libc::PR_SET_VMA] {
        allow(libc::SYS_prctl, vec![is(0, number(option))?])?;
    }
    // To abort, and no other process.
    allow(libc::SYS_tgkill, vec![is(0, pid)?])?;
    // Limits are asked for and not set.
    allow(libc::SYS_prlimit64, vec![long_condition(2, 0)?])?;
    Ok(rules)
}

/// As if the kernel did not have them, so that the C library does without.
fn unknown() -> Rules {
    Rules::from([(libc::SYS_clone3, Vec::new())])
}

fn condition(argument: u8, operation: SeccompCmpOp, value: u64) -> io::Result<SeccompCondition> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operation, value).map_err(io::Error::other)
}

fn long_condition(argument: u8, value: u64) -> io::Result<SeccompCondition> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_compiles_for_this_architecture_and_starts_nothing() {
        let rules = rules().unwrap();
        for forbidden in [libc::SYS_execve, libc::SYS_execveat, libc::SYS_ptrace, libc::SYS_mount] {
            assert!(!rules.contains_key(&forbidden));
        }
        // BPF_MAP_CREATE and BPF_PROG_LOAD: nothing new comes into the kernel. No rules would be any command.
        assert_eq!(rules.get(&libc::SYS_bpf).map(Vec::len), Some(BPF_COMMANDS.len()));
        assert!(!BPF_COMMANDS.contains(&0) && !BPF_COMMANDS.contains(&5));
        let architecture = TargetArch::try_from(std::env::consts::ARCH).unwrap();
        let filter = SeccompFilter::new(
            rules,
            SeccompAction::Errno(libc::EPERM.cast_unsigned()),
            SeccompAction::Allow,
            architecture,
        );
        // What the kernel takes at most is 4,096 instructions.
        let program = BpfProgram::try_from(filter.unwrap()).unwrap();
        assert!(program.len() < 4096, "{}", program.len());
    }
}

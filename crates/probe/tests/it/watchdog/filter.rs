//! A seccomp filter that ends the process for every call that it does not know; benchmarks use it as well.

macro_rules! numbers {
    ($($name:ident)*) => {
        /// The number of a call, by the name of its constant.
        fn number(name: &str) -> libc::c_long {
            match name {
                $(stringify!($name) => libc::$name,)*
                _ => panic!("`{name}` is not in the list of names"),
            }
        }
    };
}

numbers! {
    SYS_accept4 SYS_access SYS_arch_prctl SYS_bind SYS_brk SYS_clock_gettime SYS_clock_nanosleep SYS_clone3 SYS_close SYS_dup2
    SYS_execve SYS_exit SYS_exit_group SYS_fcntl SYS_fstat SYS_ftruncate SYS_futex SYS_getcwd SYS_getdents64 SYS_getpid SYS_getrandom
    SYS_getpeername SYS_getsockname SYS_gettid SYS_getuid SYS_ioctl SYS_listen SYS_lseek SYS_madvise SYS_mkdir SYS_mmap SYS_mprotect SYS_mremap SYS_munmap
    SYS_newfstatat SYS_openat SYS_pipe2 SYS_poll SYS_prctl SYS_pread64 SYS_prlimit64 SYS_process_vm_readv SYS_read SYS_readlink
    SYS_recvfrom SYS_restart_syscall SYS_rseq SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_rt_tgsigqueueinfo
    SYS_sched_getaffinity SYS_sched_getattr SYS_sched_setaffinity SYS_sched_setattr SYS_sched_yield SYS_sendto
    SYS_set_robust_list SYS_set_tid_address SYS_setsockopt SYS_shutdown SYS_sigaltstack SYS_socket SYS_statx SYS_unlink SYS_wait4 SYS_write
}

/// The calls that the README lists in the rows of the table that begin so.
pub(crate) fn listed(rows: &[&str]) -> Vec<libc::c_long> {
    let readme = include_str!("../../../README.md");
    let row = |begins: &&str| {
        let begins = format!("| {begins} |");
        // A feature of that name has a row before it.
        let line = readme.lines().rev().find_map(|line| line.strip_prefix(&begins)).expect("the README has the row");
        line.split('`').skip(1).step_by(2).map(|name| number(&format!("SYS_{name}"))).collect::<Vec<_>>()
    };
    rows.iter().flat_map(row).collect()
}

/// Calls by their names, with spaces between them.
pub(crate) fn named(names: &str) -> Vec<libc::c_long> {
    names.split_ascii_whitespace().map(|name| number(&format!("SYS_{name}"))).collect()
}

/// Ends this process from now on for any other call, of any of its threads.
pub(crate) fn permit_only(calls: &[libc::c_long]) {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IS: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const ANSWER: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, k| libc::sock_filter { code, jt, jf: 0, k };
    // The number of the call is the first word that a filter is given.
    let mut steps = vec![step(LOAD, 0, 0)];
    for (index, call) in calls.iter().enumerate() {
        steps.push(step(IS, u8::try_from(calls.len() - index).unwrap(), u32::try_from(*call).unwrap()));
    }
    steps.push(step(ANSWER, 0, libc::SECCOMP_RET_KILL_PROCESS));
    steps.push(step(ANSWER, 0, libc::SECCOMP_RET_ALLOW));
    let filter = libc::sock_fprog { len: u16::try_from(steps.len()).unwrap(), filter: steps.as_mut_ptr() };
    // SAFETY: the kernel only reads the filter, which is as long as it says.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let all = libc::SECCOMP_FILTER_FLAG_TSYNC;
        let set = libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, all, &raw const filter);
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    }
}

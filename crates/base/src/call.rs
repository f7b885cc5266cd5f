//! A system call, made readable.

/// A system call that a slow poll was in.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
// Not `non_exhaustive`: every instrument makes them.
pub struct Call {
    /// Its name, or `syscall N` for one without.
    pub name: String,
    /// The file descriptor that it works on; the first, where it waits for any of several.
    pub fd: Option<i32>,
    /// Where that leads: a path, `pipe:[12345]`, `socket:[12345]`; or the path that the call was given.
    pub path: Option<String>,
    /// The other end of a socket: an address such as `203.0.113.9:53`, or the path of a Unix socket. `None` where there is none, or
    /// it is not known.
    pub peer: Option<String>,
    /// How many bytes it was asked for.
    pub bytes: Option<u64>,
    /// All of it in one line: `write(fd 9 "/var/log/merged", 64 bytes)`.
    pub text: String,
}

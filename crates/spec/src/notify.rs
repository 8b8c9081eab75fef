//! Readiness notification: how a process reports it, and the variables of a service manager.

/// How a process reports readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotifyKind {
    /// `READY=1` to `$NOTIFY_SOCKET`, sd_notify(3).
    Systemd,
    /// A newline on this descriptor, as in s6.
    Descriptor(i32),
}

/// Environment variables of a service manager for the supervisor, which processes do not inherit.
pub const OUR_VARIABLES: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

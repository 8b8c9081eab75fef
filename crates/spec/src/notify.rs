//! Readiness notification: how a process reports it, and the variables of a service manager.

/// How a process reports readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotifyKind {
    /// `READY=1` to `$NOTIFY_SOCKET`, sd_notify(3).
    Systemd,
    /// A newline on this descriptor, as in s6.
    Descriptor(i32),
}

/// Variables for sexton that its processes do not inherit: those of a service manager, and the plan of an ensemble, which
/// may hold secrets.
pub const SERVICE_MANAGER_VARIABLES: [&str; 7] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    crate::program::PLAN_VARIABLE,
];

//! Readiness notification: how a process reports it, and the variables of a service manager.

/// How a process says that it has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotifyKind {
    /// `READY=1` to `$NOTIFY_SOCKET`, sd_notify(3).
    Systemd,
    /// A line on this descriptor, as s6 has it.
    Descriptor(i32),
}

/// Variables of the service manager that concern the supervisor, and are not passed on to its processes.
pub const SERVICE_MANAGER_VARIABLES: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

//! The first command of the README, as a new user types it.

use std::path::Path;

use super::{With, free_port, place, up_in};

#[test]
fn the_quickstart_behaves_as_the_guide_describes() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = std::fs::read_to_string(repository.join("examples/quickstart.yaml")).unwrap_or_default();
    // Another port and another place, since tests run side by side; the scripts are the example's own.
    let scripts = repository.join("examples/quickstart").display().to_string();
    let text = text
        .replace("examples/quickstart/", &format!("{scripts}/"))
        .replace("/tmp/sexton-quickstart", "$DIR/state")
        .replace("8089", &free_port().to_string())
        .replace("--fail-after, \"20\"", "--fail-after, \"3\", --pause, \"0.05\"");
    let mut up = up_in(place(&text), &With::default());
    up.wait_ready("worker");
    assert_eq!(up.process("migrate")["phase"], "done");
    let worker = up.wait_until("worker", "restarted", |it| it["starts"].as_u64() >= Some(3));
    assert_eq!(worker["lastExit"]["exitCode"], 3);
    let logs = up.asked(&["logs", "-n", "10000"]);
    for part in
        ["process=migrate", "msg=\"database prepared\"", "msg=\"visit 1 done\"", "team=shop"].iter().take(3)
    {
        assert!(logs.contains(part), "{part}: {logs}");
    }
    assert!(up.sexton.text("stdout").contains("team=shop"));
    up.sexton.signal(libc::SIGTERM);
    up.sexton.wait();
    let stdout = up.sexton.text("stdout");
    let last = stdout.lines().last().unwrap_or_default();
    assert!(last.contains("last process exiting"), "{last}");
}

//! Configuration files: an invalid one starts nothing, and `check` prints the plan.

use std::fs;
use std::path::{Path, PathBuf};

use super::{ends, place};
use crate::harness::Sexton;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn an_invalid_file_starts_nothing_and_every_problem_is_reported() {
    let directory =
        place("processes:\n  a: {command: [touch, $DIR/started]}\n  b: {comand: x, dependsOn: c}\n");
    let file = directory.path().join("sexton.yaml");
    let done = Sexton::new(["up".as_ref(), file.as_os_str()]).done();
    assert_eq!(done.code, 78);
    let lines: Vec<_> = done.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{}", done.stderr);
    assert!(
        lines[0].ends_with("sexton.yaml:3:7: processes.b.comand: unknown key, did you mean 'command'?"),
        "{}",
        lines[0]
    );
    assert!(
        lines[1].contains("3:18: processes.b.dependsOn.c: unknown process 'c'")
            || lines[1].contains("unknown process 'c'"),
        "{}",
        lines[1]
    );
    assert!(!directory.path().join("started").exists());
}

#[test]
fn unreadable_files_are_reported() {
    for (path, part) in [
        ("/no/such/file.yaml", "no such file"),
        ("/", "is a directory"),
        ("/dev/zero", "exceed the size limit"),
    ] {
        let done = Sexton::new(["check", path]).done();
        assert!(done.code == 78 && done.stderr.contains(part), "{path}: {}", done.stderr);
    }
}

#[test]
fn check_prints_the_plan() {
    let directory = place(
        "processes:\n  init: {command: 'echo hi', restartPolicy: Never, workingDir: /no/such}\n  web: {command: [nowhere-to-be-found], dependsOn: {init: succeeded}, readinessProbe: {httpGet: {port: 80}}}\n",
    );
    let file = directory.path().join("sexton.yaml");
    let done = Sexton::new(["check".as_ref(), file.as_os_str()]).done();
    assert_eq!(done.code, 0, "{}", done.stderr);
    for part in [
        "starts after   init succeeded",
        "GET http://127.0.0.1:80/",
        "warning        not found in PATH on this machine",
        "warning        working directory /no/such does not exist on this machine",
        "shutdown deadline: 25s",
    ] {
        assert!(done.stdout.contains(part), "{part}: {}", done.stdout);
    }
    let json = Sexton::new(["check".as_ref(), "--json".as_ref(), file.as_os_str()]).done();
    assert!(
        serde_json::from_str::<serde_json::Value>(&json.stdout)
            .is_ok_and(|it| it["plan"]["jobs"][1]["name"] == "web"),
        "{}",
        json.stdout
    );
}

#[test]
fn every_example_is_valid() {
    let mut files = vec![repository().join("examples/quickstart.yaml")];
    for entry in fs::read_dir(repository().join("examples/up")).into_iter().flatten().flatten() {
        files.push(entry.path());
    }
    let files: Vec<_> = files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|it| it == "yaml" || it == "json"))
        .collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let done = Sexton::new(["check".as_ref(), file.as_os_str()]).done();
        assert_eq!(done.code, 0, "{}: {}", file.display(), done.stderr);
    }
}

#[test]
fn a_manifest_runs_with_warnings_about_ignored_keys() {
    let done = ends(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: job}\nspec:\n  template:\n    spec:\n      restartPolicy: Never\n      initContainers:\n      - {name: init, image: x, command: [sh, -c, 'echo init >> $DIR/log']}\n      - {name: proxy, image: x, restartPolicy: Always, command: [sleep, '1000']}\n      containers:\n      - {name: main, image: x, command: [sh], args: [-c, 'echo main $(A) >> $DIR/log; cat $DIR/log; exit 3'], env: [{name: A, value: '1'}]}\n",
    );
    assert_eq!(done.code, 3, "{}", done.stderr);
    assert!(done.stdout.contains("msg=init") && done.stdout.contains("msg=\"main 1\""), "{}", done.stdout);
    assert_eq!(done.stderr.matches("ignored: needs a kubelet").count(), 3, "{}", done.stderr);
}

#[test]
fn variables_have_their_precedence_and_files_are_relative_to_the_configuration() {
    let directory = place(
        "env: {A: all, B: all, C: all}\nenvFile: shared.env\nprocesses:\n  a: {command: [sh, -c, 'echo $A $B $C $D $E $P_X'], restartPolicy: Never, env: {C: own, E: $(C)!}, envFile: own.env, envFrom: [{file: own.env, prefix: P_}]}\n",
    );
    fs::write(directory.path().join("shared.env"), "A=shared\nD=shared\n").unwrap_or_default();
    fs::write(directory.path().join("own.env"), "# x\nexport B=\"file\"\nC=file\nX=1\n").unwrap_or_default();
    let file = directory.path().join("sexton.yaml");
    let done = Sexton::new([
        "-p".as_ref(),
        "none".as_ref(),
        "up".as_ref(),
        "--control".as_ref(),
        "none".as_ref(),
        file.as_os_str(),
    ])
    .done();
    assert!(done.stdout.contains("msg=\"all file own shared own! 1\""), "{}{}", done.stdout, done.stderr);
}

#[test]
fn the_schema_in_the_repository_is_current() {
    crate::documents::is_current(
        &repository().join("docs/reference/sexton.schema.json"),
        sexton::cli::check::schema().as_bytes(),
    );
}

#[test]
fn pipes_and_devices_are_rejected_as_variable_files() {
    let directory = place("processes: {a: {command: x, envFile: /dev/zero}, b: {command: x, envFile: pipe}}");
    let made = std::process::Command::new("mkfifo").arg(directory.path().join("pipe")).status();
    assert!(made.is_ok_and(|status| status.success()));
    let file = directory.path().join("sexton.yaml");
    let done = Sexton::new(["check".as_ref(), file.as_os_str()]).done();
    assert_eq!((done.code, done.stderr.matches("is not a regular file").count()), (78, 2), "{}", done.stderr);
}

#[test]
fn run_as_non_root_is_enforced() {
    if !crate::harness::is_root() {
        return crate::harness::skipped("root, which a process must not inherit");
    }
    let manifest = |user: &str| {
        format!(
            "kind: Pod\napiVersion: v1\nspec:\n  securityContext: {{runAsNonRoot: true}}\n  containers: [{{name: a, command: [sh, -c, 'id -u; grep NoNewPrivs /proc/self/status'], securityContext: {{allowPrivilegeEscalation: false{user}}}}}]\n  restartPolicy: Never\n"
        )
    };
    let refused = ends(&manifest(""));
    assert!(refused.code == 78 && refused.stderr.contains("would run as root"), "{}", refused.stderr);
    let done = ends(&manifest(", runAsUser: 12345"));
    assert!(
        done.stdout.contains("msg=12345") && done.stdout.contains("NoNewPrivs:\\t1"),
        "{}{}",
        done.stdout,
        done.stderr
    );
}

#[test]
fn very_many_problems_are_reported_in_part() {
    use std::fmt::Write as _;
    let mut text = "processes:\n  a:\n    command: [x]\n".to_owned();
    for number in 0..50_000 {
        let _ = writeln!(text, "    wrong{number}: 1");
    }
    let directory = place(&text);
    let file = directory.path().join("sexton.yaml").display().to_string();
    let done = Sexton::new(["check", &file]).done();
    assert_eq!(done.code, 78);
    assert_eq!(done.stderr.lines().count(), 1001);
    assert!(done.stderr.ends_with("there may be more problems, which are not shown\n"), "{}", done.stderr);
}

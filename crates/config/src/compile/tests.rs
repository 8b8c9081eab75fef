//! Tests of the three file formats.

use std::collections::BTreeMap;

use engine::Policy;

use crate::compile::*;

type Variables = BTreeMap<&'static str, &'static str>;

fn plan(text: &str) -> Result<UpPlan, Vec<String>> {
    plan_with(text, &CliOverrides::default())
}

fn plan_with(text: &str, overrides: &CliOverrides) -> Result<UpPlan, Vec<String>> {
    from_text(text, None, overrides, &Variables::from([("HOME", "/root")]))
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn valid(text: &str) -> UpPlan {
    plan(text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

#[track_caller]
fn assert_problems(text: &str, expected: &[&str]) {
    assert_eq!(plan(text).err().unwrap_or_default(), expected, "{text}");
}

#[test]
fn accepts_a_minimal_file() {
    let plan = valid("processes: {web: {command: [./web, --port, 80]}}");
    assert_eq!(plan.processes[0].program.arguments, ["--port", "80"]);
    assert_eq!(plan.plan.jobs[0].restart.policy, Policy::Always);
    assert_eq!(plan.plan.pod.deadline, Some(Duration::from_secs(25)));
}

#[test]
fn reserves_a_part_of_the_shutdown_for_the_output() {
    for (grace, deadline) in [(60_000, 55_000), (10_000, 5_000), (9_000, 4_500), (1_000, 500), (0, 0)] {
        let seconds = grace / 1000;
        let plan =
            valid(&format!("terminationGracePeriodSeconds: {seconds}\nprocesses: {{web: {{command: [x]}}}}"));
        assert_eq!(plan.plan.pod.deadline, Some(Duration::from_millis(deadline)), "{grace}");
    }
}

#[test]
fn expansion_is_limited() {
    let doubling = |count: usize| {
        let lines: Vec<_> = (1..=count).map(|n| format!("A{n}: '$(A{0})$(A{0})'", n - 1)).collect();
        format!("env: {{A0: xxxxxxxxxx, {}}}", lines.join(", "))
    };
    let problems = |text: &str| plan(text).err().unwrap_or_default().join("\n");
    let of_process = problems(&format!("processes: {{a: {{command: [x], {}}}}}", doubling(40)));
    assert!(
        of_process.contains("processes.a.env.A14: with $(A13) it is longer than 128 KiB"),
        "{of_process}"
    );
    let of_file = problems(&format!("{}\nprocesses: {{a: {{command: [x]}}}}", doubling(40)));
    assert!(of_file.contains("A14") && of_file.contains("128 KiB"), "{of_file}");
    let argument = "$(A13)".repeat(3);
    let of_argument =
        problems(&format!("processes: {{a: {{command: [x, '{argument}'], {}}}}}", doubling(13)));
    assert!(of_argument.contains("processes.a.command"), "{of_argument}");
    let probe = format!(
        "processes: {{a: {{command: [x], {}, livenessProbe: {{exec: {{command: [x, '{argument}']}}}}}}}}",
        doubling(13)
    );
    assert!(problems(&probe).contains("128 KiB"), "{}", problems(&probe));
    let all = format!("processes: {{a: {{command: [x], replicas: 10000, {}}}}}", doubling(13));
    assert!(problems(&all).contains("64 MiB"), "all texts together");
}

#[test]
fn on_full_of_a_process_comes_before_that_of_the_file() {
    let text =
        "logs: {onFull: drop}\nprocesses: {a: {command: [x]}, b: {command: [x], logs: {onFull: block}}}";
    let on_full: Vec<_> = valid(text).processes.iter().map(|process| process.logs.on_full).collect();
    assert_eq!(on_full, [OnFull::Drop, OnFull::Block]);
    let message = plan("processes: {a: {command: [x], logs: {onFull: lose}}}").err().unwrap_or_default();
    assert!(message.iter().any(|line| line.contains("block") && line.contains("drop")), "{message:?}");
}

#[test]
fn splits_a_command_and_expands_variables() {
    let plan =
        valid("processes: {a: {command: \"sh -c 'echo $(X) $$(X)'\", env: {X: 1, Y: $(X)2}, args: [$(Y)]}}");
    assert_eq!(plan.processes[0].program.arguments, ["-c", "echo 1 $(X)", "12"]);
}

#[test]
fn reports_all_problems_with_position_key_and_suggestion() {
    assert_problems(
        "processes:\n  web:\n    comand: [./web]\n    dependsOn: {bd: ready}\n    readinessProbe:\n      periodSeconds: often\n      httpGet: {port: htp}\n    ports: [{name: http, containerPort: 80}]\n  db:\n    command: [db]\n    restartPolicy: always\n    nice: 77\n",
        &[
            "3:5: processes.web.comand: unknown key, did you mean 'command'?",
            "4:17: processes.web.dependsOn.bd: unknown process 'bd', did you mean 'db'?",
            "6:7: processes.web.readinessProbe.periodSeconds: 'often': expected seconds or a duration such as 90s, 1h30m or 500ms",
            "7:17: processes.web.readinessProbe.httpGet.port: no port of this process is named 'htp', did you mean 'http'?",
            "12:5: processes.db.nice: expected -20 to 19, found 77",
        ],
    );
}

#[test]
fn reports_dependency_cycles() {
    assert_problems(
        "processes:\n  a: {command: x, dependsOn: b}\n  b: {command: x, dependsOn: [c]}\n  c: {command: x, dependsOn: {a: started}}\n",
        &["2:19: processes.a.dependsOn: dependency cycle: a -> b -> c -> a"],
    );
    assert_problems(
        "processes: {a: {command: x, dependsOn: a}}",
        &["1:29: processes.a.dependsOn: dependency cycle: a -> a"],
    );
}

#[test]
fn rejects_invalid_files() {
    for (text, part) in [
        ("", "empty file"),
        ("processes: {}", "processes is missing or empty"),
        ("just words", "expected a map with 'processes'"),
        ("processes: {a: {command: []}}", "command is missing"),
        ("processes: {a: }", "command is missing"),
        ("processes: {'a b': {command: x}}", "invalid process name"),
        ("processes: [{command: x}]", "name is missing"),
        ("processes: [{name: a, command: x}, {name: a, command: y}]", "duplicate process 'a'"),
        ("processes: {a: {command: x, sidecar: true}}", "all processes are sidecars"),
        ("processes: {a: {command: x, securityContext: {runAsUser: nobody-here}}}", "unknown user"),
        (
            "processes: {a: {command: x, envFile: /nowhere}}",
            "cannot read /nowhere: no such file or directory",
        ),
        ("processes: {a: {command: x, livenessProbe: {tcpSocket: {port: 70000}}}}", "expected a port"),
        ("processes: {a: {command: x, livenessProbe: {periodSeconds: 1}}}", "no probe action"),
        (
            "processes: {a: {command: x, livenessProbe: {successThreshold: 2, exec: {command: x}}}}",
            "must be 1",
        ),
        ("processes: {a: {command: x, lifecycle: {stopSignal: NOPE}}}", "is not a signal"),
        (
            "processes: {a: {command: x, readinessProbe: {sql: {queries: [x]}}}}",
            "set MYSQL_DSN or POSTGRES_DSN in the variables",
        ),
        (
            "processes: {a: {command: x, env: {MYSQL_DSN: \"u:topsecret@nowhere\"}, readinessProbe: {sql: {}}}}",
            "MYSQL_DSN: expected user:password@tcp",
        ),
        ("processes: {a: {command: x, livenessProbe: {amqp: {}}}}", "no broker"),
        ("processes: {a: {command: x, livenessProbe: {redis: {url: 'http://x'}}}}", "url: expected redis://"),
        (
            "processes: {a: {command: x, lock: {ttlDuration: 1ms}}}",
            "expected a time to live from 500ms to 24h",
        ),
        ("processes: {a: {command: x, lock: {url: 'ftp://x'}}}", "is not a lock server"),
        ("processes: {a: {command: x, when: leader}}", "requires an 'ensemble' section"),
        ("processes: {a: {command: x, when: never}}", "leader"),
        (
            "processes: {a: {command: x, when: leader, lock: {}}}\nensemble: {role: master, app: x}",
            "mutually exclusive",
        ),
        (
            "processes: {a: {command: x, when: leader}}\nensemble: {role: member, app: x, masters: m}",
            "never leads",
        ),
        (
            "processes: {a: {command: x, when: leader}}\nensemble: {role: both, app: x, failOver: 1s}",
            "too short",
        ),
        ("processes: {a: {command: x}}\nensemble: {app: x}", "role is missing"),
        ("processes: {a: {command: x}}\nensemble: {role: member, app: x}", "--masters is missing"),
        ("processes: {a: {command: x}}\nensemble: {role: both, app: a/b}", "expected a name without '/'"),
        ("processes: {a: {command: x}}\nensemble: {role: both, app: x, payload: status}", "control socket"),
        (
            "processes: {ensemble: {command: x}}\nensemble: {role: both, app: x}",
            "there is a process 'ensemble'",
        ),
        (
            "processes: {a: {command: x}, b: {command: x, dependsOn: {a: succeeded}}}",
            "never reaches succeeded",
        ),
        ("processes: {a: {command: x}}\nexitFrom: b", "unknown process 'b'"),
        ("processes: {a: {command: x, resources: {limits: {memory: lots}}}}", "expected an amount of memory"),
        ("processes: {a: {command: x, rlimits: {nofiles: 3}}}", "did you mean 'nofile'"),
        ("processes: {a: {command: x, umask: '999'}}", "octal"),
        ("processes: {a: {command: \"x 'y\"}}", "a quote is not closed"),
        ("processes: {a: {command: x, env: {'A=B': 1}}}", "invalid variable name"),
        ("processes: {a: {command: x, restartLimit: {within: 1m}}}", "restarts is missing"),
        ("processes: {a: {command: x, replicas: 100000}}", "expected at most 10000"),
        ("processes: {a: {command: x, notify: maybe}}", "expected systemd"),
        ("processes: {a: {command: x, lifecycle: {preStop: {}}}}", "exactly one of"),
    ] {
        let problems = plan(text).err().unwrap_or_default();
        assert!(problems.len() == 1 && problems[0].contains(part), "{text}: {problems:#?}");
    }
}

#[test]
fn depends_on_all_numbered_replicas() {
    let plan = valid("processes: {w: {command: x, replicas: 2}, a: {command: y, dependsOn: w}}");
    let names: Vec<_> = plan.plan.jobs.iter().map(|job| job.name.as_str()).collect();
    assert_eq!(names, ["w_0", "w_1", "a"]);
    assert_eq!(plan.plan.jobs[2].needs.len(), 2);
}

#[test]
fn adds_sidecars_as_dependencies_without_cycles() {
    let plan = valid(
        "processes: {s: {command: x, sidecar: true, dependsOn: init}, init: {command: y, restartPolicy: Never}, a: {command: z}}",
    );
    let needs: Vec<Vec<usize>> =
        plan.plan.jobs.iter().map(|job| job.needs.iter().map(|need| need.job.0).collect()).collect();
    assert_eq!(needs, [vec![1], vec![], vec![0]]);
}

#[test]
fn reads_a_process_wrapper_list_case_insensitively() {
    let text = "- NAME: web\n  entryPoint: ./web\n  args: [-p, 80]\n  envs: {A: 1}\n  replicas: 2\n  restartPolicy: never\n  memoryLimitMB: 64\n  logFormat: auto\n  sysProcAttr: {credential: {uid: 33, gid: 33, groups: [4]}, setsid: true, pdeathsig: 9}\n  readiness: {http: {url: 'http://localhost:8080/health'}, tcp: {socket: 'localhost:80'}, startupDeadline: 1m, floatingPid: {}}\n  postStart: {command: {entrypoint: echo, args: [hi]}, deadline: 5s}\n";
    let plan = valid(text);
    let (job, process) = (&plan.plan.jobs[1], &plan.processes[1]);
    assert_eq!(job.name, "web_1");
    assert_eq!(job.restart.policy, Policy::Never);
    let readiness = job.probes.readiness.as_ref().unwrap_or_else(|| panic!("{job:?}"));
    assert!(
        readiness.restarts && readiness.period == Duration::from_secs(5) && readiness.failure_threshold == 3
    );
    assert_eq!(job.start_deadline, Some(Duration::from_secs(60)));
    assert_eq!(process.probes.get(ProbeKind::Readiness).map(|probe| probe.checks.len()), Some(3));
    assert_eq!(process.memory_limit, Some(64 << 20));
    assert_eq!(process.program.attributes.groups, Some(vec![4]));
    assert_eq!(
        job.post_start.as_ref().map(|hook| (hook.deadline, hook.when_ready)),
        Some((Duration::from_secs(5), true))
    );
    let json = r#"[{"Name": "a", "Entrypoint": "true"}, {"name": "b", "entrypoint": "false"}]"#;
    let overrides = CliOverrides { skip: vec!["b".to_owned()], ..CliOverrides::default() };
    assert_eq!(plan_with(json, &overrides).map(|plan| plan.processes.len()), Ok(1));
    let overrides = CliOverrides { skip: vec!["c".to_owned()], ..CliOverrides::default() };
    assert!(
        plan_with(json, &overrides)
            .is_err_and(|problems| problems[0].contains("'c', which is not in the list"))
    );
    assert_problems(
        "- name: a\n  entrypoint: x\n  readiness: {tcp: {socket: nonsense}}\n  sysProcAttr: {cloneflags: 1}\n",
        &[
            "3:21: [0].readiness.tcp.socket: expected host:port, found 'nonsense'",
            "4:17: [0].sysProcAttr.cloneflags: not supported: namespaces, terminals and capabilities are the container runtime's",
        ],
    );
}

#[test]
fn reads_a_manifest_and_warns_about_ignored_keys() {
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\nspec:\n  replicas: 3\n  template:\n    spec:\n      terminationGracePeriodSeconds: 20\n      volumes: []\n      initContainers:\n      - {name: migrate, image: shop, command: [./migrate]}\n      - {name: proxy, command: [./proxy], restartPolicy: Always}\n      containers:\n      - name: web\n        image: shop\n        command: [./web]\n        env: [{name: A, value: '1'}, {name: B, valueFrom: {fieldRef: {fieldPath: x}}}]\n        ports: [{name: http, containerPort: 80}]\n        livenessProbe: {httpGet: {path: /healthz, port: http}}\n";
    let plan = valid(text);
    let jobs = &plan.plan.jobs;
    assert_eq!(jobs[0].restart.policy, Policy::OnFailure);
    assert!(jobs[1].sidecar && jobs[1].needs.len() == 1);
    assert_eq!(
        jobs[2].needs.iter().map(|need| need.condition.label()).collect::<Vec<_>>(),
        ["succeeded", "started"]
    );
    assert_eq!(plan.plan.pod.deadline, Some(Duration::from_secs(15)));
    assert_eq!(
        plan.warnings,
        [
            "9:7: spec.template.spec.volumes: ignored: needs a kubelet",
            "11:25: spec.template.spec.initContainers[0].image: ignored: needs a kubelet",
            "15:9: spec.template.spec.containers[0].image: ignored: needs a kubelet",
            "17:9: spec.template.spec.containers[0].env: B not set: valueFrom needs a cluster",
        ]
    );
    assert_problems(
        "kind: Deploymnt\napiVersion: v1\n",
        &[
            "1:1: kind: 'Deploymnt' does not contain a pod, did you mean 'Deployment'? (expected one of Pod, Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController, Job, CronJob, PodTemplate)",
        ],
    );
    assert_problems(
        "kind: Pod\nspec: {containers: [{name: a, comand: [x]}]}\n",
        &["2:31: spec.containers[0].comand: unknown key, did you mean 'command'?"],
    );
}

#[test]
fn accepts_a_manifest_of_several_documents() {
    let service = "kind: Service\napiVersion: v1\n---\n";
    let pod = "kind: Pod\napiVersion: v1\nspec: {containers: [{name: a, command: [x]}]}\n";
    assert_eq!(valid(&format!("{service}{pod}")).processes.len(), 1);
    assert!(
        plan(&format!("{pod}---\n{pod}"))
            .is_err_and(|problems| problems[0].contains("expected one per file"))
    );
}

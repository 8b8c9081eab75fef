//! Converts a Kubernetes manifest to the native format: each container becomes a process.
//!
//! Init containers run sequentially before the others; one with `restartPolicy: Always` is a sidecar. Each key that
//! needs a kubelet is reported in a warning.

use std::time::Duration;

use crate::compile::{Problems, problem_at_root};
use crate::file::kubernetes::{Container, Manifest, Pod};
use crate::file::native::{
    Backoff, ContainerPort, File, ForeignSemantics, Process, ProcessMap, Resources, RestartPolicy,
    SecurityContext,
};
use crate::file::scalars::{Condition, DependsOn, HumanDuration};
use crate::yaml::reader::{Keys, Problem, read};
use crate::yaml::tree::{Node, Step, Value};
use spec::suggest::hint;

/// Kinds that contain a pod, and its path.
const KINDS: [(&str, &[&str]); 9] = [
    ("Pod", &["spec"]),
    ("Deployment", &["spec", "template", "spec"]),
    ("ReplicaSet", &["spec", "template", "spec"]),
    ("StatefulSet", &["spec", "template", "spec"]),
    ("DaemonSet", &["spec", "template", "spec"]),
    ("ReplicationController", &["spec", "template", "spec"]),
    ("Job", &["spec", "template", "spec"]),
    ("CronJob", &["spec", "jobTemplate", "spec", "template", "spec"]),
    ("PodTemplate", &["template", "spec"]),
];

/// Supported keys of a pod.
const POD_KEYS: [&str; 5] =
    ["containers", "initContainers", "restartPolicy", "terminationGracePeriodSeconds", "securityContext"];
/// Supported keys of a container.
const CONTAINER_KEYS: [&str; 15] = [
    "name",
    "command",
    "args",
    "env",
    "workingDir",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "ports",
    "resources",
    "restartPolicy",
    "restartPolicyRules",
    "securityContext",
    "terminationGracePeriodSeconds",
];
/// Supported keys of a security context.
const SECURITY_KEYS: [&str; 5] =
    ["runAsUser", "runAsGroup", "supplementalGroups", "runAsNonRoot", "allowPrivilegeEscalation"];
/// Keys that restrict privileges, which is not enforced here.
const PRIVILEGES: [&str; 6] = [
    "capabilities",
    "seccompProfile",
    "appArmorProfile",
    "readOnlyRootFilesystem",
    "seLinuxOptions",
    "privileged",
];

/// Returns the document that contains a pod.
pub(super) fn document_with_pod(documents: &[Node]) -> Result<&Node, Vec<Problem>> {
    let mut with = documents.iter().filter(|node| pod_path(node).is_some());
    match (with.next(), with.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(second)) => {
            let message = "a second object with a pod: expected one per file".to_owned();
            Err(vec![Problem { place: second.place, path: String::new(), message }])
        }
        (None, _) => {
            Err(vec![problem_at_root("several documents without a Kubernetes object that contains a pod")])
        }
    }
}

fn pod_path(root: &Node) -> Option<&'static [&'static str]> {
    let kind = root.get("kind").and_then(Node::text)?;
    KINDS.iter().find(|(known, _)| *known == kind).map(|(_, keys)| *keys)
}

/// Converts a manifest, and returns its problems and warnings.
pub(super) fn file(root: &Node) -> (File, Vec<Problem>, Vec<String>) {
    // The rest of the object is only checked for errors.
    let (_, found): (Manifest, _) = match root.get("kind").and_then(Node::text) {
        // Its template is a sibling of the metadata.
        Some("PodTemplate") => (Manifest::default(), Vec::new()),
        _ => read(root, Keys::Exact),
    };
    let mut problems = Problems { root, found };
    let kind = root.get("kind").and_then(Node::text).unwrap_or_default();
    let Some(keys) = pod_path(root) else {
        let kinds = KINDS.iter().map(|(kind, _)| *kind);
        let hint = hint(kind, kinds.clone());
        let kinds = kinds.collect::<Vec<_>>().join(", ");
        problems.at(
            &[Step::from("kind")],
            format!("'{kind}' does not contain a pod{hint} (expected one of {kinds})"),
        );
        return (File::default(), problems.found, Vec::new());
    };
    let path: Vec<Step> = keys.iter().map(|step| Step::from(*step)).collect();
    let mut node = root;
    for step in keys {
        let Some(inner) = node.get(step) else {
            problems.at(&path, format!("missing: expected the pod of a {kind}"));
            return (File::default(), problems.found, Vec::new());
        };
        node = inner;
    }
    let (pod, inner): (Pod, _) = read(node, Keys::Exact);
    let prefix = crate::compile::tree::dotted(&path);
    problems.found.extend(inner.into_iter().map(|problem| {
        let dot = if problem.path.is_empty() { "" } else { "." };
        Problem { path: format!("{prefix}{dot}{}", problem.path), ..problem }
    }));
    let mut warnings = Warnings { root, all: Vec::new() };
    warnings.ignored_keys(node, &path, &POD_KEYS);
    if let Some(security) = node.get("securityContext") {
        warnings.ignored_keys(security, &with(&path, "securityContext"), &SECURITY_KEYS);
    }
    let file = of_pod(pod, node, &path, &mut problems, &mut warnings);
    (file, problems.found, warnings.all)
}

fn of_pod(
    pod: Pod,
    node: &Node,
    path: &[Step],
    problems: &mut Problems<'_>,
    warnings: &mut Warnings<'_>,
) -> File {
    if pod.containers.is_empty() {
        problems.at(path, "containers is missing: expected at least one");
    }
    let policy = pod.restart_policy.unwrap_or(RestartPolicy::Always);
    let identity = pod.security_context.map(|security| SecurityContext {
        run_as_user: security.run_as_user,
        run_as_group: security.run_as_group,
        supplemental_groups: security.supplemental_groups,
        run_as_non_root: security.run_as_non_root,
        allow_privilege_escalation: None,
    });
    let mut processes = Vec::new();
    let mut before: Vec<(String, Option<Condition>)> = Vec::new();
    let lists = [("initContainers", pod.init_containers), ("containers", pod.containers)];
    for (list, containers) in lists {
        for (index, container) in containers.into_iter().enumerate() {
            let at = with(&with(path, list), index);
            if let Some(inner) = node.get(list).and_then(|list| item(list, index)) {
                warnings.of_container(inner, &at);
            }
            let init = list == "initContainers";
            let sidecar = init && container.restart_policy == Some(RestartPolicy::Always);
            let name = container.name.clone().unwrap_or_default();
            let mut process = of_container(container, &at, identity.as_ref(), problems, warnings);
            process.depends_on = Some(DependsOn(before.clone()));
            process.sidecar = Some(sidecar);
            process.restart_policy = Some(match (init, sidecar, policy) {
                (true, true, _) => RestartPolicy::Always,
                // An init container is complete when it has exited with 0.
                (true, false, RestartPolicy::Always) => RestartPolicy::OnFailure,
                (_, _, policy) => process.restart_policy.unwrap_or(policy),
            });
            if init {
                let condition = if sidecar { Condition::Started } else { Condition::Succeeded };
                before.push((name.clone(), Some(condition)));
            }
            processes.push((name, process));
        }
    }
    File {
        processes: ProcessMap(processes),
        termination_grace_period_seconds: pod.termination_grace_period_seconds,
        restart_policy: Some(policy),
        backoff: Some(Backoff {
            initial: Some(HumanDuration(Duration::from_secs(10))),
            max: Some(HumanDuration(Duration::from_secs(300))),
            reset: Some(HumanDuration(Duration::from_secs(600))),
            first_at_once: Some(true),
        }),
        ..File::default()
    }
}

fn of_container(
    container: Container,
    at: &[Step],
    identity: Option<&SecurityContext>,
    problems: &mut Problems<'_>,
    warnings: &mut Warnings<'_>,
) -> Process {
    if container.command.is_none() {
        problems.at(at, "command is missing: the command of the image is not known");
    }
    let pod = identity.cloned().unwrap_or_default();
    let own = container.security_context.unwrap_or_default();
    let security = SecurityContext {
        run_as_user: own.run_as_user.or(pod.run_as_user),
        run_as_group: own.run_as_group.or(pod.run_as_group),
        supplemental_groups: pod.supplemental_groups,
        run_as_non_root: own.run_as_non_root.or(pod.run_as_non_root),
        allow_privilege_escalation: own.allow_privilege_escalation,
    };
    let mut env = container.env.unwrap_or_default();
    env.0.retain(|(name, value)| {
        if value.is_none() {
            warnings.at(&with(at, "env"), &format!("{name} not set: valueFrom needs a cluster"));
        }
        value.is_some()
    });
    Process {
        name: container.name,
        command: container.command,
        args: container.args,
        env: Some(env),
        working_dir: container.working_dir,
        startup_probe: container.startup_probe,
        liveness_probe: container.liveness_probe,
        readiness_probe: container.readiness_probe,
        lifecycle: container.lifecycle,
        ports: container.ports.map(|ports| {
            let port = |port: crate::file::kubernetes::Port| ContainerPort {
                name: port.name,
                container_port: port.container_port,
                protocol: None,
            };
            ports.into_iter().map(port).collect()
        }),
        resources: container
            .resources
            .map(|resources| Resources { limits: resources.limits, ..Resources::default() }),
        restart_policy: container.restart_policy,
        restart_policy_rules: container.restart_policy_rules,
        security_context: Some(security),
        more: ForeignSemantics { at: at.to_vec(), ignores_sidecars: true, ..ForeignSemantics::default() },
        ..Process::default()
    }
}

fn with(path: &[Step], step: impl Into<Step>) -> Vec<Step> {
    crate::compile::below(path, step)
}

fn item(list: &Node, index: usize) -> Option<&Node> {
    match &list.value {
        Value::List(items) => items.get(index),
        _ => None,
    }
}

/// Warnings about ignored keys.
struct Warnings<'a> {
    root: &'a Node,
    all: Vec<String>,
}

impl Warnings<'_> {
    fn at(&mut self, path: &[Step], message: &str) {
        let place = self.root.place_of(path);
        self.all.push(format!(
            "{}:{}: {}: {message}",
            place.line,
            place.column,
            crate::compile::tree::dotted(path)
        ));
    }

    fn ignored_keys(&mut self, node: &Node, path: &[Step], supported: &[&str]) {
        let Value::Map(entries) = &node.value else { return };
        for (key, _) in entries.iter().filter(|(key, _)| !supported.contains(&key.text.as_str())) {
            let message = if PRIVILEGES.contains(&key.text.as_str()) {
                "not enforced without a container runtime: the process keeps the privileges of sexton"
            } else {
                "ignored: needs a kubelet"
            };
            self.at(&with(path, key.text.as_str()), message);
        }
    }

    fn of_container(&mut self, node: &Node, path: &[Step]) {
        self.ignored_keys(node, path, &CONTAINER_KEYS);
        if let Some(security) = node.get("securityContext") {
            self.ignored_keys(security, &with(path, "securityContext"), &SECURITY_KEYS);
        }
    }
}

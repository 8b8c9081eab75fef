//! A Kubernetes manifest in our words: its containers are processes of this machine.
//!
//! Init containers run one after the other before the others; one with `restartPolicy: Always` is a sidecar. What
//! cannot be had without a kubelet is told in one warning each.

use std::time::Duration;

use super::super::raw::kubernetes::{Container, Manifest, Pod};
use super::super::raw::native::{
    Backoff, ContainerPort, File, ForeignSemantics, Process, ProcessMap, Resources, RestartPolicy,
    SecurityContext,
};
use super::super::raw::words::{Condition, DependsOn, HumanDuration};
use super::super::read::{Keys, Problem, read};
use super::super::tree::{Node, Step, Value};
use super::{Problems, problem_at_root};
use spec::suggest::hint;

/// Kinds that have a pod in them, and the way to it.
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

/// What of a pod we heed.
const OF_POD: [&str; 5] =
    ["containers", "initContainers", "restartPolicy", "terminationGracePeriodSeconds", "securityContext"];
/// What of a container we heed.
const OF_CONTAINER: [&str; 15] = [
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
/// What of an identity we heed.
const OF_SECURITY: [&str; 5] =
    ["runAsUser", "runAsGroup", "supplementalGroups", "runAsNonRoot", "allowPrivilegeEscalation"];
/// What would take privileges away, and does not here.
const PRIVILEGES: [&str; 6] = [
    "capabilities",
    "seccompProfile",
    "appArmorProfile",
    "readOnlyRootFilesystem",
    "seLinuxOptions",
    "privileged",
];

/// Of several documents, the one that has a pod in it.
pub(super) fn the_one_with_a_pod(documents: &[Node]) -> Result<&Node, Vec<Problem>> {
    let mut with = documents.iter().filter(|node| way_to_pod(node).is_some());
    match (with.next(), with.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(second)) => {
            let message = "a second object with a pod in it: give one at a time".to_owned();
            Err(vec![Problem { place: second.place, path: String::new(), message }])
        }
        (None, _) => Err(vec![problem_at_root(
            "several documents, and none of them is a Kubernetes object with a pod in it",
        )]),
    }
}

fn way_to_pod(root: &Node) -> Option<&'static [&'static str]> {
    let kind = root.get("kind").and_then(Node::text)?;
    KINDS.iter().find(|(known, _)| *known == kind).map(|(_, way)| *way)
}

/// Makes our form of it, and tells what of it means nothing here.
pub(super) fn file(root: &Node) -> (File, Vec<Problem>, Vec<String>) {
    // What stands around the pod is only looked at for mistakes.
    let (_, found): (Manifest, _) = match root.get("kind").and_then(Node::text) {
        // Its template stands beside the metadata.
        Some("PodTemplate") => (Manifest::default(), Vec::new()),
        _ => read(root, Keys::Exact),
    };
    let mut problems = Problems { root, found };
    let kind = root.get("kind").and_then(Node::text).unwrap_or_default();
    let Some(way) = way_to_pod(root) else {
        let kinds = KINDS.iter().map(|(kind, _)| *kind);
        let hint = hint(kind, kinds.clone());
        let kinds = kinds.collect::<Vec<_>>().join(", ");
        problems
            .at(&[Step::from("kind")], format!("'{kind}' has no pod in it{hint} (expected one of {kinds})"));
        return (File::default(), problems.found, Vec::new());
    };
    let path: Vec<Step> = way.iter().map(|step| Step::from(*step)).collect();
    let mut node = root;
    for step in way {
        let Some(inner) = node.get(step) else {
            problems.at(&path, format!("missing: a {kind} has its pod there"));
            return (File::default(), problems.found, Vec::new());
        };
        node = inner;
    }
    let (pod, inner): (Pod, _) = read(node, Keys::Exact);
    let prefix = super::tree::dotted(&path);
    problems.found.extend(inner.into_iter().map(|problem| {
        let dot = if problem.path.is_empty() { "" } else { "." };
        Problem { path: format!("{prefix}{dot}{}", problem.path), ..problem }
    }));
    let mut warnings = Warnings { root, all: Vec::new() };
    warnings.unheeded(node, &path, &OF_POD);
    if let Some(security) = node.get("securityContext") {
        warnings.unheeded(security, &with(&path, "securityContext"), &OF_SECURITY);
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
        problems.at(path, "containers is missing: a pod has at least one");
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
                // An init container is done when it has ended well.
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
        problems.at(at, "command is missing: without an image there is no other way to know what to execute");
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
            warnings.at(
                &with(at, "env"),
                &format!("{name} comes from elsewhere (valueFrom), and is not set here"),
            );
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
            let port = |port: super::super::raw::kubernetes::Port| ContainerPort {
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
    super::below(path, step)
}

fn item(list: &Node, index: usize) -> Option<&Node> {
    match &list.value {
        Value::List(items) => items.get(index),
        _ => None,
    }
}

/// What means nothing without a kubelet.
struct Warnings<'a> {
    root: &'a Node,
    all: Vec<String>,
}

impl Warnings<'_> {
    fn at(&mut self, path: &[Step], message: &str) {
        let place = self.root.place_of(path);
        self.all.push(format!("{}:{}: {}: {message}", place.line, place.column, super::tree::dotted(path)));
    }

    fn unheeded(&mut self, node: &Node, path: &[Step], heeded: &[&str]) {
        let Value::Map(entries) = &node.value else { return };
        for (key, _) in entries.iter().filter(|(key, _)| !heeded.contains(&key.text.as_str())) {
            let what = if PRIVILEGES.contains(&key.text.as_str()) {
                "not enforced without a container runtime: the process has whatever privileges we have"
            } else {
                "means nothing without a kubelet"
            };
            self.at(&with(path, key.text.as_str()), what);
        }
    }

    fn of_container(&mut self, node: &Node, path: &[Step]) {
        self.unheeded(node, path, &OF_CONTAINER);
        if let Some(security) = node.get("securityContext") {
            self.unheeded(security, &with(path, "securityContext"), &OF_SECURITY);
        }
    }
}

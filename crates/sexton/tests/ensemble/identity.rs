//! The identity of a pod from the Kubernetes API, files of the downward API and metadata services of clouds; templates
//! that are filled from it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use k8s::fake::{Fault, Verb, pod_of};
use serde_json::{Value, json};
use testkit::net::inside_namespaces;
use testkit::servers::free_ports;
use testkit::wait_until;

use super::{Pod, place, store};
use crate::cluster::Cluster;
use crate::harness::{Done, Sexton, is_root};

/// The pod exists, with this change.
fn has(cluster: &Cluster, change: impl FnOnce(&mut Value)) {
    let mut pod = pod_of("shop", "web-0", &[]);
    change(&mut pod);
    cluster.server.set_pod(Some(pod));
}

fn labels_of_node(zone: &str) -> Value {
    json!({
        "metadata": {"name": "node-1", "labels": {"zone": zone}},
        "status": {"addresses": [{"type": "Hostname", "address": "x"}, {"type": "InternalIP", "address": "192.168.7.5"}]}
    })
}

#[test]
fn the_identity_comes_from_the_kubernetes_api_once_the_pod_has_an_address() {
    let (directory, cluster) = (place(), Cluster::new());
    let master = Pod::start(&["--role", "master", "--namespace", "shop", "--store", &store(&directory)]);
    let masters = format!("127.0.0.1:{}", master.port);
    let annotated = |pod: &mut Value| {
        pod["metadata"]["labels"] = json!({"app": "demo", "role": "db"});
        pod["metadata"]["annotations"] = json!({"sexton.dev/masters": masters});
    };
    has(&cluster, |pod| {
        annotated(pod);
        pod["status"]["podIP"] = Value::Null;
    });
    cluster.server.fail_next(Verb::Get, Fault::status(503));
    let arguments =
        ["ensemble", "--role", "member", "--from-kubernetes", "--id", "web-0", "--statsd", "none", "-p", "0"];
    let member = cluster.seen_by(Sexton::new(arguments)).start();
    member.wait_for_stderr("cannot determine the identity of this pod");
    member.wait_for_stderr("the pod has no address yet");
    has(&cluster, annotated);
    master.wait_for_names(&["web-0"]);
    let pods = master.json("/v1/pods");
    assert_eq!((&pods[0]["ip"], &pods[0]["role"]), (&json!("10.244.1.9"), &json!("db")), "{pods}");
    assert_eq!(member.stop().code, 0);
    // Under the name kontrol, which queries what its variables do not set.
    let kontrol = cluster
        .seen_by(Sexton::called("kontrol"))
        .env("KONTROL_ID", "web-0")
        .env("KONTROL_PORT", free_ports(1)[0].to_string());
    let kontrol = kontrol.start();
    master.wait_for_names(&["web-0"]);
    assert_eq!(kontrol.stop().code, 0);
}

#[test]
fn a_member_that_waits_for_its_identity_can_be_stopped() {
    let cluster = Cluster::new();
    let arguments = ["ensemble", "--role", "member", "--from-kubernetes", "--statsd", "none", "-p", "0"];
    let member = cluster.seen_by(Sexton::new(arguments)).start();
    member.wait_for_stderr("does not exist");
    assert_eq!(member.stop().code, 0);
    // The API does not know enough.
    has(&cluster, |pod| pod["metadata"]["labels"] = json!({}));
    let arguments =
        ["ensemble", "--role", "member", "--id", "web-0", "--from-kubernetes", "--statsd", "none", "-p", "0"];
    let done = cluster.seen_by(Sexton::new(arguments)).done();
    assert!(done.code == 78 && done.stderr.contains("--app is missing"), "{done:?}");
}

fn write(directory: &Path, name: &str, text: &str) -> String {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap_or_else(|error| panic!("{error}"));
    path.display().to_string()
}

#[test]
fn the_identity_comes_from_files_of_the_downward_api() {
    let (directory, info) = (place(), place());
    let master = Pod::start(&["--role", "master", "--store", &store(&directory)]);
    write(info.path(), "labels", "app=\"demo\"\nrole=\"web\"\n");
    let annotation = format!("sexton.dev/masters=\"127.0.0.1:{}\"\n", master.port);
    write(info.path(), "annotations", &annotation);
    write(info.path(), "name", "web-7");
    let path = info.path().display().to_string();
    let arguments = [
        "ensemble",
        "--role",
        "member",
        "--pod-info",
        &path,
        "--ip",
        "10.0.0.7",
        "--statsd",
        "none",
        "-p",
        "0",
    ];
    let member = Sexton::new(arguments).start();
    master.wait_for_names(&["web-7"]);
    assert_eq!(master.json("/v1/pods")[0]["role"], "web");
    assert_eq!(member.stop().code, 0);
    let nowhere = Sexton::new(["ensemble", "--role", "member", "--pod-info", "/nowhere", "-p", "0"]).start();
    nowhere.wait_for_stderr("/nowhere: expected files of the downward API");
    assert_eq!(nowhere.stop().code, 0);
}

fn render(sexton: Sexton) -> Done {
    let done = sexton.done();
    assert_eq!(done.code, 0, "{}", done.stderr);
    done
}

#[test]
fn the_example_for_telegraf_is_filled_from_pod_node_and_annotation() {
    let cluster = Cluster::new();
    has(&cluster, |pod| pod["metadata"]["annotations"] = json!({"sexton.dev/opentsdb": "tsdb.shop:4343"}));
    cluster.server.set_node(Some(labels_of_node("z\"1")));
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/ensemble/telegraf.conf.j2");
    let template = template.display().to_string();
    let filled = place();
    let to = filled.path().join("telegraf.conf");
    let arguments = [
        "ensemble",
        "render",
        "--from-kubernetes",
        "--id",
        "web-0",
        "--output",
        &to.display().to_string(),
        &template,
    ];
    render(cluster.seen_by(Sexton::new(arguments)));
    let text = std::fs::read_to_string(&to).unwrap_or_default();
    for part in [
        "pod = \"web-0\"",
        "\"app\" = \"web\"",
        "\"node.zone\" = \"z\\\"1\"",
        "hostname = \"node-1\"",
        "host = \"http://tsdb.shop\"\n  port = 4343",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Without the annotation, and with a service account that may not read nodes.
    has(&cluster, |_| ());
    cluster.server.fail_next(
        Verb::Get,
        Fault::Body(pod_of("shop", "web-0", &[]).to_string().into_bytes(), k8s::fake::After::End),
    );
    cluster.server.fail_next(Verb::Get, Fault::Forbidden);
    let done = render(cluster.seen_by(Sexton::new([
        "ensemble",
        "render",
        "--from-kubernetes",
        "--id",
        "web-0",
        &template,
    ])));
    assert!(done.stdout.contains("files = [\"stdout\"]") && !done.stdout.contains("node."), "{done:?}");
}

#[test]
fn a_template_lists_the_members_and_an_invalid_one_writes_nothing() {
    let directory = place();
    let master = Pod::start(&["--role", "master", "--store", &store(&directory)]);
    for id in ["b", "a"] {
        assert_eq!(master.ping(&super::keepalive(id, &json!({"port": 80}))).code, 200);
    }
    let at = format!("127.0.0.1:{}", master.port);
    let template =
        write(directory.path(), "t", "{% for pod in pods %}{{ pod.id }}:{{ pod.payload.port }} {% endfor %}");
    let done = render(Sexton::new(["ensemble", "render", "--pod", &at, &template]));
    assert_eq!(done.stdout, "b:80 a:80 ");
    let output = write(directory.path(), "o", "as it was");
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(&output, mode(0o640)).unwrap_or_else(|error| panic!("{error}"));
    if is_root() {
        std::os::unix::fs::chown(&output, Some(65534), Some(65534)).unwrap_or_else(|error| panic!("{error}"));
    }
    let before = std::fs::metadata(&output).unwrap_or_else(|error| panic!("{error}"));
    let named = write(directory.path(), "n", "{{ namespace }}");
    render(
        Sexton::new(["ensemble", "render", "--output", &output, &named])
            .env("SEXTON_ENSEMBLE_NAMESPACE", "shop"),
    );
    assert_eq!(std::fs::read_to_string(&output).unwrap_or_default(), "shop");
    let after = std::fs::metadata(&output).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((after.uid(), after.gid(), after.mode()), (before.uid(), before.gid(), before.mode()));
    let left = std::fs::read_dir(directory.path())
        .map(|all| all.flatten().filter(|it| it.file_name().to_string_lossy().starts_with("o.")).count());
    assert_eq!(left.ok(), Some(0));
    std::fs::write(&output, "as it was").unwrap_or_else(|error| panic!("{error}"));
    let bad = write(directory.path(), "bad", "{{ labels.none }}");
    for (arguments, code, part) in [
        (&["--output", &output, &bad][..], 65, "bad:1: undefined value"),
        (&["--output", &output, "/nowhere"], 66, "/nowhere: "),
        (&["--output", &output, "--pod", "127.0.0.1:1", &template], 69, "failed:"),
        (&["--labels", "[]", &template], 64, "expected a JSON object of strings"),
        (&["--cloud", "moon", &template], 64, "expected auto, aws, gcp or azure"),
    ] {
        let done = Sexton::new(["ensemble", "render"].iter().chain(arguments)).done();
        assert!(done.code == code && done.stderr.contains(part), "{arguments:?}: {done:?}");
    }
    assert_eq!(std::fs::read_to_string(&output).unwrap_or_default(), "as it was");
}

/// A metadata service: answers by path, and only requests with a header.
fn metadata_service(answers: &'static [(&'static str, &'static str, &'static str)]) {
    let listener = TcpListener::bind("169.254.169.254:80").unwrap_or_else(|error| panic!("{error}"));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut head = String::new();
            let mut reader = BufReader::new(&stream);
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|read| read > 0) {}
            let head = head.to_lowercase();
            let found = answers.iter().find(|(path, header, _)| {
                head.starts_with(&format!("{path} http/").to_lowercase()) && head.contains(header)
            });
            let (code, body) = found.map_or(("404 Not Found", "no"), |(_, _, body)| ("200 OK", *body));
            let _ = write!(&stream, "HTTP/1.1 {code}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
}

/// In a namespace, since the address is link-local and the port a privileged one.
fn cloud(
    test: &str,
    which: &str,
    answers: &'static [(&'static str, &'static str, &'static str)],
) -> Option<Done> {
    if !inside_namespaces(test) {
        return None;
    }
    let ip = Command::new("ip").args(["addr", "add", "169.254.169.254/32", "dev", "lo"]).status();
    assert!(ip.is_ok_and(|done| done.success()));
    let directory = place();
    let hosts =
        write(directory.path(), "hosts", "127.0.0.1 localhost\n169.254.169.254 metadata.google.internal\n");
    let mounted = Command::new("mount").args(["--bind", &hosts, "/etc/hosts"]).status();
    assert!(mounted.is_ok_and(|done| done.success()));
    metadata_service(answers);
    let template = write(directory.path(), "t", "{{ node.name }}");
    Some(render(Sexton::new(["ensemble", "render", "--cloud", which, &template])))
}

#[test]
fn the_node_name_comes_from_aws_with_a_session_token() {
    let answers = &[
        ("PUT /latest/api/token", "x-aws-ec2-metadata-token-ttl-seconds: 60", "AQAAAsecret=="),
        (
            "GET /latest/meta-data/local-hostname",
            "x-aws-ec2-metadata-token: aqaaasecret==",
            "ip-10-0-0-1.EC2.internal",
        ),
    ];
    if let Some(done) =
        cloud("ensemble::identity::the_node_name_comes_from_aws_with_a_session_token", "aws", answers)
    {
        assert_eq!(done.stdout, "ip-10-0-0-1.ec2.internal");
    }
}

#[test]
fn the_node_name_comes_from_google() {
    let answers = &[("GET /computeMetadata/v1/instance/name", "metadata-flavor: google", "gke-pool-1-x")];
    if let Some(done) = cloud("ensemble::identity::the_node_name_comes_from_google", "auto", answers) {
        assert_eq!(done.stdout, "gke-pool-1-x");
    }
}

#[test]
fn the_node_name_comes_from_azure() {
    let answers = &[(
        "GET /metadata/instance/compute/osProfile/computerName?api-version=2021-02-01&format=text",
        "metadata: true",
        "aks-pool-1-vmss000001",
    )];
    if let Some(done) = cloud("ensemble::identity::the_node_name_comes_from_azure", "auto", answers) {
        assert_eq!(done.stdout, "aks-pool-1-vmss000001");
    }
}

#[test]
fn a_chained_ensemble_reports_its_list_to_the_next_one() {
    let (one, two) = (place(), place());
    let above = Pod::start(&["--role", "master", "--store", &store(&one)]);
    let number = free_ports(1)[0];
    let (port, masters) = (number.to_string(), format!("127.0.0.1:{}", above.port));
    let arguments = [
        "ensemble",
        "--role",
        "master",
        "--app",
        "leaf",
        "--id",
        "leaf-1",
        "--ip",
        "10.0.0.1",
        "-i",
        "127.0.0.1",
        "-p",
        &port,
        "--statsd",
        "none",
        "--store",
        &store(&two),
        "--masters",
        &masters,
        "--report-app",
        "demo",
    ];
    let leaf = Pod { sexton: Sexton::new(arguments).start(), port: number };
    above.wait_for_names(&["leaf-1"]);
    assert_eq!(above.json("/v1/pods")[0]["payload"]["pods"], 0);
    let mut keepalive = super::keepalive("x", &json!(1));
    keepalive["app"] = json!("leaf");
    assert_eq!(leaf.ping(&keepalive).code, 200);
    wait_until("one more is reported", || (above.json("/v1/pods")[0]["payload"]["pods"] == 1).then_some(()));
    let payload = above.json("/v1/pods")[0]["payload"].clone();
    assert_eq!((&payload["app"], &payload["digest"]), (&json!("leaf"), &leaf.json("/v1/digest")["digest"]));
    assert_eq!(leaf.sexton.stop().code, 0);
    above.wait_for_names(&[]);
}

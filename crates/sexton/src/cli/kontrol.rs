//! The environment variables of `kontrol`, which has no command line.

use k8s::Pairs;
use serde_json::Value;

use config::options::{
    CommonOptions, EnsembleOptions, EnsembleRole, IdentityOptions, ListenOptions, ModeOptions, StoreOptions,
    UsageError,
};
use spec::ensemble::MASTERS;
use spec::ensemble::bracketed;
use spec::environment::Environment;

/// The executable name of this personality.
pub const NAME: &str = "kontrol";

/// Reads the variables: the options, and whether the log is verbose.
pub fn parse(environment: &dyn Environment) -> Result<(CommonOptions, ModeOptions, bool), UsageError> {
    let variable = |name: &str| {
        let found = environment.get(name).map(|word| word.to_string_lossy().into_owned());
        found.filter(|text| !text.is_empty())
    };
    let missing = |name: &str, what: &str| UsageError(format!("{name} is not set: expected {what}"));
    let mode = variable("KONTROL_MODE").unwrap_or_else(|| "slave".to_owned());
    let flags: Vec<_> = mode.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
    if let Some(word) = flags.iter().find(|word| !["slave", "master", "debug", "verbose"].contains(word)) {
        return Err(UsageError(format!("KONTROL_MODE '{word}': expected slave, master, debug or verbose")));
    }
    let has = |word: &str| flags.contains(&word);
    let debug = has("debug");
    let role = match (has("slave") || debug, has("master") || debug) {
        (true, true) => EnsembleRole::Both,
        (_, true) => EnsembleRole::Master,
        (true | false, false) => EnsembleRole::Member,
    };
    for name in ["KONTROL_LABELS", "KONTROL_ANNOTATIONS"] {
        if let Some(text) = variable(name) {
            serde_json::from_str::<Pairs>(&text)
                .map_err(|error| UsageError(format!("{name}: expected a JSON object of strings: {error}")))?;
        }
    }
    let is_in_cluster = environment.get("KUBERNETES_SERVICE_HOST").is_some();
    let pod_info = variable("SEXTON_ENSEMBLE_POD_INFO");
    let is_master = !debug && role != EnsembleRole::Member;
    let lacks = |name: &str| variable(name).is_none();
    // Values that are required and not given come from the pod.
    let lacks_any = ["KONTROL_LABELS", "KONTROL_IP", "KONTROL_ID"].into_iter().any(lacks)
        || (role != EnsembleRole::Master && lacks("KONTROL_ANNOTATIONS"))
        || (is_master && lacks("KONTROL_ETCD") && lacks("KONTROL_HOST"));
    let from_kubernetes = is_in_cluster && !debug && lacks_any;
    let asks = from_kubernetes || pod_info.is_some();
    let has_label = |name: &str| {
        let given = variable("KONTROL_LABELS").unwrap_or_default();
        serde_json::from_str::<Value>(&given).map_or(true, |labels| labels[name].is_string())
    };
    for (label, what) in [("app", "JSON with the label app"), ("role", "JSON with the label role")] {
        if !asks && (variable("KONTROL_LABELS").is_none() || !has_label(label)) {
            return Err(missing("KONTROL_LABELS", what));
        }
    }
    let masters = variable("KONTROL_ANNOTATIONS").unwrap_or_default();
    if role == EnsembleRole::Member && !asks && !MASTERS.iter().any(|name| masters.contains(name)) {
        let what = format!("JSON with the annotation {}", MASTERS[0]);
        return Err(missing("KONTROL_ANNOTATIONS", &what));
    }
    let host = variable("KONTROL_HOST");
    let etcd = variable("KONTROL_ETCD").or_else(|| host.as_deref().map(bracketed)).filter(|_| is_master);
    let etcd_of_node = is_master && etcd.is_none();
    if etcd_of_node && !from_kubernetes {
        return Err(missing("KONTROL_ETCD", "the nodes of etcd (or KONTROL_HOST, or KONTROL_MODE=debug)"));
    }
    // A placeholder until the node is known.
    let etcd = etcd.or_else(|| etcd_of_node.then(|| "localhost".to_owned()));
    // The values are seconds.
    let seconds = |name: &str, default: &str| {
        let text = variable(name).unwrap_or_else(|| default.to_owned());
        match text.parse::<u64>() {
            Ok(number) => Ok(Some(format!("{number}s"))),
            Err(_) => Err(UsageError(format!("{name} '{text}': expected seconds"))),
        }
    };
    let callback = variable("KONTROL_CALLBACK");
    let shell = variable("KONTROL_SHELL_CALLBACK").is_some_and(|word| word.eq_ignore_ascii_case("true"));
    let (callback, shell_callback) = if shell { (None, callback) } else { (callback, None) };
    let raw = EnsembleOptions {
        role: Some(role),
        identity: IdentityOptions {
            namespace: Some(variable("NAMESPACE").unwrap_or_else(|| "default".to_owned())),
            id: variable("KONTROL_ID"),
            ip: variable("KONTROL_IP"),
            host,
            labels: variable("KONTROL_LABELS"),
            annotations: variable("KONTROL_ANNOTATIONS"),
            from_kubernetes,
            pod_info,
            cloud: variable("SEXTON_ENSEMBLE_CLOUD"),
            node: None,
        },
        etcd_of_node,
        needs_role: true,
        payload: variable("KONTROL_PAYLOAD"),
        member_ttl: seconds("KONTROL_TTL", "25")?,
        fail_over: seconds("KONTROL_FOVER", "60")?,
        damper: seconds("KONTROL_DAMPER", "10")?,
        callback: callback.filter(|_| role != EnsembleRole::Member),
        shell_callback: shell_callback.filter(|_| role != EnsembleRole::Member),
        token_file: variable("SEXTON_ENSEMBLE_TOKEN_FILE"),
        invoke_user: variable("SEXTON_ENSEMBLE_INVOKE_USER"),
        tls_cert: variable("SEXTON_ENSEMBLE_TLS_CERT"),
        tls_key: variable("SEXTON_ENSEMBLE_TLS_KEY"),
        tls_ca: variable("SEXTON_ENSEMBLE_TLS_CA"),
        authenticated_keepalives: variable("SEXTON_ENSEMBLE_AUTHENTICATED_KEEPALIVES")
            .is_some_and(|word| word.eq_ignore_ascii_case("true")),
        store: StoreOptions {
            etcd,
            etcd_ca: variable("SEXTON_LOCK_ETCD_CA"),
            etcd_cert: variable("SEXTON_LOCK_ETCD_CERT"),
            etcd_key: variable("SEXTON_LOCK_ETCD_KEY"),
            store: variable("SEXTON_LOCK_STORE"),
            ..StoreOptions::default()
        },
        ..EnsembleOptions::default()
    };
    let listen = ListenOptions { port: variable("KONTROL_PORT"), interface: None };
    let options = CommonOptions { listen, ..CommonOptions::default() };
    Ok((options, ModeOptions::Ensemble(Box::new(raw)), has("verbose")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Variables = BTreeMap<&'static str, &'static str>;

    fn read(variables: &[(&'static str, &'static str)]) -> Result<EnsembleOptions, String> {
        let variables: Variables = variables.iter().copied().collect();
        match parse(&variables) {
            Ok((_, ModeOptions::Ensemble(raw), _)) => Ok(*raw),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.0),
        }
    }

    const LABELS: (&str, &str) = ("KONTROL_LABELS", r#"{"app": "demo", "role": "db"}"#);
    const MASTER: (&str, &str) = ("KONTROL_ANNOTATIONS", r#"{"kontrol.unity3d.com/master": "a,b:8001"}"#);

    #[test]
    fn variables_and_their_defaults() {
        let member = read(&[LABELS, MASTER]).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(
            (member.role, member.identity.labels.as_deref()),
            (Some(EnsembleRole::Member), Some(LABELS.1))
        );
        assert_eq!(
            (member.identity.annotations.as_deref(), member.member_ttl.as_deref()),
            (Some(MASTER.1), Some("25s"))
        );
        let master = [
            LABELS,
            ("KONTROL_MODE", "master"),
            ("KONTROL_HOST", "node"),
            ("KONTROL_CALLBACK", "run it"),
            ("KONTROL_DAMPER", "3"),
        ];
        let master = read(&master).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!((master.role, master.store.etcd.as_deref()), (Some(EnsembleRole::Master), Some("node")));
        assert_eq!((master.callback.as_deref(), master.damper.as_deref()), (Some("run it"), Some("3s")));
        let debug = [
            LABELS,
            ("KONTROL_MODE", "debug,verbose"),
            ("KONTROL_CALLBACK", "run it"),
            ("KONTROL_SHELL_CALLBACK", "TRUE"),
        ];
        let debug = read(&debug).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(
            (debug.role, debug.store.etcd, debug.shell_callback.as_deref()),
            (Some(EnsembleRole::Both), None, Some("run it"))
        );
    }

    #[test]
    fn reports_missing_and_invalid_variables() {
        for (variables, part) in [
            (&[][..], "the label app"),
            (&[("KONTROL_LABELS", r#"{"app": "x"}"#)], "the label role"),
            (&[("KONTROL_LABELS", "nonsense")], "expected a JSON object"),
            (&[LABELS], "the annotation kontrol.unity3d.com/master"),
            (&[LABELS, ("KONTROL_MODE", "boss")], "KONTROL_MODE 'boss'"),
            (&[LABELS, ("KONTROL_MODE", "master")], "KONTROL_ETCD is not set"),
            (&[LABELS, MASTER, ("KONTROL_TTL", "soon")], "KONTROL_TTL 'soon'"),
        ] {
            assert!(read(variables).is_err_and(|why| why.contains(part)), "{variables:?}");
        }
    }
}

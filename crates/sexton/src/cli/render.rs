//! `sexton ensemble render`: a template, rendered with what is known of this pod, its node and the members.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::{Path, PathBuf};

use minijinja::{AutoEscape, Environment as Engine, UndefinedBehavior};
use serde_json::{Value, json};
use thiserror::Error;

use crate::ensemble::identity::host_name;
use crate::ensemble::peers::Dialer;
use crate::locks::client::within;
use spec::ensemble::Peer;
use spec::ensemble::Sources;
use spec::text::describe;
use spec::tls::TlsFiles;

/// The longest template, in bytes.
const LONGEST: u64 = 1 << 20;
/// Time limit of the query for the members.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

/// A template and the sources of its variables.
#[derive(Debug)]
pub struct Render {
    pub template: PathBuf,
    /// None: standard output.
    pub output: Option<PathBuf>,
    /// The sources of the identity of this pod.
    pub sources: Sources,
    /// The namespace of the ensemble; None: that of the pod.
    pub namespace: Option<String>,
    /// The master to query for the members, and the files of TLS.
    pub pod: Option<(Peer, TlsFiles)>,
}

/// Why the template could not be rendered.
#[derive(Debug, Error)]
pub enum RenderError {
    /// The template cannot be read, or the output cannot be written.
    #[error("{0}: {1}")]
    File(String, String),
    /// The template is invalid, or uses an undefined variable.
    #[error("{0}")]
    Template(String),
    /// The members cannot be queried.
    #[error("{0}")]
    Ask(String),
}

impl RenderError {
    /// As in sysexits.h: `EX_NOINPUT`, `EX_DATAERR`, `EX_UNAVAILABLE`.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::File(..) => 66,
            Self::Template(_) => 65,
            Self::Ask(_) => 69,
        }
    }
}

/// Renders the template.
pub fn render(options: &Render) -> Result<(), RenderError> {
    let named =
        |path: &Path, error: &io::Error| RenderError::File(path.display().to_string(), describe(error));
    let of_template = |error: io::Error| named(&options.template, &error);
    let length = fs::metadata(&options.template).map_err(of_template)?.len();
    if length > LONGEST {
        let why = format!("longer than {LONGEST} bytes");
        return Err(RenderError::File(options.template.display().to_string(), why));
    }
    let text = fs::read_to_string(&options.template).map_err(of_template)?;
    let filled = filled(&options.template, &text, &variables(options)?)?;
    match &options.output {
        None => {
            io::stdout().lock().write_all(filled.as_bytes()).map_err(|error| named(Path::new("-"), &error))
        }
        Some(path) => replace(path, filled.as_bytes()).map_err(|error| named(path, &error)),
    }
}

/// Replaces a file atomically. It keeps its owner and mode.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut temporary = path.to_owned().into_os_string();
    temporary.push(format!(".{:016x}", spec::random::random_u64()));
    let mut file = File::create_new(&temporary)?;
    let mut write = || {
        if let Ok(before) = fs::metadata(path) {
            fchown(&file, Some(before.uid()), Some(before.gid()))?;
            file.set_permissions(before.permissions())?;
        }
        file.write_all(content)?;
        fs::rename(&temporary, path)
    };
    write().inspect_err(|_| {
        // Remove the incomplete file.
        let _ = fs::remove_file(&temporary);
    })
}

/// The variables of the template.
fn variables(options: &Render) -> Result<Value, RenderError> {
    let failed = |why: String| RenderError::Ask(why);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(error.to_string()))?;
    let (identity, pods) = runtime
        .block_on(async {
            let identity = if options.sources.any() {
                crate::ensemble::identity::ask(&options.sources).await
            } else {
                options.sources.given.clone()
            };
            let pods = match &options.pod {
                None => Value::Array(Vec::new()),
                Some((pod, files)) => {
                    let dialer = Dialer::new([pod], files.clone(), None)?;
                    let text = within(LIMIT, dialer.get(pod, "/v1/pods")).await?;
                    serde_json::from_str(&text).map_err(|error| format!("{pod}: invalid JSON: {error}"))?
                }
            };
            Ok((identity, pods))
        })
        .map_err(failed)?;
    Ok(json!({
        "id": identity.id.unwrap_or_else(host_name),
        "namespace": options.namespace.clone().or(identity.namespace).unwrap_or_else(|| "default".to_owned()),
        "ip": identity.ip,
        "labels": identity.labels,
        "annotations": identity.annotations,
        "node": identity.node,
        "pods": pods,
    }))
}

fn filled(name: &Path, text: &str, known: &Value) -> Result<String, RenderError> {
    let mut engine = Engine::new();
    // An undefined variable is an error, not an empty text.
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_auto_escape_callback(|_| AutoEscape::None);
    engine.set_keep_trailing_newline(true);
    let name = name.display().to_string();
    let filled = engine.render_named_str(&name, text, known);
    filled.map_err(|error| {
        let line = error.line().map(|line| format!(":{line}")).unwrap_or_default();
        let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
        RenderError::Template(format!("{name}{line}: {}{detail}", error.kind()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_a_template_and_reports_undefined_variables() {
        let known =
            json!({"id": "a", "labels": {"app": "x", "k8s.io/zone": "z"}, "pods": [{"id": "p", "ip": "1"}]});
        let fill = |text: &str| filled(Path::new("t"), text, &known).map_err(|error| error.to_string());
        assert_eq!(
            fill("{{ id }} {{ labels['k8s.io/zone'] }}{% for pod in pods %} {{ pod.ip }}{% endfor %}\n"),
            Ok("a z 1\n".to_owned())
        );
        assert_eq!(fill("{{ labels.none | default('-') }}<>"), Ok("-<>".to_owned()));
        assert_eq!(fill("{% if labels.none is defined %}x{% endif %}"), Ok(String::new()));
        for (text, part) in
            [("\n{{ labels.none }}", "t:2: undefined value"), ("{% if %}", "t:1: syntax error")]
        {
            assert!(fill(text).is_err_and(|why| why.contains(part)), "{text}: {:?}", fill(text));
        }
    }
}

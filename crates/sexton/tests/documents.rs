//! Manual pages, completions and the configuration reference are generated, and those in the repository are current.
//! `UPDATE_DOCUMENTS=1 cargo test -p sexton documents` writes them.

use std::fs;
use std::path::{Path, PathBuf};

use clap_complete::Shell;

use crate::harness::{Sexton, wrapping};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[track_caller]
pub(crate) fn is_current(path: &Path, made: &[u8]) {
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        let parent = path.parent().unwrap_or(path);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(path, made))
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    let have = fs::read(path).unwrap_or_default();
    assert!(
        have == made,
        "{} is outdated: run UPDATE_DOCUMENTS=1 cargo test -p sexton documents",
        path.display()
    );
}

#[test]
fn manual_pages_are_current() {
    let directory = repository().join("docs/man");
    let mut command = sexton::cli::command();
    command.build();
    let visible = command.get_subcommands().filter(|sub| !sub.is_hide_set()).cloned();
    let pages = std::iter::once(("sexton".to_owned(), command.clone()));
    for (name, command) in pages.chain(visible.map(|sub| (format!("sexton-{}", sub.get_name()), sub))) {
        let mut page = Vec::new();
        let manual =
            clap_mangen::Man::new(command.display_name(name.clone())).title(name.to_uppercase()).date("");
        manual.render(&mut page).unwrap_or_else(|error| panic!("{name}: {error}"));
        is_current(&directory.join(format!("{name}.1")), &page);
    }
}

/// The part of a completion script that queries the names of the processes of a running sexton.
fn names_of_processes(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => {
            r#"
# The names of the processes of a running `sexton up`.
_sexton_names() {
    _sexton "$@"
    local word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $word in
            status|logs|events|why|start|stop|restart|signal)
                case ${COMP_WORDS[COMP_CWORD]} in
                    -*) ;;
                    *) COMPREPLY+=($(compgen -W "$(sexton names 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}")) ;;
                esac
                return 0
                ;;
        esac
    done
}
complete -F _sexton_names -o nosort -o bashdefault -o default sexton
"#
        }
        Shell::Fish => {
            r#"
# The names of the processes of a running `sexton up`.
complete -c sexton -n "__fish_seen_subcommand_from status logs events why start stop restart signal" -f -a "(sexton names 2>/dev/null)"
"#
        }
        _ => {
            r#"
# The names of the processes of a running `sexton up`.
_sexton_names() {
    _sexton "$@"
    local word
    for word in ${arguments[2,CURRENT-1]}; do
        case $word in
            status|logs|events|why|start|stop|restart|signal)
                [[ $PREFIX == -* ]] || compadd -- ${(f)"$(sexton names 2>/dev/null)"}
                return 0
                ;;
        esac
    done
}
compdef _sexton_names sexton
"#
        }
    }
}

#[test]
fn bash_completes_the_names_of_processes() {
    let directory =
        crate::up::place("processes: {webshop: {command: [sleep, 1000]}, worker: {command: [sleep, 1000]}}");
    let mut up = crate::up::up_in(directory, &crate::up::With::default());
    up.wait_ready("worker");
    std::os::unix::fs::symlink(crate::harness::SEXTON, up.path("sexton"))
        .unwrap_or_else(|error| panic!("{error}"));
    let script = format!(
        "export PATH=\"{}:$PATH\"; export SEXTON_CONTROL={}; source {}; COMP_WORDS=(sexton restart we); COMP_CWORD=2; _sexton_names sexton we restart; echo \"${{COMPREPLY[@]}}\"",
        up.path("").display(),
        up.path("control").display(),
        repository().join("docs/completions/sexton.bash").display()
    );
    let output = std::process::Command::new("bash").args(["-c", &script]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    assert!(text.split_whitespace().any(|word| word == "webshop") && !text.contains("worker"), "{text}");
}

#[test]
fn completions_are_current() {
    let directory = repository().join("docs/completions");
    for (shell, file) in [(Shell::Bash, "sexton.bash"), (Shell::Zsh, "_sexton"), (Shell::Fish, "sexton.fish")]
    {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut sexton::cli::command(), "sexton", &mut text);
        text.extend_from_slice(names_of_processes(shell).as_bytes());
        is_current(&directory.join(file), &text);
    }
}

/// Returns tables of the keys of `sexton.yaml`, from its schema.
fn reference(schema: &serde_json::Value) -> String {
    let mut text = "# sexton.yaml\n\n<!-- Generated from the JSON Schema: UPDATE_DOCUMENTS=1 cargo test -p sexton documents -->\n\nA duration is a number of seconds, or text such as `500ms` and `1h30m`. `$(NAME)` in command, args and env is replaced\nby a variable of `env` or `envFile`; `$$` is a literal `$`. Paths of files with variables are relative to the\nconfiguration file. Keys with the name of a Kubernetes field have its meaning, see the\n[Kubernetes API](https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/).\n".to_owned();
    let mut section = |name: &str, of: &serde_json::Value| {
        let Some(properties) = of["properties"].as_object() else { return };
        let description = of["description"].as_str().unwrap_or_default();
        text += &format!("\n## {name}\n\n{description}\n\n| key | value | meaning |\n| --- | --- | --- |\n");
        for (key, property) in properties {
            let meaning =
                property["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
            text += &format!("| `{key}` | {} | {meaning} |\n", kind(property));
        }
    };
    section("The file", schema);
    for (name, of) in schema["$defs"].as_object().into_iter().flatten() {
        section(name, of);
    }
    text += "\n## Values\n\n";
    for (name, of) in schema["$defs"].as_object().into_iter().flatten() {
        let arguments: Vec<String> = of["oneOf"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|word| {
                format!(
                    "`{}`: {}",
                    word["const"].as_str().unwrap_or_default(),
                    word["description"].as_str().unwrap_or_default()
                )
            })
            .collect();
        if !arguments.is_empty() {
            text += &format!("* **{name}**: {}\n", arguments.join("; "));
        } else if let (None, Some(description)) = (of["properties"].as_object(), of["description"].as_str()) {
            text += &format!("* **{name}**: {description}\n");
        }
    }
    text
}

/// Returns the type of a property.
fn kind(property: &serde_json::Value) -> String {
    let of = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    if let Some(name) = property["$ref"].as_str() {
        return of(name);
    }
    if let Some(any) = property["anyOf"].as_array() {
        return any.iter().map(kind).find(|kind| kind != "null").unwrap_or_default();
    }
    let first = match &property["type"] {
        serde_json::Value::Array(all) => all.iter().filter_map(|it| it.as_str()).find(|it| *it != "null"),
        single => single.as_str(),
    };
    match first {
        Some("array") => format!("list of {}", kind(&property["items"])),
        Some("object") => format!("map of {}", kind(&property["additionalProperties"])),
        Some(word) => word.to_owned(),
        None => "any".to_owned(),
    }
}

#[test]
fn the_configuration_reference_is_current() {
    let schema =
        serde_json::from_str(&sexton::cli::check::schema()).unwrap_or_else(|error| panic!("{error}"));
    is_current(&repository().join("docs/reference/sexton.yaml.md"), reference(&schema).as_bytes());
}

#[test]
fn the_example_worker_stops_between_two_jobs_and_its_exit_code_is_kept() {
    let worker = repository().join("examples/worker.py").into_os_string();
    let arguments = ["--dowork", "myqueue", "--job", "0.01"].map(std::ffi::OsString::from);
    let wrapped = |more: &[&str]| {
        std::iter::once(worker.clone()).chain(arguments.clone()).chain(more.iter().map(Into::into)).collect()
    };
    let sexton = Sexton::with_server(wrapping(&["run"], wrapped(&[]))).start();
    sexton.wait_for_file("stdout");
    let done = sexton.stop();
    assert_eq!(done.code, 0);
    assert!(done.stdout.contains("myqueue: stopped after "), "{}", done.stdout);

    let mut sexton =
        Sexton::with_server(wrapping(&["supervise", "--wait", "0"], wrapped(&["--fail-after", "2"]))).start();
    testkit::wait_until("a restart", || (sexton.json("/")["ExitCode"] == 3).then_some(()));
}

#[test]
fn requests_in_the_readme_succeed() {
    let text = fs::read_to_string(repository().join("README.md")).unwrap_or_default();
    let urls = text
        .lines()
        .filter(|line| line.trim_start().starts_with("curl "))
        .filter_map(|line| line.split("localhost:6666").nth(1));
    let paths: Vec<_> = urls.map(|path| if path.is_empty() { "/" } else { path }).collect();
    assert!(paths.len() >= 3, "{paths:?}");
    let directory = crate::up::place("processes: {web: {command: [sleep, 1000]}}");
    let mut up = crate::up::up_in(directory, &crate::up::With::default());
    up.wait_ready("web");
    for path in paths {
        assert_eq!(up.sexton.get(path).code, 200, "{path}");
    }
}

/// Returns the `sexton` commands in the shell blocks of a document.
fn commands(document: &str) -> Vec<String> {
    let text = fs::read_to_string(repository().join(document)).unwrap_or_default();
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line.starts_with("```sh");
        } else if inside && line.trim_start().starts_with("sexton ") {
            found.push(line.trim().split("  #").next().unwrap_or_default().trim_end().to_owned());
        }
    }
    found
}

#[test]
fn every_command_in_the_documents_is_valid() {
    let documents = [
        "README.md",
        "docs/guide/one-process.md",
        "docs/guide/many-processes.md",
        "docs/guide/automaton.md",
        "docs/guide/ensemble.md",
        "docs/guide/locks.md",
        "docs/guide/pods.md",
        "docs/reference/status-socket.md",
        "docs/reference/control-socket.md",
    ];
    let mut seen = 0;
    for document in documents {
        for line in commands(document) {
            let arguments = line.trim_end_matches('&').trim_end().split(' ').filter(|word| !word.is_empty());
            let arguments: Vec<String> = arguments.map(|word| word.trim_matches('\'').to_owned()).collect();
            let parsed = sexton::cli::command().try_get_matches_from(&arguments);
            assert!(
                parsed.is_ok() || arguments.contains(&"--help".to_owned()),
                "{document}: {line}: {:?}",
                parsed.err()
            );
            seen += 1;
        }
    }
    assert!(seen >= 10, "only {seen} commands found: has the format of the documents changed?");
}

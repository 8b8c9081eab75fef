//! Files of the downward API (`downwardAPI` of a volume): `labels` and `annotations`, and `name` and `namespace` if they
//! are there. The kubelet writes `key="value"` for each, the value quoted as Go's `%q` does
//! (`fieldpath.FormatMap` of Kubernetes).

use std::io;
use std::path::Path;

use k8s::Pairs;

use spec::ensemble::Identity;
use spec::text::describe;

/// Maximum size of a file, in bytes: annotations of a pod have at most 256 KiB.
const MAX_FILE: u64 = 1 << 20;

/// Reads the files of a directory.
pub(super) fn read(directory: &Path) -> Result<Identity, String> {
    let text = |name: &str| {
        let path = directory.join(name);
        let named = |why: String| format!("{}: {why}", path.display());
        let length = match std::fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(named(describe(&error))),
        };
        if length > MAX_FILE {
            return Err(named(format!("longer than {MAX_FILE} bytes")));
        }
        std::fs::read_to_string(&path).map(Some).map_err(|error| named(describe(&error)))
    };
    let pairs = |name: &str| match text(name)? {
        Some(text) => parse(&text).map_err(|why| format!("{}: {why}", directory.join(name).display())),
        None => Ok(Pairs::new()),
    };
    if text("labels")?.is_none() && text("annotations")?.is_none() {
        return Err(format!(
            "{}: expected files of the downward API: labels, annotations",
            directory.display()
        ));
    }
    let line = |name: &str| {
        Ok::<_, String>(text(name)?.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
    };
    Ok(Identity {
        id: line("name")?,
        namespace: line("namespace")?,
        labels: pairs("labels")?,
        annotations: pairs("annotations")?,
        ..Identity::default()
    })
}

fn parse(text: &str) -> Result<Pairs, String> {
    let mut pairs = Pairs::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
        let wrong = || format!("line {}: expected key=\"value\", as the kubelet writes it", number + 1);
        let (key, quoted) = line.split_once('=').ok_or_else(wrong)?;
        let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(wrong)?;
        pairs.insert(key.to_owned(), unquoted(inner).ok_or_else(wrong)?);
    }
    Ok(pairs)
}

/// Decodes the content of a quoted Go string. Bytes that are not UTF-8 (`\xff`) become replacement characters.
fn unquoted(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '"']) {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = rest[at..].strip_prefix('\\')?;
        let kind = escape.chars().next()?;
        let after = &escape[kind.len_utf8()..];
        let digits = match kind {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        let number = after.get(..digits).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        match kind {
            'x' => bytes.push(u8::try_from(number?).ok()?),
            'u' | 'U' => {
                bytes.extend_from_slice(char::from_u32(number?)?.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => bytes.push(match kind {
                'a' => 7,
                'b' => 8,
                't' => b'\t',
                'n' => b'\n',
                'v' => 11,
                'f' => 12,
                'r' => b'\r',
                '\\' | '"' | '\'' => u8::try_from(kind).ok()?,
                _ => return None,
            }),
        }
        rest = &after[digits..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses_what_the_kubelet_writes() {
        let text = "app=\"web\"\nkubernetes.io/config.source=\"api\"\nnote=\"a \\\"b\\\"\\n\\tc\\\\ \\u00e4\\x7f=\"\n";
        let pairs = parse(text).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(pairs.get("app").map(String::as_str), Some("web"));
        assert_eq!(pairs.get("note").map(String::as_str), Some("a \"b\"\n\tc\\ \u{e4}\u{7f}="));
        for bad in
            ["app", "app=web", "app=\"web", "app=\"w\"eb\"", "app=\"\\q\"", "app=\"\\u12\"", "a=\"\\uD800\""]
        {
            assert!(parse(bad).is_err_and(|why| why.starts_with("line 1: expected key")), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_does_not_panic(text in ".*") {
            let _ = parse(&text);
        }
    }
}

//! The logfmt encoding: `key=value key="a value"` on one line.

/// Appends ` key=value`, without the blank at the start of a line. Invalid UTF-8 is kept.
pub fn append(line: &mut Vec<u8>, key: &str, value: &[u8]) {
    if line.last().is_some_and(|last| *last != b'\n') {
        line.push(b' ');
    }
    line.extend_from_slice(key.as_bytes());
    line.push(b'=');
    if is_bare(value) {
        line.extend_from_slice(value);
        return;
    }
    line.push(b'"');
    let mut rest = value;
    while !rest.is_empty() {
        let plain = plain_prefix(rest);
        line.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
        if let Some((byte, after)) = rest.split_first() {
            escape(line, *byte);
            rest = after;
        }
    }
    line.push(b'"');
}

/// Whether the value needs no quotes. Without a branch per byte, so that the compiler can vectorize the loop.
fn is_bare(value: &[u8]) -> bool {
    let special = |byte: u8| byte <= b' ' || matches!(byte, b'"' | b'=' | b'\\' | 0x7f);
    !value.is_empty() && !value.iter().fold(false, |any, byte| any | special(*byte))
}

/// The number of bytes at the start that need no escape within quotes.
fn plain_prefix(value: &[u8]) -> usize {
    const BLOCK: usize = 32;
    let special = |byte: u8| byte < b' ' || matches!(byte, b'"' | b'\\' | 0x7f);
    let mut plain = 0;
    for block in value.chunks(BLOCK) {
        if block.iter().fold(false, |any, byte| any | special(*byte)) {
            return plain + block.iter().position(|byte| special(*byte)).unwrap_or(block.len());
        }
        plain += block.len();
    }
    plain
}

fn escape(line: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' | b'\\' => line.extend_from_slice(&[b'\\', byte]),
        b'\n' => line.extend_from_slice(b"\\n"),
        b'\r' => line.extend_from_slice(b"\\r"),
        b'\t' => line.extend_from_slice(b"\\t"),
        _ => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            line.extend_from_slice(b"\\u00");
            line.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::append;

    fn encoded(value: &[u8]) -> Vec<u8> {
        let mut line = Vec::new();
        append(&mut line, "k", value);
        line
    }

    #[test]
    fn quotes_values_only_if_needed() {
        assert_eq!(encoded(b"plain-1.5:x"), b"k=plain-1.5:x");
        assert_eq!(encoded(b""), b"k=\"\"");
        assert_eq!(encoded(b"two words"), b"k=\"two words\"");
        assert_eq!(encoded(b"a=b"), b"k=\"a=b\"");
        assert_eq!(encoded(b"say \"x\"\\\n\x1b\x7f"), b"k=\"say \\\"x\\\"\\\\\\n\\u001b\\u007f\"");
        assert_eq!(encoded(b"\xff \xfe"), b"k=\"\xff \xfe\"", "invalid UTF-8 is kept");
        assert_eq!(encoded("größe".as_bytes()), "k=größe".as_bytes());
    }

    #[test]
    fn escapes_quotes_at_any_position() {
        for at in 0..100 {
            let mut value = vec![b' '; 100];
            value[at] = b'"';
            let expected = format!("k=\"{}\\\"{}\"", " ".repeat(at), " ".repeat(99 - at));
            assert_eq!(encoded(&value), expected.as_bytes(), "{at}");
        }
    }

    #[test]
    fn separates_fields() {
        let mut line = Vec::new();
        append(&mut line, "a", b"1");
        append(&mut line, "b", b"2");
        assert_eq!(line, b"a=1 b=2");
    }
}

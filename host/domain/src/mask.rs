//! Hides values of secrets in what somebody else has written.
//!
//! A value is found as it is, in base64 (standard and URL-safe, padded or not, also where it stands in the middle of what was
//! encoded), in hexadecimal (either case), percent-encoded (whichever bytes the encoder chose to encode, also as a form does it)
//! and with the escapes of JSON, of XML and of programs' debug output.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use zeroize::Zeroizing;

/// What stands in a value's place.
const REDACTED: &[u8] = b"<redacted>";
/// Shorter values are left alone: masking them would tear up innocent words and betray the value by doing so.
const SHORTEST: usize = 4;
/// Shorter values are not looked for in the middle of something encoded in base64: what is left of them there is too short.
const SHORTEST_SHIFTED: usize = 8;
/// Shorter lines of a value of many lines are not looked for by themselves.
const SHORTEST_LINE: usize = 16;
/// Of a longer value as many bytes as this are enough to be found: what was cut off is masked too.
const HEAD: usize = 32;
/// More of a text is not looked at, and cut off. No message is as long.
const TEXT_BYTES: usize = 64 << 10;

/// Replaces every occurrence of `values` in `text`, in any of the forms above. Text beyond 64 KiB is cut off.
pub fn mask<'a>(text: &str, values: impl IntoIterator<Item = &'a [u8]>) -> String {
    let whole = text.as_bytes();
    let text = &whole[..whole.len().min(TEXT_BYTES)];
    let needles: Vec<Needle<'a>> = values.into_iter().flat_map(|value| needles(value, text)).collect();
    if needles.is_empty() {
        return String::from_utf8_lossy(text).into_owned();
    }
    let mut may_begin = [false; 256];
    for needle in &needles {
        needle.beginnings(&mut may_begin);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let found = may_begin[usize::from(text[at])].then(|| needles.iter().filter_map(|n| n.ends_at(text, at)).max());
        match found.flatten() {
            Some(end) => {
                out.extend_from_slice(REDACTED);
                at = end;
            }
            None => {
                out.push(text[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// How a needle's bytes are written in the text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Literal,
    Escaped,
    Percent,
    Hex,
    Base64,
}

/// Something to look for.
struct Needle<'a> {
    bytes: Bytes<'a>,
    form: Form,
}

enum Bytes<'a> {
    Value(&'a [u8]),
    Encoded(Zeroizing<Vec<u8>>),
}

/// All that one value may look like in `text`.
fn needles<'a>(value: &'a [u8], text: &[u8]) -> Vec<Needle<'a>> {
    if value.len() < SHORTEST {
        return vec![];
    }
    let has = |bytes: &[u8]| text.iter().any(|byte| bytes.contains(byte));
    let plain = |form| Needle { bytes: Bytes::Value(value), form };
    let mut needles = vec![plain(Form::Literal), plain(Form::Hex)];
    if has(b"%+") {
        needles.push(plain(Form::Percent));
    }
    if has(b"\\&") {
        needles.push(plain(Form::Escaped));
    }
    let shifts = if value.len() < SHORTEST_SHIFTED { 0..1 } else { 0..3 };
    needles.extend(shifts.map(|shift| Needle { bytes: Bytes::Encoded(base64(value, shift)), form: Form::Base64 }));
    if value.contains(&b'\n') {
        let lines =
            value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| line.len() >= SHORTEST_LINE);
        needles.extend(lines.map(|line| Needle { bytes: Bytes::Value(line), form: Form::Literal }));
    }
    needles
}

/// The characters that depend on `value` alone where it stands `shift` bytes after a multiple of three.
fn base64(value: &[u8], shift: usize) -> Zeroizing<Vec<u8>> {
    let mut shifted = Zeroizing::new(vec![0; shift]);
    shifted.extend_from_slice(value);
    let encoded = Zeroizing::new(STANDARD_NO_PAD.encode(&*shifted).into_bytes());
    Zeroizing::new(encoded[(shift * 8).div_ceil(6)..shifted.len() * 8 / 6].to_vec())
}

impl Needle<'_> {
    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Value(value) => value,
            Bytes::Encoded(encoded) => encoded,
        }
    }

    /// Marks the bytes of a text with which this may begin.
    fn beginnings(&self, may_begin: &mut [bool; 256]) {
        let first = self.bytes()[0];
        let mut mark = |bytes: &[u8]| bytes.iter().for_each(|byte| may_begin[usize::from(*byte)] = true);
        match self.form {
            Form::Literal => mark(&[first]),
            Form::Escaped => mark(&[first, b'\\', b'&']),
            Form::Percent => mark(&[first, b'%', b'+']),
            Form::Hex => mark(b"0123456789abcdefABCDEF"),
            Form::Base64 => mark(&[first, b'-', b'_', b'%']),
        }
    }

    /// Where it ends if it begins at `at`.
    fn ends_at(&self, text: &[u8], at: usize) -> Option<usize> {
        let mut end = at;
        for (index, byte) in self.bytes().iter().enumerate() {
            match self.form.written(*byte, &text[end..]) {
                Some(length) => end += length,
                None if index >= HEAD => return Some(end),
                None => return None,
            }
        }
        if self.form == Form::Base64 {
            end += padding(&text[end..]);
        }
        Some(end)
    }
}

impl Form {
    /// How many bytes of `text` stand for `byte` at its beginning.
    fn written(self, byte: u8, text: &[u8]) -> Option<usize> {
        let literal = || (text.first() == Some(&byte)).then_some(1);
        match self {
            Self::Literal => literal(),
            Self::Hex => (hex(text)? == byte).then_some(2),
            Self::Percent => match text {
                [b'%', rest @ ..] if hex(rest) == Some(byte) => Some(3),
                [b'+', ..] if byte == b' ' => Some(1),
                _ => literal(),
            },
            Self::Escaped => escape(byte, text).or_else(literal),
            Self::Base64 => match text {
                [b'%', rest @ ..] if hex(rest) == Some(byte) => Some(3),
                [b'-', ..] if byte == b'+' => Some(1),
                [b'_', ..] if byte == b'/' => Some(1),
                _ => literal(),
            },
        }
    }
}

/// The byte that two hexadecimal digits stand for.
fn hex(text: &[u8]) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let value = digit(text.first()?)? * 16 + digit(text.get(1)?)?;
    u8::try_from(value).ok()
}

/// How long the escape is that stands for `byte`.
fn escape(byte: u8, text: &[u8]) -> Option<usize> {
    const SHORT: [(u8, u8); 4] = [(b'n', b'\n'), (b'r', b'\r'), (b't', b'\t'), (b'0', 0)];
    const ENTITIES: [(&[u8], u8); 6] =
        [(b"&amp;", b'&'), (b"&lt;", b'<'), (b"&gt;", b'>'), (b"&quot;", b'"'), (b"&apos;", b'\''), (b"&#39;", b'\'')];
    match text {
        [b'\\', b'u', b'0', b'0', rest @ ..] if hex(rest) == Some(byte) => Some(6),
        [b'\\', b'u', b'{', rest @ ..] => {
            let length = rest.iter().take(6).position(|byte| *byte == b'}')?;
            let digits = std::str::from_utf8(&rest[..length]).ok()?;
            (u32::from_str_radix(digits, 16).ok()? == u32::from(byte)).then_some(length + 4)
        }
        [b'\\', b'x', rest @ ..] if hex(rest) == Some(byte) => Some(4),
        [b'\\', letter, ..] if SHORT.contains(&(*letter, byte)) => Some(2),
        [b'\\', itself, ..] if *itself == byte && b"\\\"'/".contains(itself) => Some(2),
        [b'&', ..] => {
            ENTITIES.iter().find(|(name, of)| *of == byte && text.starts_with(name)).map(|(name, _)| name.len())
        }
        _ => None,
    }
}

/// How long what is left of an encoded value is: a character with its last bits, and equal signs.
fn padding(text: &[u8]) -> usize {
    let last = text.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte));
    let mut length = usize::from(last);
    for _ in 0..2 {
        match &text[length..] {
            [b'=', ..] => length += 1,
            [b'%', b'3', b'd' | b'D', ..] => length += 3,
            _ => {}
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    const SECRET: &str = "hunter2/with+more&\"quotes\"~?";

    fn masked(text: &str) -> String {
        mask(text, [SECRET.as_bytes()])
    }

    #[test]
    fn every_form_is_masked() {
        let percent_all: String = SECRET.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for form in [
            SECRET.to_owned(),
            STANDARD.encode(SECRET),
            STANDARD_NO_PAD.encode(SECRET),
            URL_SAFE.encode(SECRET),
            URL_SAFE_NO_PAD.encode(SECRET),
            STANDARD.encode(SECRET).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D"),
            hex_of(SECRET),
            hex_of(SECRET).to_uppercase(),
            percent_all.to_uppercase().replace("%2F", "/"),
            percent_all,
            "hunter2%2Fwith%2Bmore%26%22quotes%22~%3F".to_owned(),
            "hunter2/with+more%26\"quotes\"~?".to_owned(),
            format!("{SECRET:?}"),
            "hunter2\\/with+more\\u0026\\\"quotes\\\"~?".to_owned(),
            "hunter2/with+more&amp;&quot;quotes&quot;~?".to_owned(),
        ] {
            let text = masked(&format!("before {form} after"));
            assert!(text.starts_with("before ") && text.ends_with(" after") && text.contains("<redacted>"), "{text}");
            assert!(text.len() <= "before <redacted> after".len() + 2, "{form}: {text}");
        }
    }

    fn hex_of(text: &str) -> String {
        text.bytes().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn also_in_the_middle_of_something_encoded() {
        for before in ["", "u", "us", "user:"] {
            for after in ["", ":x", "and more"] {
                let header = format!("Basic {}", STANDARD.encode(format!("{before}{SECRET}{after}")));
                let text = masked(&header);
                assert!(text.contains("<redacted>"), "{header}: {text}");
                // A character on either side holds bits of the secret and of its neighbour; no more is left.
                assert!(text.len() < header.len() - STANDARD_NO_PAD.encode(SECRET).len() + 16, "{header}: {text}");
            }
        }
    }

    #[test]
    fn what_was_cut_off_and_lines_of_keys() {
        let long = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        assert_eq!(mask(&format!("token {}...", &long[..40]), [long.as_bytes()]), "token <redacted>...");
        assert_eq!(mask(&long[..31], [long.as_bytes()]), &long[..31], "too little to be told from other text");
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nAAAABBBBCCCCDDDDEEEE\n-----END KEY-----";
        assert_eq!(mask("line AAAABBBBCCCCDDDDEEEE", [key.as_bytes()]), "line <redacted>");
    }

    #[test]
    fn innocent_text_stays() {
        assert_eq!(mask("pin 123", [b"123".as_slice()]), "pin 123", "short values are left alone");
        assert_eq!(mask("ä 100% fine \\ & ok", [SECRET.as_bytes()]), "ä 100% fine \\ & ok");
        assert_eq!(mask("nothing to hide", []), "nothing to hide");
        let endless = "%".repeat(TEXT_BYTES * 4);
        assert_eq!(mask(&endless, [SECRET.as_bytes()]).len(), TEXT_BYTES);
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in any::<String>(), value in prop::collection::vec(any::<u8>(), 0..80)) {
            mask(&text, [value.as_slice()]);
        }

        #[test]
        fn a_value_never_comes_through(before in "[a-z =]{0,10}", value in "[!-~]{8,60}", after in "[a-z =]{0,10}") {
            let text = format!("{before}{value}{after}");
            prop_assert!(!mask(&text, [value.as_bytes()]).contains(&value));
            let encoded = STANDARD.encode(&value);
            let text = format!("{before}{encoded}");
            prop_assert!(!mask(&text, [value.as_bytes()]).contains(&encoded));
        }
    }
}

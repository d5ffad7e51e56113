//! The body of a request of EC2's Query API: a form.

/// Parameters in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form(pub Vec<(String, String)>);

impl Form {
    /// Of a body or a query string. What is not valid UTF-8 is replaced: such a request is for moto to refuse.
    pub fn parse(text: &[u8]) -> Self {
        let pairs = text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let end = pair.iter().position(|byte| *byte == b'=');
                    let (key, value) = end.map_or((pair, &b""[..]), |at| (&pair[..at], &pair[at + 1..]));
                    (decode(key), decode(value))
                })
                .collect(),
        )
    }

    /// Of an action and its parameters.
    pub fn action(action: &str, parameters: &[(&str, &str)]) -> Self {
        let head = [("Action", action), ("Version", "2016-11-15")];
        Self(head.iter().chain(parameters).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    /// The value of a parameter. EC2's names differ in the case of their first letter between documents and SDKs, and the
    /// service takes both.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The value as a number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.get(name)?.parse().ok()
    }

    /// Values of a list: `VolumeId.1`, `VolumeId.2`, …
    pub fn list(&self, name: &str) -> Vec<&str> {
        let element = |key: &str| {
            let (head, tail) = key.rsplit_once('.')?;
            (head.eq_ignore_ascii_case(name) && tail.parse::<u32>().is_ok()).then_some(())
        };
        self.0.iter().filter(|(key, _)| element(key).is_some()).map(|(_, value)| value.as_str()).collect()
    }

    /// `Filter.N.Name` with its values.
    pub fn filters(&self) -> Vec<(&str, Vec<&str>)> {
        let name = |key: &str| {
            let (head, tail) = key.rsplit_once('.')?;
            tail.eq_ignore_ascii_case("Name").then(|| head.to_owned()).filter(|head| head.starts_with("Filter."))
        };
        let filter = |(key, value): &'_ (String, String)| name(key).map(|head| (value.clone(), head));
        let heads: Vec<_> = self.0.iter().filter_map(filter).collect();
        heads
            .into_iter()
            .filter_map(|(wanted, head)| {
                let (_, name) = self.0.iter().find(|(key, value)| *value == wanted && key.starts_with(&head))?;
                Some((name.as_str(), self.list(&format!("{head}.Value"))))
            })
            .collect()
    }

    /// As a body.
    pub fn encode(&self) -> String {
        let pair = |(key, value): &(String, String)| format!("{}={}", encode(key), encode(value));
        self.0.iter().map(pair).collect::<Vec<_>>().join("&")
    }
}

fn decode(text: &[u8]) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let hex = (text[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (text[at], byte) {
            (_, Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', None) => out.push(b' '),
            (byte, None) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Percent encoding as SigV4 wants it too: everything but unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::Form;

    #[test]
    fn what_is_encoded_is_read_again() {
        let form = Form::action("CreateVolume", &[("ClientToken", "a+b c&d=é%"), ("Size", "")]);
        assert_eq!(Form::parse(form.encode().as_bytes()), form);
        assert_eq!(form.get("clienttoken"), Some("a+b c&d=é%"));
    }

    #[test]
    fn lists_and_filters() {
        let form = Form::parse(b"VolumeId.1=a&VolumeId.2=b&Filter.1.Name=status&Filter.1.Value.1=x&Filter.1.Value.2=y");
        assert_eq!(form.list("VolumeId"), ["a", "b"]);
        assert_eq!(form.filters(), [("status", vec!["x", "y"])]);
    }

    #[test]
    fn nonsense_is_no_panic() {
        for text in [&b"%"[..], b"%4", b"%zz=%", b"&&==&", b"\xff=\xff%ff", b"="] {
            let _ = Form::parse(text);
        }
    }
}

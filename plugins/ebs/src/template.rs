//! Values of tags with placeholders, as the public EBS driver has them: `{{ .PVCName }}`, and `{{ .PVCNamespace | field "-" 2 | toUpper }}`.
//! Of Go's templates just this: a field and functions that it is piped through. Names in Kubernetes have neither spaces nor bars, so
//! arguments have none either.

/// Names of fields and their values.
pub type Fields<'a> = &'a [(&'static str, &'a str)];

/// Fills the placeholders in.
///
/// # Errors
/// Why it can't be filled in, for people; without values.
pub fn fill(text: &str, fields: Fields<'_>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (inside, after) = after.split_once("}}").ok_or("has `{{` without `}}`")?;
        let mut steps = inside.split('|').map(str::trim);
        let value = field(steps.next().unwrap_or_default(), fields)?;
        out += before;
        out += &steps.try_fold(value, |value, step| call(step, &value))?;
        rest = after;
    }
    Ok(out + rest)
}

fn field(name: &str, fields: Fields<'_>) -> Result<String, String> {
    let found = fields.iter().find(|(known, _)| name.strip_prefix('.') == Some(known));
    found.map(|(_, value)| (*value).to_owned()).ok_or_else(|| {
        let known: Vec<String> = fields.iter().map(|(known, _)| format!("`.{known}`")).collect();
        format!("has a placeholder that doesn't begin with one of {}", known.join(", "))
    })
}

/// One function, its arguments and the value that comes through the pipe.
fn call(step: &str, value: &str) -> Result<String, String> {
    let words: Vec<&str> = step.split_whitespace().collect();
    let wrong = || format!("has `| {step}`, which isn't understood or doesn't fit the name");
    match words.as_slice() {
        ["toUpper"] => Some(value.to_uppercase()),
        ["toLower"] => Some(value.to_lowercase()),
        ["contains", part] => quoted(part).map(|part| value.contains(part).to_string()),
        ["field", delimiter, index] => quoted(delimiter)
            .zip(index.parse().ok())
            .and_then(|(delimiter, index)| value.split(delimiter).nth(index).map(str::to_owned)),
        ["substring", start, end] => start
            .parse::<usize>()
            .ok()
            .zip(end.parse().ok())
            .and_then(|(start, end)| value.get(start..end).map(str::to_owned)),
        _ => None,
    }
    .ok_or_else(wrong)
}

/// A text in quotes of either of Go's kinds, not empty.
fn quoted(text: &str) -> Option<&str> {
    let inside = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    inside('"').or_else(|| inside('`')).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: Fields<'_> = &[("PVCName", "ebs-claim"), ("PVCNamespace", "ns-prod-abcdef"), ("PVName", "")];

    #[test]
    fn placeholders_are_filled() {
        for (template, value) in [
            ("plain", "plain"),
            ("", ""),
            ("{{ .PVCName }}", "ebs-claim"),
            ("a-{{.PVCName}}-{{ .PVName }}b", "a-ebs-claim-b"),
            (r#"{{ .PVCNamespace | contains "prod" }}"#, "true"),
            (r#"{{ .PVCNamespace | field "-" 2 | toUpper }}"#, "ABCDEF"),
            ("{{ .PVCNamespace | substring 0 4 | toLower }}", "ns-p"),
            ("{{ .PVCNamespace | field `-` 1 }} }}", "prod }}"),
        ] {
            assert_eq!(fill(template, FIELDS).as_deref(), Ok(value), "{template}");
        }
    }

    #[test]
    fn what_isnt_understood_is_refused() {
        for template in [
            "{{",
            "{{ .PVCName",
            "{{ }}",
            "{{ .Name }}",
            "{{ PVCName }}",
            "{{ .PVCName | }}",
            "{{ .PVCName toUpper }}",
            "{{ .PVCName | html }}",
            "{{ .PVCName | toUpper 1 }}",
            r#"{{ .PVCName | field "-" 9 }}"#,
            r#"{{ .PVCName | field "" 0 }}"#,
            r#"{{ .PVCName | field "- }}"#,
            "{{ .PVCName | substring 4 2 }}",
            "{{ .PVCName | substring 0 99999999999999999999999 }}",
            "{{ if .PVCName }}x{{ end }}",
            "{{ (.PVCName) }}",
        ] {
            assert!(fill(template, FIELDS).is_err(), "{template}");
        }
    }
}

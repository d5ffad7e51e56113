//! Pages, which moto has neither for volumes nor for snapshots.

use crate::{Element, Form, Reply};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

/// Cuts a page out of the set: its name, the name of an id in it, the parameter of explicit ids, and the largest page.
pub(super) fn page(
    form: &Form,
    tree: &mut Element,
    (set, id, explicit, most): (&str, &str, &str, usize),
) -> Result<(), Reply> {
    let wrong = |message: &str| Err(Reply::refused("InvalidParameterValue", message));
    let token = form.get("NextToken").filter(|token| !token.is_empty());
    let Some(size) = form.get("MaxResults") else {
        // Who doesn't ask for pages gets all.
        return if token.is_some() { wrong("NextToken without MaxResults") } else { Ok(()) };
    };
    let size = match size.parse::<usize>() {
        Ok(size) if size >= 5 => size.min(most),
        _ => return wrong("Expecting a value of MaxResults of 5 or more"),
    };
    if !form.list(explicit).is_empty() {
        let message = format!("The parameter {explicit} cannot be used with the parameter MaxResults");
        return Err(Reply::refused("InvalidParameterCombination", message));
    }
    // The last id of the page before: what was deleted meanwhile does no harm.
    let after = match token {
        None => String::new(),
        Some(token) => {
            let text = BASE64_URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            match text.as_deref().and_then(|text| text.strip_prefix(&format!("{set} "))) {
                Some(after) => after.to_owned(),
                None => return wrong("Unable to parse pagination token"),
            }
        }
    };
    let Some(items) = tree.child_mut(set) else { return Ok(()) };
    items.children.sort_by(|a, b| a.get(id).cmp(b.get(id)));
    items.children.retain(|item| item.get(id) > after.as_str());
    if items.children.len() > size {
        items.children.truncate(size);
        let last = items.children.last().map_or("", |item| item.get(id));
        let token = BASE64_URL_SAFE_NO_PAD.encode(format!("{set} {last}"));
        tree.set("nextToken", token);
    }
    Ok(())
}

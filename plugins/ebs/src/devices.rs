//! Device names for attaching. On NVMe instances they mean nothing to the node, yet EC2 wants one, and each only once for an instance.

/// More refused names than this: something else is wrong.
pub const MAX_TRIED: usize = 150;

/// Names that EC2 takes on every kind of instance, two letters first: single ones may collide with the root disk.
fn names() -> impl Iterator<Item = String> {
    let letters = |from: char, to: char| (from..=to).map(String::from);
    let pairs = ["a", "b", "d"].into_iter().flat_map(move |first| {
        let last = if first == "d" { 'x' } else { 'z' };
        letters('a', last).map(move |second| format!("{first}{second}"))
    });
    pairs.chain(letters('b', 'z')).map(|name| format!("/dev/xvd{name}"))
}

/// The first name that isn't taken. `sdf` and `xvdf` are the same device on some instances.
pub fn free(taken: &[String]) -> Option<String> {
    let short =
        |name: &str| name.trim_start_matches("/dev/").trim_start_matches("xvd").trim_start_matches("sd").to_owned();
    let taken: Vec<String> = taken.iter().map(|name| short(name)).collect();
    names().find(|name| !taken.contains(&short(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_given_once_and_end() {
        assert_eq!(free(&[]).as_deref(), Some("/dev/xvdaa"));
        let mut taken = vec!["/dev/sdb".to_owned(), "/dev/xvda".to_owned()];
        while let Some(name) = free(&taken) {
            assert!(!taken.contains(&name) && name != "/dev/xvdb", "{name}");
            taken.push(name);
        }
        assert_eq!(taken.len(), 2 + 26 + 26 + 24 + 24);
        assert_eq!(names().nth(52).as_deref(), Some("/dev/xvdda"));
    }
}

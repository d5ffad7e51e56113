//! CreateVolume: names.

use super::VOLUMES;
use crate::{
    Case, Cx, Outcome, case,
    check::{ok, ok_or, refused, same, some},
    ensure,
};
use std::collections::BTreeMap;
use tonic::Code;

/// Ends of names: each name is taken, or refused as INVALID_ARGUMENT.
const ENDS: &[(&str, &str)] = &[
    ("umlauts", "äöüß"),
    ("han", "名前"),
    ("right-to-left", "שם"),
    ("emoji", "🦀🧪"),
    ("combining", "e\u{301}\u{302}"),
    ("zero-width", "a\u{200b}b\u{feff}"),
    ("space", " a b "),
    ("slash", "/a/b"),
    ("backslash", "\\a"),
    ("parent", "/../../x"),
    ("dots", "..."),
    ("quotes", "'\"`"),
    ("shell", "$(reboot);&|<>"),
    ("glob", "*?[a]"),
    ("percent", "%2e%2e%2f%s%n"),
    ("colon", "a:b@c#d"),
    ("comma", ",ro,suid"),
    ("dash", "--help"),
];

/// As above, but such names may also be refused for their control characters.
const CONTROL: &[(&str, &str)] =
    &[("nul", "a\0b"), ("newline", "a\nb"), ("escape", "\u{1b}[2J"), ("delete", "\u{7f}"), ("c1", "\u{85}")];

/// Groups of ends of names that are all different.
const DISTINCT: &[&[&str]] = &[
    &["a", "A"],
    &["é", "e\u{301}", "e"],
    &["x/y", "x_y", "x-y", "x.y", "x y", "xy"],
    &["z", "z ", " z", "z.", "z\u{200b}"],
    &["../x", "x", "/x", "./x"],
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("create-volume/name-length", &["limits.at-the-limit", "limits.request-fields"], &[VOLUMES], lengths),
        case("create-volume/name-distinct", &["create.names-distinct"], &[VOLUMES], distinct),
        case("create-volume/name-path", &["create.id-not-a-path"], &[VOLUMES], paths),
    ];
    for (what, end) in ENDS {
        cases
            .push(case(format!("create-volume/name/{what}"), &["create.name-unicode"], &[VOLUMES], |cx| name(cx, end)));
    }
    for (what, end) in CONTROL {
        cases
            .push(case(format!("create-volume/name/{what}"), &["create.name-control"], &[VOLUMES], |cx| name(cx, end)));
    }
    cases
}

/// Takes the name like any other, or refuses it.
async fn name(cx: Cx, end: &'static str) -> Outcome {
    let mut request = cx.create_request("name-");
    request.name += end;
    let answer = cx.create_volume(request.clone()).await;
    if let Some(answer) = ok_or(answer, &[Code::InvalidArgument], "such a name")? {
        let volume = some(answer.volume, "volume")?;
        let again = ok(cx.create_volume(request).await, "such a name again")?;
        same(&some(again.volume, "volume")?, &volume, "the repeat's volume")?;
        cx.delete(&volume.volume_id).await?;
    }
    super::alive(&cx, "such a name").await
}

async fn lengths(cx: Cx) -> Outcome {
    let mut request = cx.create_request("");
    request.name = cx.name_of(128);
    let volume = some(ok(cx.create_volume(request.clone()).await, "a name of 128 bytes")?.volume, "volume")?;
    let again = ok(cx.create_volume(request.clone()).await, "the same name of 128 bytes")?;
    same(&some(again.volume, "volume")?, &volume, "the repeat's volume")?;
    request.name.push('y');
    refused(cx.create_volume(request.clone()).await, Code::InvalidArgument, "a name of 129 bytes")?;
    // 128 bytes in 64 characters: it is bytes that count, and characters are not cut in two.
    let name = cx.name("umlauts-");
    let umlauts = "ü".repeat((128 - name.len()) / 2);
    request.name = format!("{name}{umlauts}");
    let answer = cx.create_volume(request.clone()).await;
    ok_or(answer, &[Code::InvalidArgument], "128 bytes of umlauts")?;
    request.name = format!("{name}{umlauts}üü");
    refused(cx.create_volume(request).await, Code::InvalidArgument, "over 128 bytes in fewer characters").map(drop)
}

async fn distinct(cx: Cx) -> Outcome {
    for ends in DISTINCT {
        let start = cx.name("same-");
        let mut ids: BTreeMap<String, &str> = BTreeMap::new();
        for end in *ends {
            let mut request = cx.create_request("");
            request.name = format!("{start}{end}");
            let answer = cx.create_volume(request).await;
            let Some(answer) = ok_or(answer, &[Code::InvalidArgument], &format!("a name ending in {end:?}"))? else {
                continue;
            };
            let id = some(answer.volume, "volume")?.volume_id;
            let other = ids.insert(id.clone(), end);
            ensure!(
                other.is_none(),
                "names that end in {:?} and {end:?} are one volume, {id}",
                other.unwrap_or_default()
            );
        }
    }
    let long = cx.name_of(127);
    let mut ids = vec![];
    for last in ["a", "b"] {
        let mut request = cx.create_request("");
        request.name = format!("{long}{last}");
        ids.push(some(ok(cx.create_volume(request).await, "a name of 128 bytes")?.volume, "volume")?.volume_id);
    }
    ensure!(ids[0] != ids[1], "two names that differ in byte 128 are one volume, {}", ids[0]);
    Ok(())
}

async fn paths(cx: Cx) -> Outcome {
    let unique = cx.name("x");
    let mut ids = vec![];
    for name in [format!("../{unique}"), format!("../../{unique}"), format!("{unique}/.."), "..".into(), ".".into()] {
        let mut request = cx.create_request("");
        request.name.clone_from(&name);
        let answer = cx.create_volume(request).await;
        if let Some(answer) = ok_or(answer, &[Code::InvalidArgument], &format!("the name {name:?}"))? {
            let id = some(answer.volume, "volume")?.volume_id;
            ensure!(!ids.contains(&id), "the name {name:?} gave the volume {id} of another name");
            ids.push(id);
        }
    }
    for id in ids {
        cx.delete(&id).await?;
    }
    Ok(())
}

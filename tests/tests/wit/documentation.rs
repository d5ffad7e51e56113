//! Nothing in the package goes without a word of explanation, and its own rules hold.

use bulkhead_tests::components::{resolve, wit_dir};
use wit_parser::{Docs, InterfaceId, PackageId, Resolve, TypeDefKind, TypeId, WorldItem};

/// What has no doc comment: interfaces, worlds, functions, types, and the cases of variants and flags.
fn undocumented(resolve: &Resolve, package: PackageId) -> Vec<String> {
    let mut found = Vec::new();
    let mut look = |name: String, docs: &Docs| {
        if docs.contents.as_deref().is_none_or(|text| text.trim().is_empty()) {
            found.push(name);
        }
    };
    let package = &resolve.packages[package];
    look(package.name.to_string(), &package.docs);
    for (name, world) in &package.worlds {
        look(name.clone(), &resolve.worlds[*world].docs);
    }
    for (interface, id) in &package.interfaces {
        let id = &resolve.interfaces[*id];
        look(interface.clone(), &id.docs);
        for (name, function) in &id.functions {
            look(format!("{interface}.{name}"), &function.docs);
        }
        for (name, ty) in &id.types {
            let ty = &resolve.types[*ty];
            // `use` makes a type of the same name that has its words where it comes from.
            if matches!(ty.kind, TypeDefKind::Type(wit_parser::Type::Id(_))) {
                continue;
            }
            look(format!("{interface}.{name}"), &ty.docs);
            match &ty.kind {
                TypeDefKind::Variant(variant) => {
                    variant.cases.iter().for_each(|case| look(format!("{interface}.{name}.{}", case.name), &case.docs));
                }
                TypeDefKind::Flags(flags) => {
                    flags.flags.iter().for_each(|flag| look(format!("{interface}.{name}.{}", flag.name), &flag.docs));
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn everything_has_a_doc_comment() {
    let (resolve, package) = resolve(&[]).unwrap();
    assert_eq!(undocumented(&resolve, package), Vec::<String>::new());
}

#[test]
fn what_is_undocumented_is_found() {
    let silent =
        "interface silent { quiet: func(); record still { x: u8 } variant mute { deaf(u8) } flags dumb { a } }";
    let (resolve, package) = resolve(&[("host.wit", "", silent)]).unwrap();
    let expected =
        ["silent", "silent.quiet", "silent.still", "silent.mute", "silent.mute.deaf", "silent.dumb", "silent.dumb.a"];
    assert_eq!(undocumented(&resolve, package), expected);
}

/// All interfaces that the world `everything` exports.
fn exported(resolve: &Resolve, package: PackageId) -> Vec<InterfaceId> {
    let world = resolve.select_world(&[package], Some("everything")).unwrap();
    let exports = resolve.worlds[world].exports.values();
    exports
        .map(|item| if let WorldItem::Interface { id, .. } = item { *id } else { panic!("not an interface") })
        .collect()
}

#[test]
fn exported_interfaces_use_types_of_interfaces_without_functions_only() {
    let (resolve, package) = resolve(&[]).unwrap();
    for id in exported(&resolve, package) {
        for used in resolve.interface_direct_deps(id).map(|used| &resolve.interfaces[used]) {
            assert!(used.functions.is_empty(), "{:?} uses {:?}", resolve.interfaces[id].name, used.name);
        }
    }
}

/// Names the first resource, stream or future that a type is made of.
fn handle(resolve: &Resolve, id: TypeId) -> Option<&'static str> {
    match &resolve.types[id].kind {
        kind @ (TypeDefKind::Resource | TypeDefKind::Handle(_) | TypeDefKind::Future(_) | TypeDefKind::Stream(_)) => {
            Some(kind.as_str())
        }
        _ => None,
    }
}

#[test]
fn exported_interfaces_hold_plain_data_only() {
    let (resolve, package) = resolve(&[]).unwrap();
    for id in exported(&resolve, package) {
        let used = resolve.interface_direct_deps(id).flat_map(|used| resolve.interfaces[used].types.values());
        for ty in resolve.interfaces[id].types.values().chain(used) {
            assert_eq!(handle(&resolve, *ty), None, "{:?}", resolve.interfaces[id].name);
        }
    }
}

#[test]
fn the_readme_names_every_file_and_every_interface() {
    let readme = std::fs::read_to_string(wit_dir().join("../README.md")).unwrap();
    let (resolve, package) = resolve(&[]).unwrap();
    for id in exported(&resolve, package) {
        let name = resolve.interfaces[id].name.as_deref().unwrap();
        assert!(readme.contains(&format!("`{name}`")), "wit/README.md doesn't mention {name}");
    }
    for file in std::fs::read_dir(wit_dir()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(readme.contains(&format!("`{name}`")), "wit/README.md doesn't mention {name}");
    }
}

//! Holds the map in ARCHITECTURE.md, the rules of who may use whom and the places of `unsafe` against the workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Who of ours a crate may use, by folder. Development dependencies are free.
const MAY_USE: [(&str, &[&str]); 12] = [
    ("sip", &[]),
    ("model", &[]),
    ("routing", &["model"]),
    ("settlement", &["model"]),
    ("rtp", &[]),
    ("store", &["model"]),
    ("media", &["rtp", "model"]),
    ("fabric", &["sip", "routing", "store", "media", "model"]),
    ("portal", &["routing", "settlement", "store", "model"]),
    ("tandem", &["sip", "routing", "settlement", "store", "media", "fabric", "portal", "model", "rtp"]),
    ("testkit", &["sip", "model", "routing", "settlement", "rtp", "store", "media", "fabric"]),
    ("xtask", &[]),
];

/// Libraries that only some crates name. Our tests' own crates are free to.
const ONLY_IN: [(&str, &[&str]); 3] = [
    ("tokio", &["store", "media", "fabric", "portal", "tandem", "testkit"]),
    ("sqlx", &["store", "testkit"]),
    ("axum", &["portal", "tandem"]),
];

/// The files that may have `unsafe` code. The first two are the program's; the others are tools and tests.
const UNSAFE: [&str; 9] = [
    "crates/fabric/src/datagram.rs",
    "crates/fabric/src/scheduling.rs",
    "crates/routing/examples/routing/heap.rs",
    "crates/sip/tests/allocations.rs",
    "crates/tandem/src/allocator.rs",
    "crates/xtask/src/bin/sipload/datagram.rs",
    "crates/xtask/src/process.rs",
    "tests/src/child.rs",
    "tests/src/cluster.rs",
];

/// Most crates of ours in a chain of dependencies: the program, a part, the store, the nouns.
const LONGEST_CHAIN: usize = 4;

fn workspace() -> (Metadata, PathBuf) {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lies in the workspace").to_owned();
    let metadata = MetadataCommand::new().manifest_path(root.join("Cargo.toml")).no_deps().exec();
    (metadata.expect("cargo describes the workspace"), root)
}

/// The packages under `crates/`, by folder.
fn crates() -> BTreeMap<String, Package> {
    let (metadata, root) = workspace();
    let folder = |package: &Package| {
        let path = package.manifest_path.parent()?.strip_prefix(root.join("crates")).ok()?;
        Some(path.as_str().to_owned())
    };
    metadata.packages.into_iter().filter_map(|package| Some((folder(&package)?, package))).collect()
}

/// Names of what a crate uses outside its tests.
fn uses(package: &Package) -> BTreeSet<&str> {
    let normal =
        package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
    normal.map(|dependency| dependency.name.as_str()).collect()
}

/// Folders of the crates of ours that a crate uses.
fn ours(package: &Package) -> BTreeSet<&str> {
    uses(package).into_iter().filter_map(|name| name.strip_prefix("tandem-")).collect()
}

#[test]
fn a_crate_uses_only_those_it_may() {
    let may_use: BTreeMap<&str, &[&str]> = MAY_USE.into_iter().collect();
    for (folder, package) in crates() {
        let allowed = may_use.get(folder.as_str()).unwrap_or_else(|| panic!("crates/{folder} has no rule"));
        for used in ours(&package) {
            assert!(allowed.contains(&used), "{folder} may not use {used}");
        }
    }
}

#[test]
fn runtime_database_and_web_libraries_stay_where_they_belong() {
    for (folder, package) in crates() {
        for (library, places) in ONLY_IN {
            let named = uses(&package)
                .into_iter()
                .any(|name| name == library || name.starts_with(&format!("{library}-")));
            assert!(!named || places.contains(&folder.as_str()), "{folder} may not name {library}");
        }
    }
}

#[test]
fn the_longest_chain_of_crates_has_four() {
    fn length(folder: &str, crates: &BTreeMap<String, Package>) -> usize {
        let package = crates.get(folder).unwrap_or_else(|| panic!("crates/{folder} is used and not there"));
        1 + ours(package).into_iter().map(|used| length(used, crates)).max().unwrap_or(0)
    }
    let crates = crates();
    for folder in crates.keys().filter(|folder| *folder != "testkit") {
        assert!(
            length(folder, &crates) <= LONGEST_CHAIN,
            "{folder} stands on {} crates",
            length(folder, &crates) - 1
        );
    }
}

#[test]
fn a_package_is_named_after_its_folder() {
    for (folder, package) in crates() {
        let name = package.name.as_str();
        assert!(name == folder || name == format!("tandem-{folder}"), "crates/{folder} holds {name}");
    }
}

/// The map is a table: the first cell of a row is a folder, such as `crates/store` in backquotes, and the last
/// names, each in backquotes, the crates of ours that it uses: `model`.
#[test]
fn the_map_in_architecture_md_is_the_workspace() {
    let (_, root) = workspace();
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("the workspace has ARCHITECTURE.md");
    let mut map = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| `crates/")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let folder = cells[0].trim_matches('`').trim_start_matches("crates/");
        let last = cells.last().expect("a row has cells");
        let used: BTreeSet<String> = last.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        map.insert(folder.to_owned(), used);
    }
    let is: BTreeMap<String, BTreeSet<String>> = crates()
        .iter()
        .map(|(folder, package)| (folder.clone(), ours(package).into_iter().map(str::to_owned).collect()))
        .collect();
    assert_eq!(map, is, "left: ARCHITECTURE.md, right: cargo metadata");
}

/// The Rust sources below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the workspace").flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The lint denies it everywhere, and a module that is to have it says so: what it may not be is one that nobody knows of.
#[test]
fn unsafe_code_is_only_where_it_is_known_to_be() {
    let (_, root) = workspace();
    let mut found = Vec::new();
    sources(&root.join("crates"), &mut found);
    sources(&root.join("tests"), &mut found);
    let begins = ["{", "fn ", "impl ", "impl<", "trait ", "extern "].map(|next| ["unsafe", next].join(" "));
    let lifts = ["allow", "warn", "expect"].map(|level| format!("{level}(unsafe_code"));
    let has = |path: &PathBuf| {
        let text = fs::read_to_string(path).expect("a source is text");
        let is_code = |line: &&str| !line.trim_start().starts_with("//");
        text.lines().filter(is_code).any(|line| begins.iter().chain(&lifts).any(|it| line.contains(it)))
    };
    let name = |path: &PathBuf| {
        path.strip_prefix(&root).expect("it lies in the workspace").to_string_lossy().into_owned()
    };
    let is: BTreeSet<String> = found.iter().filter(|path| has(path)).map(name).collect();
    assert_eq!(is, UNSAFE.iter().map(|&path| path.to_owned()).collect());
}

#[test]
fn unsafe_code_is_denied_in_every_crate() {
    let (_, root) = workspace();
    let manifest = |path: &Path| -> toml::Table {
        let text = fs::read_to_string(path).expect("a package has a manifest");
        text.parse().expect("a manifest is TOML")
    };
    let lints = &manifest(&root.join("Cargo.toml"))["workspace"]["lints"]["rust"];
    assert!(matches!(lints["unsafe_code"].as_str(), Some("deny" | "forbid")));
    let mut manifests: Vec<PathBuf> =
        crates().into_values().map(|package| package.manifest_path.into_std_path_buf()).collect();
    manifests.push(root.join("tests/Cargo.toml"));
    for path in manifests {
        let lints = manifest(&path).get("lints").and_then(|lints| lints.get("workspace")?.as_bool());
        assert_eq!(lints, Some(true), "{}", path.display());
    }
}

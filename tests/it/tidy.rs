//! Holds the style of the house: layers, head comments, length of files, links in the documents, marker words.

use std::fs;
use std::path::{Path, PathBuf};

/// A file longer than this holds two ideas.
const LINES_MAX: usize = 700;
/// Widest line, in characters.
const COLUMNS_MAX: usize = 120;
/// The layers of `src/`, each using only those before it.
const LAYERS: [&str; 5] = ["model", "protocol", "store", "node", "face"];
/// What may stand at the top, dot-files aside.
const TOP: [&str; 12] = [
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "deny.toml",
    "src",
    "onion",
    "tests",
    "scripts",
    "docs",
    "examples",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `dir` that ends in `suffix`, build output and dot-folders aside.
fn files(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path, suffix));
        } else if name.ends_with(suffix) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn short(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Fails with every finding at once, so that one run tells all.
fn none(what: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{what}:\n  {}", findings.join("\n  "));
}

#[test]
fn layers_use_only_what_stands_before_them() {
    let mut findings = Vec::new();
    let mut seen = 0;
    for (rank, layer) in LAYERS.iter().enumerate() {
        for path in files(&root().join("src").join(layer), ".rs") {
            seen += 1;
            let text = fs::read_to_string(&path).expect("a source file reads");
            for (at, line) in text.lines().enumerate() {
                for above in &LAYERS[rank + 1..] {
                    let named = [format!("crate::{above}"), format!("onionskin::{above}")];
                    if named.iter().any(|name| names(line, name)) {
                        findings.push(format!("{}:{}: {layer} uses {above}", short(&path), at + 1));
                    }
                }
            }
        }
    }
    assert!(seen > 10, "the layers were found ({seen} files)");
    none("a lower layer uses a higher one", findings);
}

/// Whether `line` has `name` as a whole path segment, outside a comment.
fn names(line: &str, name: &str) -> bool {
    let code = line.split("//").next().unwrap_or("");
    code.match_indices(name).any(|(at, _)| {
        !code[at + name.len()..].starts_with(|next: char| next.is_alphanumeric() || next == '_')
    })
}

#[test]
fn only_the_onion_crate_names_arti() {
    let mut findings = Vec::new();
    for path in files(&root().join("src"), ".rs") {
        let text = fs::read_to_string(&path).expect("a source file reads");
        if ["arti_client", "tor_hsservice", "tor_proto", "tor_rtcompat"]
            .iter()
            .any(|name| text.contains(name))
        {
            findings.push(short(&path));
        }
    }
    none("arti outside onion/", findings);
}

#[test]
fn every_source_file_opens_with_what_it_is_for() {
    let mut findings = Vec::new();
    for dir in ["src", "onion", "tests", "examples"] {
        for path in files(&root().join(dir), ".rs") {
            let text = fs::read_to_string(&path).expect("a source file reads");
            let head = text.lines().take_while(|line| line.starts_with("//!")).count();
            let prose =
                text.lines().take(head).filter(|line| !line.starts_with("//! |") && *line != "//!").count();
            if head == 0 {
                findings.push(format!("{}: no //! head comment", short(&path)));
            } else if prose > 12 && dir != "tests" {
                findings.push(format!("{}: a head comment of {prose} lines is a document", short(&path)));
            }
        }
    }
    none("head comments", findings);
}

#[test]
fn files_are_short_and_lines_fit() {
    let mut findings = Vec::new();
    for dir in ["src", "onion", "tests", "examples"] {
        for path in files(&root().join(dir), ".rs") {
            let text = fs::read_to_string(&path).expect("a source file reads");
            if text.lines().count() > LINES_MAX {
                findings.push(format!("{}: {} lines", short(&path), text.lines().count()));
            }
            for (at, line) in text.lines().enumerate().filter(|(_, line)| line.chars().count() > COLUMNS_MAX)
            {
                findings.push(format!("{}:{}: {} columns", short(&path), at + 1, line.chars().count()));
            }
        }
    }
    none("too long", findings);
}

#[test]
fn no_marker_words() {
    // Written in two halves, so that this file does not find itself.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("HA", "CK"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("#[ig", "nore"),
        concat!("for ", "now"),
        concat!("place", "holder"),
        concat!("not yet imple", "mented"),
        concat!("thread::sl", "eep"),
    ];
    let mut findings = Vec::new();
    for dir in ["src", "onion", "tests", "examples", "scripts", "docs", "README.md"] {
        let base = root().join(dir);
        let paths = if base.is_dir() { files(&base, "") } else { vec![base] };
        for path in paths {
            let Ok(text) = fs::read_to_string(&path) else { continue };
            for (at, line) in text.lines().enumerate() {
                for word in words.iter().filter(|word| line.contains(**word)) {
                    findings.push(format!("{}:{}: {word}", short(&path), at + 1));
                }
            }
        }
    }
    none("a promise not kept, or a comment to rewrite", findings);
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    let mut findings = Vec::new();
    let mut documents = files(&root().join("docs"), ".md");
    documents.push(root().join("README.md"));
    let mut links = 0;
    for path in documents {
        let text = fs::read_to_string(&path).expect("a document reads");
        for (at, line) in text.lines().enumerate() {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let file = target.split('#').next().unwrap_or("");
                if file.is_empty() || file.contains("://") {
                    continue;
                }
                links += 1;
                if !path.parent().expect("a document has a folder").join(file).exists() {
                    findings.push(format!("{}:{}: {target}", short(&path), at + 1));
                }
            }
        }
    }
    assert!(links > 3, "the documents were read ({links} links)");
    none("dead links", findings);
}

#[test]
fn files_that_the_readme_names_exist() {
    let text = fs::read_to_string(root().join("README.md")).expect("there is a README");
    let mut findings = Vec::new();
    for word in text.split(|c: char| !(c.is_alphanumeric() || "/_-.".contains(c))) {
        let word = word.trim_end_matches('.');
        let ours = ["scripts/", "docs/", "src/", "tests/", "examples/", "onion/"];
        if ours.iter().any(|dir| word.starts_with(dir)) && !root().join(word).exists() {
            findings.push(word.to_owned());
        }
    }
    none("the README names what is not there", findings);
}

#[test]
fn the_top_level_holds_only_its_twelve_entries() {
    let mut findings = Vec::new();
    for entry in fs::read_dir(root()).expect("the root lists").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && name != "target" && !TOP.contains(&name.as_str()) {
            findings.push(name);
        }
    }
    none("strays at the top level", findings);
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let words = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let mut findings = Vec::new();
    for dir in ["src", "onion", "tests", "examples", "scripts", "docs"] {
        for path in files(&root().join(dir), "") {
            let Ok(text) = fs::read_to_string(&path) else { continue };
            for (at, line) in text.lines().enumerate() {
                if words.iter().any(|word| line.contains(word)) {
                    findings.push(format!("{}:{}", short(&path), at + 1));
                }
            }
        }
    }
    none("paths of one machine", findings);
}

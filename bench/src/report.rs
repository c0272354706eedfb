//! The document's figures, written by the program that measured them.

use std::path::Path;

use anyhow::{Context, ensure};

/// Replaces what stands between each section's markers.
pub(crate) fn write(sections: &[(&str, String)]) -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs").join("benchmarks.md");
    let mut document = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    for (name, text) in sections {
        document = replaced(&document, name, text)?;
    }
    std::fs::write(&path, document)?;
    Ok(())
}

fn replaced(document: &str, name: &str, text: &str) -> anyhow::Result<String> {
    let (begin, end) = (format!("<!-- {name}: measured -->\n"), format!("<!-- {name}: end -->"));
    let (before, rest) = document.split_once(&begin).with_context(|| format!("the document has no {begin}"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("the document has no {end}"))?;
    ensure!(!text.contains("<!--"), "a figure that looks like a marker");
    Ok(format!("{before}{begin}{text}{end}{after}"))
}

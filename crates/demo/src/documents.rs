//! The documents that the agent searches: found in folders, read within bounds, cut into sections.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// More files than this are not looked at: a folder may be anything, also somebody's home.
const FILES_MAX: usize = 400;
/// Directories and other entries looked at while searching for files.
const ENTRIES_MAX: usize = 20_000;
/// A larger file is no document that people read.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// A section longer than this is cut, so that a ranked passage is something to look at.
const SECTION_LINES_MAX: usize = 40;
/// Endings of files that hold prose.
const ENDINGS: [&str; 4] = ["md", "txt", "rst", "adoc"];

/// A piece of a document under one heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// The heading; empty before the first one.
    pub heading: String,
    /// The number of the heading's line in the file, or of the first text line where the section has no heading line of its own; from 1.
    pub line: usize,
    /// The number of the first of `lines`.
    pub text_line: usize,
    /// The lines below the heading.
    pub lines: Vec<String>,
}

/// Finds documents in files and folders, sorted by name. Links are not followed and hidden entries passed over, so that the search stays
/// where it was told to look. What cannot be read is passed over too: it may vanish at any time.
pub fn find(roots: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting: VecDeque<PathBuf> = roots.iter().filter(|root| root.exists()).cloned().collect();
    let mut looked_at = 0;
    while let Some(path) = waiting.pop_front() {
        looked_at += 1;
        if looked_at > ENTRIES_MAX || found.len() >= FILES_MAX {
            break;
        }
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            let Ok(entries) = fs::read_dir(&path) else { continue };
            let mut entries: Vec<_> = entries.take(ENTRIES_MAX).flatten().filter(|e| !is_hidden(e.path().as_path())).collect();
            entries.sort_by_key(fs::DirEntry::file_name);
            waiting.extend(entries.into_iter().map(|entry| entry.path()));
        } else if meta.is_file() && meta.len() <= FILE_BYTES_MAX && has_prose(&path) {
            found.push(path);
        }
    }
    found
}

/// Reads a document and cuts it into sections.
///
/// # Errors
/// The file cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<Section>> {
    let mut bytes = Vec::new();
    // The file may have grown since it was found.
    fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(sections(&String::from_utf8_lossy(&bytes)))
}

/// The file's name as it is shown: as it was reached, with `/` between its parts.
pub fn shown(path: &Path) -> String {
    path.to_string_lossy().replace('\\', "/").trim_start_matches("./").to_owned()
}

fn sections(text: &str) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut current = Section { heading: String::new(), line: 1, text_line: 1, lines: Vec::new() };
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        // A `#` in a code block is a comment of some shell.
        let heading =
            (!in_code && line.starts_with('#')).then(|| line.trim_start_matches('#')).filter(|rest| rest.starts_with(' '));
        if let Some(heading) = heading {
            let next = Section { heading: heading.trim().to_owned(), line: number, text_line: number + 1, lines: Vec::new() };
            sections.push(std::mem::replace(&mut current, next));
            continue;
        }
        if current.lines.len() >= SECTION_LINES_MAX && !in_code && line.trim().is_empty() {
            let next = Section { heading: current.heading.clone(), line: number, text_line: number, lines: Vec::new() };
            sections.push(std::mem::replace(&mut current, next));
        }
        current.lines.push(line.to_owned());
    }
    sections.push(current);
    sections.retain(|section| !section.heading.is_empty() || section.lines.iter().any(|line| !line.trim().is_empty()));
    sections
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'))
}

fn has_prose(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_cut_and_code_does_not() {
        let text = "before\n\n# One\na\n```sh\n# no heading\n```\n## Two\nb\n#hash";
        let cut = sections(text);
        let seen: Vec<_> = cut.iter().map(|s| (s.heading.as_str(), s.line, s.lines.len())).collect();
        assert_eq!(seen, [("", 1, 2), ("One", 3, 4), ("Two", 8, 2)]);
    }

    #[test]
    fn long_sections_are_cut_at_a_blank_line() {
        let text = format!("# Long\n{}\n\nend", vec!["x"; 60].join("\n"));
        let cut = sections(&text);
        assert_eq!(cut.iter().map(|s| (s.heading.as_str(), s.line)).collect::<Vec<_>>(), [("Long", 1), ("Long", 62)]);
    }

    #[test]
    fn prose_is_found_where_it_was_looked_for_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret.md"), "x").unwrap();
        for name in ["b.md", "a.txt", "image.png", ".hidden.md", "sub/c.MD"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "# T\ntext").unwrap();
        }
        fs::write(folder.path().join("huge.md"), vec![b'x'; FILE_BYTES_MAX as usize + 1]).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).unwrap();
        let found = find(&[folder.path().to_owned(), folder.path().join("missing")]);
        let names: Vec<_> = found.iter().map(|p| shown(p.strip_prefix(folder.path()).unwrap())).collect();
        assert_eq!(names, ["a.txt", "b.md", "sub/c.MD"]);
        assert_eq!(read(&found[0]).unwrap()[0].heading, "T");
        assert!(read(&folder.path().join("gone.md")).is_err());
    }
}
